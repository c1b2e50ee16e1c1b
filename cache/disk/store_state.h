/* What the modules of the disk tier share: the store, its directories and their segments. Not for callers: store.h is.
 *
 * DESIGN. A *unit* names a place in the whole store by one number: units of STORE_UNIT_BYTES, all segments of directory 0, then those of directory 1, and
 * so on. The index has units; disk_io wants disk_place.
 *
 * Every name has one directory (directory_of), and the order of what is logged there is this: what waits in a directory's queues is written tombstones
 * first, then purges, then records. So a tombstone never hits a record offered after it; and the record that it is for is written already, or under way,
 * or it is taken from the queue instead (queue.h).
 *
 * What the index does not have, but a restart would find, is *latent*: a record that recovery has not come to yet, or that reclaim let go of in a segment
 * that is not wiped yet. While a directory may have some (`is_latent`), every forgotten name gets its tombstone, in the index or not. In all other
 * cases what leaves the index gets one, or lies in a segment that is wiped before anything else is trusted.
 *
 * The life of a segment: UNALLOCATED → FREE → OPEN → USED → (emptied by reclaim, or condemned) → wiped, by a record that makes it found empty → WIPED
 * → synced → FREE. Its sequence is 0 unless it is OPEN or USED.
 *
 * Locks: `lock` guards the queues and every change of what the index says of a name, so that a name forgotten while its record is on its way is not put
 * into the index. It is a leaf of the cache's order of locks, but for those inside the index, which are taken under it. All else belongs to the home
 * loop, or is atomic. */
#ifndef CACHE_STORE_STATE_H
#define CACHE_STORE_STATE_H

#include "base/list.h"
#include "cache/disk/disk_index.h"
#include "cache/disk/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum segment_state { SEGMENT_UNKNOWN, SEGMENT_UNALLOCATED, SEGMENT_FREE, SEGMENT_OPEN, SEGMENT_USED, SEGMENT_WIPED, SEGMENT_STATES };

struct segment {
    _Atomic uint64_t sequence;     /* what its records have; 0: none is to be found */
    uint64_t         age;          /* the same, until it is wiped */
    uint8_t          state;
    bool             is_sealed;    /* it has a footer */
    bool             has_purges;   /* it may have records of purges */
    bool             is_condemned; /* nothing of it is in the index, nor may it be: to be wiped */
    bool             is_syncing;   /* it was wiped before the sync that is under way */
    uint32_t         footer_place, footer_count;
};

enum { SEGMENT_NONE = UINT32_MAX };

/* Names whose earlier records are out of date; rings, oldest first. */
struct tombstones {
    uint64_t *hashes;
    uint32_t  first, count;
};

struct purges {
    struct store_purge *at;
    uint32_t            first, count;
};

enum { TOMBSTONES_MAX = 1 << 18, PURGES_MAX = 1 << 16 }; /* that wait in a directory; more, and all of it is dropped */

struct appender;
struct reclaim;

struct directory {
    /* immutable after new */
    struct store          *store;
    struct store_directory settings;
    uint16_t               number;
    uint64_t               first_unit, units_per_segment;
    uint64_t               seed; /* of its identity */
    /* under the store's lock */
    struct list       offers; /* that wait to be written */
    uint64_t          offers_bytes;
    uint64_t          moves_bytes;  /* of what is moved, waiting or under way */
    uint32_t          moves_count;
    struct tombstones tombstones;
    struct purges     purges;
    bool              is_latent;
    bool              has_overflowed; /* tombstones or purges were lost: all segments are to be condemned */
    bool              is_urgent;      /* of its tombstones and purges, some are to be written at once */
    uint64_t          logged;         /* those up to this position are written */
    /* the home loop's */
    struct segment  *segments; /* `sequence`: read by any */
    uint32_t         segments_count[SEGMENT_STATES];
    uint32_t         condemned_count;
    struct appender *appender;
    struct reclaim  *reclaim;
    bool             is_known;       /* its segments' states are */
    bool             is_recovered;
    bool             is_unreadable;  /* in this pass of recovery */
    bool             was_bypassed;   /* when it was released */
    unsigned         failures_count; /* of recovery */
    struct monotonic_ms retry_at;    /* when BYPASSED */
    bool             has_waited;     /* at waiting_since something waited already */
    struct monotonic_ms waiting_since;
    /* written by one, read by any */
    _Atomic int      state; /* enum directory_state */
    _Atomic int      error;
    _Atomic bool     is_full; /* its log was full before: admission.h */
    _Atomic uint64_t records;
    _Atomic uint64_t reads, read_bytes, read_failures;
    _Atomic uint64_t writes, written_bytes, write_failures, admitted_bytes, moved_bytes;
};

