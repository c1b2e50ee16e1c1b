/* The metrics page against a strict little reader of the exposition format 0.0.4. */
#include "proxy/observe/metrics.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>

enum { SAMPLES_MAX = 1024, FAMILIES_MAX = 128 };

struct family {
    char name[128], type[16];
    bool has_help;
};

struct sample {
    char name[128], labels[256]; /* labels as they stand between the braces */
    double value;
    struct family *family;
};

struct page {
    struct family families[FAMILIES_MAX];
    unsigned family_count;
    struct sample samples[SAMPLES_MAX];
    unsigned sample_count;
};

static struct family *family_find(struct page *page, const char *name)
{
    for (unsigned i = 0; i < page->family_count; i++) {
        if (strcmp(page->families[i].name, name) == 0)
            return &page->families[i];
    }
    return NULL;
}

static const char *read_name(const char *at, char name[128])
{
    size_t length = 0;

    cr_assert(isalpha((unsigned char)*at) || *at == '_', "no name at %.40s", at);
    while (isalnum((unsigned char)at[length]) || at[length] == '_')
        length++;
    cr_assert_lt(length, 128);
    memcpy(name, at, length);
    name[length] = 0;
    return at + length;
}

/* name="value",… with \\ \" \n only. */
static const char *read_labels(const char *at)
{
    char name[128];

    for (;;) {
        at = read_name(at, name);
        cr_assert_eq(at[0], '=');
        cr_assert_eq(at[1], '"');
        for (at += 2; *at != '"'; at++) {
            cr_assert(*at && *at != '\n', "a label is not closed");
            if (*at != '\\')
                continue;
            at++;
            cr_assert(*at == '\\' || *at == '"' || *at == 'n', "bad escape");
        }
        at++;
        if (*at != ',')
            return at;
        at++;
    }
}

/* The family that a sample belongs to: of a histogram the name without its ending. */
static struct family *family_of_sample(struct page *page, const char *name)
{
    static const char *const endings[] = {"_bucket", "_sum", "_count"};
    struct family *family = family_find(page, name);

    for (unsigned i = 0; !family && i < 3; i++) {
        size_t length = strlen(name), ending = strlen(endings[i]);
        char base[128];
        if (length <= ending || strcmp(name + length - ending, endings[i]) != 0)
            continue;
        memcpy(base, name, length - ending);
        base[length - ending] = 0;
        family = family_find(page, base);
        cr_assert(!family || strcmp(family->type, "histogram") == 0);
    }
    return family;
}

static void read_comment(struct page *page, const char *line)
{
    char name[128];
    bool is_help = strncmp(line, "# HELP ", 7) == 0;
    const char *rest = read_name(line + 7, name);

    cr_assert(is_help || strncmp(line, "# TYPE ", 7) == 0, "%s", line);
    cr_assert_eq(*rest, ' ');
    struct family *family = family_find(page, name);
    if (is_help) {
        cr_assert_null(family, "HELP twice: %s", name);
        cr_assert_gt(strlen(rest), 1);
        family = &page->families[page->family_count++];
        cr_assert_leq(page->family_count, FAMILIES_MAX);
        strcpy(family->name, name);
        family->has_help = true;
        return;
    }
    cr_assert(family && family == &page->families[page->family_count - 1], "TYPE without its HELP: %s", name);
    cr_assert_eq(family->type[0], 0, "TYPE twice: %s", name);
    cr_assert_lt(strlen(rest + 1), sizeof(family->type));
    strcpy(family->type, rest + 1);
    cr_assert(!strcmp(family->type, "counter") || !strcmp(family->type, "gauge") || !strcmp(family->type, "histogram"));
}

static void read_sample(struct page *page, const char *line)
{
    struct sample *sample = &page->samples[page->sample_count++];
    char *end;

    cr_assert_leq(page->sample_count, SAMPLES_MAX);
    memset(sample, 0, sizeof(*sample));
    const char *at = read_name(line, sample->name);
    cr_assert(strncmp(sample->name, "outrigger_", 10) == 0, "%s", line);
    if (*at == '{') {
        const char *close = read_labels(at + 1);
        cr_assert_eq(*close, '}');
        memcpy(sample->labels, at + 1, (size_t)(close - at - 1));
        at = close + 1;
    }
    cr_assert_eq(*at, ' ');
    sample->value = strtod(at + 1, &end);
    cr_assert(end > at + 1 && *end == 0, "no number: %s", line);
    sample->family = family_of_sample(page, sample->name);
    cr_assert(sample->family == &page->families[page->family_count - 1], "%s does not stand under its own TYPE", sample->name);
    cr_assert_neq(sample->family->type[0], 0);
    if (strcmp(sample->family->type, "counter") == 0) {
        size_t length = strlen(sample->name);
        cr_assert(length > 6 && strcmp(sample->name + length - 6, "_total") == 0, "a counter ends in _total: %s", sample->name);
        cr_assert_geq(sample->value, 0);
    }
    for (unsigned i = 0; i + 1 < page->sample_count; i++)
        cr_assert(strcmp(page->samples[i].name, sample->name) != 0 || strcmp(page->samples[i].labels, sample->labels) != 0, "twice: %s",
                  line);
}

