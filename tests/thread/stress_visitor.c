/* Visitors that hit as fast as they can, while what they read is purged, evicted and fetched anew under them; every byte is checked. What stress_cache does
 * rarely for all that it does besides, this does all the time. A plain program, so that it runs under TSan. Usage: stress_visitor [seconds [threads]].
 *
 * A body is its generation over and over, which its head tells as well; memory that was given to another response has another's. */
#include "cache/cache.h"
#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEYS = 12,
    SLOTS = 3, /* readers at a time of a thread */
    VARIANTS = 2,
    SLAB_BYTES = 1024 * 1024,
    LARGE_BYTES = 40000, /* a page: what is evicted is soon used again. All lengths are multiples of a generation's */
};

struct slot {
    struct arena arena;
    struct headers fields;
    struct lookup lookup;
    struct reader reader;
};

struct thread {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    struct visitor *visitor;
    struct slot slots[SLOTS];
    uint64_t hits, visits, fills, purges;
};

static struct cache *cache;
static struct hash_key hash_key;
static struct site_rules rules = {.heuristic_max_s = 60};
static _Atomic uint64_t generations;
static _Atomic bool stop;

static unsigned random_below(struct thread *thread, unsigned limit)
{
    return random_number(&thread->random, limit);
}

static void post(struct waker *waker)
{
    (void)waker; /* nobody waits: a fill is written in one go */
}

static uint64_t length_of(unsigned key)
{
    return key % 3 == 0 ? LARGE_BYTES : 200 + key * 80;
}

static bool varies(unsigned key)
{
    return key % 4 == 1;
}

static void write_body(struct fill *fill, uint64_t generation, uint64_t length)
{
    for (uint64_t done = 0; done < length;) {
        struct fill_space space;
        if (fill_reserve(fill, &space) == FILL_NO_ROOM)
            break;
        uint64_t now = space.capacity / sizeof generation * sizeof generation;
        now = now < length - done ? now : length - done;
        CHECK(now > 0);
        for (uint64_t i = 0; i < now; i += sizeof generation)
            memcpy(space.at + i, &generation, sizeof generation);
        fill_commit(fill, now);
        done += now;
    }
}

static void answer(struct slot *slot, unsigned key)
{
    static struct waker waker = {post};
    struct fill *fill = slot->lookup.fill;
    uint64_t generation = atomic_fetch_add(&generations, 1) + 1, length = length_of(key);
    struct headers fields;
    headers_init(&fields, &slot->arena);
    struct bytes block = arena_printf(&slot->arena, "Cache-Control: max-age=1000\r\nX-Gen: %lu\r\n%s", (unsigned long)generation,
                                      varies(key) ? "Vary: X-Want\r\n" : "");
    CHECK(headers_parse_block(&fields, block));
    fill_set_waker(fill, &waker);
    struct origin_head head = {.status = 200,
                               .reason = BYTES("OK"),
                               .fields = &fields,
                               .length_known = true,
                               .length = length,
                               .request_time = slot->lookup.now,
                               .response_time = slot->lookup.now};
    if (fill_set_head(fill, &head) != ERROR_OK) {
        fill_fail(&fill, ERROR_OVERLOADED);
        return;
    }
    write_body(fill, generation, length);
    fill_finish(&fill); /* of a body that found no room: fails */
}

static void check_body(struct slot *slot, uint64_t generation)
{
    struct iovec iov[4];
    int count = 4;
    while (reader_peek(&slot->reader, iov, &count, SIZE_MAX) == READER_DATA) {
        size_t bytes = 0;
        for (int i = 0; i < count; i++) {
            for (size_t at = 0; at < iov[i].iov_len; at += sizeof generation)
                CHECK(memcmp((char *)iov[i].iov_base + at, &generation, sizeof generation) == 0);
            bytes += iov[i].iov_len;
        }
        reader_consume(&slot->reader, bytes);
        count = 4;
    }
}

static void check_response(struct slot *slot)
{
    struct response_view view;
    enum error error;
    CHECK(reader_head(&slot->reader, &view, &error) == READER_HEAD_READY);
    const char *line = memmem(view.fields.at, view.fields.len, "X-Gen: ", strlen("X-Gen: "));
    CHECK(line != NULL && view.status == 200);
    check_body(slot, strtoull(line + strlen("X-Gen: "), NULL, 10));
}

