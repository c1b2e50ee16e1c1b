/* An event loop: one thread's readiness of descriptors, coarse deadlines, a mailbox for the other loops, and the buffer that everybody reads into.
 *
 * Rules: everything here belongs to the thread that runs the loop, except mail (loop_post is thread-safe). Callbacks MUST NOT block.
 * A loop turn: descriptors ready → mail → expired deadlines → turn-end hooks (flush channels, count).
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/clock.h"
#include "base/list.h"
#include "base/waker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct loop;

enum { LOOP_READ_BUFFER_BYTES = 64 * 1024, LOOP_TICK_MS = 50 };

/* NULL with errno. `number` is for titles and metrics. */
struct loop *loop_new(unsigned number);
/* Runs until loop_stop. The calling thread is the loop's. */
void         loop_run(struct loop *loop);
/* Thread-safe. */
void         loop_stop(struct loop *loop);
/* After loop_run returned: closes what is left. */
void         loop_free(struct loop **loop);
unsigned     loop_number(const struct loop *loop);

/* Read once a turn. */
struct monotonic_ms loop_now(const struct loop *loop);
struct wall_seconds loop_wall(const struct loop *loop);
/* Date field value of loop_wall, formatted once a second: HTTP_DATE_LEN bytes. */
const char         *loop_http_date(struct loop *loop);

/* LOOP_READ_BUFFER_BYTES, for the read in hand only: idle connections own no buffer. */
char *loop_read_buffer(struct loop *loop);

/* A deadline: coarse (LOOP_TICK_MS), embedded in its owner, on one wheel a loop with a single libuv timer. Zeroed memory is an unset deadline. */
struct deadline {
    struct list         link;
    struct monotonic_ms when;
    void (*expired)(struct deadline *deadline); /* unset by then; may set it again or free the owner */
};

/* (Re)sets it to `ms` from now. */
void loop_set_deadline(struct loop *loop, struct deadline *deadline, int64_t ms, void (*expired)(struct deadline *));
void deadline_clear(struct deadline *deadline);
bool deadline_is_set(const struct deadline *deadline);

/* Mail: how another thread wakes something of this loop. Embedded in its owner. Posts are coalesced: one delivery for any number of posts before it. */
struct mail {
    struct waker   waker; /* what cache/ and helpers/ are given */
    struct loop   *loop;
    struct mail   *next;
    _Atomic bool   posted;
    void (*deliver)(struct mail *mail); /* on the loop */
};

void mail_init(struct mail *mail, struct loop *loop, void (*deliver)(struct mail *));
/* Thread-safe; the owner must live until delivery. */
void mail_post(struct mail *mail);
/* Whether a delivery is outstanding: then the owner must wait for it before it frees itself. */
bool mail_is_posted(const struct mail *mail);

/* A descriptor that is watched for reading (channels, control sockets, listeners). Not owned, but watch_free comes before it is closed. */
struct watch;
struct watch *loop_watch(struct loop *loop, int fd, void (*readable)(void *context), void *context);
void          watch_free(struct watch **watch);

/* Called at the end of each loop turn in which anything happened, and about every LOOP_TICK_MS otherwise. For the life of the loop. */
void loop_at_turn_end(struct loop *loop, void (*hook)(void *context), void *context);

#endif
