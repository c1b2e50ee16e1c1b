/* Loops that look up, fill, read, abort, revalidate, purge and evict as hard as they can on a cache much too small for it; every byte that a
 * reader is given is checked. A plain program, so that it runs under TSan. Usage: stress_cache [seconds [threads [seed]]].
 *
 * Below memory lies a disk tier on a disk in memory, written and emptied by a loop of its own; calls to it take a while, and some fail.
 *
 * A response's body follows from its key, its variant and its generation, which its head tells: "X-Key", "X-Variant", "X-Gen". Generations are
 * numbered in the order of the fills; after a purge no lookup may find one that was numbered before it. */
#include "cache/cache.h"
#include "cache/policy/vary.h"
#include "memory_disk.h"
#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEYS = 160,
    SLOTS = 24, /* requests at a time on a loop */
    VARIANTS = 6,
    TAGS = 40, /* a key has two of them */
    SLAB_BYTES = 6 * 1024 * 1024,
    OBJECT_MAX_BYTES = 600 * 1024,
    TEXT_BYTES = 65521, /* a prime */
    LOSSES_MAX = 16,    /* what fill_lose_space may take from the slab in a run */
    DIRECTORY_SEGMENTS = 6,
    DISK_FAILURES_IN = 300, /* one call in so many */
    STALL_SECONDS = 20,     /* a loop on which nothing moved for so long has lost a wake */
    SEEN_SECONDS = 120,     /* for what is tried by chance, on a busy machine */
    REQUESTS_A_TICK = 40,
};

struct flag_waker {
    struct waker waker;
    _Atomic unsigned wakes;
};

struct writer {
    struct fill *fill;
    struct flag_waker waker;
    bool waiting, has_head;
    unsigned key, variant, delay;
    uint64_t generation, length, written;
};

struct slot {
    bool busy, waiting, loading, has_head;
    struct arena arena;
    struct headers fields;
    struct lookup lookup;
    struct reader reader;
    struct flag_waker waker;
    struct writer writer;
    unsigned key, variant;
    uint64_t least_generation; /* whatever was purged before the lookup is no younger */
    uint64_t generation;
};

enum count {
    COUNT_REQUESTS,
    COUNT_HIT,
    COUNT_STALE,
    COUNT_JOIN,
    COUNT_FILL,
    COUNT_PASS,
    COUNT_WAIT,
    COUNT_LOADED,
    COUNT_RELEASED,
    COUNT_FAILED,
    COUNT_TRUNCATED,
    COUNT_REFRESHED,
    COUNT_PURGES,
    COUNT_TAG_PURGES,
    COUNT_NO_ROOM,
    COUNT_PRIVATE_AT_END,
    COUNT_LOST,
    COUNT_BYTES,
    COUNTS,
};

static const char *const count_names[COUNTS] = {
    "requests", "hit",       "stale",     "join",   "fill",          "pass",         "waits for a disk",   "hit from disk", "released",
    "failed",   "truncated", "refreshed", "purges", "purges by tag", "writer waits", "private at the end", "spaces lost",   "bytes",
};

struct loop {
    pthread_t thread;
    uint64_t random;
    struct visitor *visitor;
    struct memory_io disk;
    struct slot slots[SLOTS];
    _Atomic uint64_t counts[COUNTS]; /* the loop's own; looked at by the main thread */
};

static struct cache *cache;
static struct hash_key hash_key;
static struct site_rules rules = {.heuristic_max_s = 60, .grace_s = 5};
static _Atomic uint64_t generations;
static _Atomic uint64_t purged[KEYS]; /* generations up to this one are gone */
static _Atomic uint64_t purged_tags[TAGS], purged_host;
static _Atomic int64_t now_s = 1700000000;
static char text[TEXT_BYTES];
static _Atomic unsigned losses;
static _Atomic bool stop, loops_ended;
static struct memory_disk disk;

static unsigned random_below(struct loop *loop, unsigned limit)
{
    return random_number(&loop->random, limit);
}

static void post(struct waker *waker)
{
    atomic_fetch_add(&((struct flag_waker *)(void *)waker)->wakes, 1);
}

