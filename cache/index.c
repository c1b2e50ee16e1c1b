/* See index.h. */
#include "cache/index.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { TAG_SHIFT = 48 };

static uint64_t entry_of(struct object *object)
{
    uint64_t pointer = (uint64_t)(uintptr_t)object;
    assert(pointer >> TAG_SHIFT == 0);
    return object->hash >> TAG_SHIFT << TAG_SHIFT | pointer;
}

static struct object *entry_object(uint64_t entry)
{
    return (struct object *)(uintptr_t)(entry & ((UINT64_C(1) << TAG_SHIFT) - 1));
}

static bool entry_has_tag(uint64_t entry, uint64_t hash)
{
    return (entry ^ hash) >> TAG_SHIFT == 0;
}

/* Segment 0 holds buckets 0…63, segment n ≥ 1 holds 64·2^(n−1) of them. */
static unsigned segment_of(uint64_t number)
{
    return number < INDEX_SEGMENT_MIN_BUCKETS ? 0 : 64 - (unsigned)__builtin_clzll(number / INDEX_SEGMENT_MIN_BUCKETS);
}

static uint64_t segment_first(unsigned segment)
{
    return segment == 0 ? 0 : (uint64_t)INDEX_SEGMENT_MIN_BUCKETS << (segment - 1);
}

static uint64_t segment_buckets(unsigned segment)
{
    return segment == 0 ? INDEX_SEGMENT_MIN_BUCKETS : segment_first(segment);
}

static struct bucket *bucket_at(const struct index *index, uint64_t number)
{
    unsigned segment = segment_of(number);
    return &index->segments[segment][number - segment_first(segment)];
}

/* The largest power of two that is not above the number of buckets. */
static uint64_t bucket_round(const struct index *index)
{
    return UINT64_C(1) << (63 - __builtin_clzll(index->bucket_count));
}

static struct bucket *bucket_of(const struct index *index, uint64_t hash)
{
    uint64_t round = bucket_round(index);
    uint64_t number = hash >> INDEX_SHARD_BITS & (2 * round - 1);
    if (number >= index->bucket_count)
        number &= round - 1;
    return bucket_at(index, number);
}

/* Mapped, not allocated: a segment is zero, and takes memory only as its buckets come into use. */
static struct bucket *new_segment(unsigned segment)
{
    void *memory = mmap(NULL, segment_buckets(segment) * sizeof(struct bucket), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort(); /* address space is gone: nothing could be served */
    return memory;
}

static void free_segment(unsigned segment, struct bucket *buckets)
{
    munmap(buckets, segment_buckets(segment) * sizeof(struct bucket));
}

void index_init(struct index *index)
{
    *index = (struct index){.bucket_count = INDEX_SEGMENT_MIN_BUCKETS};
    index->segments[0] = new_segment(0);
}

void index_free(struct index *index, struct cells *cells)
{
    assert(index->entries_count == 0);
    for (unsigned i = 0; i < INDEX_SEGMENTS_MAX; i++) {
        if (index->segments[i] != NULL)
            free_segment(i, index->segments[i]);
    }
    while (index->spare != NULL) {
        struct bucket *next = index->spare->overflow;
        cells_give(cells, index->spare);
        index->spare = next;
    }
}

bool index_is_ready(const struct index *index)
{
    return index->spare != NULL && index->segments[segment_of(index->bucket_count)] != NULL;
}

void index_stock(struct index *index, pthread_mutex_t *lock, struct cells *cells)
{
    struct bucket *spare = cells_take(cells);
    *spare = (struct bucket){0};
    pthread_mutex_lock(lock);
    unsigned number = segment_of(index->bucket_count);
    bool is_missing = index->segments[number] == NULL;
    pthread_mutex_unlock(lock);
    struct bucket *segment = is_missing ? new_segment(number) : NULL;

    pthread_mutex_lock(lock);
    if (index->spare == NULL) {
        index->spare = spare;
        spare = NULL;
    }
    if (index->segments[number] == NULL) {
        index->segments[number] = segment;
        segment = NULL;
    }
    pthread_mutex_unlock(lock);
    if (spare != NULL)
        cells_give(cells, spare);
    if (segment != NULL)
        free_segment(number, segment);
}

struct object *index_find(const struct cache *cache, const struct index *index, const struct object_name *name)
{
    for (const struct bucket *bucket = bucket_of(index, name->hash); bucket != NULL; bucket = bucket->overflow) {
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && bucket->entries[i] != 0; i++) {
            struct object *object = entry_object(bucket->entries[i]);
            if (entry_has_tag(bucket->entries[i], name->hash) && object_has_name(cache, object, name))
                return object;
        }
    }
    return NULL;
}

