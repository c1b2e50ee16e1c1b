/* The cache's front door behind a line protocol, for tests/model: a JSON object a line comes in, one goes out. Time is part of what comes in.
 *
 *   {"do": "reset"}                     a new, empty cache
 *   {"do": "rules", …}                  the site's rules from here on
 *   {"do": "purge", "now", "path", "soft"}
 *   {"do": "requests", "now", "requests": [{"method", "path", "fields", "answer", "validated"}, …]}
 *
 * Requests of one line are all looked up before the origin answers the first of them, so that they meet in one fill. An "answer" has "status", "fields",
 * "body", "size" and "delay", or "fails"; "validated" is what the origin says to our own conditional request. What a request's life in proxy/request/
 * does around the cache (applying conditions, invalidating, looking up again when released) is done here in as few words as possible. */
#include "cache/cache.h"
#include "cache/policy/freshness.h"
#include "cache/policy/invalidate.h"
#include "cache/policy/validate.h"
#include "tests/check.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLAB_BYTES = 16 * 1024 * 1024,
    OBJECT_MAX_BYTES = 1024 * 1024,
    VARIANTS_MAX = 64,
    REQUESTS_MAX = 8,
};

static const struct bytes scheme = {"http", 4}, host = {"example.com", 11};

static struct slab *slab;
static struct cache *cache;
static struct visitor *visitor;
static struct hash_key hash_key;
static struct arena arena;       /* of a line */
static struct arena rules_arena; /* of the rules */
static struct site_rules rules;

struct asked {
    json_t *script, *result;
    struct lookup lookup;
    struct reader reader;
    struct headers fields;
    struct waker waker;
};

static void wake_nobody(struct waker *waker)
{
    (void)waker;
}

/* ---- what comes in ---------------------------------------------------------------------------------------------------------------------- */

static struct bytes text_of(const json_t *object, const char *name)
{
    const json_t *text = json_object_get(object, name);
    return json_is_string(text) ? bytes_from(json_string_value(text), json_string_length(text)) : BYTES_NONE;
}

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static bool flag_of(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static void read_fields(struct headers *fields, const json_t *list)
{
    size_t i;
    json_t *pair;
    headers_init(fields, &arena);
    json_array_foreach(list, i, pair)
    {
        struct bytes name = bytes_from_string(json_string_value(json_array_get(pair, 0)));
        struct bytes value = bytes_from_string(json_string_value(json_array_get(pair, 1)));
        headers_add_named(fields, name, bytes_trim(value));
    }
}

static struct rule_names read_names(const json_t *object, const char *name)
{
    const json_t *list = json_object_get(object, name);
    size_t count = json_array_size(list);
    struct bytes *names = arena_alloc(&rules_arena, (count + 1) * sizeof *names);
    for (size_t i = 0; i < count; i++)
        names[i] = arena_copy(&rules_arena, bytes_from_string(json_string_value(json_array_get(list, i))));
    return (struct rule_names){names, (unsigned)count};
}

static void read_rules(const json_t *line)
{
    const json_t *list = json_object_get(line, "errors");
    size_t count = json_array_size(list);
    arena_clear(&rules_arena);
    struct status_ttl *errors = arena_alloc(&rules_arena, (count + 1) * sizeof *errors);
    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(list, i);
        errors[i] = (struct status_ttl){(uint16_t)json_integer_value(json_array_get(row, 0)),
                                        (uint16_t)json_integer_value(json_array_get(row, 1)), json_integer_value(json_array_get(row, 2))};
    }
    rules = (struct site_rules){
        .honour_request_directives = flag_of(line, "honour_request_directives"),
        .store_set_cookie = flag_of(line, "store_set_cookie"),
        .strip_tags = flag_of(line, "strip_tags"),
        .heuristic_max_s = number_of(line, "heuristic_max"),
        .hit_for_miss_s = number_of(line, "hit_for_miss"),
        .grace_s = number_of(line, "grace"),
        .targeted = read_names(line, "targeted"),
        .surrogate_control = flag_of(line, "surrogate_control"),
        .accel_expires = flag_of(line, "accel_expires"),
        .bypass_cookies = read_names(line, "bypass_cookies"),
        .key_cookies = read_names(line, "key_cookies"),
        .errors = errors,
        .error_count = (unsigned)count,
    };
}

