/* The index of one shard: hash → object, in cache-line buckets.
 *
 * DESIGN. Linear hashing: a bucket is 10 entries of (16-bit tag, 32-bit number of the object's cell) and a link to an overflow bucket. When there are more than
 * INDEX_LOAD entries a bucket, one bucket is split in two; so no insertion ever moves more than one bucket's entries, whatever the size.
 * Buckets live in segments that double in size and never move. The tag is the hash's top 16 bits, the bucket comes from those above the shard's.
 * Nothing here allocates while the shard is locked: index_stock does it ahead.
 * Locks: none of its own; the shard's. A visitor (visitor.h) looks without it: `version` is odd while anything changes, and what was found holds if the version
 * is still the same when the visitor has left word of it. What is looked at is changed atomically, so that looking is harmless whatever is found: a tag and a
 * number read one after the other may be of two entries, but only if the version has changed in between.
 */
#ifndef CACHE_INDEX_H
#define CACHE_INDEX_H

#include "cache/cells.h"
#include "cache/object.h"
#include "cache/visitor.h"

enum {
    INDEX_SHARD_BITS = 6, /* low bits of the hash, which choose the shard */
    INDEX_BUCKET_ENTRIES = 10,
    INDEX_LOAD = 7, /* then an entry takes 10.5 bytes, and is found in the 1.06th bucket, as the 4.8th entry; with 8 9.8, 1.09 and 5.3; with 6 11.5, 1.03 and 4.3 */
    INDEX_SEGMENTS_MAX = 36,
    INDEX_SEGMENT_MIN_BUCKETS = 64, /* one page of memory */
};

struct bucket {
    _Atomic uint32_t numbers[INDEX_BUCKET_ENTRIES]; /* 0: empty; used ones come first */
    _Atomic uint16_t tags[INDEX_BUCKET_ENTRIES];
    _Atomic uint32_t overflow; /* number of its cell; 0: none. Last, where a cell that is given back has its link */
};

_Static_assert(sizeof(struct bucket) == CELL_LINE_BYTES, "a bucket is a cache line");

struct index {
    const struct cell_space *objects, *overflow; /* immutable: where they are */
    struct bucket *_Atomic segments[INDEX_SEGMENTS_MAX];
    _Atomic uint64_t       version;      /* odd: it is being changed */
    _Atomic uint64_t       bucket_count; /* only grows; after the segment that the last one lies in */
    uint64_t               entries_count;
    struct bucket         *spare; /* an overflow bucket kept ready */
};

/* Where objects are, and overflow buckets: the `cells` of the functions below. */
void index_init(struct index *index, const struct cell_space *objects, const struct cell_space *overflow);
/* The index is empty. */
void index_free(struct index *index, struct cells *cells);

/* Whether the next index_insert will find the memory that it may need. */
bool index_is_ready(const struct index *index);
/* Makes it ready. Allocates without the lock, takes `lock` to put things in place. */
void index_stock(struct index *index, pthread_mutex_t *lock, struct cells *cells);

struct object *index_find(const struct cache *cache, const struct index *index, const struct object_name *name);
/* Without the lock. It stays what it is until visit_end, which is the caller's to call. NULL, and then nothing is visited: it is not there, or that
 * cannot be told without the lock. */
struct object *index_visit_name(struct cache *cache, const struct index *index, const struct object_name *name, struct visitor *visitor);
/* The one that lies there, whatever its name: for what was found by its hash already. */
struct object *index_find_hash(const struct index *index, uint64_t hash);
/* index_is_ready holds, and nothing of that name is there. */
void index_insert(struct index *index, struct object *object);
/* It is there. */
void index_remove(struct index *index, struct object *object, struct cells *cells);

/* Hands the objects of `count` buckets from number `from` on to `visit`; false when there are no more after them. */
bool index_visit(const struct index *index, uint64_t from, uint64_t count, void (*visit)(void *context, struct object *object), void *context);

/* Hands every object to `visit`, after it is taken out. Teardown only. */
void index_drain(struct index *index, void (*visit)(struct cache *cache, struct object *object), struct cache *cache);

#endif
