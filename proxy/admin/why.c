/* See why.h. */
#include "proxy/admin/why.h"

#include "base/headers.h"
#include "cache/policy/explain.h"
#include "cache/policy/freshness.h"
#include "cache/policy/tags.h"

#include <inttypes.h>
#include <stdio.h>

/* What is no UTF-8 is shown with \xNN for its bytes beyond ASCII. */
static json_t *text_of(struct bytes text, struct arena *arena)
{
    json_t *string = json_stringn(text.len > 0 ? text.at : "", text.len);
    if (string != NULL)
        return string;
    char *escaped = arena_alloc(arena, 4 * text.len + 1), *at = escaped;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < 0x80)
            *at++ = (char)c;
        else
            at += sprintf(at, "\\x%02x", c);
    }
    return json_stringn(escaped, (size_t)(at - escaped));
}

static void add_line(json_t *lines, struct bytes line, struct arena *arena)
{
    json_array_append_new(lines, text_of(line, arena));
}

static const struct outcome {
    const char *word, *sentence;
} outcomes[] = {
    [EXPLAINED_HIT] = {"hit", "is answered from the cache"},
    [EXPLAINED_PARTIAL] = {"partial", "is answered from the cache as far as its slices are there; the others are fetched from the origin"},
    [EXPLAINED_LOAD] = {"load", "waits until what is on disk is loaded into memory, and is answered with that if it may be"},
    [EXPLAINED_STALE] = {"stale", "is answered from the cache, stale, while the origin is asked in the background"},
    [EXPLAINED_REVALIDATE] = {"revalidate", "waits until the origin was asked whether the stored response is still good"},
    [EXPLAINED_FETCH] = {"miss", "is fetched from the origin"},
    [EXPLAINED_PASS] = {"pass", "is fetched from the origin for itself alone"},
    [EXPLAINED_REFUSED] = {"refused", "gets 504: it wants a stored response only"},
};

/* ---- one stored response ---------------------------------------------------------------------------------------------------------------- */

static struct bytes values_text(const struct explanation *explanation, const struct explained_response *response, struct arena *arena)
{
    struct bytes text = BYTES("");
    for (unsigned i = 0; i < explanation->vary_count; i++) {
        struct bytes value = response->values[i];
        text = arena_printf(arena, value.at == NULL ? "%.*s%s%.*s absent%.*s" : "%.*s%s%.*s \"%.*s\"", BYTES_FMT(text), i > 0 ? ", " : "",
                            BYTES_FMT(explanation->vary_names[i]), BYTES_FMT(value));
    }
    return text;
}

static json_t *tags_json(const struct headers *fields, struct arena *arena, struct bytes *text)
{
    struct tag *tags;
    json_t *list = json_array();
    unsigned count = tags_collect(fields, arena, &tags);
    *text = BYTES("");
    for (unsigned i = 0; i < count; i++) {
        json_array_append_new(list, text_of(tags[i].name, arena));
        *text = arena_printf(arena, "%.*s%s%.*s", BYTES_FMT(*text), i > 0 ? " " : "", BYTES_FMT(tags[i].name));
    }
    return list;
}

static void add_field(json_t *object, const char *name, const struct headers *fields, enum header_id id, struct arena *arena)
{
    struct bytes value = headers_combined(fields, header_spelling(id), arena);
    json_object_set_new(object, name, value.at != NULL ? text_of(value, arena) : json_null());
}

static void describe_freshness(const struct admin_why *why, const struct explained_response *response, json_t *lines, struct arena *arena)
{
    struct response_meta meta = response->meta;
    add_line(lines, arena_printf(arena, "  %.*s", BYTES_FMT(explain_lifetime(&meta, arena))), arena);
    add_line(lines, arena_printf(arena, "  %.*s", BYTES_FMT(explain_age(&meta, why->now, arena))), arena);
    if (response->stale_since_s != META_ABSENT) {
        add_line(lines,
                 arena_printf(arena, "  Softly purged %" PRId64 " s ago: its lifetime ended then.", why->now.s - response->stale_since_s),
                 arena);
        freshness_end(&meta, (struct wall_seconds){response->stale_since_s});
    }
    add_line(lines, arena_printf(arena, "  %.*s", BYTES_FMT(explain_freshness(&meta, why->now, arena))), arena);
    add_line(lines, arena_printf(arena, "  %.*s", BYTES_FMT(explain_stale_windows(&meta, why->grace_s, arena))), arena);
}

