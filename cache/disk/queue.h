/* What waits to be written: offers, tombstones, purges; and the names of records on their way.
 *
 * An *offer* is one record to be. It waits in its directory's queue → is taken → is under way, in a batch → is written, or dropped. All the time it is
 * listed by its hash, so that whoever forgets the name makes it *void*: then it is not written any more, or, being under way, not put into the index
 * when it is; and a tombstone follows it. */
#ifndef CACHE_DISK_QUEUE_H
#define CACHE_DISK_QUEUE_H

#include "base/slab.h"
#include "cache/disk/store_state.h"
#include "cache/policy/range.h"

struct offer {
    struct list       link;    /* in its directory's queue; self-linked when it was taken */
    struct list       by_hash; /* in store.pending */
    struct directory *directory;
    uint64_t hash, serial;
    uint8_t  kind;         /* enum store_kind */
    bool     is_void;      /* under the lock */
    bool     is_under_way; /* under the lock */
    uint64_t pinned_bytes; /* that it counts for in the queue */
    /* Where its bytes are: */
    struct object *object; /* a reference: its front, and its body… */
    struct object *whole;  /* …unless that is the part `span` of this one's: a reference, or NULL */
    struct span    span;
    uint64_t       slice_bytes; /* a body larger than this is cut up before it is written; 0: never */
    /* Of one that reclaim moves: where from; and, if it is not in memory (`object` is NULL), what was read. */
    bool           is_moved;
    bool           body_follows; /* the front, in its extent */
    uint64_t       from;         /* unit */
    uint32_t       front_bytes, body_bytes;
    struct extent  front;
    uint32_t       page_count;
    struct extent *pages;
};

void queue_init(struct store *store);
void queue_free(struct store *store);

/* ---- any thread */

/* `is_urgent`: as store_forget; else its tombstone is written with what replaces it. */
bool queue_forget(struct store *store, uint64_t hash, bool is_urgent);
void queue_purge(struct store *store, const struct store_purge *purge);
/* Its name is forgotten first, unless it `is_hit`: offered again, after it was refused. False: it is not admitted; or there is no room, or no disk, for it.
 * It is freed then. */
bool queue_offer(struct offer *offer, bool is_hit);
/* Whether a record of that name waits, or is under way. */
bool queue_has(struct store *store, uint64_t hash);

/* ---- the home loop */

struct offer *offer_new(struct directory *directory, uint8_t kind, uint64_t hash);
/* Not listed by its hash any more, nor in any queue; gives back what it holds. */
void offer_free(struct offer *offer);
/* Lists it, and puts it first in its directory's queue: for what must be written before what is there. */
void queue_push_front(struct offer *offer);
/* The same in the place of `of`, which was taken; false, and it is freed, if that is void by now. */
bool queue_push_instead(struct offer *offer, const struct offer *of);
/* Lists one that is to be moved, if its record is still where it was: from here on whoever forgets the name makes it void. It is in no queue before
 * queue_return. */
bool queue_begin_move(struct offer *offer);
/* Takes the next; void ones are dropped on the way. NULL: there is none. */
struct offer *queue_take(struct directory *directory);
/* Puts what was taken back, at the front; or what is to be moved, once it was read. */
void queue_return(struct offer *offer);
/* Taken, and not worth writing. What was to be moved leaves the index. */
void offer_drop(struct offer *offer);
/* Everything that waits in the directory is dropped, and counted. */
void queue_drop_all(struct directory *directory);
/* Only what is moved. */
void queue_drop_moves(struct directory *directory);

/* What is to be written at one go: tombstones, purges, and of `offers` those that are not void by now; those are under way from here on. The void ones are
 * dropped. When there are more tombstones than may be taken, all offers go back to the queue: they may be about one of them. */
struct departure {
    uint32_t            tombstones_max, purges_max;
    uint64_t           *hashes; /* room for tombstones_max */
    struct store_purge *purges; /* room for purges_max */
    struct offer      **offers;
    unsigned            offers_count;                    /* in and out */
    uint32_t            tombstones_count, purges_count; /* out */
    uint64_t            position;                       /* out: logged when these are written (logged.h); 0: there are more */
};

void queue_depart(struct directory *directory, struct departure *departure);
/* The tombstones and purges of the last departure were written. */
void queue_arrived(struct directory *directory, uint32_t tombstones, uint32_t purges, uint64_t position);

/* Its record was written, and can be found from now on unless it was forgotten meanwhile. Frees the offer. */
void offer_arrive(struct offer *offer, const struct disk_entry *entry);
/* Its record was not written, or nobody knows. Frees the offer. */
void offer_fail(struct offer *offer);

struct queue_state {
    uint64_t offers_bytes, moves_bytes;
    uint32_t tombstones_count, purges_count;
    uint32_t moves_count; /* those under way, too */
    bool     has_offers, is_urgent;
    bool     is_drained; /* of what store_drain waits for; those under way are not */
};

struct queue_state queue_look(struct directory *directory);

/* So much is worth a write: a batch, or, where the queue holds little, so much that it does not fill up meanwhile. */
static inline uint64_t queue_enough_bytes(const struct store *store)
{
    uint64_t part = store->queue_max_bytes / 4;
    return part < DISK_BATCH_BYTES ? part : DISK_BATCH_BYTES;
}

/* With the lock held. */
void tombstone_add(struct directory *directory, uint64_t hash);

#endif
