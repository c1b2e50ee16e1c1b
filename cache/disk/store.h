/* The disk tier: a log of records in the segments of one or more cache directories, and an index of what is worth finding.
 *
 * DESIGN. Below the memory tier, and known to cache/ alone. What was stored in memory is *offered*; by its admission some of that is written, in batches,
 * by the *home loop* (the proxy's control loop), which also opens, seals and reclaims segments, logs what must hold after a restart, and rebuilds the
 * index at the start. A lookup that finds nothing in memory asks the index, and if there is something, *loads* it (load.h) into memory on its own loop,
 * and looks again. So memory is the only place that responses are served from, and policy sees no difference.
 *
 *     place_object ──offer──→ queue ──home: append.c──→ segment ──written──→ disk_index
 *     cache_lookup ←─memory─ load.c ←─────────────────── disk_io.read ←───────────┘
 *
 * A name always goes to the same directory (chosen by its hash, in proportion to size), so that the order of a log is the order of its names' records: the
 * last one counts. What is replaced or purged in memory is *forgotten*: taken from the index at once, and a tombstone is logged. Purges are logged in
 * every directory. Nothing of this is on a request's path: queues are bounded, and full means dropped and counted. But whoever is told that something was
 * purged waits until that is logged (store_await_logged): it holds whatever happens to the process then.
 *
 *   store.c    the front door, trouble with directories    queue.c     what waits to be written; offer.c: what that comes to on disk
 *   append.c   places, batches, sealing                    recover.c   footers, or a scan (listing.c), into the index, the youngest first
 *   reclaim.c  the oldest segment, emptied                 load.c      from a disk into memory
 *
 * Ownership: an offered object is referenced until it is written or dropped. Threads: functions say.
 */
#ifndef CACHE_STORE_H
#define CACHE_STORE_H

#include "base/clock.h"
#include "base/list.h"
#include "base/waker.h"
#include "cache/disk/disk_io.h"
#include "cache/purge_table.h"

struct cache;
struct object;
struct store;

enum store_admission {
    STORE_ADMIT_ALWAYS,
    STORE_ADMIT_SECOND_HIT, /* what was asked for twice within the memory of a doorkeeper; everything, until the log is full */
};

enum { STORE_DIRECTORIES_MAX = 16 };

struct store_directory {
    uint64_t      segment_bytes;
    uint32_t      segment_count;
    unsigned char identity[16]; /* the superblock's */
};

struct store_settings {
    unsigned               directory_count;
    struct store_directory directories[STORE_DIRECTORIES_MAX];
    enum store_admission   admission;
    uint64_t               queue_max_bytes; /* of memory pinned by what waits to be written */
};

/* Nothing is read yet: until store_start no record is found. `cache` is its owner. */
struct store *store_new(struct cache *cache, const struct store_settings *settings);
/* No load and no write is under way. */
void store_free(struct store **store);

/* ---- any thread -------------------------------------------------------------------------------------------------------------------------- */

/* `object` was just listed in memory: it may be worth a place on disk. What was stored under its name before is out of date from now on, whether this
 * one gets there or not. A body larger than `slice_bytes` (of its site; 0: never) is written as slices of that size. Not with a lock held. */
void store_offer(struct store *store, struct object *object, uint64_t slice_bytes);
/* `object` was refused when it was offered (object->is_refused), and was hit now. Not with a lock held. */
void store_offer_again(struct store *store, struct object *object, uint64_t slice_bytes);
/* What is stored under the name is out of date. Returns whether something was. Written at once. May be called with a shard's lock held. */
bool store_forget(struct store *store, uint64_t hash);
/* Whether something may be stored under the name: found on disk, on its way there, or not looked for yet. May be called with a shard's lock held. */
bool store_may_have(struct store *store, uint64_t hash);
/* A purge that the table of purges has taken: `name` as there, 0: everything. Written at once. May be called with a shard's lock held. */
void store_log_purge(struct store *store, const struct store_purge *purge);

/* How many tombstones and purges were to be logged so far: it changes when one more is. */
uint64_t store_log_position(const struct store *store);

/* Embedded in what waits; zeroed at first, but for the waker. */
struct store_wait {
    struct waker *waker;
    struct list   link;     /* under the store's lock; linked: it waits */
    uint64_t      position; /* 0: it has not begun to wait */
};

/* Whether what was to be logged before the first call with this `wait` is written: it is found after a crash of the process. Also true where it cannot
 * be written. False: it is on its way, and the waker is called when it is worth asking again. */
bool store_await_logged(struct store *store, struct store_wait *wait);
/* After it returns the waker is not called any more. Idempotent. */
void store_wait_close(struct store *store, struct store_wait *wait);

/* ---- the home loop ----------------------------------------------------------------------------------------------------------------------- */

/* Begins recovery. `io` is the home loop's; `waker` is called when store_run should be. Both outlive the store. */
void store_start(struct store *store, struct disk_io *io, struct waker *waker);
/* Does what there is to do: after the waker was called, and at least every STORE_TICK_MS. */
enum { STORE_TICK_MS = 50 };
void store_run(struct store *store, struct monotonic_ms now, struct wall_seconds wall);
/* The process is about to end in order: what waits is written; `with_sync`: and safe from a loss of power. True: all of it is. When it is worth asking
 * again the waker is called. What is offered meanwhile is dropped, and what is forgotten since the first call, or since store_begin_drain, is not waited for:
 * it ends, however busy the cache is. */
bool store_drain(struct store *store, struct monotonic_ms now, struct wall_seconds wall, bool with_sync);
/* What was forgotten and purged up to now is to be written, too, before store_drain says true. */
void store_begin_drain(struct store *store);

/* After store_drain said true: another instance takes the directories over. Nothing is found, read or written any more. */
void store_release(struct store *store);
/* It does not after all: whether store_drain has said true or not, and store_release was called or not, everything is as it was. */
void store_resume(struct store *store);

/* ---- figures; the home loop, or any where a torn view does no harm ------------------------------------------------------------------------ */

enum directory_state {
    DIRECTORY_RECOVERING,
    DIRECTORY_WORKING,
    DIRECTORY_BYPASSED, /* in trouble: not written to; probed from time to time */
};

struct directory_stats {
    enum directory_state state;
    int                  error;   /* errno of the trouble */
    uint64_t bytes;               /* of all segments */
    uint32_t segments, segments_used;
    uint64_t records;             /* that can be found */
    uint64_t read_bytes, written_bytes, admitted_bytes, moved_bytes; /* written = admitted + moved (re-appended) + overhead */
    uint64_t reads, read_failures, writes, write_failures;
};

struct store_stats {
    unsigned               directory_count;
    struct directory_stats directories[STORE_DIRECTORIES_MAX];
    bool     is_recovering;
    uint64_t recovered_records, recovery_ms;
    uint64_t records, index_bytes;
    uint64_t hits;              /* records loaded and found good */
    uint64_t misses;            /* absent when read: torn, reclaimed, another name */
    uint64_t offered, refused;  /* by admission, or as too large */
    uint64_t dropped;           /* queue full, or the directory bypassed */
    uint64_t reclaimed_segments, moved_records;
    uint64_t queue_bytes;
};

void store_stats(const struct store *store, struct store_stats *stats);

#endif
