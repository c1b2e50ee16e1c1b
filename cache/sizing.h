/* What the hit ratio would be with half, twice, 4 and 8 times the memory, or the disk: small simulations of a sample of the requests (ghosts.h).
 *
 * What counts is a request for what can be stored: it finds a stored response (fresh or not), or what is fetched for it is stored. A response that takes the
 * place of a stored one was found before, and does not count again; what may not be stored, and who waits for another's fetch, does not count at all.
 * For the disk tier, its size is varied and the memory stays as it is; found is what is in either.
 * Locks: one, a leaf, for what is in the sample; what is not costs a comparison. A hit does not wait for it: then it is left out of the simulation, which
 * takes it for the hit that it was. Hits of a visitor are noted some at a time. */
#ifndef CACHE_SIZING_H
#define CACHE_SIZING_H

#include "cache/ghosts.h"

#include <pthread.h>
#include <stdatomic.h>

struct sizing {
    /* shared, atomic */
    _Atomic uint64_t threshold; /* the larger of the two */
    _Atomic uint64_t stored;    /* what was asked for, not found, and stored */
    /* shared, under lock */
    pthread_mutex_t lock;
    struct ghosts  *memory, *disk; /* disk: NULL without one */
    /* immutable after init */
    uint64_t memory_bytes, disk_bytes;
    /* under lock: the window that is being counted began so, and the one before it */
    struct sizing_mark {
        uint64_t requests;
        double   memory_misses[GHOST_SIZES], disk_misses[GHOST_SIZES];
    } mark, mark_before;
};

/* disk_bytes 0: there is none. */
void sizing_init(struct sizing *sizing, uint64_t memory_bytes, uint64_t disk_bytes, bool disk_admits_all);
void sizing_free(struct sizing *sizing);

static inline bool sizing_samples(const struct sizing *sizing, uint64_t hash)
{
    return hash >> GHOST_HASH_SHIFT < atomic_load_explicit(&sizing->threshold, memory_order_relaxed);
}

/* What sizing_samples was found, or stored for the first time. May be called with a shard's lock held. */
void sizing_note_found(struct sizing *sizing, uint64_t hash, uint64_t bytes);
struct sizing_note {
    uint64_t hash, bytes;
};
/* False: not now, another thread has the lock. */
bool sizing_note_many_found(struct sizing *sizing, const struct sizing_note *notes, unsigned count);
void sizing_note_stored(struct sizing *sizing, uint64_t hash, uint64_t bytes);
/* It was stored in place of another. */
void sizing_note_replaced(struct sizing *sizing, uint64_t hash, uint64_t bytes);
void sizing_note_purged(struct sizing *sizing, uint64_t hash);
void sizing_note_all_purged(struct sizing *sizing);

struct sizing_point {
    uint64_t bytes;     /* of memory; or of disk, beside the memory there is */
    double   hit_ratio; /* part of the requests */
};

struct sizing_report {
    uint64_t            requests; /* that count, since the window before the present one began */
    bool                has_disk;
    struct sizing_point memory[GHOST_SIZES], disk[GHOST_SIZES];
    double              memory_rate, disk_rate; /* of the sample, in parts of all keys */
    uint64_t            used_bytes;             /* memory that this takes */
};

/* `found`: requests that found something, so far. */
void sizing_report(struct sizing *sizing, uint64_t found, struct sizing_report *report);
/* A window ends, and the one before it is forgotten. */
void sizing_turn(struct sizing *sizing, uint64_t found);

#endif
