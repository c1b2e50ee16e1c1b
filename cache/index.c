/* See index.h. */
#include "cache/index.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { TAG_SHIFT = 48 };

struct entry {
    uint32_t number; /* 0: there is none */
    uint16_t tag;
};

static uint16_t tag_of(uint64_t hash)
{
    return (uint16_t)(hash >> TAG_SHIFT);
}

static struct entry entry_of(const struct index *index, const struct object *object)
{
    return (struct entry){cell_number(index->objects, object), tag_of(object->hash)};
}

static struct object *object_at(const struct index *index, uint32_t number)
{
    return cell_at(index->objects, number);
}

/* Whoever reads acquires, and whoever changes releases: a visitor that sees a change sees that the version is odd, too. */

static uint32_t get_number(const struct bucket *bucket, unsigned i)
{
    return atomic_load_explicit(&bucket->numbers[i], memory_order_acquire);
}

static uint16_t get_tag(const struct bucket *bucket, unsigned i)
{
    return atomic_load_explicit(&bucket->tags[i], memory_order_acquire);
}

static void set_entry(struct bucket *bucket, unsigned i, struct entry entry)
{
    atomic_store_explicit(&bucket->tags[i], entry.tag, memory_order_release);
    atomic_store_explicit(&bucket->numbers[i], entry.number, memory_order_release);
}

static struct bucket *get_overflow(const struct index *index, const struct bucket *bucket)
{
    uint32_t number = atomic_load_explicit(&bucket->overflow, memory_order_acquire);
    return number != 0 ? cell_at(index->overflow, number) : NULL;
}

static void set_overflow(const struct index *index, struct bucket *bucket, const struct bucket *overflow)
{
    uint32_t number = overflow != NULL ? cell_number(index->overflow, overflow) : 0;
    atomic_store_explicit(&bucket->overflow, number, memory_order_release);
}

static void clear_bucket(const struct index *index, struct bucket *bucket, const struct bucket *overflow)
{
    for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES; i++)
        set_entry(bucket, i, (struct entry){0});
    set_overflow(index, bucket, overflow);
}

/* Sequentially consistent: D1 in visitor.h. */
static void begin_change(struct index *index)
{
    atomic_fetch_add_explicit(&index->version, 1, memory_order_seq_cst);
}

static void end_change(struct index *index)
{
    uint64_t version = atomic_load_explicit(&index->version, memory_order_relaxed);
    atomic_store_explicit(&index->version, version + 1, memory_order_release);
}

static uint64_t get_count(const struct index *index)
{
    return atomic_load_explicit(&index->bucket_count, memory_order_acquire);
}

static struct bucket *get_segment(const struct index *index, unsigned segment)
{
    return atomic_load_explicit(&index->segments[segment], memory_order_acquire);
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
    return &get_segment(index, segment)[number - segment_first(segment)];
}

/* The largest power of two that is not above the number of buckets. */
static uint64_t bucket_round(uint64_t bucket_count)
{
    return UINT64_C(1) << (63 - __builtin_clzll(bucket_count));
}

