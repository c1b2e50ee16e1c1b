/* An HTTP/1.1 request on its way out to an origin: the head, then the upload as it comes, in as few writes as possible, without a copy. */
#ifndef ORIGIN_H1_REQUEST_H
#define ORIGIN_H1_REQUEST_H

#include "proxy/net/connection.h"
#include "proxy/origin/origin.h"

enum h1_sending {
    H1_SENT,          /* all of it */
    H1_SEND_BLOCKED,  /* the kernel takes no more for now */
    H1_SEND_STARVED,  /* the client has to send more first */
    H1_SEND_BROKEN,   /* the connection takes nothing any more */
    H1_UPLOAD_FAILED,
};

struct h1_request {
    struct bytes head;
    size_t       head_sent;
    bool         has_body, is_chunked, body_ended;
    uint64_t     data_left;            /* of the body, or of the chunk that was begun */
    char         line[24];             /* size line of that chunk, or the last chunk */
    unsigned     line_at, line_len;
    unsigned     tail_left;            /* of the CRLF behind the chunk's data */
    uint64_t     sent_bytes, body_sent_bytes;
};

/* The head in one piece, framing fields included (RFC 9112 §6). In `arena`. */
struct bytes h1_request_head(enum method method, struct bytes method_name, struct bytes target, const struct headers *fields, const struct upload *upload,
                             struct arena *arena);
/* From the start. */
void            h1_request_init(struct h1_request *request, struct bytes head, const struct upload *upload);
enum h1_sending h1_request_send(struct h1_request *request, struct connection *connection, struct upload *upload);

#endif