struct object *index_find_hash(const struct index *index, uint64_t hash)
{
    for (const struct bucket *bucket = bucket_of(index, hash); bucket != NULL; bucket = bucket->overflow) {
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && bucket->entries[i] != 0; i++) {
            struct object *object = entry_object(bucket->entries[i]);
            if (entry_has_tag(bucket->entries[i], hash) && object->hash == hash)
                return object;
        }
    }
    return NULL;
}

/* Puts an entry behind the last one of a chain; `*spare` is used up when the chain's last bucket is full. */
static void chain_append(struct bucket *bucket, uint64_t entry, struct bucket **spare)
{
    for (;;) {
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES; i++) {
            if (bucket->entries[i] == 0) {
                bucket->entries[i] = entry;
                return;
            }
        }
        if (bucket->overflow == NULL) {
            assert(*spare != NULL);
            bucket->overflow = *spare;
            *spare = (*spare)->overflow;
            bucket->overflow->overflow = NULL;
        }
        bucket = bucket->overflow;
    }
}

/* Splits the next bucket in turn. Its entries need at most the overflow buckets that its chain has already: two chains of a and b entries
 * take ⌈a/7⌉ + ⌈b/7⌉ buckets, at most one more than ⌈(a+b)/7⌉, and that one is the new bucket itself. */
static struct bucket *split(struct index *index, struct bucket *spare)
{
    uint64_t round = bucket_round(index);
    uint64_t number = index->bucket_count - round;
    struct bucket *low = bucket_at(index, number), *high = bucket_at(index, index->bucket_count);
    struct bucket old = *low;
    index->bucket_count++;
    *low = *high = (struct bucket){0};
    for (struct bucket *from = &old; from != NULL;) {
        struct bucket entries = *from;
        if (from != &old) { /* its entries are copied: it may be used again at once */
            *from = (struct bucket){.overflow = spare};
            spare = from;
        }
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && entries.entries[i] != 0; i++) {
            uint64_t hash = entry_object(entries.entries[i])->hash;
            chain_append((hash >> INDEX_SHARD_BITS & round) != 0 ? high : low, entries.entries[i], &spare);
        }
        from = entries.overflow;
    }
    return spare;
}

void index_insert(struct index *index, struct object *object)
{
    assert(index_is_ready(index));
    chain_append(bucket_of(index, object->hash), entry_of(object), &index->spare);
    index->entries_count++;
    if (index->entries_count > index->bucket_count * INDEX_LOAD && index->segments[segment_of(index->bucket_count)] != NULL)
        index->spare = split(index, index->spare);
}

/* The chain's last entry fills the hole, so that used entries stay in front. */
static void chain_remove(struct bucket *bucket, uint64_t entry, struct cells *cells)
{
    uint64_t *hole = NULL;
    for (struct bucket *before = NULL;; before = bucket, bucket = bucket->overflow) {
        unsigned used = 0;
        for (; used < INDEX_BUCKET_ENTRIES && bucket->entries[used] != 0; used++) {
            if (bucket->entries[used] == entry)
                hole = &bucket->entries[used];
        }
        if (bucket->overflow != NULL)
            continue;
        assert(hole != NULL && used > 0);
        *hole = bucket->entries[used - 1];
        bucket->entries[used - 1] = 0;
        if (used == 1 && before != NULL) {
            before->overflow = NULL;
            cells_give(cells, bucket);
        }
        return;
    }
}

void index_remove(struct index *index, struct object *object, struct cells *cells)
{
    chain_remove(bucket_of(index, object->hash), entry_of(object), cells);
    index->entries_count--;
}

bool index_visit(const struct index *index, uint64_t from, uint64_t count, void (*visit)(void *context, struct object *object),
                 void *context)
{
    uint64_t end = from + count < index->bucket_count ? from + count : index->bucket_count;
    for (uint64_t number = from; number < end; number++) {
        for (const struct bucket *bucket = bucket_at(index, number); bucket != NULL; bucket = bucket->overflow) {
            for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && bucket->entries[i] != 0; i++)
                visit(context, entry_object(bucket->entries[i]));
        }
    }
    return end < index->bucket_count;
}

void index_drain(struct index *index, void (*visit)(struct cache *cache, struct object *object), struct cache *cache)
{
    for (uint64_t number = 0; number < index->bucket_count; number++) {
        for (struct bucket *bucket = bucket_at(index, number); bucket != NULL; bucket = bucket->overflow) {
            for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && bucket->entries[i] != 0; i++) {
                struct object *object = entry_object(bucket->entries[i]);
                bucket->entries[i] = 0;
                index->entries_count--;
                visit(cache, object);
            }
        }
    }
}
