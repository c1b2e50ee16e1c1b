/* The inside of a request, shared by the steps (step_*.c) and nobody else.
 *
 * DESIGN. A request is a walk over the steps below. Each step is a function that returns the next one, or STEP_WAIT: the walk then stops, and whatever
 * the step waited for (reader's mail, fetch event, writable client, admin answer) calls request_resume, which runs the same step again. Steps are
 * written so that running one again is harmless. The list of steps is the table of contents of this directory.
 *
 * Invariants: 1. one walk at a time (request->walking); 2. the reader, the fetch and the answer's memory are released in step_finish and nowhere else;
 * 3. a request whose mail is still posted is freed by that mail's delivery.
 */
#ifndef REQUEST_LIFE_H
#define REQUEST_LIFE_H

#include "base/list.h"
#include "cache/cache.h"
#include "cache/policy/meta.h"
#include "cache/policy/range.h"
#include "proxy/admin/admin.h"
#include "proxy/observe/access_log.h"
#include "proxy/origin/origin.h"
#include "proxy/origin/tunnel.h"
#include "proxy/request/request.h"
#include "proxy/request/routes.h"

enum step {
    STEP_WAIT,       /* not a step: stop the walk, keep the step */
    STEP_ROUTE,      /* which site, and may this be asked at all? */
    STEP_ADMIN,      /* the admin listener's requests */
    STEP_PURGE,      /* PURGE from an allowed address */
    STEP_LOOKUP,     /* what does the cache have? */
    STEP_FETCH,      /* ask the origin */
    STEP_AWAIT_HEAD, /* until the reader's head is there */
    STEP_AWAIT_LOG,  /* until what it purged is on disk */
    STEP_DELIVER,    /* response → client */
    STEP_RESPOND,    /* an answer made here → client */
    STEP_TUNNEL,     /* after 101 */
    STEP_FINISH,     /* account, log, let go */
    STEP_GONE,       /* not a step: the request is freed */
};

/* An answer made here: errors, purges, the admin interface. In the request's arena. */
struct local_answer {
    struct response_head head;
    struct bytes         body;
    size_t               sent_bytes;
    bool                 goes_on; /* the admin interface has more to say, again and again */
};

/* What goes on to the origin of what a trusted proxy said, and of the proxy itself. */
struct forwarding {
    struct bytes x_forwarded_for, forwarded; /* the latter absent: none came */
};

struct request {
    struct list         link; /* in the worker's requests or spare */
    struct worker      *worker;
    struct stream      *stream;
    struct request_head head;
    const struct forwarding *forwarding; /* what a trusted proxy said, in the arena; NULL: the peer is none */
    enum listener_kind  listener;
    struct routes      *routes; /* the generation this request belongs to; a reference */
    const struct site  *site;
    bool                is_challenge; /* of a certificate authority */
    struct bytes        query; /* of the key, and of what is fetched for it: head.query after the site's rules */

    enum step step;
    bool      walking, resumed; /* resumed: an event came during the walk */
    bool      is_kept;          /* the head's slices are in the arena */
    bool      client_gone;
    bool      is_free;          /* waits for its mail */

    struct lookup        lookup;
    bool                 reader_is_open;
    struct deadline      patience;       /* while it waits for a head, where a stale response may answer instead */
    bool                 is_impatient;
    bool                 waited_in_vain; /* the fetch that it waited for failed; it will not wait for another one's failure again */
    bool                 lookup_private; /* a released waiter goes to the origin itself */
    struct mail          mail;           /* the reader's waker */
    struct fetch        *fetch;
    struct tunnel       *tunnel;
    bool                 admin_started, admin_answered;
    struct store_wait    log_wait;
    enum step            after_log;
    bool                 is_log_late;

    bool                 response_begun; /* what of it is to be sent is known */
    bool                 response_pending, response_prepared, last_sent;
    uint64_t             body_left;  /* of a known length */
    bool                 body_left_known;
    struct slices       *slices; /* of a sliced response, in the arena; else NULL */
    bool                 no_slices, started_over; /* see body_failed */
    bool                 has_hints; /* a 103 was sent */
    struct parts        *parts; /* of a multipart answer, in the arena; else NULL */

    /* for the log and the counters */
    unsigned            status;     /* 0: nothing was sent */
    uint64_t            body_bytes; /* sent */
    enum cache_result   result;
    enum cache_detail   detail;
    enum error          error;
    uint64_t            started_us; /* monotonic */
    struct bytes        origin;     /* address that answered, in the arena */
    struct bytes        id;         /* what others are told that it is called; absent: nobody was told */
    bool                broken;     /* ended before its end */

    /* Not zeroed for each request, which half of its memory would be: whatever of these is read was set before, as what stands above says. */
    struct arena         arena;
    union socket_address peer; /* the client; a trusted proxy's word for it is taken by step_route */
    struct reader        reader;   /* see reader_is_open */
    struct response_head response; /* of step_deliver, once response_begun; head not yet sent: response_pending */
    struct local_answer  answer;   /* of step_respond */
    struct admin_request admin;    /* once admin_started */
};

/* Runs the walk from the present step; or, when it is under way further up the stack, makes it go round once more. */
void request_resume(struct request *request);
/* Copies the head into the arena, once: its slices were borrowed from a read buffer. */
void request_keep(struct request *request);

enum step step_route(struct request *request);
enum step step_admin(struct request *request);
enum step step_purge(struct request *request);
enum step step_lookup(struct request *request);
enum step step_fetch(struct request *request);
enum step step_await_head(struct request *request);
enum step step_await_log(struct request *request);
enum step step_deliver(struct request *request);
enum step step_respond(struct request *request);
enum step step_tunnel(struct request *request);
enum step step_finish(struct request *request);