static bool take_wake(struct flag_waker *waker)
{
    return atomic_exchange(&waker->wakes, 0) != 0;
}

static bool key_varies(unsigned key)
{
    return key % 4 == 1;
}

static unsigned key_tag(unsigned key, unsigned which)
{
    return which == 0 ? key % TAGS : key * 7 / 4 % TAGS;
}

static bool key_is_private(unsigned key)
{
    return key % 23 == 7;
}

static uint64_t key_length(unsigned key)
{
    static const unsigned lengths[] = {0, 1, 700, 1300, 4000, 9000, 15000, 16384, 20000, 66000, 131072, 300000, 700000};
    return lengths[key % 13] + (lengths[key % 13] > 20000 ? key * 31 % 1000 : 0);
}

static bool key_tells_length(unsigned key)
{
    return key % 3 != 0;
}

/* Bodies are cut from one random text, so that they are made and checked by memcpy and memcmp, which sanitizers take in one step. */
static const char *body_at(unsigned key, unsigned variant, uint64_t generation, uint64_t at, uint64_t *run)
{
    uint64_t start = (key * UINT64_C(1009) + variant * UINT64_C(131) + generation * UINT64_C(7919) + at) % TEXT_BYTES;
    if (*run > TEXT_BYTES - start)
        *run = TEXT_BYTES - start;
    return text + start;
}

/* ---- the writer's side: an origin that answers as it likes ---- */

static void add_number(struct headers *fields, const char *name, uint64_t value)
{
    headers_add_named(fields, bytes_from_string(name), arena_printf(fields->arena, "%lu", (unsigned long)value));
}

static void make_fields(struct loop *loop, const struct writer *writer, struct headers *fields)
{
    add_number(fields, "X-Key", writer->key);
    add_number(fields, "X-Variant", writer->variant);
    add_number(fields, "X-Gen", writer->generation);
    headers_add_named(fields, BYTES("Surrogate-Key"), arena_printf(fields->arena, "t%u", key_tag(writer->key, 0)));
    headers_add_named(fields, BYTES("Cache-Tag"), arena_printf(fields->arena, "t%u", key_tag(writer->key, 1)));
    headers_add_named(fields, BYTES("ETag"), arena_printf(fields->arena, "\"%lu\"", (unsigned long)writer->generation));
    if (key_varies(writer->key))
        headers_add_named(fields, BYTES("Vary"), random_below(loop, 50) == 0 ? BYTES("X-Want, X-Other") : BYTES("X-Want"));
    if (key_is_private(writer->key))
        headers_add_named(fields, BYTES("Cache-Control"), BYTES("private"));
    else if (writer->key % 5 == 0)
        headers_add_named(fields, BYTES("Cache-Control"), BYTES("max-age=1, stale-while-revalidate=4, stale-if-error=4"));
    else
        headers_add_named(fields, BYTES("Cache-Control"), BYTES("max-age=2"));
}

static void confirm(struct loop *loop, struct writer *writer, struct origin_head *head, struct headers *fields)
{
    CHECK(fill_stale(writer->fill)->length_known);
    head->status = 304;
    headers_add_named(fields, BYTES("Cache-Control"), BYTES("max-age=2"));
    if (key_varies(writer->key))
        headers_add_named(fields, BYTES("Vary"), BYTES("X-Want"));
    if (fill_set_not_modified(&writer->fill, head) == ERROR_OK)
        loop->counts[COUNT_REFRESHED]++;
    CHECK(writer->fill == NULL);
}

static void writer_answer(struct loop *loop, struct writer *writer)
{
    struct arena arena;
    struct headers fields;
    arena_init(&arena);
    headers_init(&fields, &arena);
    struct wall_seconds now = {atomic_load(&now_s)};
    struct origin_head head = {.status = 200, .reason = BYTES("OK"), .fields = &fields, .request_time = now, .response_time = now};
    unsigned chance = random_below(loop, 20);
    if (chance == 0) {
        fill_fail(&writer->fill, ERROR_ORIGIN_REFUSED);
    } else if (fill_stale(writer->fill) != NULL && chance < 10) {
        confirm(loop, writer, &head, &fields);
    } else {
        if (chance == 11)
            head.status = 503;
        make_fields(loop, writer, &fields);
        head.length_known = key_tells_length(writer->key);
        head.length = head.length_known ? writer->length : 0;
        writer->has_head = fill_set_head(writer->fill, &head) == ERROR_OK;
        if (!writer->has_head)
            fill_fail(&writer->fill, ERROR_OVERLOADED);
    }
    arena_free(&arena);
}

