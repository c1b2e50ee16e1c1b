#include "proxy/observe/metrics.h"
#include "proxy/observe/json_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "outrigger_"

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* A request that ended without an answer is 499, as in the access log. */
static unsigned shown_status(unsigned slot)
{
    return slot > 0 ? slot : 499;
}

static uint64_t requests_of(const struct counters *sum, unsigned status, enum cache_result result)
{
    uint64_t unanswered = status == 499 ? load(&sum->requests[0][result]) : 0;

    return load(&sum->requests[status][result]) + unanswered;
}

static const char *result_label(enum cache_result result)
{
    return result == RESULT_NONE ? "NONE" : cache_result_word(result);
}

static uint64_t requests_with_result(const struct counters *sum, enum cache_result result)
{
    uint64_t count = 0;

    for (unsigned status = 0; status < STATUS_SLOTS; status++)
        count += load(&sum->requests[status][result]);
    return count;
}

/* Of the requests that the cache was asked for, how many were answered from it. */
static double hit_ratio(const struct counters *sum)
{
    uint64_t hits = 0, all = 0;

    for (unsigned result = RESULT_NONE + 1; result < RESULT_COUNT; result++) {
        uint64_t count = requests_with_result(sum, result);
        all += count;
        hits += cache_result_is_hit(result) ? count : 0;
    }
    return all > 0 ? (double)hits / (double)all : 0;
}

static double byte_hit_ratio(const struct counters *sum)
{
    uint64_t hits = load(&sum->value[COUNTER_CACHE_BYTES_SENT]), all = load(&sum->value[COUNTER_CLIENT_BYTES_SENT]);

    return all > hits ? (double)hits / (double)all : all > 0;
}

struct counter_row {
    const char *name, *labels, *help;
};

static const struct counter_row counter_rows[COUNTER_COUNT] = {
#define COUNTER(id, name, labels, help) [COUNTER_##id] = {name, labels, help},
#include "proxy/observe/metrics.tbl"
#undef COUNTER
};

struct histogram_row {
    const char *name, *labels, *help, *key; /* key: in JSON */
    size_t offset;
};

#define HELPER_CALL "From a request to a helper to its answer, waiting for a helper included."

/* Rows of the same name stand together. */
static const struct histogram_row histogram_rows[] = {
    {"origin_first_byte_seconds", "", "From a request sent to an origin to the head of its response.", "origin_first_byte",
     offsetof(struct counters, origin_first_byte)},
    {"request_duration_seconds", "cache=\"hit\"", "From a request's head received to its response sent.", "hit",
     offsetof(struct counters, hit_duration)},
    {"request_duration_seconds", "cache=\"miss\"", "From a request's head received to its response sent.", "miss",
     offsetof(struct counters, miss_duration)},
    {"helper_call_seconds", "role=\"disk\"", HELPER_CALL, "helper_disk", offsetof(struct counters, helper_disk)},
    {"helper_call_seconds", "role=\"store\"", HELPER_CALL, "helper_store", offsetof(struct counters, helper_store)},
    {"helper_call_seconds", "role=\"resolver\"", HELPER_CALL, "helper_resolver", offsetof(struct counters, helper_resolver)},
    {"store_read_seconds", "", "Reading a stored response at the disk.", "store_read", offsetof(struct counters, store_read)},
};

enum { HISTOGRAM_ROWS = sizeof(histogram_rows) / sizeof(histogram_rows[0]) };

static const struct histogram *histogram_of(const struct counters *sum, const struct histogram_row *row)
{
    return (const struct histogram *)((const char *)sum + row->offset);
}

/* ---- Prometheus text ---- */

static void put_escaped(FILE *out, const char *text, bool is_label)
{
    for (; *text; text++) {
        if (*text == '\n')
            fputs("\\n", out);
        else if (*text == '\\' || (is_label && *text == '"'))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP " PREFIX "%s ", name);
    put_escaped(out, help, false);
    fprintf(out, "\n# TYPE " PREFIX "%s %s\n", name, type);
}

static void put_name(FILE *out, const char *name, const char *labels)
{
    fprintf(out, labels[0] ? PREFIX "%s{%s} " : PREFIX "%s%s ", name, labels);
}

static void put_value(FILE *out, double value)
{
    if (isnan(value))
        fputs("NaN\n", out);
    else if (isinf(value))
        fputs(value > 0 ? "+Inf\n" : "-Inf\n", out);
    else
        fprintf(out, value == floor(value) && fabs(value) < 1e15 ? "%.0f\n" : "%.12g\n", value);
}

static void put_counters(FILE *out, const struct counters *sum)
{
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        const struct counter_row *row = &counter_rows[i];
        if (i == 0 || strcmp(counter_rows[i - 1].name, row->name) != 0)
            put_head(out, row->name, "counter", row->help);
        put_name(out, row->name, row->labels);
        fprintf(out, "%" PRIu64 "\n", load(&sum->value[i]));
    }
}

