/* See disk_index.h. */
#include "cache/disk/disk_index.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    SHARD_BITS = 3,
    SHARDS = 1 << SHARD_BITS, /* of the smallest table, one bucket each */
    TAG_LOW_BITS = 22,        /* of the tag: in the entry's word. What lies in one bucket has most of them in common… */
    TAG_HIGH_BITS = 16,       /* …and these not: they are beside the words, to be searched */
    BUCKET_ENTRIES = 50,
    CELL_ENTRIES = 6,
    TAGS_AT_ONCE = 8, /* that are compared by one instruction */
    SEGMENTS_MAX = 28,
    /* Bytes an entry, ×10: half a byte below what is promised, for what comes between two splits. */
    ENTRY_TENTHS = 115,
    PLACE_SHIFT = 8,
    CLASS_SHIFT = 2,
    CLASS_MASK = 63,
    HIT = 2,
    LASTING = 1,
};

#define PLACE_BITS 34
#define PLACE_MASK ((UINT64_C(1) << PLACE_BITS) - 1)
#define TAG_SHIFT  (PLACE_SHIFT + PLACE_BITS)

_Static_assert(TAG_SHIFT + TAG_LOW_BITS == 64, "an entry's word is full");

struct bucket {
    uint64_t words[BUCKET_ENTRIES];
    uint16_t tags[BUCKET_ENTRIES];
    uint32_t next;  /* cell + 1 */
    uint32_t count; /* in the whole chain; used ones come first */
    uint32_t unused;
};

struct cell {
    uint64_t words[CELL_ENTRIES];
    uint16_t tags[CELL_ENTRIES];
    uint32_t next; /* cell + 1 */
};

_Static_assert(sizeof(struct bucket) == DISK_BUCKET_BYTES, "see disk_index.h");
_Static_assert(sizeof(struct cell) == DISK_CELL_BYTES, "see disk_index.h");

/* Memory that doubles by segments, mapped at once and resident as it is used; items never move. Segment 0 holds SHARDS items, segment n ≥ 1 holds
 * SHARDS·2^(n−1). */
struct growing {
    void *segments[SEGMENTS_MAX];
    uint32_t item_bytes;
};

struct disk_index {
    struct growing buckets; /* changed with `growth` held */
    struct growing cells;   /* with `cells_lock` held */
    pthread_mutex_t growth, cells_lock;
    uint32_t cells_free; /* cell + 1; linked by `next` */
    _Atomic uint32_t cells_made;
    _Atomic uint64_t bucket_count, entries_count;
    struct {
        pthread_mutex_t lock;
    } shards[SHARDS];
};

/* ---- memory ----------------------------------------------------------------------------------------------------------------------------- */

static unsigned segment_of(uint64_t number)
{
    return number < SHARDS ? 0 : 64 - (unsigned)__builtin_clzll(number / SHARDS);
}

static uint64_t segment_first(unsigned segment)
{
    return segment == 0 ? 0 : (uint64_t)SHARDS << (segment - 1);
}

static uint64_t segment_bytes(const struct growing *growing, unsigned segment)
{
    return (segment == 0 ? SHARDS : segment_first(segment)) * growing->item_bytes;
}

static void *item_at(const struct growing *growing, uint64_t number)
{
    unsigned segment = segment_of(number);
    return (char *)growing->segments[segment] + (number - segment_first(segment)) * growing->item_bytes;
}

static void grow(struct growing *growing, uint64_t number)
{
    unsigned segment = segment_of(number);
    assert(segment < SEGMENTS_MAX);
    if (growing->segments[segment] != NULL)
        return;
    void *memory = mmap(NULL, segment_bytes(growing, segment), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort(); /* address space is gone: nothing could be served */
    growing->segments[segment] = memory;
}

static void free_growing(struct growing *growing)
{
    for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
        if (growing->segments[i] != NULL)
            munmap(growing->segments[i], segment_bytes(growing, i));
    }
}

static struct cell *cell_at(const struct disk_index *index, uint32_t link)
{
    return item_at(&index->cells, link - 1);
}

static uint32_t take_cell(struct disk_index *index)
{
    pthread_mutex_lock(&index->cells_lock);
    uint32_t link = index->cells_free;
    if (link != 0) {
        index->cells_free = cell_at(index, link)->next;
    } else {
        link = atomic_load_explicit(&index->cells_made, memory_order_relaxed) + 1;
        grow(&index->cells, link - 1);
        atomic_store_explicit(&index->cells_made, link, memory_order_relaxed);
    }
    cell_at(index, link)->next = 0;
    pthread_mutex_unlock(&index->cells_lock);
    return link;
}

static void give_cell(struct disk_index *index, uint32_t link)
{
    pthread_mutex_lock(&index->cells_lock);
    cell_at(index, link)->next = index->cells_free;
    index->cells_free = link;
    pthread_mutex_unlock(&index->cells_lock);
}

