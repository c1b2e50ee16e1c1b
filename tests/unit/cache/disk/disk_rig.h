/* The rig of cache/ with a disk tier whose disk is memory: what was saved is found, and reads are answered when the test says so, or fail. */
#ifndef TESTS_DISK_RIG_H
#define TESTS_DISK_RIG_H

#include "../cache_rig.h"

#include "cache/disk/load_state.h"

enum { SAVED_MAX = 64, READS_MAX = 64, DISK_SEGMENT = 3, DISK_SEQUENCE = 7, LOST_MARK = 'L' };

struct saved {
    uint64_t            unit;
    struct store_header header;
    char               *front, *body;
};

struct fake_disk {
    struct disk_io    io;
    struct rig       *rig;
    struct saved      saved[SAVED_MAX];
    unsigned          saved_count;
    uint64_t          next_unit;
    struct disk_read *reads[READS_MAX]; /* not answered yet */
    unsigned          reads_count, reads_total;
};

static inline void fake_read(struct disk_io *io, struct disk_read *read)
{
    struct fake_disk *disk = (struct fake_disk *)(void *)io;
    cr_assert_lt(disk->reads_count, READS_MAX);
    disk->reads[disk->reads_count++] = read;
    disk->reads_total++;
}

static inline struct rig rig_with_disk(size_t slab_size, struct fake_disk *disk, struct rig *at)
{
    struct rig                   rig = {.now = {RIG_NOW}, .rules = {.heuristic_max_s = 86400}};
    const struct store_settings  store = {.directory_count = 1, .directories = {{.segment_bytes = 64 * RIG_MIB, .segment_count = 8}}};
    const struct cache_settings *settings;
    hash_key_derive(&rig.hash_key, (const unsigned char[HASH_KEY_BYTES]){1});
    rig.slab = slab_new(slab_size);
    settings = &(struct cache_settings){
        .slab = rig.slab, .object_max_bytes = 8 * RIG_MIB, .variants_max = 64, .store = &store, .numbers_from = UINT64_C(1) << 40};
    rig.cache = cache_new(settings, &rig.hash_key);
    rig.visitor = visitor_new(rig.cache);
    arena_init(&rig.arena);
    atomic_store(&rig.cache->store->is_open, true);
    atomic_store(&rig.cache->store->directories[0].segments[DISK_SEGMENT].sequence, DISK_SEQUENCE);
    *disk = (struct fake_disk){.io = {.read = fake_read}, .rig = at, .next_unit = DISK_SEGMENT * (64 * RIG_MIB / STORE_UNIT_BYTES)};
    return rig;
}

static inline void disk_rig_free(struct rig *rig, struct fake_disk *disk, uint64_t lost)
{
    cr_assert_eq(disk->reads_count, 0);
    for (unsigned i = 0; i < disk->saved_count; i++) {
        free(disk->saved[i].front);
        free(disk->saved[i].body);
    }
    rig_free_but(rig, lost);
}

static inline char *copy_bytes(const void *from, size_t count)
{
    char *copy = malloc(count + 1);
    memcpy(copy, from, count);
    return copy;
}

