/* Where a response goes: one request's place on a client connection, whatever the protocol. Implemented by proxy/client; called by proxy/request. */
#ifndef REQUEST_STREAM_H
#define REQUEST_STREAM_H

#include "base/bytes.h"
#include "base/headers.h"

#include <sys/types.h>
#include <sys/uio.h>

struct connection;
struct stream;
struct tunnel_stream;

struct response_head {
    unsigned     status;
    struct bytes status_line; /* with its CRLF; empty: the one that `status` usually has (base/status_line.h) */
    struct bytes fields; /* field lines, each with its CRLF; as stored, or made for this answer; no framing fields, no Connection */
    struct bytes extra;  /* further field lines: Age, Cache-Status, Via… */
    bool         has_body;     /* a body follows (false: HEAD, 204, 304) */
    bool         length_known; /* Content-Length is written (also without a body, for HEAD) */
    uint64_t     length;
    bool         close;        /* the connection ends after this response */
};

enum { STREAM_GONE = -1 };

struct stream_ops {
    /* 1xx, 101 included, towards a client that can take it (HTTP/1.1; RFC 9110 §15.2); dropped where it cannot. */
    void (*interim)(struct stream *stream, unsigned status, const struct headers *fields);
    /* Sends the head (once, with the first call; NULL later) and as much of the body as goes out now, in one writev. Returns the body bytes taken
     * or STREAM_GONE: the client is not there any more, and `finished` (broken) is all that may still be called. When it takes fewer than offered,
     * request_writable follows. `last`: the body ends with these bytes; they are offered again until all are taken.
     * Memory behind `iov` and `head` is not needed after return: what the kernel did not take of the head is copied, of the body is not taken. */
    ssize_t (*send)(struct stream *stream, const struct response_head *head, const struct iovec *iov, int count, bool last);
    /* Everything handed over with `last` has reached the kernel? If not, request_writable follows. */
    bool (*is_flushed)(struct stream *stream);
    /* The response is over and the request is freed after this returns. `broken`: it ended before its end: the client must see that (reset). */
    void (*finished)(struct stream *stream, bool broken);
    /* For a tunnel, after interim(101): the connection changes hands; `unread` is what the client sent behind its head, borrowed until the turn ends.
     * The stream is gone. */
    struct connection *(*take_connection)(struct stream *stream, struct bytes *unread);
    /* The same where the connection has other streams; NULL where it has not, as take_connection is here. The stream is the tunnel's from then on. */
    struct tunnel_stream *(*take_stream)(struct stream *stream);
};

struct stream {
    const struct stream_ops *ops;
};

#endif