static void describe_fields(const struct headers *fields, struct bytes tags, json_t *lines, struct arena *arena)
{
    static const enum header_id shown[] = {
        HEADER_CACHE_CONTROL, HEADER_CDN_CACHE_CONTROL, HEADER_OUTRIGGER_CACHE_CONTROL, HEADER_EXPIRES, HEADER_DATE,
        HEADER_ETAG,          HEADER_LAST_MODIFIED};
    for (unsigned i = 0; i < sizeof shown / sizeof *shown; i++) {
        for (const struct header *line = headers_find(fields, shown[i]); line != NULL; line = headers_next(fields, line))
            add_line(lines, arena_printf(arena, "  %.*s: %.*s", BYTES_FMT(line->name), BYTES_FMT(line->value)), arena);
    }
    if (tags.len > 0)
        add_line(lines, arena_printf(arena, "  Tags: %.*s", BYTES_FMT(tags)), arena);
}

enum { SLICE_RANGES_TOLD_MAX = 16 };

/* Neighbours are told as one. */
static void describe_slices(const struct explained_response *response, json_t *object, json_t *lines, struct arena *arena)
{
    struct bytes text = BYTES("");
    json_t *list = json_array();
    unsigned told = 0;
    for (unsigned i = 0, next; i < response->slices_count && told <= SLICE_RANGES_TOLD_MAX; i = next) {
        struct span part = response->slices[i];
        for (next = i + 1; next < response->slices_count && response->slices[next].first <= part.end; next++) {
            if (response->slices[next].end > part.end)
                part.end = response->slices[next].end;
        }
        if (told++ < SLICE_RANGES_TOLD_MAX)
            text = arena_printf(arena, "%.*s%s%" PRIu64 "-%" PRIu64, BYTES_FMT(text), i > 0 ? ", " : "", part.first, part.end - 1);
        else
            text = arena_printf(arena, "%.*s and more", BYTES_FMT(text));
    }
    for (unsigned i = 0; i < response->slices_count; i++)
        json_array_append_new(list, json_pack("[I, I]", (json_int_t)response->slices[i].first, (json_int_t)response->slices[i].end - 1));
    json_object_set_new(object, "slices", list);
    add_line(lines,
             arena_printf(arena, "  In slices, of which %u %s stored%s%.*s.", response->slices_count,
                          response->slices_count == 1 ? "is" : "are", text.len > 0 ? ": bytes " : "", BYTES_FMT(text)),
             arena);
}

static json_t *response_json(const struct admin_why *why, const struct explained_response *response, json_t *lines, struct arena *arena)
{
    const struct explanation *explanation = &why->explanation;
    struct headers fields;
    struct bytes tags, values = values_text(explanation, response, arena);
    headers_init(&fields, arena);
    headers_parse_block(&fields, response->fields);
    json_t *object = json_pack(
        "{s:i, s:b, s:b, s:I, s:I, s:i, s:s, s:I, s:I, s:I, s:s, s:b}", "status", (int)response->meta.status, "selected",
        response->is_selected, "purged", response->is_purged, "body_bytes", (json_int_t)response->body_bytes, "memory_bytes",
        (json_int_t)response->memory_bytes, "hits", (int)response->frequency, "tier", "memory", "age", (json_int_t)response->verdict.age_s,
        "ttl", (json_int_t)response->verdict.ttl_s, "lifetime", (json_int_t)response->meta.lifetime_s, "lifetime_source",
        lifetime_source_word((enum lifetime_source)response->meta.lifetime_source), "serves_on_error", response->serves_on_error);
    json_object_set_new(object, "on_disk", json_boolean(response->is_on_disk));
    json_object_set_new(object, "initial_age", json_integer(response->meta.corrected_initial_age_s));
    add_field(object, "etag", &fields, HEADER_ETAG, arena);
    add_field(object, "last_modified", &fields, HEADER_LAST_MODIFIED, arena);
    json_object_set_new(object, "tags", tags_json(&fields, arena, &tags));
    json_t *vary = json_object();
    for (unsigned i = 0; i < explanation->vary_count; i++)
        json_object_set_new(vary, arena_string(arena, explanation->vary_names[i]),
                            response->values[i].at != NULL ? text_of(response->values[i], arena) : json_null());
    json_object_set_new(object, "vary", vary);

    add_line(lines,
             arena_printf(arena, "%s%.*s: status %u, %" PRIu64 " bytes of body, in memory%s, %u of 3 hits lately.%s",
                          response->is_selected         ? "Selected"
                          : explanation->vary_count > 0 ? "Not selected"
                                                        : "Stored",
                          BYTES_FMT(values.len > 0 ? arena_printf(arena, " (%.*s)", BYTES_FMT(values)) : BYTES("")), response->meta.status,
                          response->body_bytes, response->is_on_disk ? " and on disk" : "", response->frequency,
                          response->is_purged ? " It was purged." : ""),
             arena);
    if (response->is_sliced)
        describe_slices(response, object, lines, arena);
    describe_freshness(why, response, lines, arena);
    describe_fields(&fields, tags, lines, arena);
    return object;
}