static void put_requests(FILE *out, const struct counters *sum)
{
    put_head(out, "requests_total", "counter", "Requests by the status that was sent (499: none) and by what the cache did.");
    for (unsigned status = 1; status < STATUS_SLOTS; status++) {
        for (unsigned result = 0; result < RESULT_COUNT; result++) {
            uint64_t count = requests_of(sum, status, result);
            if (count > 0)
                fprintf(out, PREFIX "requests_total{status=\"%u\",result=\"%s\"} %" PRIu64 "\n", status, result_label(result), count);
        }
    }
}

static void put_details(FILE *out, const struct counters *sum, const char *const *details, unsigned detail_count)
{
    put_head(out, "requests_by_detail_total", "counter",
             "Requests by the reason why they were or were not answered from the cache or stored.");
    for (unsigned i = 0; i < detail_count && i < DETAIL_SLOTS; i++) {
        if (!details[i][0])
            continue;
        fputs(PREFIX "requests_by_detail_total{detail=\"", out);
        put_escaped(out, details[i], true);
        fprintf(out, "\"} %" PRIu64 "\n", load(&sum->details[i]));
    }
}

static void put_bucket(FILE *out, const struct histogram_row *row, const char *bound, uint64_t cumulative)
{
    fprintf(out, PREFIX "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", row->name, row->labels, row->labels[0] ? "," : "", bound, cumulative);
}

static void put_histogram(FILE *out, const struct histogram_row *row, const struct histogram *histogram)
{
    uint64_t cumulative = 0;
    char name[64];

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        char bound[32];
        snprintf(bound, sizeof(bound), "%g", (double)histogram_bounds_us[i] / 1e6);
        cumulative += load(&histogram->buckets[i]);
        put_bucket(out, row, bound, cumulative);
    }
    cumulative += load(&histogram->buckets[HISTOGRAM_BUCKETS]);
    put_bucket(out, row, "+Inf", cumulative);
    snprintf(name, sizeof(name), "%s_sum", row->name);
    put_name(out, name, row->labels);
    fprintf(out, "%.6f\n", (double)load(&histogram->sum_us) / 1e6);
    snprintf(name, sizeof(name), "%s_count", row->name);
    put_name(out, name, row->labels);
    fprintf(out, "%" PRIu64 "\n", cumulative);
}

static void put_histograms(FILE *out, const struct counters *sum)
{
    for (unsigned i = 0; i < HISTOGRAM_ROWS; i++) {
        const struct histogram_row *row = &histogram_rows[i];
        if (i == 0 || strcmp(histogram_rows[i - 1].name, row->name) != 0)
            put_head(out, row->name, "histogram", row->help);
        put_histogram(out, row, histogram_of(sum, row));
    }
}

static void put_gauges(FILE *out, const struct gauge *gauges, unsigned gauge_count)
{
    for (unsigned i = 0; i < gauge_count; i++) {
        if (i == 0 || strcmp(gauges[i - 1].name, gauges[i].name) != 0)
            put_head(out, gauges[i].name, gauges[i].is_counter ? "counter" : "gauge", gauges[i].help);
        put_name(out, gauges[i].name, gauges[i].labels);
        put_value(out, gauges[i].value);
    }
}

/* Takes the memory stream's text into the arena. */
static struct bytes stream_take(struct arena *arena, FILE *out, char **text, size_t *length)
{
    fclose(out);
    struct bytes copy = arena_copy(arena, bytes_from(*text, *length));
    free(*text);
    return copy;
}

struct bytes metrics_prometheus(struct arena *arena, const struct counters *sum, const char *const *details, unsigned detail_count,
                                const struct gauge *gauges, unsigned gauge_count)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    struct gauge ratios[] = {
        {"cache_hit_ratio", "", "Share of the requests that the cache was asked for that it answered, since the start.", false,
         hit_ratio(sum)},
        {"cache_byte_hit_ratio", "", "Share of the bytes sent to clients that came from stored responses, since the start.", false,
         byte_hit_ratio(sum)},
    };

    if (!out)
        abort();
    put_requests(out, sum);
    put_details(out, sum, details, detail_count);
    put_counters(out, sum);
    put_histograms(out, sum);
    put_gauges(out, ratios, 2);
    put_gauges(out, gauges, gauge_count);
    return stream_take(arena, out, &text, &length);
}

/* ---- JSON ---- */

static void add_to(json_t *object, const char *key, uint64_t count)
{
    json_int_t before = json_integer_value(json_object_get(object, key));

    json_object_set_new(object, key, json_integer(before + (json_int_t)count));
}