static struct page *page_read(struct bytes text)
{
    struct page *page = calloc(1, sizeof(*page));
    char *copy = strndup(text.at, text.len), *rest = copy, *line;

    cr_assert_eq(strlen(copy), text.len);
    cr_assert_eq(copy[text.len - 1], '\n');
    while ((line = strsep(&rest, "\n")) && rest) {
        if (line[0] == '#')
            read_comment(page, line);
        else
            read_sample(page, line);
    }
    free(copy);
    return page;
}

static double value_of(const struct page *page, const char *name, const char *labels)
{
    for (unsigned i = 0; i < page->sample_count; i++) {
        if (strcmp(page->samples[i].name, name) == 0 && strcmp(page->samples[i].labels, labels) == 0)
            return page->samples[i].value;
    }
    cr_assert_fail("no %s{%s}", name, labels);
    return 0;
}

static const char *const details[] = {"", "method", "odd \"word\"\\\n"};

static const struct gauge gauges[] = {
    {"memory_bytes", "kind=\"slab\"", "Memory.", false, 268435456},
    {"memory_bytes", "kind=\"index\"", "Memory.", false, 1234.5},
    {"helper_restarts_total", "", "Restarts, with a \\ and a\nnewline.", true, 3},
};

static struct counters *some_counters(void)
{
    struct counters *counters = counters_new();

    for (unsigned i = 0; i < 6; i++)
        counters_count_request(counters, 200, RESULT_HIT, 0);
    counters_count_request(counters, 200, RESULT_MISS, 1);
    counters_count_request(counters, 200, RESULT_MISS, 2);
    counters_count_request(counters, 404, RESULT_NONE, 0);
    counters_count_request(counters, 0, RESULT_MISS, 0);
    counters_count_request(counters, 499, RESULT_MISS, 0);
    counters_count_request(counters, 304, RESULT_REVALIDATED, 0);
    counter_add(counters, COUNTER_CLIENT_BYTES_SENT, 1000);
    counter_add(counters, COUNTER_CACHE_BYTES_SENT, 250);
    histogram_add(&counters->hit_duration, 50);
    histogram_add(&counters->hit_duration, 150);
    histogram_add(&counters->hit_duration, 60000000);
    return counters;
}

Test(metrics, the_page_is_well_formed_and_says_what_was_counted)
{
    struct counters *counters = some_counters();
    struct arena arena;

    arena_init(&arena);
    struct page *page = page_read(metrics_prometheus(&arena, counters, details, 3, gauges, 3));
    cr_assert_eq(value_of(page, "outrigger_requests_total", "status=\"200\",result=\"HIT\""), 6);
    cr_assert_eq(value_of(page, "outrigger_requests_total", "status=\"200\",result=\"MISS\""), 2);
    cr_assert_eq(value_of(page, "outrigger_requests_total", "status=\"404\",result=\"NONE\""), 1);
    cr_assert_eq(value_of(page, "outrigger_requests_total", "status=\"499\",result=\"MISS\""), 2, "unanswered ones and 499s are one");
    cr_assert_eq(value_of(page, "outrigger_requests_by_detail_total", "detail=\"method\""), 1);
    cr_assert_eq(value_of(page, "outrigger_requests_by_detail_total", "detail=\"odd \\\"word\\\"\\\\\\n\""), 1);
    cr_assert_eq(value_of(page, "outrigger_client_sent_bytes_total", ""), 1000);
    cr_assert_float_eq(value_of(page, "outrigger_cache_hit_ratio", ""), 7.0 / 11, 1e-9);
    cr_assert_float_eq(value_of(page, "outrigger_cache_byte_hit_ratio", ""), 0.25, 1e-9);
    cr_assert_eq(value_of(page, "outrigger_memory_bytes", "kind=\"slab\""), 268435456);
    cr_assert_eq(value_of(page, "outrigger_memory_bytes", "kind=\"index\""), 1234.5);
    cr_assert_eq(value_of(page, "outrigger_helper_restarts_total", ""), 3);
    free(page);
    arena_free(&arena);
    counters_free(&counters);
}