static void reset(void)
{
    if (cache != NULL) {
        struct slab_stats stats;
        visitor_free(cache, &visitor);
        cache_free(&cache);
        slab_stats(slab, &stats);
        CHECK(stats.allocated == 0);
    } else {
        slab = slab_new(SLAB_BYTES);
        CHECK(slab != NULL);
    }
    const struct cache_settings settings = {.slab = slab, .object_max_bytes = OBJECT_MAX_BYTES, .variants_max = VARIANTS_MAX};
    cache = cache_new(&settings, &hash_key);
    visitor = visitor_new(cache);
}

/* ---- what goes out ---------------------------------------------------------------------------------------------------------------------- */

static void put_text(json_t *object, const char *name, struct bytes text)
{
    json_object_set_new(object, name, text.at != NULL ? json_stringn(text.at, text.len) : json_null());
}

static void put_word(json_t *object, const char *name, const char *word)
{
    json_object_set_new(object, name, word != NULL ? json_string(word) : json_null());
}

static void put_number(json_t *object, const char *name, int64_t number)
{
    json_object_set_new(object, name, json_integer(number));
}

/* The whole body, or as much as there is; every byte must belong to the same one. */
static void put_body(json_t *got, struct reader *reader)
{
    char *text = NULL;
    size_t length = 0;
    enum reader_state state = READER_DATA;
    for (;;) {
        struct iovec iov[4];
        int count = 4;
        state = reader_peek(reader, iov, &count, SIZE_MAX);
        if (state != READER_DATA)
            break;
        for (int i = 0; i < count; i++) {
            text = realloc(text, length + iov[i].iov_len);
            CHECK(text != NULL);
            memcpy(text + length, iov[i].iov_base, iov[i].iov_len);
            length += iov[i].iov_len;
            reader_consume(reader, iov[i].iov_len);
        }
    }
    CHECK(state == READER_END);
    struct bytes body = bytes_from(text, length);
    size_t unit = length > 0 ? bytes_find(body, ';') + 1 : 0;
    for (size_t i = unit; i < length; i++)
        CHECK(text[i] == text[i - unit]);
    put_text(got, "body", unit > 0 ? bytes_from(text, unit - 1) : BYTES(""));
    put_number(got, "size", (int64_t)length);
    free(text);
}

static const char *condition_word(const struct asked *asked, const struct response_view *view)
{
    struct headers stored;
    headers_init(&stored, &arena);
    headers_parse_block(&stored, view->fields);
    const struct validators validators = validators_of(&stored, &view->meta, &asked->fields);
    switch (condition_evaluate(asked->lookup.method, &asked->fields, view->status, &validators, asked->lookup.now)) {
    case CONDITION_NONE_OR_TRUE:
        return "full";
    case CONDITION_NOT_MODIFIED:
        return "not-modified";
    case CONDITION_FAILED:
        return "failed";
    }
    return NULL;
}

static void put_response(json_t *result, struct asked *asked, const struct response_view *view)
{
    static const char *const sources[] = {
        [SOURCE_STORED] = "stored",
        [SOURCE_FETCHED] = "fetched",
        [SOURCE_REVALIDATED] = "revalidated",
        [SOURCE_STALE_ON_ERROR] = "stale-on-error",
        [SOURCE_STALE_ON_DELAY] = "stale-on-delay",
    };
    json_t *got = json_object();
    put_word(got, "source", sources[view->source]);
    json_object_set_new(got, "stored", json_boolean(view->is_stored));
    put_number(got, "status", view->status);
    put_number(got, "age", freshness_current_age(&view->meta, asked->lookup.now));
    put_text(got, "fields", view->fields);
    put_text(got, "personal", view->personal.len > 0 ? view->personal : BYTES(""));
    if (asked->lookup.outcome != LOOKUP_PASS)
        put_word(got, "condition", condition_word(asked, view));
    put_body(got, &asked->reader);
    json_object_set_new(result, "got", got);
}

static void put_lookup(json_t *result, const struct lookup *lookup)
{
    static const char *const outcomes[] = {
        [LOOKUP_HIT] = "hit",   [LOOKUP_STALE] = "stale", [LOOKUP_JOIN] = "join",
        [LOOKUP_FILL] = "fill", [LOOKUP_PASS] = "pass",   [LOOKUP_ERROR] = "error",
    };
    put_word(result, "outcome", outcomes[lookup->outcome]);
    put_word(result, "fwd", fwd_word(lookup->fwd));
    put_word(result, "detail", detail_word(lookup->detail));
    if (lookup->outcome == LOOKUP_HIT || lookup->outcome == LOOKUP_STALE) {
        put_number(result, "age", lookup->age_s);
        put_number(result, "ttl", lookup->ttl_s);
    }
    const struct response_view *stale = lookup->fill != NULL ? fill_stale(lookup->fill) : NULL;
    if (stale != NULL) {
        struct headers stored;
        headers_init(&stored, &arena);
        headers_parse_block(&stored, stale->fields);
        put_text(result, "if_none_match", headers_value(&stored, HEADER_ETAG));
        put_text(result, "if_modified_since", headers_value(&stored, HEADER_LAST_MODIFIED));
    }
    json_object_set_new(result, "fetches", json_boolean(lookup->fill != NULL));
}