struct dead;
struct doorkeeper;
struct recovery;

enum { PENDING_HEADS = 4096 };

struct store {
    /* immutable after new (io, waker: after start) */
    struct cache        *cache;
    struct disk_index   *index;
    unsigned             directory_count;
    struct directory     directories[STORE_DIRECTORIES_MAX];
    enum store_admission admission;
    uint64_t             queue_max_bytes;
    struct disk_io      *io;
    _Atomic(struct waker *) waker;
    /* under lock */
    pthread_mutex_t    lock;
    struct list        pending[PENDING_HEADS]; /* offers by hash, until they are written or dropped */
    struct list        log_waits; /* struct store_wait: logged.h */
    struct doorkeeper *doorkeeper;
    struct dead       *dead; /* dead.h; NULL when every directory is recovered */
    /* the home loop's */
    struct recovery    *recovery;
    struct monotonic_ms now;
    struct wall_seconds wall;
    uint64_t            last_sequence; /* of segments */
    uint64_t            purge_floor;   /* sequence that purges were raised to when recovery began */
    bool                is_started, syncs_at_end;
    bool                is_draining;   /* written under lock */
    uint64_t            drain_position; /* of the log, that is drained for; written under lock */
    bool                was_open; /* when it was released */
    /* shared, atomic */
    _Atomic bool     is_recovered; /* all of it */
    _Atomic uint64_t log_position; /* of the last tombstone or purge, from 1 on; written under lock */
    _Atomic bool     is_open; /* what is in the index may be served: all purges are known */
    _Atomic uint64_t queue_bytes;
    _Atomic uint64_t hits, misses, offered, refused, dropped;
    _Atomic uint64_t recovered_records, recovery_ms, reclaimed_segments, moved_records;
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

/* ---- store.c, for the others -------------------------------------------------------------------------------------------------------------- */

struct directory *directory_of(struct store *store, uint64_t hash);
struct directory *directory_at(struct store *store, uint64_t unit);

static inline uint64_t segment_offset(const struct directory *directory, uint32_t segment)
{
    return STORE_FIRST_SEGMENT + segment * directory->settings.segment_bytes;
}

static inline uint64_t segment_unit(const struct directory *directory, uint32_t segment)
{
    return directory->first_unit + segment * directory->units_per_segment;
}

static inline uint64_t segment_sequence(const struct directory *directory, uint32_t segment)
{
    return atomic_load_explicit(&directory->segments[segment].sequence, memory_order_acquire);
}

/* It still has what it had when it was of that age: nobody has condemned it. */
static inline bool segment_is_used(const struct directory *directory, uint32_t segment, uint64_t age)
{
    const struct segment *it = &directory->segments[segment];
    return it->state == SEGMENT_USED && !it->is_condemned && it->age == age;
}

/* Of the segment that `unit` lies in. */
uint64_t sequence_at(struct store *store, uint64_t unit);

static inline bool directory_is_bypassed(const struct directory *directory)
{
    return atomic_load_explicit(&directory->state, memory_order_relaxed) == DIRECTORY_BYPASSED;
}

/* What it should do failed: it is bypassed, and tried again in a while. `what`: for the log. */
void directory_fail(struct directory *directory, enum disk_status status, int error, const char *what);
/* It works (again). */
void directory_restore(struct directory *directory);
/* Nothing in it up to this sequence is to be found any more, now and after a restart. No write is under way in any of it. */
void directory_condemn(struct directory *directory, uint64_t up_to);
void segment_set_state(struct directory *directory, uint32_t segment, enum segment_state state);
/* One segment; the caller has seen to its index entries. */
void segment_condemn(struct directory *directory, uint32_t segment);
/* After any change that may begin, or end, that there are latent records. */
void directory_note_latent(struct directory *directory);
/* Whether it is time to try one that failed. */
static inline bool directory_is_due(const struct directory *directory)
{
    return !directory_is_bypassed(directory) || monotonic_since(directory->store->now, directory->retry_at) >= 0;
}

/* There is more to do for store_run. */
static inline void store_wake(struct store *store)
{
    struct waker *waker = atomic_load_explicit(&store->waker, memory_order_acquire);
    if (waker != NULL)
        waker_wake(waker);
}

static inline void count_add(_Atomic uint64_t *counter, uint64_t add)
{
    atomic_fetch_add_explicit(counter, add, memory_order_relaxed);
}

static inline uint64_t count_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