Test(metrics, a_histogram_is_cumulative_and_in_seconds)
{
    struct counters *counters = some_counters();
    struct arena arena;
    double before = 0;

    arena_init(&arena);
    struct page *page = page_read(metrics_prometheus(&arena, counters, details, 3, NULL, 0));
    cr_assert_eq(value_of(page, "outrigger_request_duration_seconds_bucket", "cache=\"hit\",le=\"0.0001\""), 1);
    cr_assert_eq(value_of(page, "outrigger_request_duration_seconds_bucket", "cache=\"hit\",le=\"0.00025\""), 2);
    cr_assert_eq(value_of(page, "outrigger_request_duration_seconds_bucket", "cache=\"hit\",le=\"30\""), 2);
    cr_assert_eq(value_of(page, "outrigger_request_duration_seconds_bucket", "cache=\"hit\",le=\"+Inf\""), 3);
    cr_assert_eq(value_of(page, "outrigger_request_duration_seconds_count", "cache=\"hit\""), 3);
    cr_assert_float_eq(value_of(page, "outrigger_request_duration_seconds_sum", "cache=\"hit\""), 60.0002, 1e-9);
    cr_assert_eq(value_of(page, "outrigger_request_duration_seconds_count", "cache=\"miss\""), 0);
    cr_assert_eq(value_of(page, "outrigger_origin_first_byte_seconds_bucket", "le=\"+Inf\""), 0);
    for (unsigned i = 0; i < page->sample_count; i++) {
        const struct sample *sample = &page->samples[i];
        if (strcmp(sample->name, "outrigger_request_duration_seconds_bucket") != 0 || !strstr(sample->labels, "hit"))
            continue;
        cr_assert_geq(sample->value, before);
        before = sample->value;
    }
    cr_assert_eq(before, 3);
    free(page);
    arena_free(&arena);
    counters_free(&counters);
}

Test(metrics, nothing_counted_is_a_page_too)
{
    struct counters *counters = counters_new();
    struct arena arena;

    arena_init(&arena);
    struct page *page = page_read(metrics_prometheus(&arena, counters, NULL, 0, NULL, 0));
    cr_assert_eq(value_of(page, "outrigger_cache_hit_ratio", ""), 0);
    cr_assert_eq(value_of(page, "outrigger_cache_byte_hit_ratio", ""), 0);
    free(page);
    arena_free(&arena);
    counters_free(&counters);
}

static json_int_t integer_at(const json_t *object, const char *outer, const char *key)
{
    json_t *value = json_object_get(json_object_get(object, outer), key);

    cr_assert(json_is_integer(value), "no %s.%s", outer, key);
    return json_integer_value(value);
}

Test(metrics, json_says_the_same)
{
    struct counters *counters = some_counters();
    struct arena arena;

    arena_init(&arena);
    struct bytes text = metrics_json(&arena, counters, details, 3, gauges, 3);
    json_t *object = json_loadb(text.at, text.len, 0, NULL);
    cr_assert(object);
    cr_assert_eq(integer_at(object, "requests", "total"), 12);
    cr_assert_eq(integer_at(json_object_get(object, "requests"), "by_status", "200"), 8);
    cr_assert_eq(integer_at(json_object_get(object, "requests"), "by_status", "499"), 2);
    cr_assert_eq(integer_at(json_object_get(object, "requests"), "by_result", "HIT"), 6);
    cr_assert_eq(integer_at(object, "details", "method"), 1);
    cr_assert_eq(integer_at(object, "counters", "client_sent_bytes_total"), 1000);
    cr_assert_eq(integer_at(object, "gauges", "memory_bytes{kind=\"slab\"}"), 268435456);
    cr_assert_eq(integer_at(json_object_get(object, "latency"), "hit", "count"), 3);
    cr_assert_float_eq(json_real_value(json_object_get(object, "hit_ratio")), 7.0 / 11, 1e-6);
    double p50 = json_real_value(json_object_get(json_object_get(json_object_get(object, "latency"), "hit"), "p50_seconds"));
    cr_assert(p50 > 0.0001 && p50 < 0.00025, "%f", p50);
    cr_assert(json_is_null(json_object_get(json_object_get(json_object_get(object, "latency"), "miss"), "p99_seconds")));
    json_decref(object);
    arena_free(&arena);
    counters_free(&counters);
}
