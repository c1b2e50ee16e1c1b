/* The memory tier, handed from one instance to the next (an upgrade): what was in memory there is in memory here, without a disk and without an origin.
 *
 * DESIGN. The old instance writes a *list* of what it has into a memory file: for each response where its record and its body lie in its slab. The new one
 * maps slab and list, for reading, and copies: each response into an extent of its own, as if it had been read from disk. It gives up nothing meanwhile: nor
 * does the old one, which serves, evicts and stores as always. So nobody waits for the other, and the death of either costs what is not copied yet.
 *
 *     list file:  head | marks, a bit for each unit of the slab | entries, each followed by its pieces | what is not storable
 *
 * What makes a copy good: 1. *Marks*: an extent that the old one gives back is marked before it can be used again (slab_mark_released); who copies looks
 * afterwards, and drops the copy if one of its extents is marked. 2. *Check*: each entry has a keyed hash of itself, its pieces and its record but for the body,
 * of the copy: nobody who does not know the cache's key can make one, and what was damaged, or is another version's, is left out. 3. *Bounds*: nothing is
 * used as a length or a place before it was compared with the maps' sizes, in a copy of its own.
 *
 * What was purged does not come back. The old one lists after cache_leave: each purge that anybody was told of had its effect before, and what is listed was
 * compared with all of them. Those after it were refused there, so they are made here; here every purge counts from before the first client was let in
 * (cache_await_adoption): tags, hosts and everything by the table of purges, as always; URLs, which leave no trace where nothing is stored, by entries
 * of the same table as long as there is something to come. What is listed has the mark of that moment (adopts_since), so that all of them concern it.
 * What the old one stores after cache_leave is not listed: its disk tier, which is the new one's by now, does not know it.
 *
 * The order is that of use: what leads to others first (selectors, then sliced heads), then what was hit most. Nothing is evicted for it: it ends where memory
 * is full; and what is stored under a name here already stays. Frequency and queue are kept, places within a queue are not. */
#ifndef CACHE_HANDOVER_H
#define CACHE_HANDOVER_H

#include "base/slab.h"

#include <stdatomic.h>
#include <stdbool.h>

struct cache;

/* Grows with every change of the structs below, of struct record, or of what a record's texts mean. */
enum {
    HANDOVER_LAYOUT = 3,
    HANDOVER_LAYOUT_OLDEST = 2, /* that is taken over: it has a status line in each record that has fields */
};

#define HANDOVER_MAGIC "ORmemory"

struct handover_head {
    char     magic[8];
    uint32_t layout;
    uint32_t head_bytes, entry_bytes, record_bytes, unit_bytes;
    uint32_t is_complete; /* written last */
    uint64_t key_proof;   /* equal where the hash keys are */
    uint64_t slab_bytes;
    uint64_t marks_at, entries_at, entries_end; /* in the file */
};

_Static_assert(sizeof(struct handover_head) == 72, "shared with other versions");

struct handover_entry {
    uint64_t check;
    uint64_t serial;       /* of a selector, or of what is sliced; else 0 */
    uint64_t leader_serial, leader_hash; /* of the selector, or of what is sliced, that it hangs on */
    uint64_t body_bytes;   /* in memory: 0 for what has none */
    uint32_t unit;         /* where the record lies */
    uint32_t front_bytes;  /* of everything before the body */
    uint32_t piece_count;  /* 0: the body follows at once */
    uint8_t  kind, queue, frequency;
    uint8_t  flags;        /* enum handover_flag */
};

_Static_assert(sizeof(struct handover_entry) == 56, "shared with other versions");

enum handover_flag {
    HANDOVER_HANGS = 1,   /* on a selector, or on what is sliced */
    HANDOVER_REFUSED = 2, /* by the disk tier, so far */
};

/* Of the body, in its order: bytes from the beginning of an extent. */
struct handover_piece {
    uint32_t unit, bytes;
};

/* Of a list file that has room for everything in a slab of so many bytes; it takes memory as it is written. */
uint64_t handover_list_bytes(uint64_t slab_bytes);

/* ---- the old one ---- */

struct handover_counts {
    uint64_t responses; /* selectors and the like are not counted */
    uint64_t bytes;     /* of their extents */
};

/* Lists what is there, after cache_leave, in `list`: `bytes` of zeros, shared with the other. False: `is_off` was set, or there is no room for a list. From now
 * on, until cache_end_list, what is released is marked in `list`. Any thread; takes about a second for a million responses. */
bool cache_list(struct cache *cache, char *list, uint64_t bytes, const _Atomic bool *is_off, struct handover_counts *counts);
/* The other has ended: `list` is not written any more. */
void cache_end_list(struct cache *cache);

/* ---- the new one ---- */

/* Something is going to be taken over, or maybe not; cache_adopt ends it. Before the first request. */
void cache_await_adoption(struct cache *cache);

struct handover {
    const char *slab, *list; /* mapped; whoever has them may write there */
    uint64_t    slab_bytes, list_bytes;
};

enum handover_verdict {
    HANDOVER_TAKEN,
    HANDOVER_NOTHING,      /* the other has not got so far */
    HANDOVER_OTHER_LAYOUT, /* of another version */
    HANDOVER_OTHER_KEY,    /* another secret: its hashes are none here */
    HANDOVER_DAMAGED,
};

struct handover_report {
    enum handover_verdict verdict;
    struct handover_counts taken;
    uint64_t left_out; /* released, purged or replaced meanwhile, damaged, too large for this configuration */
    bool     is_full;  /* memory is: what was used least has no room */
};

/* Takes over which URLs turned out not to be storable. After cache_await_adoption and, too, before the first request: a purge of one of them, which leaves no trace
 * of its name in the table, finds it here. At most some milliseconds. */
void cache_adopt_unstorable(struct cache *cache, const struct handover *from);

/* Takes over what is listed, until `is_off` is set. Any thread; once, after cache_await_adoption. */
void cache_adopt(struct cache *cache, const struct handover *from, const _Atomic bool *is_off, struct handover_report *report);

/* ---- for both ---- */

struct record;
struct hash_key;

/* HANDOVER_TAKEN: *head is a copy, and its places lie in the list. */
enum handover_verdict handover_read_head(const struct cache *cache, const struct handover *from, struct handover_head *head);

/* What is known as not storable, behind the entries of a list of `bytes`, as far as there is room; and the most that it takes. */
void     handover_list_unstorable(const struct cache *cache, char *list, uint64_t entries_end, uint64_t bytes);
uint64_t handover_unstorable_bytes(void);

uint64_t handover_key_proof(const struct hash_key *key);
/* Of an entry, but for its member `check`. */
uint64_t handover_check(const struct hash_key *key, const struct handover_entry *entry, const struct handover_piece *pieces, const struct record *record);

#endif
