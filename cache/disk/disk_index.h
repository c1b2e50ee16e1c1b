/* The disk tier's index: hash of a name → where its record lies. At most 12 bytes a record, whatever their number.
 *
 * DESIGN. Linear hashing with buckets of DISK_BUCKET_BYTES, split one by one: 50 entries of 10 bytes, and a word of bookkeeping. What does not fit into
 * its bucket goes to cells of DISK_CELL_BYTES chained to it, 6 entries each; and a bucket is split not at a certain load, but when all memory, the new
 * bucket included, stays within 11.5 bytes an entry. So the part of the buckets that is not yet split in a doubling, which holds twice as much as
 * the other, costs cells instead of half-empty buckets. An entry is
 *
 *     tag 38 bits | place 34 bits, in STORE_UNIT_BYTES of the whole store | size class 6 bits | hit 1 bit | kind 1 bit
 *
 * The tag is of the hash's bits after those that the smallest table chooses a bucket by, so that a split needs nothing but the entry. Another name may
 * have the same tag and bucket (41 bits are compared in all: one name in 20,000 among 100 million); who reads the record finds that out by its hash.
 * What is put replaces what has its tag. The table never shrinks.
 * Locks: shards of buckets, each with its own; held for some dozens of nanoseconds, and by a split for a few hundred. One more for growing, taken before
 * a shard's, and one for the cells, taken after it. Leaves in the order of locks.
 */
#ifndef CACHE_DISK_INDEX_H
#define CACHE_DISK_INDEX_H

#include <stdbool.h>
#include <stdint.h>

struct disk_index;

struct disk_entry {
    uint64_t unit;       /* in units of the whole store: directories one after the other (store_state.h) */
    uint8_t  size_class;
    bool     is_lasting; /* a selector or the head of slices: on it hang others */
    bool     was_hit;    /* out: since it was put */
};

enum { DISK_BUCKET_BYTES = 512, DISK_CELL_BYTES = 64 };
#define DISK_INDEX_UNITS_MAX ((uint64_t)1 << 34) /* 8 TiB */

struct disk_index *disk_index_new(void);
void               disk_index_free(struct disk_index **index);

/* Any thread, all of these. */
bool disk_index_find(struct disk_index *index, uint64_t hash, struct disk_entry *entry);
/* Notes a hit. Returns whether something is there. */
bool disk_index_touch(struct disk_index *index, uint64_t hash);
/* Returns whether something was replaced. */
bool disk_index_put(struct disk_index *index, uint64_t hash, const struct disk_entry *entry);
/* Only if nothing is there; false: `there` is, and stays. */
bool disk_index_put_new(struct disk_index *index, uint64_t hash, const struct disk_entry *entry, struct disk_entry *there);
/* For whoever will put or look for that name soon, after others: it need not wait for memory then. */
void disk_index_prefetch(const struct disk_index *index, uint64_t hash);
/* Returns whether something was there. */
bool disk_index_remove(struct disk_index *index, uint64_t hash);
/* Only if it lies at `unit`: else it was written anew meanwhile. */
bool disk_index_remove_at(struct disk_index *index, uint64_t hash, uint64_t unit);
/* Moves what lies at `from`; false when nothing does. */
bool     disk_index_move(struct disk_index *index, uint64_t hash, uint64_t from, const struct disk_entry *to);
/* All that lies in [from, to). Looks at every bucket. Returns how many. */
uint64_t disk_index_remove_range(struct disk_index *index, uint64_t from, uint64_t to);
uint64_t disk_index_count(const struct disk_index *index);
uint64_t disk_index_bytes(const struct disk_index *index); /* all memory it takes */

#endif