static json_t *json_requests(const struct counters *sum)
{
    json_t *by_status = json_object(), *by_result = json_object();
    uint64_t total = 0;

    for (unsigned slot = 0; slot < STATUS_SLOTS; slot++) {
        char status[8];
        snprintf(status, sizeof(status), "%u", shown_status(slot));
        for (unsigned result = 0; result < RESULT_COUNT; result++) {
            uint64_t count = load(&sum->requests[slot][result]);
            if (count == 0)
                continue;
            add_to(by_status, status, count);
            add_to(by_result, result_label(result), count);
            total += count;
        }
    }
    return json_pack("{s:I, s:o, s:o}", "total", (json_int_t)total, "by_status", by_status, "by_result", by_result);
}

static json_t *json_details(const struct counters *sum, const char *const *details, unsigned detail_count)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < detail_count && i < DETAIL_SLOTS; i++) {
        if (details[i][0] && load(&sum->details[i]) > 0)
            add_to(object, details[i], load(&sum->details[i]));
    }
    return object;
}

static void set_named(json_t *object, const char *name, const char *labels, json_t *value)
{
    char key[256];

    snprintf(key, sizeof(key), labels[0] ? "%s{%s}" : "%s%s", name, labels);
    json_object_set_new(object, key, value);
}

static json_t *json_counters(const struct counters *sum)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        set_named(object, counter_rows[i].name, counter_rows[i].labels, json_integer((json_int_t)load(&sum->value[i])));
    return object;
}

/* JSON has no NaN and no infinity: null. */
static json_t *json_number(double value)
{
    if (!isfinite(value))
        return json_null();
    return value == floor(value) && fabs(value) < 1e15 ? json_integer((json_int_t)value) : json_real(value);
}

static json_t *json_gauges(const struct gauge *gauges, unsigned gauge_count)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < gauge_count; i++)
        set_named(object, gauges[i].name, gauges[i].labels, json_number(gauges[i].value));
    return object;
}

static uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;

    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
        count += load(&histogram->buckets[i]);
    return count;
}

/* Seconds below which `quantile` of the values lie, evenly spread within a bucket; of the last bucket only its lower bound is known. */
static double histogram_quantile(const struct histogram *histogram, double quantile)
{
    double rank = quantile * (double)histogram_count(histogram), seen = 0;

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        double count = (double)load(&histogram->buckets[i]);
        double lower = i > 0 ? (double)histogram_bounds_us[i - 1] : 0, upper = (double)histogram_bounds_us[i];
        if (count > 0 && seen + count >= rank)
            return (lower + (upper - lower) * (rank - seen) / count) / 1e6;
        seen += count;
    }
    return (double)histogram_bounds_us[HISTOGRAM_BUCKETS - 1] / 1e6;
}

static json_t *json_histogram(const struct histogram *histogram)
{
    uint64_t count = histogram_count(histogram);
    json_t *object = json_pack("{s:I, s:f}", "count", (json_int_t)count, "sum_seconds", (double)load(&histogram->sum_us) / 1e6);

    json_t *buckets = json_array();
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
        json_array_append_new(buckets,
                              json_pack("[o, I]", i < HISTOGRAM_BUCKETS ? json_real((double)histogram_bounds_us[i] / 1e6) : json_null(),
                                        (json_int_t)load(&histogram->buckets[i])));
    json_object_set_new(object, "buckets", buckets);
    json_object_set_new(object, "p50_seconds", count > 0 ? json_real(histogram_quantile(histogram, 0.5)) : json_null());
    json_object_set_new(object, "p99_seconds", count > 0 ? json_real(histogram_quantile(histogram, 0.99)) : json_null());
    return object;
}

static json_t *json_latency(const struct counters *sum)
{
    json_t *object = json_object();

    for (unsigned i = 0; i < HISTOGRAM_ROWS; i++)
        json_object_set_new(object, histogram_rows[i].key, json_histogram(histogram_of(sum, &histogram_rows[i])));
    return object;
}

struct bytes metrics_json(struct arena *arena, const struct counters *sum, const char *const *details, unsigned detail_count,
                          const struct gauge *gauges, unsigned gauge_count)
{
    json_t *object = json_object();

    json_object_set_new(object, "requests", json_requests(sum));
    json_object_set_new(object, "details", json_details(sum, details, detail_count));
    json_object_set_new(object, "hit_ratio", json_real(hit_ratio(sum)));
    json_object_set_new(object, "byte_hit_ratio", json_real(byte_hit_ratio(sum)));
    json_object_set_new(object, "latency", json_latency(sum));
    json_object_set_new(object, "counters", json_counters(sum));
    json_object_set_new(object, "gauges", json_gauges(gauges, gauge_count));
    return json_text(object, JSON_COMPACT | JSON_REAL_PRECISION(9), arena);
}
