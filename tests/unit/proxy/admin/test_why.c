/* What /why says of memory: when, and what comes of a request then. The rest is tested with a server, by what outriggerctl prints. */
#include "proxy/admin/why.h"

#include <criterion/criterion.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

static struct arena arena;
static json_t *told;

static void explain(enum memory_level level, uint64_t used_bytes, uint64_t limit_bytes, const struct explanation *explanation)
{
    const struct admin_why why = {
        .site = BYTES("a"),
        .key = BYTES("http://a/"),
        .memory = {.limit_bytes = limit_bytes, .used_bytes = used_bytes},
        .memory_level = level,
        .explanation = *explanation,
    };
    json_decref(told);
    told = why_json(&why, &arena);
}

static void set_up(void)
{
    arena_init(&arena);
    told = NULL;
}

static void tear_down(void)
{
    json_decref(told);
    arena_free(&arena);
}

TestSuite(why, .init = set_up, .fini = tear_down);

static bool says(const char *words)
{
    json_t *line;
    size_t i;
    json_array_foreach(json_object_get(told, "text"), i, line)
    {
        if (strstr(json_string_value(line), words))
            return true;
    }
    return false;
}

static const char *text_of(const char *key)
{
    const char *text = json_string_value(json_object_get(told, key));
    return text ? text : "";
}

Test(why, memory_is_spoken_of_when_the_cache_does_not_get_what_it_is_to_have)
{
    static const struct {
        enum memory_level level;
        uint64_t used, limit;
        const char *words; /* NULL: nothing */
    } rows[] = {
        {MEMORY_PLENTY, 1000, 0, NULL},
        {MEMORY_PLENTY, 79, 100, NULL},
        {MEMORY_PLENTY, 80, 100, "Memory: the server uses 80 of 100 MiB (limits.memory): the cache grows no further"},
        {MEMORY_ENDS_KEEP_ALIVE, 70, 100, "Memory: the server uses 70 of 100 MiB (limits.memory): the cache grows no further"},
        {MEMORY_EVICTS, 91, 100, "stored responses are evicted, what is asked for least first"},
        {MEMORY_REFUSES_MISSES, 96, 100, "origins are asked for nothing."},
        {MEMORY_STOPS_ACCEPTING, 99, 100, "no new client is accepted."},
    };
    static const struct explanation fetch = {.outcome = EXPLAINED_FETCH, .fwd = FWD_URI_MISS};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        explain(rows[i].level, rows[i].used * MIB, rows[i].limit * MIB, &fetch);
        json_t *memory = json_object_get(told, "memory");
        cr_expect_eq(says("Memory: "), rows[i].words != NULL);
        cr_expect_eq(json_is_null(memory), rows[i].words == NULL);
        if (rows[i].words) {
            cr_expect(says(rows[i].words), "%s", rows[i].words);
            cr_expect_eq(json_integer_value(json_object_get(memory, "level")), rows[i].level);
            cr_expect_eq(json_integer_value(json_object_get(memory, "used_bytes")), rows[i].used * MIB);
            cr_expect_eq(json_integer_value(json_object_get(memory, "limit_bytes")), rows[i].limit * MIB);
        }
    }
}

Test(why, what_would_be_fetched_is_refused_or_stale_on_the_third_rung)
{
    static struct explained_response good = {.is_selected = true, .serves_on_error = true}, other = {.serves_on_error = true},
                                     purged = {.is_selected = true, .is_purged = true, .serves_on_error = true},
                                     old = {.is_selected = true};
    const struct {
        struct explanation explanation;
        const char *before, *outcome, *detail;
    } rows[] = {
        {{.outcome = EXPLAINED_FETCH, .fwd = FWD_URI_MISS}, "miss", "refused", "memory-short"},
        {{.outcome = EXPLAINED_PASS, .fwd = FWD_BYPASS, .detail = DETAIL_COOKIE}, "pass", "refused", "memory-short"},
        {{.outcome = EXPLAINED_REVALIDATE, .fwd = FWD_STALE, .detail = DETAIL_EXPIRED, .responses = &old, .response_count = 1},
         "revalidate",
         "refused",
         "memory-short"},
        {{.outcome = EXPLAINED_REVALIDATE, .fwd = FWD_STALE, .detail = DETAIL_EXPIRED, .responses = &good, .response_count = 1},
         "revalidate",
         "stale",
         "memory-short"},
        {{.outcome = EXPLAINED_REVALIDATE, .fwd = FWD_STALE, .responses = &other, .response_count = 1},
         "revalidate",
         "refused",
         "memory-short"},
        {{.outcome = EXPLAINED_REVALIDATE, .fwd = FWD_STALE, .responses = &purged, .response_count = 1},
         "revalidate",
         "refused",
         "memory-short"},
        {{.outcome = EXPLAINED_STALE, .detail = DETAIL_STALE_WHILE_REVALIDATE}, "stale", "stale", "stale-while-revalidate"},
        {{.outcome = EXPLAINED_HIT}, "hit", "hit", ""},
        {{.outcome = EXPLAINED_LOAD, .disk = {.is_there = true}}, "load", "load", ""},
        {{.outcome = EXPLAINED_REFUSED, .detail = DETAIL_ONLY_IF_CACHED}, "refused", "refused", "only-if-cached"},
        {{.outcome = EXPLAINED_FETCH, .fwd = FWD_URI_MISS, .is_joined = true}, "miss", "miss", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        explain(MEMORY_EVICTS, 91 * MIB, 100 * MIB, &rows[i].explanation);
        cr_expect_str_eq(text_of("outcome"), rows[i].before);
        cr_expect(!says("memory is too short"));
        explain(MEMORY_REFUSES_MISSES, 96 * MIB, 100 * MIB, &rows[i].explanation);
        cr_expect_str_eq(text_of("outcome"), rows[i].outcome);
        cr_expect_str_eq(text_of("detail"), rows[i].detail, "%zu: %s", i, text_of("detail"));
    }
}