struct disk_index *disk_index_new(void)
{
    struct disk_index *index = calloc(1, sizeof *index);
    if (index == NULL)
        abort();
    index->buckets = (struct growing){.item_bytes = sizeof(struct bucket)};
    index->cells = (struct growing){.item_bytes = sizeof(struct cell)};
    grow(&index->buckets, 0);
    atomic_store_explicit(&index->bucket_count, SHARDS, memory_order_relaxed);
    pthread_mutex_init(&index->growth, NULL);
    pthread_mutex_init(&index->cells_lock, NULL);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&index->shards[i].lock, NULL);
    return index;
}

void disk_index_free(struct disk_index **index_pointer)
{
    struct disk_index *index = *index_pointer;
    *index_pointer = NULL;
    if (index == NULL)
        return;
    free_growing(&index->buckets);
    free_growing(&index->cells);
    pthread_mutex_destroy(&index->growth);
    pthread_mutex_destroy(&index->cells_lock);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&index->shards[i].lock);
    free(index);
}

uint64_t disk_index_count(const struct disk_index *index)
{
    return atomic_load_explicit(&index->entries_count, memory_order_relaxed);
}

static uint64_t bytes_with(const struct disk_index *index, uint64_t bucket_count)
{
    return sizeof *index + bucket_count * sizeof(struct bucket) +
           (uint64_t)atomic_load_explicit(&index->cells_made, memory_order_relaxed) * sizeof(struct cell);
}

uint64_t disk_index_bytes(const struct disk_index *index)
{
    return bytes_with(index, atomic_load_explicit(&index->bucket_count, memory_order_relaxed));
}

/* ---- a chain: a bucket and its cells. With its shard's lock held ------------------------------------------------------------------------- */

/* An entry, wherever it lies. */
struct slot {
    uint64_t *word;
    uint16_t *tag;
};

static uint16_t high_tag(uint64_t hash)
{
    return (uint16_t)(hash >> (SHARD_BITS + TAG_LOW_BITS));
}

static uint64_t low_tag(uint64_t hash)
{
    return hash >> SHARD_BITS & ((1 << TAG_LOW_BITS) - 1);
}

static uint64_t word_of(uint64_t hash, const struct disk_entry *entry)
{
    assert(entry->unit < DISK_INDEX_UNITS_MAX && entry->size_class <= CLASS_MASK);
    return low_tag(hash) << TAG_SHIFT | entry->unit << PLACE_SHIFT | (uint64_t)entry->size_class << CLASS_SHIFT |
           (entry->was_hit ? HIT : 0) | (entry->is_lasting ? LASTING : 0);
}

static uint64_t unit_of(uint64_t word)
{
    return word >> PLACE_SHIFT & PLACE_MASK;
}

static struct disk_entry entry_of(uint64_t word)
{
    return (struct disk_entry){
        .unit = unit_of(word),
        .size_class = (uint8_t)(word >> CLASS_SHIFT & CLASS_MASK),
        .is_lasting = (word & LASTING) != 0,
        .was_hit = (word & HIT) != 0,
    };
}

/* The number of the first from `i` on, up to `end`, that has the tag; −1: none has. */
static int search_each(const uint64_t *words, const uint16_t *tags, unsigned i, unsigned end, uint64_t hash)
{
    for (; i < end; i++) {
        if (tags[i] == high_tag(hash) && words[i] >> TAG_SHIFT == low_tag(hash))
            return (int)i;
    }
    return -1;
}

typedef uint16_t tag_block __attribute__((vector_size(TAGS_AT_ONCE * sizeof(uint16_t))));

static bool has_tag(const uint16_t tags[TAGS_AT_ONCE], uint16_t tag)
{
    const tag_block wanted = {tag, tag, tag, tag, tag, tag, tag, tag};
    tag_block block;
    uint64_t halves[2];
    memcpy(&block, tags, sizeof block);
    block = (tag_block)(block == wanted);
    memcpy(halves, &block, sizeof halves);
    return (halves[0] | halves[1]) != 0;
}

/* The first that has the tag among `count`. Nearly all that is looked at is not it. */
static int search(const uint64_t *words, const uint16_t *tags, unsigned count, uint64_t hash)
{
    unsigned i = 0;
    for (; i + TAGS_AT_ONCE <= count; i += TAGS_AT_ONCE) {
        int found = has_tag(&tags[i], high_tag(hash)) ? search_each(words, tags, i, i + TAGS_AT_ONCE, hash) : -1;
        if (found >= 0)
            return found;
    }
    return search_each(words, tags, i, count, hash);
}

