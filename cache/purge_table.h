/* What was purged, and when: the global purge sequence, and the latest sequence of each purged name.
 *
 * DESIGN. A *name* is a keyed hash of what may be purged at once: a tag, a cache group of an origin, a host. Each purge gets the next sequence
 * number and writes it beside its name; nothing is looked for, so that it takes the same time whatever is stored. A stored response remembers
 * up to which sequence it was compared with the table (at first: the one before its request went to the origin). While that is the latest, a hit
 * compares one integer; otherwise it looks its names up, once, and remembers that.
 *
 * Why no lock is needed to look: a purge writes the table first and publishes the sequence after it (release); who loads the sequence (acquire) and
 * then looks sees every entry up to it, and may only remember what it loaded before it looked. An entry that is seen too early makes a response
 * purged a moment before the purge has ended. An entry is given to another name only after `all` was raised, and who looks reads `all` last.
 *
 * The table is bounded: sets of PURGE_WAYS slots. In a full set the oldest entry gives way, and its sequence is raised into `all`: then whatever was not
 * compared since that purge counts as purged, related to it or not. So being full can cost a fetch, and never serves what was purged.
 * Locks: one for those who purge, a leaf. */
#ifndef CACHE_PURGE_TABLE_H
#define CACHE_PURGE_TABLE_H

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    PURGE_WAYS = 16,
    PURGE_SETS = 4096, /* 65,536 names in 2 MiB, of which only what is used becomes resident; the first set is full after some 25,000 */
};

enum purge_kind {
    PURGE_HARD, /* as if it had never been stored */
    PURGE_SOFT, /* stale from now on: served where stale responses may be, while it is validated */
};

/* What is known of a name; sequence 0: never. */
struct purge_times {
    _Atomic uint64_t hard, soft;
    _Atomic int64_t  soft_s; /* wall clock of the last soft one */
};

struct purge_set {
    _Atomic uint64_t   names[PURGE_WAYS]; /* 0: free */
    struct purge_times times[PURGE_WAYS];
};

struct purge_table {
    _Atomic uint64_t   sequence; /* of the last purge that is complete */
    uint64_t           given_from; /* under lock: greater numbers were given since the start */
    struct purge_times all;      /* everything, and what had to be forgotten */
    struct purge_set  *sets;
    pthread_mutex_t    lock;
};

struct purge_verdict {
    bool    is_hard, is_soft;
    int64_t stale_since_s; /* when is_soft */
};

void     purge_table_init(struct purge_table *table);
void     purge_table_free(struct purge_table *table);
uint64_t purge_table_bytes(void);

static inline uint64_t purge_sequence(const struct purge_table *table)
{
    return atomic_load_explicit(&table->sequence, memory_order_acquire);
}

/* Whether any of the names, or everything, was purged after `since`. Any thread. */
struct purge_verdict purge_find(const struct purge_table *table, const uint64_t *names, uint32_t count, uint64_t since);

/* `name` is not 0. Both return the sequence number that the purge got. */
uint64_t purge_add(struct purge_table *table, uint64_t name, enum purge_kind kind, struct wall_seconds now);
uint64_t purge_add_all(struct purge_table *table, enum purge_kind kind, struct wall_seconds now);
/* A purge that is recorded elsewhere: the sequence it gets, to be recorded before purge_end publishes it. */
uint64_t purge_begin(struct purge_table *table);
void     purge_end(struct purge_table *table);

/* After a restart: a purge of before it, in any order. `name` 0: everything. Purges later than it stay. */
void purge_restore(struct purge_table *table, uint64_t name, enum purge_kind kind, uint64_t sequence, struct wall_seconds at);
/* Sequence numbers up to this one may have been given before the restart: what was purged since counts as purged after them, and the next ones are greater. */
void purge_raise(struct purge_table *table, uint64_t sequence);

#endif
