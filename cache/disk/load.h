/* Loading: from a disk into the memory tier, once for all who wait for it. Any loop.
 *
 * Phases: load_open finds the name in the disk tier's index and starts a read, or joins one under way → done, on the loop that started it: the object is
 * listed in memory (or the index entry is dropped) → those who wait are woken, and look again. The load holds its object until the last of them has,
 * so that memory pressure cannot take it from under them. */
#ifndef CACHE_LOAD_H
#define CACHE_LOAD_H

#include "base/list.h"
#include "cache/disk/disk_io.h"
#include "cache/object.h"

struct load;

/* Embedded in what waits; zeroed at first. */
struct load_wait {
    struct load  *load; /* NULL: not waiting */
    struct list   link;
    struct waker *waker;
};

/* True: it is on disk, and on its way; `wait->waker` is called when it is worth looking again, then load_close before that. `selector` (or NULL) is
 * what a variant or slice of that name hangs on. False: it is not on disk, or cannot be loaded now. `purge_sequence`: before memory was looked at. */
bool load_open(struct cache *cache, struct disk_io *io, const struct object_name *name, struct object *selector, uint64_t purge_sequence,
               struct load_wait *wait);
/* It is over; who gives up closes as well. Idempotent. */
void load_close(struct cache *cache, struct load_wait *wait);

#endif
