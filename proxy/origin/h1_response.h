/* An HTTP/1.x response on its way in from an origin (RFC 9112): bytes in, head and decoded chunks out. No sockets here.
 *
 * Phases: h1_response_init → (h1_response_space → bytes are read there → h1_response_feed)… → HEAD → for an interim response
 *         h1_response_next and on with its rest → for a final one the body: by length, until close, or h1_response_decode →
 *         h1_response_free.
 * Strict: what is malformed, repeated or in conflict in the framing is BAD; what is only odd passes. */
#ifndef ORIGIN_H1_RESPONSE_H
#define ORIGIN_H1_RESPONSE_H

#include "base/headers.h"
#include "base/method.h"

#include <llhttp.h>

enum {
    H1_HEAD_MAX_BYTES = 64 * 1024,    /* of a response's head, and of the trailers behind a chunked body */
    H1_FIELDS_MAX = 1000,             /* a head of empty fields would otherwise cost ten times its bytes */
    H1_CHUNK_LINE_MAX_BYTES = 4 * 1024 + 32, /* extensions over 4 KiB are an attack or a mistake */
};

enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE };

enum h1_result { H1_MORE, H1_HEAD, H1_BAD, H1_TOO_LARGE };

struct h1_response {
    llhttp_t      parser;
    struct arena *arena;
    enum method   method; /* of the request */
    /* valid after H1_HEAD, until h1_response_next, h1_response_free or the next use of the read buffer */
    unsigned        status;
    struct bytes    reason;
    struct headers  fields; /* lines live in the arena, their text in the read buffer or in `buffer` */
    enum h1_framing framing;
    uint64_t        length;     /* H1_LENGTH */
    bool            keep_alive; /* the origin lets the connection be used again (after this response, whole) */
    int64_t         kept_ms;    /* for so long, if it is idle; INT64_MAX: the origin does not say */
    const char     *fault;      /* after H1_BAD: what was wrong; static */
    /* a head that did not come in one piece */
    char  *buffer;
    size_t buffered;
    /* parsing state */
    struct bytes name, value;
    bool         complete; /* of the chunked body */
    bool         in_trailers;
    size_t       overhead; /* bytes since the last byte of body: chunk lines, extensions, trailers */
    const char  *decode_end; /* within h1_response_decode: end of the last body bytes seen in the input */
    char        *decode_out;
};

void h1_response_init(struct h1_response *response, enum method method, struct arena *arena);
void h1_response_free(struct h1_response *response);

/* Where the next bytes of a head are to be read: in `shared` (H1_HEAD_MAX_BYTES of it) or in the response's own buffer. */
char  *h1_response_space(struct h1_response *response, char *shared, size_t *capacity);
/* `count` bytes arrived there. *rest: what follows the head, in the same memory. */
enum h1_result h1_response_feed(struct h1_response *response, const char *at, size_t count, struct bytes *rest);
/* The head was an interim one: forgets it and reads the next from `rest`. */
enum h1_result h1_response_next(struct h1_response *response, struct bytes *rest);

/* H1_CHUNKED: takes chunked bytes from `in`, puts the decoded ones at `out`, which has room for as many and may be `in.at` itself. Returns
 * the bytes of `in` used: all of them unless the body ended (response->complete). *decoded: bytes put out. False when malformed. */
bool h1_response_decode(struct h1_response *response, struct bytes in, char *out, size_t *used, size_t *decoded);

#endif
