/* What the tests of cache/ share: a small cache, requests and answers in one line, wakers that count. One thread; nothing happens by itself. */
#ifndef TESTS_CACHE_RIG_H
#define TESTS_CACHE_RIG_H

#include "cache/fill_state.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct counting_waker {
    struct waker waker;
    unsigned     count;
};

static void count_wake(struct waker *waker)
{
    ((struct counting_waker *)(void *)waker)->count++;
}

struct rig {
    struct slab      *slab;
    struct cache     *cache;
    struct visitor   *visitor;
    struct hash_key   hash_key;
    struct site_rules rules;
    struct arena      arena;
    struct wall_seconds now;
};

enum { RIG_MIB = 1024 * 1024, RIG_NOW = 1700000000 };

static inline struct rig rig_new(size_t slab_size, uint64_t object_max, unsigned variants_max)
{
    struct rig rig = {.now = {RIG_NOW}, .rules = {.heuristic_max_s = 86400}};
    hash_key_derive(&rig.hash_key, (const unsigned char[HASH_KEY_BYTES]){1});
    rig.slab = slab_new(slab_size);
    struct cache_settings settings = {.slab = rig.slab, .object_max_bytes = object_max, .variants_max = variants_max};
    rig.cache = cache_new(&settings, &rig.hash_key);
    rig.visitor = visitor_new(rig.cache);
    arena_init(&rig.arena);
    return rig;
}

/* Fails when anything but `lost` bytes is left in the slab. */
static inline void rig_free_but(struct rig *rig, uint64_t lost)
{
    struct slab_stats stats;
    visitor_free(rig->cache, &rig->visitor);
    cache_free(&rig->cache);
    slab_stats(rig->slab, &stats);
    cr_assert_eq(stats.allocated, lost, "%lu bytes are left", (unsigned long)stats.allocated);
    slab_free(&rig->slab);
    arena_free(&rig->arena);
}

static inline void rig_free(struct rig *rig)
{
    rig_free_but(rig, 0);
}

/* A request with its reader and, should it get one, its fill. */
struct ask {
    struct lookup         lookup;
    struct reader         reader;
    struct headers        fields;
    struct counting_waker reader_waker, fill_waker;
    struct response_view  view;
    enum error            error;
};

/* "Name: value\r\n…" */
static inline void parse_fields(struct rig *rig, struct headers *fields, const char *text)
{
    headers_init(fields, &rig->arena);
    cr_assert(headers_parse_block(fields, arena_copy(&rig->arena, bytes_from_string(text))));
}

static inline struct cache_key rig_key(struct rig *rig, const char *path)
{
    return cache_key_build(&rig->hash_key, &rig->arena, BYTES("http"), BYTES("example.com"), bytes_from_string(path), BYTES_NONE);
}

static inline enum lookup_outcome ask_with(struct rig *rig, struct ask *ask, enum method method, const char *path, const char *fields, bool is_private)
{
    *ask = (struct ask){.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}};
    parse_fields(rig, &ask->fields, fields);
    ask->lookup = (struct lookup){
        .key = rig_key(rig, path),
        .method = method,
        .fields = &ask->fields,
        .rules = &rig->rules,
        .now = rig->now,
        .is_private = is_private,
        .visitor = rig->visitor,
        .reader_waker = &ask->reader_waker.waker,
    };
    cache_lookup(rig->cache, &ask->lookup, &ask->reader);
    if (ask->lookup.fill != NULL)
        fill_set_waker(ask->lookup.fill, &ask->fill_waker.waker);
    return ask->lookup.outcome;
}

static inline enum lookup_outcome ask_get(struct rig *rig, struct ask *ask, const char *path)
{
    return ask_with(rig, ask, METHOD_GET, path, "", false);
}

static inline enum reader_head ask_head(struct ask *ask)
{
    return reader_head(&ask->reader, &ask->view, &ask->error);
}