static bool lose_space(struct loop *loop, struct writer *writer, const struct fill_space *space)
{
    if (atomic_fetch_add(&losses, 1) >= LOSSES_MAX)
        return false;
    memset(space->at, 'X', space->capacity); /* what a helper may still do */
    fill_lose_space(writer->fill);
    loop->counts[COUNT_LOST]++;
    return true;
}

static void writer_write(struct loop *loop, struct writer *writer)
{
    struct fill_space space;
    unsigned chance = random_below(loop, 200);
    if (writer->written == writer->length) {
        loop->counts[COUNT_PRIVATE_AT_END] += fill_disposition(writer->fill) == FILL_PRIVATE;
        fill_finish(&writer->fill);
        return;
    }
    if (chance == 0) {
        fill_fail(&writer->fill, ERROR_ORIGIN_READ_TIMEOUT);
        return;
    }
    if (fill_reserve(writer->fill, &space) == FILL_NO_ROOM) {
        loop->counts[COUNT_NO_ROOM]++;
        writer->waiting = true;
        return;
    }
    CHECK(space.capacity > 0);
    if (chance == 1 && lose_space(loop, writer, &space))
        return;
    uint64_t most = writer->length - writer->written;
    if (most > space.capacity)
        most = space.capacity;
    if (chance < 60)
        most = 1 + random_below(loop, (unsigned)most);
    for (uint64_t done = 0, run; done < most; done += run) {
        run = most - done;
        const char *from = body_at(writer->key, writer->variant, writer->generation, writer->written + done, &run);
        memcpy(space.at + done, from, run);
    }
    fill_commit(writer->fill, most);
    writer->written += most;
}

static bool writer_step(struct loop *loop, struct writer *writer)
{
    bool woken = take_wake(&writer->waker);
    if (writer->waiting && !woken)
        return false;
    writer->waiting = false;
    if (writer->delay > 0)
        writer->delay--;
    else if (!fill_is_wanted(writer->fill))
        fill_fail(&writer->fill, ERROR_CLIENT_CLOSED);
    else if (!writer->has_head)
        writer_answer(loop, writer);
    else
        writer_write(loop, writer);
    return true;
}

static void writer_start(struct loop *loop, struct slot *slot)
{
    CHECK(slot->writer.fill == NULL);
    slot->writer = (struct writer){
        .fill = slot->lookup.fill,
        .waker = {.waker = {post}},
        .key = slot->key,
        .variant = key_varies(slot->key) ? slot->variant : 0,
        .delay = random_below(loop, 20),
        .generation = atomic_fetch_add(&generations, 1) + 1,
        .length = key_length(slot->key),
    };
    fill_set_waker(slot->writer.fill, &slot->writer.waker.waker);
}

/* ---- the reader's side ---- */

static uint64_t later(uint64_t generation, _Atomic uint64_t *other)
{
    uint64_t value = atomic_load(other);
    return value > generation ? value : generation;
}

static uint64_t least_generation(unsigned key)
{
    uint64_t least = later(atomic_load(&purged[key]), &purged_host);
    return later(later(least, &purged_tags[key_tag(key, 0)]), &purged_tags[key_tag(key, 1)]);
}

static void ask_cache(struct loop *loop, struct slot *slot)
{
    static const enum count outcomes[] = {[LOOKUP_HIT] = COUNT_HIT,   [LOOKUP_STALE] = COUNT_STALE, [LOOKUP_JOIN] = COUNT_JOIN,
                                          [LOOKUP_FILL] = COUNT_FILL, [LOOKUP_PASS] = COUNT_PASS,   [LOOKUP_WAIT] = COUNT_WAIT};
    slot->least_generation = least_generation(slot->key);
    cache_lookup(cache, &slot->lookup, &slot->reader);
    CHECK(slot->lookup.outcome != LOOKUP_ERROR);
    slot->loading = slot->waiting = slot->lookup.outcome == LOOKUP_WAIT;
    loop->counts[outcomes[slot->lookup.outcome]]++;
    loop->counts[COUNT_LOADED] += slot->lookup.was_loaded;
    if (slot->lookup.fill != NULL)
        writer_start(loop, slot);
}