/* Writes the object to the disk and puts it into the index, as the store does. */
static inline struct saved *disk_save(struct fake_disk *disk, const struct object *object)
{
    static const enum store_kind kinds[] = {[OBJECT_RESPONSE] = STORE_RESPONSE, [OBJECT_SELECTOR] = STORE_SELECTOR, [OBJECT_SLICED] = STORE_SLICED};
    struct cache                *cache = disk->rig->cache;
    const struct record         *record = object_record(cache, object);
    struct saved                *saved = &disk->saved[disk->saved_count++];
    bool                         has_body = object->kind == OBJECT_RESPONSE;
    cr_assert_leq(disk->saved_count, SAVED_MAX);
    *saved = (struct saved){
        .unit = disk->next_unit,
        .header = {.kind = (uint8_t)kinds[object->kind],
                   .hash = object->hash,
                   .serial = has_body ? 0 : object_serial(object),
                   .front_bytes = (uint32_t)record_front_bytes(record),
                   .body_bytes = has_body ? (uint32_t)record_body_bytes(record) : 0},
        .front = copy_bytes(record, record_front_bytes(record)),
    };
    saved->body = malloc(saved->header.body_bytes + 1);
    for (uint64_t done = 0; done < saved->header.body_bytes;) {
        struct iovec piece;
        int          count = 1;
        object_body_iov(cache, object, done, saved->header.body_bytes, &piece, &count);
        memcpy(saved->body + done, piece.iov_base, piece.iov_len);
        done += piece.iov_len;
    }
    uint64_t                bytes = store_record_bytes(saved->header.front_bytes, saved->header.body_bytes);
    const struct disk_entry entry = {.unit = saved->unit, .size_class = store_size_class(bytes), .is_lasting = !has_body};
    disk_index_put(cache->store->index, object->hash, &entry);
    disk->next_unit += bytes / STORE_UNIT_BYTES;
    return saved;
}

static inline struct object *object_at(struct rig *rig, uint64_t hash, struct bytes key, struct bytes values)
{
    struct object_name name = {hash, key, values};
    return shard_find(rig->cache, shard_of(rig->cache, hash), &name);
}

static inline struct object *object_of(struct rig *rig, const char *path)
{
    struct cache_key key = rig_key(rig, path);
    return object_at(rig, key.hash.low, key.encoded, BYTES_NONE);
}

/* Everything that is in memory. */
static inline void save_and_collect(void *context, struct object *object)
{
    disk_save(context, object);
}

static inline void save_all(struct fake_disk *disk)
{
    for (unsigned i = 0; i < SHARD_COUNT; i++)
        index_visit(&disk->rig->cache->shards[i].index, 0, UINT64_MAX / 2, save_and_collect, disk);
}

static inline void evict_all(struct rig *rig)
{
    while (evict_one(rig->cache) > 0) {
    }
}

/* Everything that is in memory is on disk, and nowhere else. */
static inline void move_to_disk(struct fake_disk *disk)
{
    save_all(disk);
    evict_all(disk->rig);
    cr_assert_eq(rig_stats(disk->rig).objects, 0);
}

static inline struct disk_read *take_read(struct fake_disk *disk)
{
    cr_assert_gt(disk->reads_count, 0, "nothing is read");
    struct disk_read *read = disk->reads[0];
    memmove(disk->reads, disk->reads + 1, --disk->reads_count * sizeof disk->reads[0]);
    return read;
}

static inline enum disk_status read_saved(struct fake_disk *disk, struct disk_read *read, const struct saved *saved)
{
    struct slab               *slab = disk->rig->slab;
    const struct store_header *header = &saved->header;
    read->header = *header;
    if (header->hash != read->hash || store_record_bytes(header->front_bytes, header->body_bytes) > read->read_bytes ||
        read->segment_sequence != DISK_SEQUENCE)
        return DISK_ABSENT;
    if (header->front_bytes > read->front.capacity)
        return DISK_FRONT_LARGE;
    read->body_follows = header->front_bytes + header->body_bytes <= read->front.capacity;
    if (!read->body_follows && header->body_bytes > (uint64_t)read->page_count * SLAB_PAGE_BYTES)
        return DISK_ABSENT;
    memcpy(slab_at(slab, read->front), saved->front, header->front_bytes);
    if (read->body_follows)
        memcpy(slab_at(slab, read->front) + header->front_bytes, saved->body, header->body_bytes);
    for (uint64_t done = 0; !read->body_follows && done < header->body_bytes; done += SLAB_PAGE_BYTES) {
        uint64_t left = header->body_bytes - done;
        memcpy(slab_at(slab, (struct extent){read->pages[done / SLAB_PAGE_BYTES], SLAB_PAGE_BYTES}), saved->body + done,
               left < SLAB_PAGE_BYTES ? left : SLAB_PAGE_BYTES);
    }
    return DISK_OK;
}

