/* Loading: from a disk into the memory tier, once for all who wait for it. Any loop.
 *
 * Phases: load_open finds the name in the disk tier's index and starts a read, or joins one under way → done, on the loop that started it: the object is
 * listed in memory (or the index entry is dropped) → those who wait are woken, and look again. The load holds its object until the last of them has,
 * so that memory pressure cannot take it from under them. */
#ifndef CACHE_LOAD_H
#define CACHE_LOAD_H

#include "base/list.h"
#include "base/waker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct cache;
struct disk_io;
struct load;
struct object;
struct object_name;

enum { LOADS_PER_WAIT_MAX = 4 }; /* a selector, a variant, and either of them once more if it moved on the disk meanwhile */

/* Embedded in what waits; zeroed at first. */
struct load_wait {
    struct load  *load; /* NULL: not waiting */
    struct list   link;
    struct waker *waker;
    unsigned      count;      /* loads that it was opened for… */
    bool          has_failed; /* …and one failed: it opens no other, the origin is asked */
    bool          is_search;  /* `load` is a search… */
    uint8_t       searched;   /* …the latest of this many */
};

enum load_answer {
    LOAD_NONE,    /* it is not on disk, or cannot be loaded now */
    LOAD_WAIT,    /* it is on its way: `wait->waker` is called when it is worth looking again */
    LOAD_CHANGED, /* it is in memory by now, or being fetched: look again at once */
};

/* `wait` is closed. `selector` (or NULL) is what a variant or slice of that name hangs on. No lock held. */
enum load_answer load_open(struct cache *cache, struct disk_io *io, const struct object_name *name, struct object *selector, struct load_wait *wait);
/* Where settings.searches_footers: footers of the name's directory are read, as if nothing else told where it lies. LOAD_WAIT: that goes on; LOAD_NONE: there is
 * nothing to read, or no memory. What it finds counts for nothing: names that were forgotten, and records of the segment that is being filled, are in no footer
 * yet, and the index has them. `wait` is closed. */
enum load_answer load_search(struct cache *cache, struct disk_io *io, const struct object_name *name, struct load_wait *wait);
/* Where settings.keeps_no_pages: what was loaded for `wait`, if that has this name, and is still on disk: a reference, or NULL. It is not listed in memory… */
struct object   *load_take(const struct load_wait *wait, const struct object_name *name);
/* …until this says so: false: it is not valid any more, or something else is there. */
bool             load_list_taken(const struct load_wait *wait, struct object *object);
bool             load_is_under_way(const struct load_wait *wait);
/* It is over; who gives up closes as well. After it returns the waker is not called any more. Idempotent. */
void load_close(struct cache *cache, struct load_wait *wait);
/* Whether the disk tier's index has the name's hash: then it most probably is there. */
bool load_is_on_disk(const struct cache *cache, uint64_t hash);

/* ---- the cache's own ---- */

enum { LOAD_HEADS = 64 };

/* The loads under way. Locks: one, a leaf. */
struct load_table {
    pthread_mutex_t  lock;
    struct list      heads[LOAD_HEADS]; /* by hash */
    struct list      searches;          /* load_search: nobody joins them */
    _Atomic uint64_t bytes;             /* of memory that they have taken */
};

void load_table_init(struct load_table *table);
/* Reads that are still under way were dropped with their port. */
void load_table_free(struct cache *cache);

#endif