static void look_up(struct loop *loop, struct slot *slot, bool is_private)
{
    slot->waiting = slot->has_head = false;
    slot->lookup = (struct lookup){
        .key = slot->lookup.key,
        .method = METHOD_GET,
        .fields = &slot->fields,
        .rules = &rules,
        .now = {atomic_load(&now_s)},
        .is_private = is_private,
        .reader_waker = &slot->waker.waker,
        .visitor = random_below(loop, 4) > 0 ? loop->visitor : NULL,
        .io = &loop->disk.io,
    };
    ask_cache(loop, slot);
}

static void raise_to(_Atomic uint64_t *generation, uint64_t before)
{
    uint64_t last = atomic_load(generation);
    while (last < before && !atomic_compare_exchange_weak(generation, &last, before)) {
    }
}

static void purge(struct loop *loop, const struct slot *slot)
{
    uint64_t before = atomic_load(&generations);
    struct wall_seconds now = {atomic_load(&now_s)};
    enum purge_kind kind = random_below(loop, 4) == 0 ? PURGE_SOFT : PURGE_HARD;
    cache_purge(cache, &slot->lookup.key, kind, now);
    if (kind == PURGE_HARD)
        raise_to(&purged[slot->key], before);
    loop->counts[COUNT_PURGES]++;
}

/* Of a tag that two keys or more have, of one that none has, or of everything under the one host. */
static void purge_tag(struct loop *loop)
{
    uint64_t before = atomic_load(&generations);
    struct wall_seconds now = {atomic_load(&now_s)};
    unsigned chance = random_below(loop, 100), tag = random_below(loop, TAGS);
    char text[24];
    int length = snprintf(text, sizeof text, chance < 60 ? "t%u" : "other%u", chance < 60 ? tag : random_below(loop, 1u << 20));
    enum purge_kind kind = chance % 4 == 3 ? PURGE_SOFT : PURGE_HARD;
    if (chance < 98)
        cache_purge_tag(cache, bytes_from(text, (size_t)length), kind, now);
    else
        cache_purge_host(cache, BYTES("stress"), kind, now);
    if (kind == PURGE_HARD && (chance < 60 || chance >= 98))
        raise_to(chance < 60 ? &purged_tags[tag] : &purged_host, before);
    loop->counts[COUNT_TAG_PURGES]++;
}

static void slot_start(struct loop *loop, struct slot *slot)
{
    unsigned a = random_below(loop, KEYS), b = random_below(loop, KEYS);
    arena_clear(&slot->arena);
    slot->key = a < b ? a : b; /* some are asked for more often */
    slot->variant = random_below(loop, VARIANTS);
    slot->busy = true;
    slot->waker = (struct flag_waker){.waker = {post}};
    headers_init(&slot->fields, &slot->arena);
    add_number(&slot->fields, "X-Want", slot->variant);
    slot->lookup.key =
        cache_key_build(&hash_key, &slot->arena, BYTES("http"), BYTES("stress"), arena_printf(&slot->arena, "/%u", slot->key), BYTES_NONE);
    if (random_below(loop, 100) == 0)
        purge(loop, slot);
    if (random_below(loop, 200) == 0)
        purge_tag(loop);
    loop->counts[COUNT_REQUESTS]++;
    look_up(loop, slot, false);
}

static void slot_close(struct slot *slot)
{
    load_close(cache, &slot->lookup.wait);
    reader_close(&slot->reader);
    slot->busy = false;
}

static uint64_t head_number(struct bytes head, const char *name)
{
    const char *at = memmem(head.at, head.len, name, strlen(name));
    CHECK(at != NULL);
    return strtoull(at + strlen(name), NULL, 10);
}

