/* The inside of an HTTP/1 client connection, shared by h1*.c and nobody else.
 *
 * DESIGN. Two structures: struct h1_client lives as long as the connection and is all that an idle one costs; struct h1_exchange, from the worker's spare
 * ones, is attached while a request is under way and holds everything that only such a connection needs.
 *
 *     FRESH → HEAD → REQUEST → (FLUSH) → (DRAIN) → IDLE → HEAD → …          LINGER → CLOSED
 *
 * Invariants: 1. an exchange is attached exactly in REQUEST, FLUSH and DRAIN, and has a request exactly in REQUEST; 2. every way in (an event, a deadline,
 * an operation of the stream) is bracketed by h1_enter and h1_leave: what closes the connection inside leaves its memory to the last h1_leave; 3. what is
 * wanted of the connection is computed from the state, in h1_leave and nowhere else; 4. `held` is input not yet parsed, `out` output not yet taken by the
 * kernel; both are usually NULL.
 */
#ifndef CLIENT_H1_CLIENT_H
#define CLIENT_H1_CLIENT_H

#include "proxy/client/h1.h"
#include "proxy/client/h1_parse.h"
#include "base/spill.h"

enum h1_state {
    H1_FRESH,   /* accepted, nothing came yet */
    H1_IDLE,    /* between requests */
    H1_HEAD,    /* part of a head came */
    H1_REQUEST, /* the request layer has it */
    H1_FLUSH,   /* the request is over, the kernel has not taken all of the response */
    H1_DRAIN,   /* the response is out, the rest of the request's body is read and thrown away */
    H1_LINGER,  /* we have said our FIN; what still comes is thrown away, so that no reset overtakes the response (RFC 9112 §9.6) */
    H1_CLOSED,
};

enum {
    H1_HEAD_READ_BYTES = 16 * 1024,    /* at once; what a client sends ahead beyond that waits in the kernel */
    H1_UPLOAD_BUFFER_BYTES = 64 * 1024, /* of a body on its way to an origin */
    H1_DRAIN_MAX_BYTES = 64 * 1024,    /* of an unread body: more is not worth keeping the connection */
    H1_DRAIN_MS = 2000,
    H1_GOODBYE_MS = 1000, /* an idle connection stays that long when the server drains: its client, told nothing, may just be sending */
    H1_LINGER_MAX_BYTES = 256 * 1024,
    H1_LINGER_MS = 2000,
    H1_BATCH_BYTES = 16 * 1024,        /* responses to pipelined requests that leave together */
    H1_SPARE_EXCHANGES_MAX = 256,
};

/* Input that waits, with what is already known of it. */
struct h1_held {
    struct h1_scan scan;
    struct spill  *spill;
};

struct h1_client {
    struct stream       stream;
    struct worker      *worker;
    struct connection  *connection;
    struct list         link; /* in clients or resumable */
    struct deadline     deadline; /* what it is for, the state says */
    struct h1_exchange *exchange;
    struct h1_held     *held;
    struct spill       *out;
    union {
        struct sockaddr     any;
        struct sockaddr_in  in;
        struct sockaddr_in6 in6;
    } peer;
    uint8_t state, listener;
    uint8_t depth;  /* h1_enter without h1_leave */
    bool    closes; /* after this response */
    bool    lingers; /* when it closes: more may be coming */
    bool    gone;   /* writing failed */
    bool    ended;  /* the client's FIN came while answers waited in `out`: closes when they are written */
    uint32_t lingered_bytes;
};

struct h1_upload {
    struct upload     upload;
    struct h1_client *client;
    llhttp_t          parser;
    struct deadline   deadline; /* of the current window of the minimum rate */
    bool     chunked, complete, discarding;
    bool     expects_continue;  /* and has not been told to go on */
    char    *buffer;
    uint32_t start, end, capacity;
    uint64_t received_bytes, window_bytes; /* decoded; those of the window */
    uint32_t extension_bytes, framing_bytes; /* chunk extensions in all; since the last byte of content */
    const char *framing_from; /* of the bytes being parsed: not yet looked at by the guard */
    bool     after_cr;
};

