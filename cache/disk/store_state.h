/* What the modules of the disk tier share: the store, its directories and their segments. Not for callers: store.h is.
 *
 * DESIGN. A *unit* names a place in the whole store by one number: units of STORE_UNIT_BYTES, all segments of directory 0, then those of directory 1, and
 * so on. The index has units; disk_io wants disk_place.
 *
 * Every name has one directory (store_directory_of), and the order of what is logged there is this: what waits in a directory's queues is written
 * tombstones first, then purges, then records. So a tombstone never hits a record offered after it; and a record that it was for is either written
 * already, or waits, and then it is made void instead (struct offer).
 *
 * Locks: `lock` guards the queues and every change of what the index says of a name, so that a name forgotten while its record is on its way is not put
 * into the index. It is a leaf of the cache's order of locks, but for those inside the index, which are taken under it. Nothing is allocated but an
 * offer's own memory. All else belongs to the home loop, or is atomic. */
#ifndef CACHE_STORE_STATE_H
#define CACHE_STORE_STATE_H

#include "base/list.h"
#include "cache/disk/disk_index.h"
#include "cache/disk/store.h"

#include <pthread.h>
#include <stdatomic.h>

struct directory {
    /* immutable after new */
    struct store          *store;
    struct store_directory settings;
    uint16_t               number;
    uint64_t               first_unit, units_per_segment;
    /* written by the home loop, read by any */
    _Atomic uint64_t *sequences;   /* of each segment: 0 when there is nothing to find in it */
    _Atomic uint64_t  reads, read_bytes, read_failures; /* of all loops */
};

struct store {
    struct cache      *cache;
    struct disk_index *index;
    unsigned           directory_count;
    struct directory   directories[STORE_DIRECTORIES_MAX];
    pthread_mutex_t    lock;
    _Atomic bool       is_open; /* what is in the index may be served: all purges are known */
    _Atomic uint64_t   hits, misses;
};

/* ---- for load.c; any thread --------------------------------------------------------------------------------------------------------------- */

/* Where the name's record lies, and how to tell that it still does. False: it is not on disk, or nothing may be served yet. */
struct store_where {
    uint64_t          unit;
    struct disk_place place;
    uint64_t          segment_sequence;
    uint64_t          read_bytes;
    bool              is_lasting;
};

bool store_find(struct store *store, uint64_t hash, struct store_where *where);

/* A read of what store_find gave has ended, be it well or not: counts it, and drops what was not found good from the index. A good one whose name is
 * another's (DISK_OK, but not what was wanted) is told as DISK_ABSENT. With the lock of the name's shard held or not. */
void store_note_read(struct store *store, uint64_t hash, const struct store_where *where, enum disk_status status);

#endif
