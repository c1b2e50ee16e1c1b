#include "proxy/admin/ctl_top_screen.h"
#include "cache/policy/detail.h"
#include "proxy/admin/ctl_text.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { REASONS_MAX = 128, LINE_MAX_BYTES = 1024 };

#define REVERSE "\033[7m"
#define PLAIN   "\033[0m"

/* ---- figures ------------------------------------------------------------------------------------------------------------------------------ */

static double at(const json_t *stats, const char *section, const char *key)
{
    return json_number_value(json_object_get(json_object_get(stats, section), key));
}

/* What was counted since, each second; a server that was started anew begins at 0. */
static double rate(double now, double before, bool has_before, double seconds)
{
    double more = has_before && now >= before ? now - before : has_before ? now : 0;
    return seconds > 0 ? more / seconds : 0;
}

static double rate_of(const json_t *now, const json_t *before, double seconds, const char *section, const char *key)
{
    return rate(at(now, section, key), before ? at(before, section, key) : 0, before != NULL, seconds);
}

/* Of what was asked for since the look before, the part of these results; < 0: nothing was. */
static double hit_ratio(const json_t *now, const json_t *before)
{
    static const char *const hits[] = {"HIT", "STALE", "UPDATING", "REVALIDATED"};
    const json_t *new_results = json_object_get(json_object_get(now, "requests"), "by_result");
    const json_t *old_results = before ? json_object_get(json_object_get(before, "requests"), "by_result") : NULL;
    double all = 0, good = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)new_results, key, value)
    {
        double more = json_number_value(value) - json_number_value(json_object_get(old_results, key));
        if (strcmp(key, "NONE") == 0 || more < 0)
            continue;
        all += more;
        for (size_t i = 0; i < sizeof hits / sizeof *hits; i++)
            good += strcmp(key, hits[i]) == 0 ? more : 0;
    }
    return all > 0 ? good / all : -1;
}

/* ---- the table of results, statuses and reasons ------------------------------------------------------------------------------------------- */

struct row {
    const char *kind, *name;
    double count, rate;
};

static enum top_order sorted_by; /* qsort has no place for it */

static int compare(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    double x = sorted_by == TOP_BY_RATE ? left->rate : left->count, y = sorted_by == TOP_BY_RATE ? right->rate : right->count;
    if (sorted_by != TOP_BY_NAME && x != y)
        return x > y ? -1 : 1;
    int kinds = strcmp(left->kind, right->kind);
    return kinds ? kinds : strcmp(left->name, right->name);
}

static unsigned collect(struct row *rows, unsigned count, const char *kind, const json_t *now, const json_t *before, double seconds)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        double total = json_number_value(value);
        if (count < REASONS_MAX && total > 0)
            rows[count++] =
                (struct row){kind, key, total, rate(total, json_number_value(json_object_get(before, key)), before != NULL, seconds)};
    }
    return count;
}

static unsigned collect_all(struct row *rows, const json_t *now, const json_t *before, double seconds)
{
    const json_t *requests = json_object_get(now, "requests"), *old = json_object_get(before, "requests");
    unsigned count = collect(rows, 0, "result", json_object_get(requests, "by_result"), json_object_get(old, "by_result"), seconds);
    count = collect(rows, count, "status", json_object_get(requests, "by_status"), json_object_get(old, "by_status"), seconds);
    return collect(rows, count, "reason", json_object_get(now, "details"), json_object_get(before, "details"), seconds);
}

/* ---- a screen ----------------------------------------------------------------------------------------------------------------------------- */

struct screen {
    FILE *out;
    unsigned rows, columns, used;
    bool is_terminal;
};

/* Bytes of the first `columns` characters. */
static size_t cut(const char *line, unsigned columns)
{
    size_t used = 0;
    for (unsigned column = 0; column < columns && line[used]; column++)
        used += ctl_character_bytes(line + used);
    return used;
}