static void check_head(struct loop *loop, struct slot *slot, const struct response_view *view)
{
    slot->generation = head_number(view->fields, "X-Gen: ");
    CHECK(head_number(view->fields, "X-Key: ") == slot->key);
    CHECK(!key_varies(slot->key) || head_number(view->fields, "X-Variant: ") == slot->variant);
    CHECK(!view->length_known || view->length == key_length(slot->key));
    CHECK(slot->generation > slot->least_generation);
    slot->has_head = true;
    if (random_below(loop, 10) == 0) {
        uint64_t length = key_length(slot->key), first = length == 0 ? 0 : random_below(loop, (unsigned)length);
        reader_set_range(&slot->reader, first, first + random_below(loop, 5000));
    }
}

static void step_head(struct loop *loop, struct slot *slot)
{
    struct response_view view;
    enum error error;
    switch (reader_head(&slot->reader, &view, &error)) {
    case READER_HEAD_READY:
        check_head(loop, slot, &view);
        break;
    case READER_HEAD_WAIT:
        slot->waiting = true;
        break;
    case READER_HEAD_RELEASED:
        loop->counts[COUNT_RELEASED]++;
        reader_close(&slot->reader);
        look_up(loop, slot, view.detail != DETAIL_VARIANT && view.detail != DETAIL_PURGED);
        break;
    case READER_HEAD_FAILED:
        CHECK(error != ERROR_OK);
        loop->counts[COUNT_FAILED]++;
        slot_close(slot);
        break;
    }
}

static void check_body(struct loop *loop, struct slot *slot, const struct iovec *iov)
{
    unsigned variant = key_varies(slot->key) ? slot->variant : 0;
    const char *at = iov->iov_base;
    for (uint64_t done = 0, run; done < iov->iov_len; done += run) {
        run = iov->iov_len - done;
        const char *wanted = body_at(slot->key, variant, slot->generation, slot->reader.position + done, &run);
        CHECK(memcmp(at + done, wanted, run) == 0);
    }
    reader_consume(&slot->reader, iov->iov_len);
    loop->counts[COUNT_BYTES] += iov->iov_len;
}

static void step_body(struct loop *loop, struct slot *slot)
{
    struct iovec iov[3];
    int count = 3;
    switch (reader_peek(&slot->reader, iov, &count, 1 + random_below(loop, 60000))) {
    case READER_DATA:
        for (int i = 0; i < count; i++)
            check_body(loop, slot, &iov[i]);
        break;
    case READER_WAIT:
        slot->waiting = true;
        break;
    case READER_END:
        CHECK(slot->reader.position == slot->reader.end || slot->reader.position >= key_length(slot->key));
        slot_close(slot);
        break;
    case READER_FAILED:
        loop->counts[COUNT_TRUNCATED]++;
        slot_close(slot);
        break;
    }
}

static bool reader_step(struct loop *loop, struct slot *slot)
{
    bool woken = take_wake(&slot->waker);
    if (slot->waiting && !woken)
        return false;
    slot->waiting = false;
    if (random_below(loop, 300) == 0)
        slot_close(slot); /* the client went away */
    else if (slot->loading)
        ask_cache(loop, slot);
    else if (!slot->has_head)
        step_head(loop, slot);
    else
        step_body(loop, slot);
    return true;
}

static bool slot_step(struct loop *loop, struct slot *slot, bool may_start)
{
    if (!slot->busy && slot->writer.fill == NULL) {
        if (may_start)
            slot_start(loop, slot);
        return may_start;
    }
    bool moved = false;
    if (slot->writer.fill != NULL && random_below(loop, 3) != 0)
        moved |= writer_step(loop, &slot->writer);
    if (slot->busy && random_below(loop, 3) != 0)
        moved |= reader_step(loop, slot);
    return moved;
}

static void make_text(void)
{
    uint64_t x = 88172645463325252u;
    for (unsigned i = 0; i < TEXT_BYTES; i++) {
        x = x * UINT64_C(6364136223846793005) + 1;
        text[i] = (char)(x >> 56);
    }
}