static bool chain_find(const struct disk_index *index, struct bucket *bucket, uint64_t hash, struct slot *slot)
{
    unsigned left = bucket->count, here = left < BUCKET_ENTRIES ? left : BUCKET_ENTRIES;
    int found = search(bucket->words, bucket->tags, here, hash);
    if (found >= 0) {
        *slot = (struct slot){&bucket->words[found], &bucket->tags[found]};
        return true;
    }
    for (uint32_t link = bucket->next; link != 0;) {
        struct cell *cell = cell_at(index, link);
        left -= here;
        here = left < CELL_ENTRIES ? left : CELL_ENTRIES;
        found = search(cell->words, cell->tags, here, hash);
        if (found >= 0) {
            *slot = (struct slot){&cell->words[found], &cell->tags[found]};
            return true;
        }
        link = cell->next;
    }
    return false;
}

/* The n-th, which there is. *last: the link to its cell, or NULL when it is in the bucket. */
static struct slot chain_at(const struct disk_index *index, struct bucket *bucket, unsigned number, uint32_t **last)
{
    *last = NULL;
    if (number < BUCKET_ENTRIES)
        return (struct slot){&bucket->words[number], &bucket->tags[number]};
    *last = &bucket->next;
    for (number -= BUCKET_ENTRIES; number >= CELL_ENTRIES; number -= CELL_ENTRIES)
        *last = &cell_at(index, **last)->next;
    struct cell *cell = cell_at(index, **last);
    return (struct slot){&cell->words[number], &cell->tags[number]};
}

static void chain_append(struct disk_index *index, struct bucket *bucket, uint64_t word, uint16_t tag)
{
    unsigned number = bucket->count++;
    if (number >= BUCKET_ENTRIES && (number - BUCKET_ENTRIES) % CELL_ENTRIES == 0) {
        uint32_t *link = &bucket->next;
        while (*link != 0)
            link = &cell_at(index, *link)->next;
        *link = take_cell(index);
    }
    uint32_t *last;
    struct slot slot = chain_at(index, bucket, number, &last);
    *slot.word = word;
    *slot.tag = tag;
}

/* The chain's last entry fills the hole. */
static void chain_remove(struct disk_index *index, struct bucket *bucket, struct slot hole)
{
    uint32_t *link;
    unsigned number = bucket->count - 1;
    struct slot last = chain_at(index, bucket, number, &link);
    *hole.word = *last.word;
    *hole.tag = *last.tag;
    bucket->count = number;
    if (number >= BUCKET_ENTRIES && (number - BUCKET_ENTRIES) % CELL_ENTRIES == 0) {
        give_cell(index, *link);
        *link = 0;
    }
}

/* ---- the table -------------------------------------------------------------------------------------------------------------------------- */

/* The number of a name's bucket when there are `count`: a split changes it for names of its own shard alone. */
static uint64_t bucket_number(uint64_t hash, uint64_t count)
{
    uint64_t round = UINT64_C(1) << (63 - __builtin_clzll(count));
    uint64_t number = hash & (2 * round - 1);
    return number < count ? number : number & (round - 1);
}

static pthread_mutex_t *lock_of(struct disk_index *index, uint64_t hash)
{
    return &index->shards[hash & (SHARDS - 1)].lock;
}

static struct bucket *lock_bucket(struct disk_index *index, uint64_t hash)
{
    pthread_mutex_lock(lock_of(index, hash));
    return item_at(&index->buckets, bucket_number(hash, atomic_load_explicit(&index->bucket_count, memory_order_acquire)));
}

/* What a bucket's number and its entry say of the hash: all bits that the table can ever choose by. */
static uint64_t known_bits(uint64_t number, uint64_t word, uint16_t tag)
{
    return (number & (SHARDS - 1)) | word >> TAG_SHIFT << SHARD_BITS | (uint64_t)tag << (SHARD_BITS + TAG_LOW_BITS);
}

/* With `growth` held. */
static void split(struct disk_index *index)
{
    uint64_t count = atomic_load_explicit(&index->bucket_count, memory_order_relaxed);
    uint64_t number = count - (UINT64_C(1) << (63 - __builtin_clzll(count)));
    grow(&index->buckets, count);
    struct bucket *low = item_at(&index->buckets, number), *high = item_at(&index->buckets, count);
    pthread_mutex_lock(lock_of(index, number));
    for (unsigned i = 0; i < low->count;) {
        uint32_t *link;
        struct slot slot = chain_at(index, low, i, &link);
        if (bucket_number(known_bits(number, *slot.word, *slot.tag), count + 1) == number) {
            i++;
            continue;
        }
        chain_append(index, high, *slot.word, *slot.tag);
        chain_remove(index, low, slot);
    }
    atomic_store_explicit(&index->bucket_count, count + 1, memory_order_release);
    pthread_mutex_unlock(lock_of(index, number));
}

