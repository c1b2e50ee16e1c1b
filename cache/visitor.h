/* A visitor: an event loop that uses stored responses without taking a reference to them, so that a hit writes nothing that another loop reads.
 *
 * DESIGN. Each loop has a place, in a cache line of its own, where it leaves word of the object that it uses: a selector while it is looked at, then a response
 * until its reader is closed. It finds both without the shard's lock (index_visit_name). Whoever takes an object out of the index looks at every visitor's
 * place afterwards; where it finds the object it takes a reference in the visitor's name and marks the place, and who finds its place marked when it leaves has
 * a reference to drop. So the count is right as soon as it matters, which is when the object is no longer listed: what is in use is freed by the last who
 * uses it, what is not is freed at once, and nobody waits for anybody.
 *
 *     loop                                              whoever delists
 *     V1  place = object (exchange)                     D1  version of the index becomes odd (fetch_add)
 *     V2  version of the index still what it was?       D2  entry removed, version even
 *         no: leave, look with the lock                 D3  each visitor: place == object? take a reference, place = object | mark
 *     …   uses it                                       D4  drops the index's reference
 *     V3  place = 0 (exchange); was it marked? drops a reference
 *
 * Why it is safe: V1, V2, D1 and D3 are sequentially consistent. If V2 sees the old version it precedes D1, so V1 precedes D3, which sees the object,
 * or that the loop has left it. If D3 marks, it has counted before, while the index's reference is still there. Nothing of the object is read before V2,
 * and cells are never returned (cells.h), so that looking at what is stale is harmless. V3 releases what D3 acquires: the uses come before the end.
 *
 * Each visitor has one response at a time. A reader that waits (its client is slow, say) takes a real reference (reader_keep, visitor_settle), at the latest when
 * its loop looks for the next response. So what waits is counted, and what goes out at once is not.
 *
 * Why not quiescent states, once a turn of the loop (QSBR): they save the two exchanges, on a line that is the loop's own, but memory
 * that is evicted could be used again only when every loop has passed one, and a fill that needs memory now would have to wait for that.
 * Locks: none; visitor_new and visitor_free take one, a leaf. */
#ifndef CACHE_VISITOR_H
#define CACHE_VISITOR_H

#include "cache/sizing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cache;
struct object;
struct reader;

enum {
    VISITORS_MAX = 512, /* threads of a process; those beyond take references */
    VISIT_NOTES = 64,   /* hits that sizing is told of at once */
};

struct visitor {
    /* written by the loop, and marked by those who delist */
    _Atomic uintptr_t place; /* an object's address, or with the mark; or 0 */
    /* under the visitors' lock */
    bool is_taken;
    /* loop's only */
    struct reader *reader; /* that uses the object in `place`; NULL: none is open */
    /* written by the loop, read by any */
    _Atomic uint64_t found; /* requests that found something stored: for sizing */
    /* loop's only: what sizing samples, and is told of together */
    int64_t  notes_s; /* when the first was made */
    unsigned notes_count;
    struct sizing_note notes[VISIT_NOTES];
} __attribute__((aligned(64)));

struct visitors {
    pthread_mutex_t  lock;
    struct visitor  *all[VISITORS_MAX]; /* immutable below `count` */
    _Atomic unsigned count;
};

void visitors_init(struct visitors *visitors);
/* Nobody visits any more. */
void visitors_free(struct visitors *visitors);
/* Of all visitors, those of the past included. */
uint64_t visitors_found(struct visitors *visitors);
/* `object` was just taken out of the index, whose reference the caller still has: whoever uses it is given one. */
void visitors_hand_over(struct visitors *visitors, struct object *object);

/* V1: leaves word, in a place that is empty. What is read afterwards tells whether the object may be used. */
static inline void visit_begin(struct visitor *visitor, struct object *object)
{
    atomic_exchange_explicit(&visitor->place, (uintptr_t)object, memory_order_seq_cst);
}

/* V3: the object is not used any more. */
void visit_end(struct cache *cache, struct visitor *visitor);
/* The reader that has the visitor's response, if one has it still, takes a reference instead. */
void visitor_settle(struct visitor *visitor);
/* A hit on what sizing samples: it is told when there are VISIT_NOTES of them, or a second is over, as soon as its lock is free; until then further ones are
 * left out. */
void visitor_note(struct cache *cache, struct visitor *visitor, uint64_t hash, uint64_t bytes, int64_t now_s);

#endif