static struct bucket *bucket_of(const struct index *index, uint64_t hash)
{
    uint64_t count = get_count(index), round = bucket_round(count);
    uint64_t number = hash >> INDEX_SHARD_BITS & (2 * round - 1);
    if (number >= count)
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

void index_init(struct index *index, const struct cell_space *objects, const struct cell_space *overflow)
{
    *index = (struct index){.objects = objects, .overflow = overflow, .bucket_count = INDEX_SEGMENT_MIN_BUCKETS};
    index->segments[0] = new_segment(0);
}

void index_free(struct index *index, struct cells *cells)
{
    assert(index->entries_count == 0);
    for (unsigned i = 0; i < INDEX_SEGMENTS_MAX; i++) {
        if (get_segment(index, i) != NULL)
            free_segment(i, get_segment(index, i));
    }
    while (index->spare != NULL) {
        struct bucket *next = get_overflow(index, index->spare);
        cells_give(cells, index->spare);
        index->spare = next;
    }
}

bool index_is_ready(const struct index *index)
{
    return index->spare != NULL && get_segment(index, segment_of(get_count(index))) != NULL;
}

void index_stock(struct index *index, pthread_mutex_t *lock, struct cells *cells)
{
    struct bucket *spare = cells_take(cells);
    if (spare == NULL)
        abort(); /* as a segment does */
    clear_bucket(index, spare, NULL);
    pthread_mutex_lock(lock);
    unsigned number = segment_of(get_count(index));
    bool is_missing = get_segment(index, number) == NULL;
    pthread_mutex_unlock(lock);
    struct bucket *segment = is_missing ? new_segment(number) : NULL;

    pthread_mutex_lock(lock);
    if (index->spare == NULL) {
        index->spare = spare;
        spare = NULL;
    }
    if (get_segment(index, number) == NULL) {
        atomic_store_explicit(&index->segments[number], segment, memory_order_release);
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
    const uint16_t tag = tag_of(name->hash);
    for (const struct bucket *bucket = bucket_of(index, name->hash); bucket != NULL; bucket = get_overflow(index, bucket)) {
        uint32_t number;
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && (number = get_number(bucket, i)) != 0; i++) {
            if (get_tag(bucket, i) == tag && object_has_name(cache, object_at(index, number), name))
                return object_at(index, number);
        }
    }
    return NULL;
}

/* Sequentially consistent: V2 in visitor.h. */
static bool has_changed(const struct index *index, uint64_t version)
{
    return atomic_load_explicit(&index->version, memory_order_seq_cst) != version;
}

struct object *index_visit_name(struct cache *cache, const struct index *index, const struct object_name *name, struct visitor *visitor)
{
    uint64_t version = atomic_load_explicit(&index->version, memory_order_acquire);
    const struct bucket *bucket = bucket_of(index, name->hash);
    const uint16_t tag = tag_of(name->hash);
    /* Odd, or changed: the link may be that of a bucket given back, to another one. */
    for (; bucket != NULL && version % 2 == 0 && !has_changed(index, version); bucket = get_overflow(index, bucket)) {
        uint32_t number;
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && (number = get_number(bucket, i)) != 0; i++) {
            if (get_tag(bucket, i) != tag)
                continue;
            struct object *object = object_at(index, number);
            visit_begin(visitor, object);
            if (!has_changed(index, version) && object_has_name(cache, object, name))
                return object;
            visit_end(cache, visitor);
        }
    }
    return NULL;
}

struct object *index_find_hash(const struct index *index, uint64_t hash)
{
    for (const struct bucket *bucket = bucket_of(index, hash); bucket != NULL; bucket = get_overflow(index, bucket)) {
        uint32_t number;
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && (number = get_number(bucket, i)) != 0; i++) {
            if (get_tag(bucket, i) == tag_of(hash) && object_at(index, number)->hash == hash)
                return object_at(index, number);
        }
    }
    return NULL;
}

/* Puts an entry behind the last one of a chain; `*spare` is used up when the chain's last bucket is full. */
static void chain_append(const struct index *index, struct bucket *bucket, struct entry entry, struct bucket **spare)
{
    for (;;) {
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES; i++) {
            if (get_number(bucket, i) == 0) {
                set_entry(bucket, i, entry);
                return;
            }
        }
        if (get_overflow(index, bucket) == NULL) {
            struct bucket *taken = *spare;
            assert(taken != NULL);
            *spare = get_overflow(index, taken);
            set_overflow(index, taken, NULL);
            set_overflow(index, bucket, taken);
        }
        bucket = get_overflow(index, bucket);
    }
}

/* Splits the next bucket in turn. Its entries need at most the overflow buckets that its chain has already: two chains of a and b entries
 * take ⌈a/10⌉ + ⌈b/10⌉ buckets, at most one more than ⌈(a+b)/10⌉, and that one is the new bucket itself. */