/* ---- a request's way -------------------------------------------------------------------------------------------------------------------- */

static void split_path(struct bytes text, struct bytes *path, struct bytes *query)
{
    size_t query_at = bytes_find(text, '?');
    *path = bytes_from(text.at, query_at);
    *query = query_at < text.len ? bytes_from(text.at + query_at + 1, text.len - query_at - 1) : BYTES_NONE;
}

static struct cache_key key_of(struct bytes text)
{
    struct bytes path, query;
    split_path(text, &path, &query);
    return cache_key_build(&hash_key, &arena, scheme, host, path, query);
}

static void look_up(struct asked *asked, struct wall_seconds now, bool is_private, enum cache_detail detail)
{
    asked->lookup = (struct lookup){
        .key = key_of(text_of(asked->script, "path")),
        .method = method_identify(text_of(asked->script, "method")),
        .fields = &asked->fields,
        .rules = &rules,
        .now = now,
        .is_private = is_private,
        .detail = detail,
        .reader_waker = &asked->waker,
        .visitor = visitor,
    };
    cache_lookup(cache, &asked->lookup, &asked->reader);
    put_lookup(asked->result, &asked->lookup);
}

static void write_body(struct fill *fill, struct bytes body, uint64_t size)
{
    for (uint64_t done = 0; done < size;) {
        struct fill_space space;
        CHECK(fill_reserve(fill, &space) == FILL_ROOM);
        size_t bytes = 0;
        for (; bytes < space.capacity && done < size; bytes++, done++) {
            size_t at = (size_t)(done % (body.len + 1));
            space.at[bytes] = at < body.len ? body.at[at] : ';';
        }
        fill_commit(fill, bytes);
    }
}

/* Plays the origin for the fill that the lookup opened. */
static void answer(struct asked *asked)
{
    struct lookup *lookup = &asked->lookup;
    bool is_conditional = fill_stale(lookup->fill) != NULL;
    const json_t *script = json_object_get(asked->script, is_conditional ? "validated" : "answer");
    struct headers fields;
    if (flag_of(script, "fails")) {
        fill_fail(&lookup->fill, ERROR_ORIGIN_REFUSED);
        return;
    }
    read_fields(&fields, json_object_get(script, "fields"));
    unsigned status = (unsigned)number_of(script, "status");
    uint64_t size = (uint64_t)number_of(script, "size");
    const struct origin_head head = {
        .status = status,
        .reason = BYTES("Reason"),
        .fields = &fields,
        .length_known = !flag_of(script, "until_close"),
        .length = flag_of(script, "until_close") ? 0 : size,
        .body_forbidden = lookup->method == METHOD_HEAD || status == 204 || status == 304,
        .request_time = lookup->now,
        .response_time = {lookup->now.s + number_of(script, "delay")},
    };
    if (status == 304 && is_conditional) {
        CHECK(fill_set_not_modified(&lookup->fill, &head) == ERROR_OK);
        return;
    }
    CHECK(fill_set_head(lookup->fill, &head) == ERROR_OK);
    if (!head.body_forbidden)
        write_body(lookup->fill, text_of(script, "body"), size);
    fill_finish(&lookup->fill);
}

/* RFC 9111 §4.4; what proxy/request/invalidate.c does. */
static void invalidate_key(const struct asked *asked, const struct response_view *view, const struct cache_key *key)
{
    if (!view->is_stored || !bytes_equal(key->encoded, asked->lookup.key.encoded))
        cache_purge(cache, key, PURGE_HARD, asked->lookup.now);
}

static void invalidate_reference(const struct asked *asked, const struct response_view *view, struct bytes reference)
{
    struct target base = {.scheme = scheme, .host = host}, target;
    split_path(text_of(asked->script, "path"), &base.path, &base.query);
    if (reference.at == NULL || !resolve_same_origin(reference, &base, &arena, &target))
        return;
    struct cache_key key = cache_key_build(&hash_key, &arena, target.scheme, target.host, target.path, target.query);
    invalidate_key(asked, view, &key);
}