enum h1_body { H1_BODY_NONE, H1_BODY_LENGTH, H1_BODY_CHUNKED, H1_BODY_UNTIL_CLOSE };

struct h1_exchange {
    struct list          link; /* in spare */
    struct request      *request;
    union socket_address peer;
    unsigned     version_minor;
    bool         keep_alive;  /* the client's wish */
    bool         is_followed; /* more requests have been read already: the response may wait for theirs */
    bool         head_sent, last_sent;
    bool         waits;       /* the request was told that less was taken than offered */
    enum h1_body body;
    uint64_t     left;        /* of the response's length, or of the open chunk */
    size_t       queued_bytes; /* in the kernel when the deadline of a stalled client was set; written since */
    uint64_t     written_bytes;
    bool             has_upload;
    struct h1_upload upload;
};

/* A worker's clients. */
struct h1_clients {
    struct worker *worker;
    struct list    clients;
    struct list    resumable; /* those with requests in `held` that can be parsed now */
    struct mail    resume;
    struct list    spare;
    unsigned       spare_count;
    bool           is_cut; /* waits for its mail to be freed */
    llhttp_t       fresh_parser;
    struct h1_client *batch_of; /* whose responses are in `batch`; only inside h1_process */
    size_t         batch_bytes;
    char           batch[H1_BATCH_BYTES];
};

/* h1.c */
void h1_enter(struct h1_client *client);
void h1_leave(struct h1_client *client);
/* The client is not there any more: tells the request, if there is one, and closes. */
void h1_give_up(struct h1_client *client, enum error why);
/* Without a request. */
void h1_close(struct h1_client *client);
/* Goes on with the requests in `held`. */
void h1_resume(struct h1_client *client);
/* What came before this module had the connection. */
void h1_begin(struct h1_client *client, struct bytes already_read);
void h1_set_deadline(struct h1_client *client, int64_t ms);
extern const struct connection_events h1_connection_events;
extern const struct stream_ops        h1_stream_ops;

/* h1_clients.c */
void h1_attach_exchange(struct h1_client *client);
/* Also where there is none. */
void h1_detach_exchange(struct h1_client *client);

static inline struct h1_client *h1_client_of(struct stream *stream)
{
    return LIST_OWNER(stream, struct h1_client, stream);
}

static inline const struct config *h1_config(const struct h1_client *client)
{
    return client->worker->config;
}

/* h1_write.c */
ssize_t h1_send(struct stream *stream, const struct response_head *head, const struct iovec *iov, int count, bool last);
bool    h1_is_flushed(struct stream *stream);
void    h1_interim(struct stream *stream, unsigned status, const struct headers *fields);
/* Writes what waits. False: the client is gone. */
bool    h1_flush(struct h1_client *client);
/* Writes what the batch has of this client; the rest goes to `out`. */
void    h1_flush_batch(struct h1_client *client);

/* h1_upload.c */
void   h1_upload_begin(struct h1_client *client, const struct h1_framing *framing);
/* Decodes; returns how many bytes belonged to the body. Never more than fits when given at most h1_upload_room bytes. */
size_t h1_upload_feed(struct h1_upload *upload, struct bytes bytes);
/* Tells the fetch that listens. */
void   h1_upload_notify(struct h1_upload *upload);
/* The body ends here, badly. */
void   h1_upload_fail(struct h1_upload *upload, enum error error);
/* How much may be read now; 0: nothing. */
size_t h1_upload_room(const struct h1_upload *upload);
/* Starts and stops the clock of the minimum rate, as bytes are wanted or not. */
void   h1_upload_watch(struct h1_upload *upload);
/* Nobody wants the rest: it is decoded for its end only. */
void   h1_upload_discard(struct h1_upload *upload);
/* Whether the rest of the body is small enough to be drained, so that the connection can be used again. */
bool   h1_upload_is_drainable(const struct h1_upload *upload);
void   h1_upload_end(struct h1_upload *upload);

#endif
