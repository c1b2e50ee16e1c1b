/* A trace through the accelerator's own cache: lookups, fills and evictions as they are in production, on a slab of the given size. Bodies are reserved and
 * committed but not written, so that only the pages with heads on them take memory. */
#include "cache/cache.h"

#include "tests/bench/eviction.h"

#include <stdlib.h>

enum { SLAB_BYTES_MIN = 16 * SLAB_PAGE_BYTES, EXTENTS_SLAB_BYTES = 16 * 1024 * 1024 };

static const struct wall_seconds now = {1700000000};

static void ignore_wake(struct waker *waker)
{
    (void)waker;
}

struct built {
    struct cache *cache;
    struct hash_key hash_key;
    struct site_rules rules;
    struct arena arena;
    struct headers no_fields;
    struct waker waker;
    struct cache_key key; /* of the last request */
    struct slab *slab;
};

static void open_built(struct built *built, uint64_t slab_bytes)
{
    *built = (struct built){.waker = {ignore_wake}, .slab = slab_new(slab_bytes)};
    if (built->slab == NULL) {
        perror("eviction: slab");
        exit(1);
    }
    hash_key_derive(&built->hash_key, (const unsigned char[HASH_KEY_BYTES]){1});
    arena_init(&built->arena);
    struct cache_settings settings = {.slab = built->slab, .object_max_bytes = slab_bytes / OBJECT_MAX_PART, .variants_max = 4};
    built->cache = cache_new(&settings, &built->hash_key);
}

static void close_built(struct built *built)
{
    cache_free(&built->cache);
    slab_free(&built->slab);
    arena_free(&built->arena);
}

/* Consumes the fill. The response is kept when there is room for it. */
static void answer(struct built *built, struct fill *fill, uint64_t bytes)
{
    struct headers fields;
    headers_init(&fields, &built->arena);
    headers_add_named(&fields, BYTES("Content-Type"), BYTES("text/html"));
    headers_add_named(&fields, BYTES("Cache-Control"), BYTES("max-age=86400"));
    struct origin_head head = {.status = 200,
                               .reason = BYTES("OK"),
                               .fields = &fields,
                               .length_known = true,
                               .length = bytes,
                               .request_time = now,
                               .response_time = now};
    struct fill_space space;
    if (fill_set_head(fill, &head) != ERROR_OK) {
        fill_fail(&fill, ERROR_OVERLOADED);
        return;
    }
    for (uint64_t done = 0; done < bytes; done += space.capacity) {
        if (fill_disposition(fill) != FILL_STORING || fill_reserve(fill, &space) == FILL_NO_ROOM) {
            fill_fail(&fill, ERROR_OVERLOADED);
            return;
        }
        fill_commit(fill, space.capacity);
    }
    fill_finish(&fill);
}

static bool ask(struct built *built, uint32_t object, uint64_t bytes)
{
    struct reader reader = {0};
    arena_clear(&built->arena);
    headers_init(&built->no_fields, &built->arena);
    built->key = cache_key_build(&built->hash_key, &built->arena, BYTES("http"), BYTES("www.example.com"),
                                 arena_printf(&built->arena, "/%u", object), BYTES_NONE);
    struct lookup lookup = {
        .key = built->key,
        .method = METHOD_GET,
        .fields = &built->no_fields,
        .rules = &built->rules,
        .now = now,
        .reader_waker = &built->waker,
    };
    cache_lookup(built->cache, &lookup, &reader);
    if (lookup.fill != NULL)
        answer(built, lookup.fill, bytes);
    reader_close(&reader);
    return lookup.outcome == LOOKUP_HIT;
}

/* Stored one by one, and given back. */
void built_extents(struct trace *trace)
{
    struct built built;
    struct cache_stats stats;
    trace->extents = calloc(trace->objects_count, sizeof *trace->extents);
    if (trace->extents == NULL)
        abort();
    open_built(&built, OBJECT_MAX_PART * EXTENTS_SLAB_BYTES);
    for (uint32_t i = 0; i < trace->objects_count; i++) {
        if (trace->bytes[i] == 0)
            continue;
        ask(&built, i, trace->bytes[i] - RECORD_BYTES);
        cache_stats(built.cache, &stats);
        trace->extents[i] = (uint32_t)stats.object_bytes;
        cache_purge(built.cache, &built.key, PURGE_HARD, now);
    }
    close_built(&built);
}

struct ratio run_built(const struct trace *trace, uint64_t capacity)
{
    struct ratio ratio = {0};
    if (capacity < SLAB_BYTES_MIN)
        return ratio;
    struct built built;
    open_built(&built, capacity);
    for (uint32_t i = 0; i < trace->requests_count; i++) {
        uint32_t object = trace->requests[i], bytes = trace->bytes[object];
        bool is_hit = ask(&built, object, bytes - RECORD_BYTES);
        if (i >= trace->warm_count)
            ratio_count(&ratio, bytes, is_hit);
    }
    close_built(&built);
    return ratio;
}