static inline bool view_has(const struct ask *ask, const char *line)
{
    return memmem(ask->view.fields.at, ask->view.fields.len, line, strlen(line)) != NULL;
}

enum { LENGTH_UNKNOWN = -1 };

static inline enum error answer_head(struct rig *rig, struct ask *ask, unsigned status, const char *fields, int64_t length)
{
    struct headers headers;
    parse_fields(rig, &headers, fields);
    struct origin_head head = {
        .status = status,
        .reason = BYTES("Reason"),
        .fields = &headers,
        .length_known = length != LENGTH_UNKNOWN,
        .length = length == LENGTH_UNKNOWN ? 0 : (uint64_t)length,
        .body_forbidden = ask->lookup.method == METHOD_HEAD || status == 204 || status == 304,
        .request_time = rig->now,
        .response_time = rig->now,
    };
    if (status == 304 && fill_stale(ask->lookup.fill) != NULL)
        return fill_set_not_modified(&ask->lookup.fill, &head);
    return fill_set_head(ask->lookup.fill, &head);
}

/* The byte that belongs at `position` of a body. */
static inline char body_byte(uint64_t position)
{
    return (char)('a' + (position * 7 + position / 251) % 26);
}

/* Writes up to `bytes` of the body as far as there is room; returns how many. */
static inline uint64_t answer_body(struct ask *ask, uint64_t at, uint64_t bytes)
{
    uint64_t done = 0;
    while (done < bytes) {
        struct fill_space space;
        if (fill_reserve(ask->lookup.fill, &space) == FILL_NO_ROOM)
            break;
        cr_assert_gt(space.capacity, 0);
        size_t now = space.capacity < bytes - done ? space.capacity : bytes - done;
        for (size_t i = 0; i < now; i++)
            space.at[i] = body_byte(at + done + i);
        fill_commit(ask->lookup.fill, now);
        done += now;
    }
    return done;
}

/* Head with a known length, body, end. */
static inline void answer(struct rig *rig, struct ask *ask, const char *fields, uint64_t length)
{
    cr_assert_eq(answer_head(rig, ask, 200, fields, (int64_t)length), ERROR_OK);
    cr_assert_eq(answer_body(ask, 0, length), length);
    fill_finish(&ask->lookup.fill);
}

/* Reads at most `bytes`, checking each; returns how many, and the state that ended it (READER_DATA: `bytes` were read). */
static inline uint64_t read_body(struct ask *ask, uint64_t bytes, enum reader_state *state)
{
    uint64_t done = 0;
    for (*state = READER_DATA; done < bytes;) {
        struct iovec iov[3];
        int          count = 3;
        *state = reader_peek(&ask->reader, iov, &count, bytes - done);
        if (*state != READER_DATA)
            break;
        for (int i = 0; i < count; i++) {
            const char *at = iov[i].iov_base;
            for (size_t j = 0; j < iov[i].iov_len; j++)
                cr_assert_eq(at[j], body_byte(ask->reader.position + j), "at %lu", (unsigned long)(ask->reader.position + j));
            reader_consume(&ask->reader, iov[i].iov_len);
            done += iov[i].iov_len;
        }
    }
    return done;
}

/* Reads to the end, which must be a good one. */
static inline uint64_t read_all(struct ask *ask)
{
    enum reader_state state;
    uint64_t          bytes = read_body(ask, UINT64_MAX, &state);
    cr_assert_eq(state, READER_END);
    return bytes;
}

/* A stored response. */
static inline void store(struct rig *rig, const char *path, const char *request_fields, const char *fields, uint64_t length)
{
    struct ask ask;
    cr_assert_eq(ask_with(rig, &ask, METHOD_GET, path, request_fields, false), LOOKUP_FILL);
    answer(rig, &ask, fields, length);
    reader_close(&ask.reader);
}

static inline struct cache_stats rig_stats(struct rig *rig)
{
    struct cache_stats stats;
    cache_stats(rig->cache, &stats);
    return stats;
}

#define FRESH "Cache-Control: max-age=60\r\n"

#endif