static void __attribute__((format(printf, 2, 3))) put_line(struct screen *screen, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list arguments;
    if (screen->used == screen->rows)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(screen->out, "%.*s\n", (int)cut(line, screen->columns), line);
    screen->used++;
}

/* Over the whole width, so that the eye finds it. ASCII. */
static void put_title(struct screen *screen, const char *title)
{
    if (screen->used == screen->rows)
        return;
    if (screen->is_terminal)
        fprintf(screen->out, REVERSE "%-*.*s" PLAIN "\n", (int)screen->columns, (int)screen->columns, title);
    else
        fprintf(screen->out, "%.*s\n", (int)screen->columns, title);
    screen->used++;
}

static void put_head(struct screen *screen, const json_t *now, const json_t *before, double seconds)
{
    char sent[32], fetched[32], used[32], limit[32];
    const json_t *latency = json_object_get(now, "latency");
    double ratio = hit_ratio(now, before);
    char hits[16] = "-";
    if (ratio >= 0)
        snprintf(hits, sizeof hits, "%.1f %%", ratio * 100);
    ctl_format_bytes(sent, sizeof sent, rate_of(now, before, seconds, "counters", "client_sent_bytes_total"));
    ctl_format_bytes(fetched, sizeof fetched, rate_of(now, before, seconds, "counters", "origin_received_bytes_total"));
    ctl_format_bytes(used, sizeof used, at(now, "gauges", "cache_memory_bytes{kind=\"allocated\"}"));
    ctl_format_bytes(limit, sizeof limit, at(now, "gauges", "cache_memory_bytes{kind=\"limit\"}"));
    put_line(screen, "requests %10.0f/s   hits %s   to clients %s/s   from origins %s/s (%.0f requests/s)",
             rate_of(now, before, seconds, "requests", "total"), hits, sent, fetched,
             rate_of(now, before, seconds, "counters", "origin_requests_total"));
    put_line(screen, "clients  %10.0f     memory %s of %s in %.0f responses   evicted %.0f/s", at(now, "gauges", "client_connections"),
             used, limit, at(now, "gauges", "cache_objects"), rate_of(now, before, seconds, "gauges", "cache_evictions_total"));
    put_line(screen, "latency since the start, median / 99 %%: hit %.2f / %.2f ms   miss %.2f / %.2f ms",
             at(latency, "hit", "p50_seconds") * 1e3, at(latency, "hit", "p99_seconds") * 1e3, at(latency, "miss", "p50_seconds") * 1e3,
             at(latency, "miss", "p99_seconds") * 1e3);
}

/* ---- views ------------------------------------------------------------------------------------------------------------------------------- */

static const char *const orders[] = {[TOP_BY_RATE] = "rate", [TOP_BY_COUNT] = "count", [TOP_BY_NAME] = "name"};
static const char *const views[TOP_VIEWS] = {"overview", "URLs", "sites", "tags", "statuses", "reasons"};

static void put_views(struct screen *screen, enum top_view shown)
{
    char line[LINE_MAX_BYTES];
    size_t used = 0;
    for (unsigned view = 0; view < TOP_VIEWS; view++)
        used += (size_t)snprintf(line + used, sizeof line - used, view == shown ? "[%u %s] " : " %u %s  ", view + 1, views[view]);
    snprintf(line + used, sizeof line - used, "  s: sort   q: quit");
    put_line(screen, "%s", line);
}

static void put_overview(struct screen *screen, const struct ctl_top_look *look)
{
    struct row table[REASONS_MAX];
    char title[LINE_MAX_BYTES];
    unsigned count = collect_all(table, look->now, look->before, look->seconds);
    sorted_by = look->order;
    qsort(table, count, sizeof *table, compare);
    snprintf(title, sizeof title, "%-8s %-28s %12s %14s   by %s", "", "", "a second", "in all", orders[look->order]);
    put_title(screen, title);
    for (unsigned i = 0; i < count; i++)
        put_line(screen, "%-8s %-28s %12.1f %14.0f", table[i].kind, table[i].name, table[i].rate, table[i].count);
}

