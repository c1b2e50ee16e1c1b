/* A fill: one response on its way in. One writer (on one loop), any number of readers on any loops, streaming behind it.
 *
 * Phases: created by cache_lookup → fill_set_head → fill_reserve/fill_commit… → fill_finish
 *                                 → fill_set_not_modified (a 304 to our validator) → gone
 *                                 → fill_fail at any time → gone
 * The last call consumes the fill: the writer's pointer is invalid afterwards.
 * A *listed* fill is found by other requests with the same key (collapsed forwarding) and becomes the stored response. A *private* one
 * (pass; or its head said so; or it outgrew the object limit) keeps only a window around its readers: at most FILL_WINDOW_BYTES, and
 * less where there are many fills.
 * Locks: the fill's own mutex guards the written position, the state and the readers' list. No call here blocks.
 */
#ifndef CACHE_FILL_H
#define CACHE_FILL_H

#include "base/error.h"
#include "base/headers.h"
#include "base/slab.h"
#include "base/clock.h"
#include "cache/policy/range.h"
#include "cache/reader.h"

struct fill;

/* A response larger than its fill's window arrives as fast as its slowest reader takes it. */
enum { FILL_WINDOW_BYTES = 256 * 1024 };

/* The writer's waker; set once, by the writer, right after cache_lookup gave it the fill. */
void fill_set_waker(struct fill *fill, struct waker *waker);

/* What an origin answered; everything borrowed for the call. */
struct origin_head {
    unsigned              status; /* final: 200–999 */
    struct bytes          reason; /* reason phrase; may be empty */
    const struct headers *fields; /* as received; hop-by-hop and framing fields are left out of the record by the fill */
    bool                  length_known;
    uint64_t              length; /* of the body that will be written; a HEAD's answer has body length 0 and keeps Content-Length in fields */
    bool                  body_forbidden; /* answer to HEAD, 204, 304: no body follows whatever `length` says */
    struct wall_seconds   request_time, response_time;
};

/* What a 103 said before the head; may be called several times. Kept with the response where the site wants that. */
void fill_note_early_hints(struct fill *fill, const struct headers *fields);

enum fill_disposition {
    FILL_STORING, /* listed; every byte is kept */
    FILL_PRIVATE, /* for its present readers only */
};

/* Builds the record's head, decides by policy/storable whether it is kept, wakes the readers. Waiters of a response that is not theirs are
 * released. ERROR_OVERLOADED when no memory could be made (then call fill_fail). */
enum error            fill_set_head(struct fill *fill, const struct origin_head *head);
/* The part of the representation that is to be asked for (RFC 9110 §14.2), instead of the whole; `end` 0: the whole. */
struct span           fill_slice(const struct fill *fill);
/* fill_set_head for a fill that asked for a slice. *fill may become another one: that of the slice, which the writer goes on with. An answer that
 * is none to the request is ERROR_CLIENT_CLOSED (then call fill_fail): the readers are released, to look up again. */
enum error            fill_set_slice(struct fill **fill, const struct origin_head *head);
enum fill_disposition fill_disposition(const struct fill *fill);

/* The stored response that this fill was opened to revalidate, or NULL: for its ETag and Last-Modified. Borrowed until the fill ends. A fill for its
 * originator alone revalidates nothing: a 304 in answer to it is for that client. */
const struct response_view *fill_stale(const struct fill *fill);
/* 304 to our own conditional request (RFC 9111 §4.3.4): refreshes the stored response and moves the readers to it. Consumes the fill. Where the head that comes of
 * it is too large the stored response goes, and the readers are released, to look up again: ERROR_CLIENT_CLOSED. */
enum error fill_set_not_modified(struct fill **fill, const struct origin_head *head);

struct fill_space {
    char    *at;
    size_t   capacity;
    uint64_t slab_offset; /* of `at`: what a disk helper is told */
};

enum fill_room {
    FILL_ROOM,
    FILL_NO_ROOM, /* the window is full, or memory is: the writer's waker is called when to try again */
};

/* Room for the next bytes of the body, straight in the slab; at least 1 byte. Stays reserved until committed. */
enum fill_room fill_reserve(struct fill *fill, struct fill_space *space);
/* `bytes` of the reserved room were written; 0 gives it back. Wakes waiting readers. */
void fill_commit(struct fill *fill, size_t bytes);
/* The reserved room may still be written to by a process that cannot be stopped: it is never used again. */
void fill_lose_space(struct fill *fill);

/* The body is complete. Consumes. With a known length and too few bytes it is fill_fail(ERROR_ORIGIN_TRUNCATED). */
void fill_finish(struct fill **fill);
/* Before the head: readers get the error (or, where policy allows, the stale response); after it: truncation. Consumes. */
void fill_fail(struct fill **fill, enum error error);

/* Whether anybody still wants it: readers are attached, or it is being stored. A writer whose fill is unwanted gives up (ERROR_CLIENT_CLOSED).
 * The writer's waker is called when this turns false. */
bool fill_is_wanted(const struct fill *fill);
/* Whoever had it fetched does not need it any more: unless others read it by now, it is not kept, and not wanted. */
void fill_withdraw(struct fill *fill);

#endif