static void *loop_run(void *context)
{
    struct loop *loop = context;
    loop->visitor = visitor_new(cache);
    for (unsigned i = 0; i < SLOTS; i++)
        arena_init(&loop->slots[i].arena);
    struct monotonic_ms last_moved = clock_monotonic();
    for (bool busy = true; busy;) {
        bool moved = false, starting = !atomic_load(&stop);
        busy = starting;
        moved |= memory_io_poll(&loop->disk);
        busy |= loop->disk.count > 0;
        for (unsigned i = 0; i < SLOTS; i++) {
            moved |= slot_step(loop, &loop->slots[i], starting);
            busy |= loop->slots[i].busy || loop->slots[i].writer.fill != NULL;
        }
        struct monotonic_ms now = clock_monotonic();
        if (moved)
            last_moved = now;
        CHECK(monotonic_since(now, last_moved) < STALL_SECONDS * 1000);
    }
    for (unsigned i = 0; i < SLOTS; i++)
        arena_free(&loop->slots[i].arena);
    visitor_free(cache, &loop->visitor);
    return NULL;
}

/* The control loop: time goes twenty times as fast there, too. */
static void *home_run(void *context)
{
    struct memory_io *io = context;
    struct flag_waker waker = {.waker = {post}};
    struct store *store = cache_store(cache);
    struct monotonic_ms start = clock_monotonic(), now = start;
    store_start(store, &io->io, &waker.waker);
    for (int64_t last = -1; !atomic_load(&loops_ended) || !store_drain(store, now, (struct wall_seconds){atomic_load(&now_s)}, true);) {
        now.ms = start.ms + monotonic_since(clock_monotonic(), start) * 20;
        bool is_due = now.ms - last >= STORE_TICK_MS;
        if (take_wake(&waker) || is_due) {
            store_run(store, now, (struct wall_seconds){atomic_load(&now_s)});
            last = now.ms;
        }
        if (!memory_io_poll(io))
            nanosleep(&(struct timespec){.tv_nsec = 200 * 1000}, NULL);
        CHECK(!atomic_load(&loops_ended) || monotonic_since(clock_monotonic(), start) < 600 * 1000);
    }
    while (io->count > 0)
        memory_io_poll(io);
    return NULL;
}

static uint64_t given_back; /* to the kernel, while memory is short */

static void add_up(uint64_t sums[COUNTS], const struct loop *loops, unsigned threads)
{
    for (unsigned j = 0; j < COUNTS; j++) {
        sums[j] = 0;
        for (unsigned i = 0; i < threads; i++)
            sums[j] += atomic_load_explicit(&loops[i].counts[j], memory_order_relaxed);
    }
}

/* Whether what is to be tried has been. */
static bool has_seen_all(const struct loop *loops, unsigned threads)
{
    uint64_t sums[COUNTS];
    struct cache_stats stats;
    add_up(sums, loops, threads);
    cache_stats(cache, &stats);
    return sums[COUNT_LOADED] > 0 && sums[COUNT_HIT] > 0 && sums[COUNT_JOIN] > 0 && sums[COUNT_REFRESHED] > 0 &&
           sums[COUNT_TAG_PURGES] > 0 && sums[COUNT_BYTES] > 0 && stats.evictions > 0 && given_back > 0;
}

/* For so long, and on a busy machine for as long as it takes to see all. */
static void wait_and_tick(int64_t seconds, const struct loop *loops, unsigned threads)
{
    struct monotonic_ms start = clock_monotonic();
    uint64_t sums[COUNTS], ticked_at = 0;
    for (int64_t passed = 0; passed < seconds * 1000 || (passed < SEEN_SECONDS * 1000 && !has_seen_all(loops, threads));
         passed = monotonic_since(clock_monotonic(), start)) {
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000 * 1000}, NULL);
        add_up(sums, loops, threads);
        if (sums[COUNT_REQUESTS] < ticked_at + REQUESTS_A_TICK) /* or all has expired before it is there */
            continue;
        ticked_at = sums[COUNT_REQUESTS];
        atomic_fetch_add(&now_s, 1); /* twenty seconds a second: much expires */
        given_back += cache_limit_memory(cache, atomic_load(&now_s) % 4 == 0 ? SLAB_BYTES / 2 : SLAB_BYTES, UINT64_MAX);
    }
    atomic_store(&stop, true);
}