/* Answers the oldest read. */
static inline void disk_answer(struct fake_disk *disk)
{
    struct disk_read *read = take_read(disk);
    uint64_t          unit = (read->place.offset - STORE_FIRST_SEGMENT) / STORE_UNIT_BYTES;
    read->status = DISK_ABSENT;
    for (unsigned i = 0; i < disk->saved_count; i++)
        if (disk->saved[i].unit == unit)
            read->status = read_saved(disk, read, &disk->saved[i]);
    read->done(read);
}

static inline void disk_fail(struct fake_disk *disk, enum disk_status status)
{
    struct disk_read *read = take_read(disk);
    read->status = status;
    read->done(read);
}

static inline void ask_set(struct fake_disk *disk, struct ask *ask, enum method method, const char *path, const char *fields)
{
    struct rig *rig = disk->rig;
    *ask = (struct ask){.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}};
    parse_fields(rig, &ask->fields, fields);
    ask->lookup = (struct lookup){
        .key = rig_key(rig, path),
        .method = method,
        .fields = &ask->fields,
        .rules = &rig->rules,
        .now = rig->now,
        .reader_waker = &ask->reader_waker.waker,
        .visitor = rig->visitor,
        .io = &disk->io,
    };
}

static inline enum lookup_outcome ask_again(struct rig *rig, struct ask *ask)
{
    cache_lookup(rig->cache, &ask->lookup, &ask->reader);
    if (ask->lookup.fill != NULL)
        fill_set_waker(ask->lookup.fill, &ask->fill_waker.waker);
    return ask->lookup.outcome;
}

static inline enum lookup_outcome ask_disk(struct fake_disk *disk, struct ask *ask, const char *path)
{
    ask_set(disk, ask, METHOD_GET, path, "");
    return ask_again(disk->rig, ask);
}

/* Until it needs no more from the disk, which answers everything. */
static inline enum lookup_outcome ask_until_loaded(struct fake_disk *disk, struct ask *ask)
{
    enum lookup_outcome outcome = ask_again(disk->rig, ask);
    while (outcome == LOOKUP_WAIT) {
        unsigned wakes = ask->reader_waker.count;
        while (ask->reader_waker.count == wakes)
            disk_answer(disk);
        outcome = ask_again(disk->rig, ask);
    }
    return outcome;
}

#define STORED_FOR_LONG "Cache-Control: max-age=60\r\nETag: \"1\"\r\n"

/* A response that is stale by the time it is read from disk, and is confirmed by the origin. */
static inline void validate_from_disk(struct fake_disk *disk, const char *path, uint64_t length)
{
    struct ask ask;
    struct rig *rig = disk->rig;
    store(rig, path, "", STORED_FOR_LONG, length);
    move_to_disk(disk);
    rig->now.s += 100;
    ask_set(disk, &ask, METHOD_GET, path, "");
    cr_assert_eq(ask_until_loaded(disk, &ask), LOOKUP_FILL);
    cr_assert_eq(ask.lookup.fwd, FWD_STALE);
    cr_assert_not_null(fill_stale(ask.lookup.fill));
    cr_assert_eq(answer_head(rig, &ask, 304, STORED_FOR_LONG, LENGTH_UNKNOWN), ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_all(&ask), length);
    reader_close(&ask.reader);
}

static inline void assert_hit(struct ask *ask, uint64_t length)
{
    cr_assert_eq(ask->lookup.outcome, LOOKUP_HIT);
    cr_assert_eq(ask_head(ask), READER_HEAD_READY);
    cr_assert_eq(ask->view.length, length);
    cr_assert_eq(read_all(ask), length);
    reader_close(&ask->reader);
}

static inline void assert_fetched(struct ask *ask, enum lookup_outcome outcome)
{
    cr_assert_eq(ask->lookup.outcome, outcome);
    if (outcome == LOOKUP_FILL)
        fill_fail(&ask->lookup.fill, ERROR_CLIENT_CLOSED);
    reader_close(&ask->reader);
}

#endif
