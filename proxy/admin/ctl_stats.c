#include "proxy/admin/ctl_stats.h"
#include "proxy/admin/ctl_text.h"

#include <string.h>

enum { NAME_WIDTH = 28, DIRECTORY_MAX = 4096 };

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
    static const char *const roles[] = {"disk", "store", "resolver", "log"};
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
    put_bytes(out, "of the limit", number(gauges, "memory_used_bytes"));
    put_bytes(out, "memory limit", number(gauges, "memory_limit_bytes"));
    put_count(out, "memory level", number(gauges, "memory_level"));
    put_count(out, "descriptors", number(gauges, "process_open_fds"));
    put_count(out, "log lines dropped", number(counters, "log_lines_dropped_total"));
}

/* ---- the disk tier ---------------------------------------------------------------------------------------------------------------------- */

static double of_directory(const json_t *gauges, const char *name, const char *directory)
{
    char key[DIRECTORY_MAX + 64];
    snprintf(key, sizeof key, "%s{directory=\"%s\"}", name, directory);
    return number(gauges, key);
}

static void put_directory(FILE *out, const json_t *gauges, const char *directory)
{
    char text[96];
    double admitted = of_directory(gauges, "store_admitted_bytes_total", directory);
    double written = of_directory(gauges, "store_written_bytes_total", directory);
    put_section(out, directory);
    put_text(out, "state", of_directory(gauges, "store_bypassed", directory) > 0 ? "BYPASSED" : "working");
    put_bytes(out, "size", of_directory(gauges, "store_bytes", directory));
    snprintf(text, sizeof text, "%.0f of %.0f", of_directory(gauges, "store_segments_used", directory),
             of_directory(gauges, "store_segments", directory));
    put_text(out, "segments used", text);
    put_count(out, "records", of_directory(gauges, "store_directory_records", directory));
    put_bytes(out, "read", of_directory(gauges, "store_read_bytes_total", directory));
    put_bytes(out, "written", written);
    put_bytes(out, "of that, written again", of_directory(gauges, "store_moved_bytes_total", directory));
    if (admitted > 0) {
        snprintf(text, sizeof text, "%.2f", written / admitted);
        put_text(out, "write amplification", text);
    }
    put_count(out, "reads that failed", of_directory(gauges, "store_read_failures_total", directory));
    put_count(out, "writes that failed", of_directory(gauges, "store_write_failures_total", directory));
}

/* Bounds come as "le" in /metrics; here as counts a bucket. */
static void put_read_latency(FILE *out, const json_t *latency)
{
    const json_t *buckets = json_object_get(latency, "buckets");
    double count = number(latency, "count");
    size_t i;
    json_t *bucket;
    if (count == 0)
        return;
    put_section(out, "Reads, time at the disk");
    json_array_foreach((json_t *)buckets, i, bucket)
    {
        const json_t *bound = json_array_get(bucket, 0);
        double share = json_number_value(json_array_get(bucket, 1)) / count;
        char name[32], text[64];
        if (share == 0)
            continue;
        if (json_is_null(bound))
            snprintf(name, sizeof name, "more");
        else
            snprintf(name, sizeof name, "up to %g ms", json_number_value(bound) * 1000);
        snprintf(text, sizeof text, "%5.1f %% %.*s", share * 100, (int)(share * 40 + 0.5), "########################################");
        put_text(out, name, text);
    }
}

bool ctl_print_store(const json_t *stats, FILE *out)
{
    static const char prefix[] = "store_bytes{directory=\"";
    json_t *gauges = json_object_get(stats, "gauges");
    const char *key;
    json_t *value;
    if (!json_object_get(gauges, "store_records"))
        return false;
    put_section(out, "Disk tier");
    put_text(out, "state", number(gauges, "store_recovering") > 0 ? "finding what is there" : "ready");
    put_count(out, "responses", number(gauges, "store_records"));
    put_bytes(out, "index", number(gauges, "store_index_bytes"));
    put_count(out, "hits", number(gauges, "store_hits_total"));
    put_count(out, "not there after all", number(gauges, "store_misses_total"));
    put_count(out, "offered", number(gauges, "store_offered_total"));
    put_count(out, "refused by disk.admit", number(gauges, "store_refused_total"));
    put_count(out, "dropped", number(gauges, "store_dropped_total"));
    put_bytes(out, "waiting to be written", number(gauges, "store_queue_bytes"));
    json_object_foreach(gauges, key, value)
    {
        char directory[DIRECTORY_MAX];
        size_t length = strlen(key);
        if (strncmp(key, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(directory, sizeof directory, "%.*s", (int)(length - strlen(prefix) - strlen("\"}")), key + strlen(prefix));
        put_directory(out, gauges, directory);
    }
    put_read_latency(out, json_object_get(json_object_get(stats, "latency"), "store_read"));
    return true;
}

/* ---- the whole -------------------------------------------------------------------------------------------------------------------------- */

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