static void invalidate(const struct asked *asked, const struct response_view *view)
{
    struct headers fields;
    headers_init(&fields, &arena);
    headers_parse_block(&fields, view->fields);
    invalidate_key(asked, view, &asked->lookup.key);
    invalidate_reference(asked, view, headers_value(&fields, HEADER_LOCATION));
    invalidate_reference(asked, view, headers_value(&fields, HEADER_CONTENT_LOCATION));
}

/* True: it was released, and is to be looked up again. */
static bool take_head(struct asked *asked, enum cache_detail *released)
{
    struct response_view view;
    enum error error = ERROR_OK;
    enum reader_head head = reader_head(&asked->reader, &view, &error);
    CHECK(head != READER_HEAD_WAIT);
    bool is_released = head == READER_HEAD_RELEASED;
    if (head == READER_HEAD_READY) {
        put_response(asked->result, asked, &view);
        if (invalidates_target(asked->lookup.method, view.status))
            invalidate(asked, &view);
    } else {
        put_word(asked->result, "got", is_released ? "released" : "failed");
    }
    *released = is_released ? view.detail : DETAIL_NONE;
    reader_close(&asked->reader);
    return is_released;
}

static void finish(struct asked *asked, struct wall_seconds now)
{
    enum cache_detail released;
    if (asked->lookup.outcome == LOOKUP_ERROR)
        return;
    while (take_head(asked, &released)) {
        json_t *again = json_object();
        json_object_set_new(asked->result, "again", again);
        asked->result = again;
        look_up(asked, now, released != DETAIL_VARIANT && released != DETAIL_PURGED, released);
        if (asked->lookup.outcome == LOOKUP_ERROR)
            return;
        bool is_background = asked->lookup.outcome == LOOKUP_STALE && asked->lookup.fill != NULL;
        if (asked->lookup.fill != NULL && !is_background)
            answer(asked);
        if (is_background) {
            take_head(asked, &released);
            answer(asked);
            return;
        }
    }
}

static json_t *do_requests(const json_t *line)
{
    static struct asked all[REQUESTS_MAX];
    const json_t *scripts = json_object_get(line, "requests");
    size_t count = json_array_size(scripts);
    struct wall_seconds now = {number_of(line, "now")};
    json_t *results = json_array();
    CHECK(count <= REQUESTS_MAX);
    for (size_t i = 0; i < count; i++) {
        struct asked *asked = &all[i];
        *asked = (struct asked){.script = json_array_get(scripts, i), .result = json_object(), .waker = {wake_nobody}};
        json_array_append_new(results, asked->result);
        read_fields(&asked->fields, json_object_get(asked->script, "fields"));
        look_up(asked, now, false, DETAIL_NONE);
    }
    for (size_t i = 0; i < count; i++)
        if (all[i].lookup.fill != NULL)
            answer(&all[i]);
    for (size_t i = 0; i < count; i++)
        finish(&all[i], now);
    return results;
}

static json_t *obey(const json_t *line)
{
    struct bytes what = text_of(line, "do");
    if (bytes_equal(what, BYTES("requests")))
        return do_requests(line);
    if (bytes_equal(what, BYTES("reset"))) {
        reset();
    } else if (bytes_equal(what, BYTES("rules"))) {
        read_rules(line);
    } else {
        CHECK(bytes_equal(what, BYTES("purge")));
        struct cache_key key = key_of(text_of(line, "path"));
        cache_purge(cache, &key, flag_of(line, "soft") ? PURGE_SOFT : PURGE_HARD, (struct wall_seconds){number_of(line, "now")});
    }
    return json_true();
}

int main(void)
{
    char *text = NULL;
    size_t capacity = 0;
    hash_key_derive(&hash_key, (const unsigned char[HASH_KEY_BYTES]){1});
    arena_init(&arena);
    arena_init(&rules_arena);
    reset();
    while (getline(&text, &capacity, stdin) > 0) {
        json_t *line = json_loads(text, 0, NULL);
        CHECK(line != NULL);
        json_t *reply = obey(line);
        json_dumpf(reply, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        putchar('\n');
        fflush(stdout);
        json_decref(reply);
        json_decref(line);
        arena_clear(&arena);
    }
    free(text);
    visitor_free(cache, &visitor);
    cache_free(&cache);
    slab_free(&slab);
    arena_free(&arena);
    arena_free(&rules_arena);
    return 0;
}