static const char *sentence_of(const char *reason)
{
    for (unsigned detail = 1; detail < DETAIL_COUNT; detail++)
        if (strcmp(detail_word((enum cache_detail)detail), reason) == 0)
            return detail_sentence((enum cache_detail)detail);
    return "";
}

static void put_reasons(struct screen *screen, const struct ctl_top_look *look)
{
    struct row table[REASONS_MAX];
    char title[LINE_MAX_BYTES];
    unsigned count = collect(table, 0, "", json_object_get(look->now, "details"), json_object_get(look->before, "details"), look->seconds);
    sorted_by = look->order;
    qsort(table, count, sizeof *table, compare);
    snprintf(title, sizeof title, "%10s %12s  %-24s why it did not come from the cache, or was not stored; by %s", "a second", "in all",
             "reason", orders[look->order]);
    put_title(screen, title);
    if (count == 0)
        put_line(screen, "%s", "none so far");
    for (unsigned i = 0; i < count; i++)
        put_line(screen, "%10.1f %12.0f  %-24s %s", table[i].rate, table[i].count, table[i].name, sentence_of(table[i].name));
}

static const json_t *list_of(const struct ctl_top_look *look, enum top_measure measure)
{
    const char *kind = top_kind_words[look->view - TOP_VIEW_URLS];
    return json_object_get(json_object_get(look->lists, kind), top_measure_words[measure]);
}

/* What the list of that measure says of a name; −1: it is not among the most. */
static double count_of(const json_t *list, const char *name)
{
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)list, i, row)
    {
        const char *other = json_string_value(json_object_get(row, "name"));
        if (other && strcmp(other, name) == 0)
            return json_number_value(json_object_get(row, "count"));
    }
    return -1;
}

static void format_measure(char *out, size_t size, enum top_measure measure, double count)
{
    if (count < 0)
        snprintf(out, size, "-");
    else if (measure == TOP_BYTES)
        ctl_format_bytes(out, size, count);
    else
        snprintf(out, size, "%.0f", count);
}

static void put_list(struct screen *screen, const struct ctl_top_look *look)
{
    char title[LINE_MAX_BYTES];
    size_t i;
    json_t *row;
    snprintf(title, sizeof title, "%12s %12s %12s  %s of the last minutes, by %s", "requests", "bytes", "misses", views[look->view],
             top_measure_words[look->measure]);
    put_title(screen, title);
    if (json_array_size(list_of(look, look->measure)) == 0)
        put_line(screen, "%s", "none so far");
    json_array_foreach((json_t *)list_of(look, look->measure), i, row)
    {
        char name[LINE_MAX_BYTES], counts[TOP_MEASURES][32];
        const char *text = json_string_value(json_object_get(row, "name"));
        for (unsigned measure = 0; measure < TOP_MEASURES; measure++)
            format_measure(counts[measure], sizeof counts[measure], (enum top_measure)measure,
                           count_of(list_of(look, (enum top_measure)measure), text ? text : ""));
        ctl_safe_text(name, sizeof name, text ? text : "");
        put_line(screen, "%12s %12s %12s  %s", counts[TOP_REQUESTS], counts[TOP_BYTES], counts[TOP_MISSES], name);
    }
}

void ctl_top_print(const struct ctl_top_look *look, FILE *out)
{
    struct screen screen = {.out = out, .rows = look->rows, .columns = look->columns, .is_terminal = look->is_terminal};
    put_head(&screen, look->now, look->before, look->seconds);
    if (look->is_terminal)
        put_views(&screen, look->view);
    if (look->view == TOP_VIEW_OVERVIEW)
        put_overview(&screen, look);
    else if (look->view == TOP_VIEW_REASONS)
        put_reasons(&screen, look);
    else
        put_list(&screen, look);
}
