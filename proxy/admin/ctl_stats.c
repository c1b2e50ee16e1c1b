#include "proxy/admin/ctl_stats.h"

#include <string.h>

enum { NAME_WIDTH = 28 };

void ctl_format_bytes(char *out, size_t size, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, size, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------------------- */

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void put_section(FILE *out, const char *title)
{
    fprintf(out, "%s\n", title);
}

static void put_text(FILE *out, const char *name, const char *value)
{
    fprintf(out, "  %-*s %14s\n", NAME_WIDTH, name, value);
}

static void put_count(FILE *out, const char *name, double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.0f", value);
    put_text(out, name, text);
}

static void put_percent(FILE *out, const char *name, double ratio)
{
    char text[32];
    snprintf(text, sizeof text, "%.1f %%", ratio * 100);
    put_text(out, name, text);
}

static void put_bytes(FILE *out, const char *name, double bytes)
{
    char text[32];
    ctl_format_bytes(text, sizeof text, bytes);
    put_text(out, name, text);
}

static void put_uptime(FILE *out, double seconds)
{
    char text[48];
    unsigned long s = (unsigned long)seconds;
    snprintf(text, sizeof text, "%lud %02lu:%02lu:%02lu", s / 86400, s / 3600 % 24, s / 60 % 60, s % 60);
    put_text(out, "up", text);
}

/* ---- sections --------------------------------------------------------------------------------------------------------------------------- */

static void put_requests(FILE *out, const json_t *stats)
{
    const json_t *requests = json_object_get(stats, "requests");
    const char *key;
    json_t *value;
    put_section(out, "Requests");
    put_count(out, "all", number(requests, "total"));
    put_percent(out, "hit ratio", number(stats, "hit_ratio"));
    put_percent(out, "hit ratio by bytes", number(stats, "byte_hit_ratio"));
    json_object_foreach(json_object_get(requests, "by_result"), key, value)
        put_count(out, strcmp(key, "NONE") == 0 ? "without the cache" : key, json_number_value(value));
    put_section(out, "By status");
    json_object_foreach(json_object_get(requests, "by_status"), key, value) put_count(out, key, json_number_value(value));
}

static void put_details(FILE *out, const json_t *details)
{
    const char *key;
    json_t *value;
    if (json_object_size(details) == 0)
        return;
    put_section(out, "Why not from the cache, or not stored");
    json_object_foreach((json_t *)details, key, value) put_count(out, key, json_number_value(value));
}

static void put_latency(FILE *out, const json_t *latency)
{
    static const struct {
        const char *key, *name;
    } rows[] = {{"hit", "hit"}, {"miss", "miss"}, {"origin_first_byte", "origin's first byte"}};
    put_section(out, "Latency, median / 99 %");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const json_t *row = json_object_get(latency, rows[i].key);
        char text[64];
        if (number(row, "count") == 0)
            continue;
        snprintf(text, sizeof text, "%.2f / %.2f ms", number(row, "p50_seconds") * 1000, number(row, "p99_seconds") * 1000);
        put_text(out, rows[i].name, text);
    }
}

static void put_traffic(FILE *out, const json_t *counters, const json_t *gauges)
{
    put_section(out, "Traffic");
    put_count(out, "clients connected", number(gauges, "client_connections"));
    put_bytes(out, "received from clients", number(counters, "client_received_bytes_total"));
    put_bytes(out, "sent to clients", number(counters, "client_sent_bytes_total"));
    put_bytes(out, "sent from stored responses", number(counters, "cache_sent_bytes_total"));
    put_count(out, "requests to origins", number(counters, "origin_requests_total"));
    put_count(out, "failed at origins", number(counters, "origin_failures_total"));
    put_count(out, "connections to origins", number(gauges, "origin_connections"));
    put_count(out, "kept for the next request", number(gauges, "origin_connections_idle"));
    put_bytes(out, "received from origins", number(counters, "origin_received_bytes_total"));
}

static void put_cache(FILE *out, const json_t *gauges)
{
    put_section(out, "Cache");
    put_count(out, "stored responses", number(gauges, "cache_objects"));
    put_bytes(out, "memory used", number(gauges, "cache_memory_bytes{kind=\"allocated\"}"));
    put_bytes(out, "of", number(gauges, "cache_memory_bytes{kind=\"limit\"}"));
    put_bytes(out, "index", number(gauges, "cache_memory_bytes{kind=\"index\"}"));
    put_count(out, "evicted", number(gauges, "cache_evictions_total"));
    put_count(out, "purges", number(gauges, "cache_purges_total"));
}

static void put_helpers(FILE *out, const json_t *gauges)
{
    static const char *const roles[] = {"disk", "resolver", "log"};
    put_section(out, "Helpers: alive / queue / restarts");
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        char alive[64], queue[64], restarts[64], text[64];
        snprintf(alive, sizeof alive, "helpers{role=\"%s\"}", roles[i]);
        snprintf(queue, sizeof queue, "helper_queue_depth{role=\"%s\"}", roles[i]);
        snprintf(restarts, sizeof restarts, "helper_restarts_total{role=\"%s\"}", roles[i]);
        if (json_object_get(gauges, alive))
            snprintf(text, sizeof text, "%.0f / %.0f / %.0f", number(gauges, alive), number(gauges, queue), number(gauges, restarts));
        else
            snprintf(text, sizeof text, "%.0f", number(gauges, restarts));
        put_text(out, roles[i], text);
    }
}

static void put_process(FILE *out, const json_t *counters, const json_t *gauges)
{
    put_section(out, "Process");
    put_uptime(out, number(gauges, "uptime_seconds"));
    put_count(out, "workers", number(gauges, "workers"));
    put_bytes(out, "resident memory", number(gauges, "process_resident_memory_bytes"));
    put_count(out, "descriptors", number(gauges, "process_open_fds"));
    put_count(out, "log lines dropped", number(counters, "log_lines_dropped_total"));
}

void ctl_print_stats(const json_t *stats, FILE *out)
{
    const json_t *counters = json_object_get(stats, "counters"), *gauges = json_object_get(stats, "gauges");
    put_requests(out, stats);
    put_details(out, json_object_get(stats, "details"));
    put_latency(out, json_object_get(stats, "latency"));
    put_traffic(out, counters, gauges);
    put_cache(out, gauges);
    put_helpers(out, gauges);
    put_process(out, counters, gauges);
}