static struct bucket *split(struct index *index, struct bucket *spare)
{
    uint64_t count = get_count(index), round = bucket_round(count);
    struct bucket *low = bucket_at(index, count - round), *high = bucket_at(index, count);
    struct entry entries[INDEX_BUCKET_ENTRIES];
    struct bucket *from = low, *next;
    atomic_store_explicit(&index->bucket_count, count + 1, memory_order_release);
    clear_bucket(index, high, NULL);
    do {
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES; i++)
            entries[i] = (struct entry){get_number(from, i), get_tag(from, i)};
        next = get_overflow(index, from);
        /* Its entries are copied: it may be used again at once. */
        clear_bucket(index, from, from == low ? NULL : spare);
        spare = from == low ? spare : from;
        for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && entries[i].number != 0; i++) {
            uint64_t hash = object_at(index, entries[i].number)->hash;
            chain_append(index, (hash >> INDEX_SHARD_BITS & round) != 0 ? high : low, entries[i], &spare);
        }
        from = next;
    } while (from != NULL);
    return spare;
}

void index_insert(struct index *index, struct object *object)
{
    assert(index_is_ready(index));
    begin_change(index);
    chain_append(index, bucket_of(index, object->hash), entry_of(index, object), &index->spare);
    index->entries_count++;
    if (index->entries_count > get_count(index) * INDEX_LOAD && get_segment(index, segment_of(get_count(index))) != NULL)
        index->spare = split(index, index->spare);
    end_change(index);
}

/* The chain's last entry fills the hole, so that used entries stay in front. */
static void chain_remove(const struct index *index, struct bucket *bucket, uint32_t number, struct cells *cells)
{
    struct bucket *holed = NULL;
    unsigned hole = 0;
    for (struct bucket *before = NULL;; before = bucket, bucket = get_overflow(index, bucket)) {
        unsigned used = 0;
        for (; used < INDEX_BUCKET_ENTRIES && get_number(bucket, used) != 0; used++) {
            if (get_number(bucket, used) == number) {
                holed = bucket;
                hole = used;
            }
        }
        if (get_overflow(index, bucket) != NULL)
            continue;
        assert(holed != NULL && used > 0);
        set_entry(holed, hole, (struct entry){get_number(bucket, used - 1), get_tag(bucket, used - 1)});
        set_entry(bucket, used - 1, (struct entry){0});
        if (used == 1 && before != NULL) {
            set_overflow(index, before, NULL);
            cells_give(cells, bucket);
        }
        return;
    }
}

void index_remove(struct index *index, struct object *object, struct cells *cells)
{
    begin_change(index);
    chain_remove(index, bucket_of(index, object->hash), cell_number(index->objects, object), cells);
    index->entries_count--;
    end_change(index);
}

bool index_visit(const struct index *index, uint64_t from, uint64_t count, void (*visit)(void *context, struct object *object),
                 void *context)
{
    uint64_t end = from + count < get_count(index) ? from + count : get_count(index);
    for (uint64_t number = from; number < end; number++) {
        for (const struct bucket *bucket = bucket_at(index, number); bucket != NULL; bucket = get_overflow(index, bucket)) {
            for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && get_number(bucket, i) != 0; i++)
                visit(context, object_at(index, get_number(bucket, i)));
        }
    }
    return end < get_count(index);
}

void index_drain(struct index *index, void (*visit)(struct cache *cache, struct object *object), struct cache *cache)
{
    for (uint64_t number = 0; number < get_count(index); number++) {
        for (struct bucket *bucket = bucket_at(index, number); bucket != NULL; bucket = get_overflow(index, bucket)) {
            uint32_t number;
            for (unsigned i = 0; i < INDEX_BUCKET_ENTRIES && (number = get_number(bucket, i)) != 0; i++) {
                set_entry(bucket, i, (struct entry){0});
                index->entries_count--;
                visit(cache, object_at(index, number));
            }
        }
    }
}