/* ---- memory ----------------------------------------------------------------------------------------------------------------------------- */

/* What comes of the request while origins are asked for nothing (proxy/request/step_lookup.c, step_deliver.c); NULL: the same as ever. */
static const struct outcome *outcome_when_short(const struct admin_why *why)
{
    static const struct outcome stale = {"stale", "is answered from the cache, stale: memory is too short to ask the origin"};
    static const struct outcome refused = {"refused", "gets 503: memory is too short to ask the origin"};
    const struct explanation *explanation = &why->explanation;
    enum explained_outcome outcome = explanation->outcome;
    if (why->memory_level < MEMORY_REFUSES_MISSES || explanation->is_joined)
        return NULL;
    if (outcome != EXPLAINED_FETCH && outcome != EXPLAINED_PASS && outcome != EXPLAINED_REVALIDATE && outcome != EXPLAINED_PARTIAL)
        return outcome == EXPLAINED_STALE ? &stale : NULL;
    for (unsigned i = 0; i < explanation->response_count && outcome == EXPLAINED_REVALIDATE; i++) {
        const struct explained_response *response = &explanation->responses[i];
        if (response->is_selected && !response->is_purged && response->serves_on_error)
            return &stale;
    }
    return &refused;
}

/* As long as the cache has all that it is to have, nothing. */
static void describe_memory(const struct admin_why *why, json_t *result, json_t *lines, struct arena *arena)
{
    static const char grows_no_further[] = "the cache grows no further, and what is stored takes the place of what is asked for less";
    static const char *const meaning[MEMORY_LEVELS] = {
        [MEMORY_PLENTY] = grows_no_further,
        [MEMORY_ENDS_KEEP_ALIVE] = grows_no_further,
        [MEMORY_EVICTS] = "stored responses are evicted, what is asked for least first",
        [MEMORY_REFUSES_MISSES] = "stored responses are evicted, and origins are asked for nothing",
        [MEMORY_STOPS_ACCEPTING] = "stored responses are evicted, origins are asked for nothing, and no new client is accepted",
    };
    const struct memory_look *look = &why->memory;
    bool is_limited = look->limit_bytes > 0 && look->used_bytes >= memory_for_growth(look->limit_bytes);
    if (why->memory_level == MEMORY_PLENTY && !is_limited) {
        json_object_set_new(result, "memory", json_null());
        return;
    }
    json_object_set_new(result, "memory",
                        json_pack("{s:i, s:I, s:I, s:s}", "level", (int)why->memory_level, "used_bytes", (json_int_t)look->used_bytes,
                                  "limit_bytes", (json_int_t)look->limit_bytes, "sentence", meaning[why->memory_level]));
    add_line(lines,
             arena_printf(arena, "Memory: %s uses %" PRIu64 " of %" PRIu64 " MiB (limits.memory): %s.",
                          look->is_of_group ? "the control group" : "the server", look->used_bytes >> 20, look->limit_bytes >> 20,
                          meaning[why->memory_level]),
             arena);
}

/* ---- the whole -------------------------------------------------------------------------------------------------------------------------- */