/* challenge.c: whether the path is that of a certificate authority's challenge (RFC 8555 §8.3): one segment of base64url below its directory, nothing else. */
bool path_is_challenge(struct bytes path);
/* challenge.c: of a challenge that a directory answers: the target that its file has there. */
struct bytes challenge_target(const struct request *request);

/* step_lookup.c: of the target, by the site's rules; once. */
void request_build_key(struct request *request);

/* Any method but CONNECT is forwarded. */
#define ALLOW_LINE "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"

/* respond.c: prepares an answer made here; the step to take is STEP_RESPOND. */
enum step respond_error(struct request *request, enum error error);
enum step respond_redirect(struct request *request, unsigned status, struct bytes location);
/* respond.c: Strict-Transport-Security, with its CRLF, when it is to be sent; else empty. */
struct bytes hsts_line(const struct request *request);
enum step respond_with(struct request *request, unsigned status, const char *content_type, struct bytes body);

/* delivery_body.c: what reader_set_range, reader_peek and reader_consume are for a response that may be sliced. */
void              body_begin(struct request *request, const struct response_view *view);
void              body_set_range(struct request *request, uint64_t first, uint64_t end);
enum reader_state body_peek(struct request *request, struct iovec *iov, int *count, size_t max_bytes);
void              body_consume(struct request *request, size_t bytes);
void              body_close(struct request *request);
/* Opens its beginning: LOOKUP_HIT: it is in memory; LOOKUP_WAIT: it is on its way from disk, to be called again; else it comes from the origin. */
enum lookup_outcome body_open(struct request *request);
/* What is still to be delivered of a sliced response; and whether that part of the whole is stored. */
struct span       body_rest(const struct request *request);
bool body_is_stored(struct request *request, struct span part);
/* READER_FAILED before anything was sent of a sliced response. */
enum step body_failed(struct request *request);

/* delivery_parts.c: several ranges of a response of `length` bytes, as multipart/byteranges. Returns how many bytes that makes; the boundary lies in
 * the request's arena. From then on these stand for body_peek and body_consume. A response that is not complete must be read forwards. */
uint64_t          parts_begin(struct request *request, const struct range *range, uint64_t length, struct bytes content_type, struct bytes *boundary);
enum reader_state parts_peek(struct request *request, struct iovec *iov, int *count, size_t max_bytes);
void              parts_consume(struct request *request, size_t bytes);
bool              parts_are_stored(struct request *request);

/* invalidate.c: what the response to an unsafe request makes invalid (RFC 9111 §4.4, RFC 9875 §3); once its status is known to do so. Returns whether
 * anything of that was stored. */
bool invalidate(struct request *request, const struct response_view *view);

/* step_admin.c: waits until there is more of an answer that goes on. */
enum step admin_wait(struct request *request);

/* step_await_log.c: the step to take when what was purged so far is on disk; `next` comes after that. */
enum step request_await_log(struct request *request, enum step next);

/* step_fetch.c: a revalidation for nobody in particular, while the request is answered with what is stored. */
void fetch_in_background(struct request *request);
/* step_fetch.c: a slice of the response that the reader has. Takes the fill. */
struct fetch *fetch_slice(struct request *request, struct fill *fill, const struct fetch_events *events);

/* request_id.c: gives the request its id, once: the one that came with it, or a new one. */
void request_name(struct request *request);
/* request_id.c: the id that came with it, absent when there is none that can be used. Whether a field is for that. */
struct bytes request_given_id(const struct request *request);
bool field_is_request_id(const struct header *field);

/* forwarded.c: when the peer is a trusted proxy, the client, the scheme and the authority become what it says. */
void request_believe_proxy(struct request *request);

/* forward.c: whether it is a condition or a range. */
bool header_selects_a_part(enum header_id id);
/* forward.c: the fields as they go to the origin (RFC 9110 §7.6), in `arena`. `stale`: the stored response to validate, or NULL; with `for_cache` the
 * client's own conditions and ranges are left out, since the whole response is wanted. */
void forward_fields(struct headers *out, const struct request *request, struct arena *arena, bool for_cache, const struct response_view *stale);

/* max_forwards.c: whether nobody further may be asked; the answer then; and the field as it goes to the origin. */
bool         forwards_are_used_up(const struct request *request);
enum step    respond_as_last(struct request *request);
struct bytes forwards_left(const struct request *request, const struct header *field, struct arena *arena);

/* compose_head.c: the stored fields, put together anew of what its fields say (`without: header`); in the request's arena. */
struct bytes compose_fields(struct request *request, const struct response_view *view);

/* early_hints.c: what 103s said before the response was stored, to a client that is about to be given it, or waits until it is validated; once. */
void replay_early_hints(struct request *request, const struct response_view *view);

/* cache_status.c: our Cache-Status member as a field line with its CRLF (RFC 9211), in CACHE_STATUS_MAX_BYTES and `key`; returns its end. */
enum { CACHE_STATUS_MAX_BYTES = 224 };
char *cache_status_put(char *at, const struct request *request, const struct response_view *view, struct bytes key);
/* The key as it says it, where it does; else BYTES_NONE. */
struct bytes cache_status_key(struct request *request);

/* The name that we go by in Via and CDN-Loop: "outrigger-" and a number of this instance. */
struct bytes worker_pseudonym(const struct worker *worker);

#endif