static void grow_if_worth(struct disk_index *index, uint64_t entries)
{
    uint64_t count = atomic_load_explicit(&index->bucket_count, memory_order_relaxed);
    if (bytes_with(index, count + 1) * 10 > entries * ENTRY_TENTHS || pthread_mutex_trylock(&index->growth) != 0)
        return;
    split(index);
    pthread_mutex_unlock(&index->growth);
}

bool disk_index_find(struct disk_index *index, uint64_t hash, struct disk_entry *entry)
{
    struct slot slot;
    struct bucket *bucket = lock_bucket(index, hash);
    bool found = chain_find(index, bucket, hash, &slot);
    if (found)
        *entry = entry_of(*slot.word);
    pthread_mutex_unlock(lock_of(index, hash));
    return found;
}

bool disk_index_touch(struct disk_index *index, uint64_t hash)
{
    struct slot slot;
    struct bucket *bucket = lock_bucket(index, hash);
    bool found = chain_find(index, bucket, hash, &slot);
    if (found)
        *slot.word |= HIT;
    pthread_mutex_unlock(lock_of(index, hash));
    return found;
}

void disk_index_prefetch(const struct disk_index *index, uint64_t hash)
{
    uint64_t count = atomic_load_explicit(&index->bucket_count, memory_order_acquire);
    const struct bucket *bucket = item_at(&index->buckets, bucket_number(hash, count));
    __builtin_prefetch(bucket->tags, 1);
    __builtin_prefetch(&bucket->count, 1);
}

/* `there`: what was found is told, and stays. */
static bool put(struct disk_index *index, uint64_t hash, const struct disk_entry *entry, struct disk_entry *there)
{
    struct slot slot;
    struct bucket *bucket = lock_bucket(index, hash);
    bool is_found = chain_find(index, bucket, hash, &slot);
    if (!is_found)
        chain_append(index, bucket, word_of(hash, entry), high_tag(hash));
    else if (there != NULL)
        *there = entry_of(*slot.word);
    else
        *slot.word = word_of(hash, entry);
    pthread_mutex_unlock(lock_of(index, hash));
    if (!is_found)
        grow_if_worth(index, atomic_fetch_add_explicit(&index->entries_count, 1, memory_order_relaxed) + 1);
    return is_found;
}

bool disk_index_put(struct disk_index *index, uint64_t hash, const struct disk_entry *entry)
{
    return put(index, hash, entry, NULL);
}

bool disk_index_put_new(struct disk_index *index, uint64_t hash, const struct disk_entry *entry, struct disk_entry *there)
{
    return !put(index, hash, entry, there);
}

static bool remove_if(struct disk_index *index, uint64_t hash, uint64_t unit)
{
    struct slot slot;
    struct bucket *bucket = lock_bucket(index, hash);
    bool found = chain_find(index, bucket, hash, &slot) && (unit == DISK_INDEX_UNITS_MAX || unit_of(*slot.word) == unit);
    if (found)
        chain_remove(index, bucket, slot);
    pthread_mutex_unlock(lock_of(index, hash));
    if (found)
        atomic_fetch_sub_explicit(&index->entries_count, 1, memory_order_relaxed);
    return found;
}

bool disk_index_remove(struct disk_index *index, uint64_t hash)
{
    return remove_if(index, hash, DISK_INDEX_UNITS_MAX);
}

bool disk_index_remove_at(struct disk_index *index, uint64_t hash, uint64_t unit)
{
    return remove_if(index, hash, unit);
}

bool disk_index_move(struct disk_index *index, uint64_t hash, uint64_t from, const struct disk_entry *to)
{
    struct slot slot;
    struct bucket *bucket = lock_bucket(index, hash);
    bool found = chain_find(index, bucket, hash, &slot) && unit_of(*slot.word) == from;
    if (found)
        *slot.word = word_of(hash, to);
    pthread_mutex_unlock(lock_of(index, hash));
    return found;
}

/* A bucket that is split meanwhile sends half of its entries to the table's end, which is looked at later. */
uint64_t disk_index_remove_range(struct disk_index *index, uint64_t from, uint64_t to)
{
    uint64_t removed = 0;
    for (uint64_t number = 0; number < atomic_load_explicit(&index->bucket_count, memory_order_acquire); number++) {
        pthread_mutex_lock(lock_of(index, number));
        struct bucket *bucket = item_at(&index->buckets, number);
        for (unsigned i = 0; i < bucket->count;) {
            uint32_t *link;
            struct slot slot = chain_at(index, bucket, i, &link);
            bool is_within = unit_of(*slot.word) >= from && unit_of(*slot.word) < to;
            if (is_within)
                chain_remove(index, bucket, slot);
            removed += is_within;
            i += !is_within;
        }
        pthread_mutex_unlock(lock_of(index, number));
    }
    atomic_fetch_sub_explicit(&index->entries_count, removed, memory_order_relaxed);
    return removed;
}