static void report(const struct loop *loops, unsigned threads)
{
    uint64_t sums[COUNTS];
    struct cache_stats stats;
    add_up(sums, loops, threads);
    for (unsigned j = 0; j < COUNTS; j++)
        printf("%s %lu, ", count_names[j], (unsigned long)sums[j]);
    cache_stats(cache, &stats);
    printf("evictions %lu, admission failures %lu, objects %lu\n", (unsigned long)stats.evictions, (unsigned long)stats.admission_failures,
           (unsigned long)stats.objects);
    struct store_stats store;
    store_stats(cache_store(cache), &store);
    printf("on disk %lu, written %lu, moved %lu, segments reclaimed %lu, read well %lu, not there %lu\n", (unsigned long)store.records,
           (unsigned long)(store.directories[0].writes + store.directories[1].writes), (unsigned long)store.moved_records,
           (unsigned long)store.reclaimed_segments, (unsigned long)store.hits, (unsigned long)store.misses);
    uint64_t written = store.directories[0].written_bytes + store.directories[1].written_bytes;
    CHECK(has_seen_all(loops, threads));
    CHECK(store.reclaimed_segments > 0 || written < UINT64_C(2) * MEMORY_DIRECTORIES * DIRECTORY_SEGMENTS * STORE_SEGMENT_MIN_BYTES);
    CHECK(stats.fills == 0);
}

int main(int argc, char **argv)
{
    int64_t seconds = argc > 1 ? atol(argv[1]) : 3;
    unsigned threads = argc > 2 ? (unsigned)atol(argv[2]) : 4;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    hash_key_derive(&hash_key, (const unsigned char[HASH_KEY_BYTES]){(unsigned char)seed});
    struct slab *slab = slab_new(SLAB_BYTES);
    struct store_settings store = {
        .directory_count = MEMORY_DIRECTORIES, .admission = STORE_ADMIT_SECOND_HIT, .queue_max_bytes = 2 * 1024 * 1024};
    for (unsigned i = 0; i < MEMORY_DIRECTORIES; i++)
        store.directories[i] = (struct store_directory){STORE_SEGMENT_MIN_BYTES, DIRECTORY_SEGMENTS, {(unsigned char)(i + 1)}};
    struct cache_settings settings = {
        .slab = slab, .object_max_bytes = OBJECT_MAX_BYTES, .variants_max = VARIANTS - 1, .store = &store, .numbers_from = 1000000};
    CHECK(slab != NULL);
    make_text();
    cache = cache_new(&settings, &hash_key);
    memory_disk_init(&disk, slab, STORE_FIRST_SEGMENT + (uint64_t)DIRECTORY_SEGMENTS * STORE_SEGMENT_MIN_BYTES);
    struct loop *loops = calloc(threads, sizeof *loops);
    struct memory_io home;
    pthread_t home_thread;
    memory_io_init(&home, &disk, seed, DISK_FAILURES_IN);
    CHECK(pthread_create(&home_thread, NULL, home_run, &home) == 0);
    for (unsigned i = 0; i < threads; i++) {
        memory_io_init(&loops[i].disk, &disk, seed + i + 1, DISK_FAILURES_IN);
        loops[i].random = seed * UINT64_C(0x9e3779b97f4a7c15) + i + 1;
        CHECK(pthread_create(&loops[i].thread, NULL, loop_run, &loops[i]) == 0);
    }
    wait_and_tick(seconds, loops, threads);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(loops[i].thread, NULL);
    atomic_store(&loops_ended, true);
    pthread_join(home_thread, NULL);
    report(loops, threads);
    cache_free(&cache);
    struct slab_stats stats;
    slab_stats(slab, &stats);
    CHECK(stats.bytes == stats.allocated + stats.free_in_pages + stats.free_pages * SLAB_PAGE_BYTES);
    CHECK(stats.allocated <= (uint64_t)LOSSES_MAX * SLAB_PAGE_BYTES + disk.lost_bytes); /* what was lost on purpose */
    CHECK(atomic_load(&losses) > 0 || disk.lost_bytes > 0 || stats.allocated == 0);
    slab_free(&slab);
    memory_disk_free(&disk);
    free(loops);
    return 0;
}
