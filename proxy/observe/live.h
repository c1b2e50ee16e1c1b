/* The requests as they end, shown to whoever looks: `outriggerctl log`.
 *
 * DESIGN. One struct live a loop. While nobody looks, a request costs one comparison. A viewer has a queue of bounded size at each loop and a filter that the
 * loop applies; what matches and finds no room is left out and counted, so that any rate becomes a sample and a viewer that does not read costs nothing more.
 * The loop's lock is never waited for by the loop: the control loop holds it for an exchange of two buffers; what ends meanwhile counts as left out, for each. */
#ifndef OBSERVE_LIVE_H
#define OBSERVE_LIVE_H

#include "proxy/observe/access_log.h"

#include <stdatomic.h>

enum { LIVE_VIEWERS_MAX = 8, LIVE_STATUS_WORDS = 10 };

struct live_filter {
    bool         by_status;
    uint64_t     statuses[LIVE_STATUS_WORDS]; /* a bit each */
    unsigned     results;                     /* 1 << enum cache_result, several; 0: any */
    struct bytes site, reason;                /* absent: any; the reason as in the log: the error's word, else the detail's */
    struct bytes url;                         /* what it begins with: "http://host/path", "host/path" or "/path"; absent: any */
    uint64_t     slower_than_us;              /* 0: any */
};

/* Lets that status pass, too. */
void live_filter_add_status(struct live_filter *filter, unsigned status);
bool live_filter_matches(const struct live_filter *filter, const struct access_entry *entry);

struct live;

struct live *live_new(void);
void         live_free(struct live **live);

/* ---- on the loop ---- */

/* Whether anybody looks: the first member of struct live, so that asking costs no call. */
static inline bool live_is_watched(const struct live *live)
{
    return atomic_load_explicit((const _Atomic unsigned *)(const void *)live, memory_order_relaxed) != 0;
}

void live_show(struct live *live, const struct access_entry *entry);

/* ---- of one viewer, on one thread ---- */

struct live_viewer;

/* The filter is borrowed until live_unwatch. NULL: LIVE_VIEWERS_MAX look already. */
struct live_viewer *live_watch(struct live *const *loops, unsigned count, const struct live_filter *filter);
void                live_unwatch(struct live_viewer **viewer);
/* What ended since the last call: a line of JSON a request, as in the access log with `scheme` and `site`; then {"left_out":N}, when some were. Empty: nothing.
 * Good until the next call. */
struct bytes live_take(struct live_viewer *viewer);

#endif