static void describe_outcome(const struct admin_why *why, json_t *result, json_t *lines, struct arena *arena)
{
    const struct explanation *explanation = &why->explanation;
    const struct outcome *instead = outcome_when_short(why), *outcome = instead != NULL ? instead : &outcomes[explanation->outcome];
    bool is_for_memory = instead != NULL && explanation->outcome != EXPLAINED_STALE;
    enum cache_detail shown = is_for_memory ? DETAIL_MEMORY_SHORT : explanation->detail; /* as the response would have it */
    const char *fwd = fwd_word(explanation->fwd), *detail = detail_word(explanation->detail);
    json_object_set_new(result, "outcome", json_string(outcome->word));
    json_object_set_new(result, "fwd", fwd != NULL ? json_string(fwd) : json_null());
    json_object_set_new(result, "detail", shown != DETAIL_NONE ? json_string(detail_word(shown)) : json_null());
    json_object_set_new(result, "sentence", json_string(detail_sentence(shown)));
    json_object_set_new(result, "joined", json_boolean(explanation->is_joined));
    add_line(lines, arena_printf(arena, "The next such request %s.", outcome->sentence), arena);
    if (explanation->detail != DETAIL_NONE)
        add_line(lines, arena_printf(arena, "Why: %s: %s", detail, detail_sentence(explanation->detail)), arena);
    else if (explanation->fwd == FWD_VARY_MISS)
        add_line(lines, BYTES("Why: vary-miss: other variants are stored, not this one."), arena);
    else if (explanation->fwd != FWD_NONE)
        add_line(lines, arena_printf(arena, "Why: %s: nothing is stored under this key.", fwd), arena);
    if (explanation->is_joined)
        add_line(lines, BYTES("It is being fetched right now, for another request."), arena);
}

/* What the request selects is on disk only, where it is not read for this. */
static void describe_disk(const struct explained_place *disk, json_t *result, json_t *lines, struct arena *arena)
{
    if (!disk->is_there) {
        json_object_set_new(result, "disk", json_null());
        return;
    }
    json_object_set_new(result, "disk",
                        json_pack("{s:s, s:b, s:b, s:I}", "tier", "disk", "hit", disk->was_hit, "lasting", disk->is_lasting, "bytes",
                                  (json_int_t)disk->bytes));
    add_line(lines,
             arena_printf(arena,
                          "On disk, not in memory: %s of at most %" PRIu64
                          " bytes, %s since it was written. It would be loaded to tell more.",
                          disk->is_lasting ? "what leads to variants or slices," : "a response", disk->bytes,
                          disk->was_hit ? "asked for" : "not asked for"),
             arena);
}

static void describe_key(const struct admin_why *why, json_t *result, json_t *lines, struct arena *arena)
{
    const struct explanation *explanation = &why->explanation;
    char hash[17];
    struct bytes names = BYTES("");
    json_t *vary = json_array();
    snprintf(hash, sizeof hash, "%016" PRIx64, why->key_hash);
    for (unsigned i = 0; i < explanation->vary_count; i++) {
        json_array_append_new(vary, text_of(explanation->vary_names[i], arena));
        names = arena_printf(arena, "%.*s%s%.*s", BYTES_FMT(names), i > 0 ? ", " : "", BYTES_FMT(explanation->vary_names[i]));
    }
    json_object_set_new(result, "site", text_of(why->site, arena));
    json_object_set_new(result, "key", text_of(why->key, arena));
    json_object_set_new(result, "key_hash", json_string(hash));
    json_object_set_new(result, "vary", vary);
    add_line(lines, arena_printf(arena, "Site: %.*s", BYTES_FMT(why->site)), arena);
    add_line(lines, arena_printf(arena, "Key: %.*s (%s)", BYTES_FMT(why->key), hash), arena);
    struct bytes other = cache_key_url(explanation->stored_under, arena);
    json_object_set_new(result, "stored_under", other.at != NULL ? text_of(other, arena) : json_null());
    if (other.at != NULL)
        add_line(lines,
                 arena_printf(arena, "Nothing is stored for it; the response of %.*s says that it answers this URL too (No-Vary-Search).",
                              BYTES_FMT(other)),
                 arena);
    if (names.len > 0)
        add_line(lines, arena_printf(arena, "Varies on: %.*s; %u stored.", BYTES_FMT(names), explanation->response_count), arena);
}

json_t *why_json(const struct admin_why *why, struct arena *arena)
{
    const struct explanation *explanation = &why->explanation;
    json_t *result = json_object(), *lines = json_array(), *responses = json_array();
    describe_key(why, result, lines, arena);
    describe_outcome(why, result, lines, arena);
    describe_memory(why, result, lines, arena);
    describe_disk(&explanation->disk, result, lines, arena);
    for (unsigned i = 0; i < explanation->response_count; i++)
        json_array_append_new(responses, response_json(why, &explanation->responses[i], lines, arena));
    json_object_set_new(result, "responses", responses);
    json_object_set_new(result, "text", lines);
    return result;
}