static void use(struct thread *thread, struct slot *slot, unsigned key)
{
    thread->hits++;
    thread->visits += slot->reader.visitor != NULL;
    if (random_below(thread, 8) == 0)
        reader_keep(&slot->reader);
    check_response(slot);
    if (random_below(thread, 4) == 0) { /* again, after it may have been taken away */
        cache_purge(cache, &slot->lookup.key, PURGE_HARD, slot->lookup.now);
        thread->purges++;
        reader_set_range(&slot->reader, 0, length_of(key));
        check_response(slot);
    }
}

static void look_up(struct thread *thread, struct slot *slot)
{
    static struct waker waker = {post};
    unsigned key = random_below(thread, KEYS);
    reader_close(&slot->reader); /* of the last time, sometimes after others of this thread */
    arena_clear(&slot->arena);
    headers_init(&slot->fields, &slot->arena);
    if (random_below(thread, 2) == 0)
        CHECK(headers_parse_block(&slot->fields, BYTES("X-Want: 1\r\n")));
    slot->lookup = (struct lookup){
        .key = cache_key_build(&hash_key, &slot->arena, BYTES("http"), BYTES("stress"), arena_printf(&slot->arena, "/%u", key), BYTES_NONE),
        .method = METHOD_GET,
        .fields = &slot->fields,
        .rules = &rules,
        .now = {1700000000},
        .reader_waker = &waker,
        .visitor = thread->number == 0 ? NULL : thread->visitor,
    };
    cache_lookup(cache, &slot->lookup, &slot->reader);
    if (slot->lookup.outcome == LOOKUP_HIT) {
        use(thread, slot, key);
    } else if (slot->lookup.fill != NULL) {
        thread->fills++;
        answer(slot, key);
    }
}

static void *run(void *context)
{
    struct thread *thread = context;
    thread->visitor = visitor_new(cache);
    for (unsigned i = 0; i < SLOTS; i++)
        arena_init(&thread->slots[i].arena);
    while (!atomic_load(&stop))
        look_up(thread, &thread->slots[random_below(thread, SLOTS)]);
    for (unsigned i = 0; i < SLOTS; i++) {
        reader_close(&thread->slots[i].reader);
        arena_free(&thread->slots[i].arena);
    }
    visitor_free(cache, &thread->visitor);
    return NULL;
}

int main(int argc, char **argv)
{
    int64_t seconds = argc > 1 ? atol(argv[1]) : 3;
    unsigned count = argc > 2 ? (unsigned)atol(argv[2]) : 4;
    struct slab *slab = slab_new(SLAB_BYTES);
    CHECK(slab != NULL);
    hash_key_derive(&hash_key, (const unsigned char[HASH_KEY_BYTES]){1});
    cache = cache_new(&(struct cache_settings){.slab = slab, .object_max_bytes = SLAB_BYTES / 4, .variants_max = VARIANTS}, &hash_key);
    struct thread *threads = calloc(count, sizeof *threads);
    for (unsigned i = 0; i < count; i++) {
        threads[i].number = i;
        threads[i].random = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
        CHECK(pthread_create(&threads[i].thread, NULL, run, &threads[i]) == 0);
    }
    nanosleep(&(struct timespec){.tv_sec = seconds}, NULL);
    atomic_store(&stop, true);
    uint64_t hits = 0, visits = 0, fills = 0, purges = 0;
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i].thread, NULL);
        hits += threads[i].hits;
        visits += threads[i].visits;
        fills += threads[i].fills;
        purges += threads[i].purges;
    }
    struct cache_stats stats;
    cache_stats(cache, &stats);
    printf("hits %lu, of which without a reference %lu, fills %lu, purges %lu, evictions %lu\n", (unsigned long)hits, (unsigned long)visits,
           (unsigned long)fills, (unsigned long)purges, (unsigned long)stats.evictions);
    CHECK(visits > 0 && visits < hits && fills > 0 && purges > 0);
    cache_free(&cache);
    struct slab_stats left;
    slab_stats(slab, &left);
    CHECK(left.allocated == 0);
    slab_free(&slab);
    free(threads);
    return 0;
}
