/* A request and its life, whatever the protocol it came by.
 *
 * Phases: request_new (codec, when a head arrives) → fields filled by the codec → request_start, or request_refuse → steps → finished → freed.
 * The codec owns the connection, the request owns everything that hangs on the response. Codec → request: request_writable, request_client_gone.
 * Request → codec: stream_ops. After ops->finished or request_client_gone neither touches the other again.
 */
#ifndef REQUEST_REQUEST_H
#define REQUEST_REQUEST_H

#include "base/arena.h"
#include "base/error.h"
#include "base/headers.h"
#include "base/method.h"
#include "proxy/net/connection.h"
#include "proxy/origin/upload.h"
#include "proxy/request/stream.h"
#include "proxy/request/worker.h"

struct request;

enum listener_kind { LISTENER_PUBLIC, LISTENER_ADMIN, LISTENER_ADMIN_SOCKET };

/* What the codec fills in before request_start. Slices are borrowed from the codec's buffer: they stay valid until the callback that delivered the bytes
 * returns; a request that lives longer copies them (request_keep), by itself. */
struct request_head {
    enum method    method;
    struct bytes   method_name;
    struct bytes   target;      /* as received: origin-form, absolute-form or asterisk-form */
    struct bytes   scheme;      /* "http" or "https": of the connection */
    const struct tls_facts *tls; /* of the connection; NULL: it is plain */
    struct bytes   authority;   /* Host, or that of the absolute-form target; validated by request */
    struct bytes   path, query; /* of the target; query absent when there is no "?" */
    unsigned       version_major, version_minor;
    struct headers fields;      /* in the request's arena */
    struct upload *upload;      /* NULL: no body */
    bool           keep_alive;  /* the client's wish */
    bool           wants_upgrade;
    bool           is_in_arena; /* the slices lie in the request's arena already */
};

/* RFC 9110 §15.2: who speaks HTTP/1.0 is sent no interim response. */
static inline bool head_is_of_http10(const struct request_head *head)
{
    return head->version_major == 1 && head->version_minor == 0;
}

/* From the worker's spare ones: no allocation in steady state. */
struct request      *request_new(struct worker *worker, struct stream *stream, enum listener_kind listener, const union socket_address *peer);
struct request_head *request_head(struct request *request);
struct arena        *request_arena(struct request *request);

void request_start(struct request *request);
/* The head could not be read: answers with the error's status (when it has one), logs, ends. `head` may be partly filled. The connection closes. */
void request_refuse(struct request *request, enum error error);
/* The client can take more. */
void request_writable(struct request *request);
/* The client went away or stalled: nothing more can be sent. */
void request_client_gone(struct request *request, enum error why);

#endif
