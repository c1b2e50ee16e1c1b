/* What /metrics and /stats show: the counters of all loops added up, and the gauges of everybody. */
#include "proxy/boot/collect.h"
#include "proxy/boot/proxy_process.h"
#include "proxy/boot/version.h"

#include <dirent.h>
#include <jansson.h>

enum { GAUGES_MAX = 1024 }; /* 16 directories and 32 origins among them */

void gauges_add(struct gauges *gauges, const char *name, const char *labels, const char *help, double value)
{
    if (gauges->count < GAUGES_MAX)
        gauges->at[gauges->count++] = (struct gauge){.name = name, .labels = labels, .help = help, .value = value};
}

void gauges_add_counter(struct gauges *gauges, const char *name, const char *labels, const char *help, double value)
{
    gauges_add(gauges, name, labels, help, value);
    gauges->at[gauges->count - 1].is_counter = true;
}

/* ---- the process ------------------------------------------------------------------------------------------------------------------------ */

static struct {
    DIR *descriptors;
} process;

void collect_prepare(void)
{
    process.descriptors = opendir("/proc/self/fd");
    json_object_seed(0); /* reads /dev/urandom once */
}

static double open_descriptors(void)
{
    int count = -2; /* "." and ".." */
    if (!process.descriptors)
        return 0;
    rewinddir(process.descriptors);
    while (readdir(process.descriptors))
        count++;
    return count;
}

static void add_process(struct gauges *gauges, const struct proxy *proxy, struct arena *arena)
{
    struct bytes version = arena_printf(arena, "version=\"%s\"", version_number);
    gauges_add(gauges, "build_info", version.at, "What is running; always 1.", 1);
    gauges_add(gauges, "start_time_seconds", "", "When the proxy process started, in seconds since 1970.", (double)proxy->started.s);
    gauges_add(gauges, "uptime_seconds", "", "Seconds since the proxy process started.", (double)(clock_wall().s - proxy->started.s));
    gauges_add(gauges, "workers", "", "Event-loop threads that serve clients.", proxy->worker_count);
    gauges_add(gauges, "config_generation", "", "Configurations taken so far; 1 before the first reload.", proxy->serial);
    gauges_add(gauges, "draining", "", "1 while no new connections are accepted because the server ends.", proxy->is_draining);
    gauges_add(gauges, "process_resident_memory_bytes", "", "Resident memory of the proxy process, the cache included.",
               (double)memory_watch_resident());
    gauges_add(gauges, "process_open_fds", "", "Open descriptors of the proxy process.", open_descriptors());
}

/* ---- connections ------------------------------------------------------------------------------------------------------------------------ */

static double difference(const struct counters *sum, enum counter opened, enum counter closed)
{
    uint64_t more = atomic_load_explicit(&sum->value[opened], memory_order_relaxed);
    uint64_t less = atomic_load_explicit(&sum->value[closed], memory_order_relaxed);
    return more > less ? (double)(more - less) : 0;
}

static double over_loops(const struct proxy *proxy, size_t gauge)
{
    double sum = 0;
    for (unsigned i = 0; i <= proxy->worker_count; i++)
        sum += (double)atomic_load_explicit((_Atomic uint64_t *)((char *)&proxy->loops[i].gauges + gauge), memory_order_relaxed);
    return sum;
}

static void add_connections(struct gauges *gauges, const struct proxy *proxy, const struct counters *sum)
{
    static const char addresses[] = "Addresses of origins, counted by each worker, by whether they are skipped after a failure.";
    double all = over_loops(proxy, offsetof(struct loop_gauges, origin_addresses));
    double down = over_loops(proxy, offsetof(struct loop_gauges, origin_addresses_down));
    gauges_add(gauges, "client_connections", "", "Client connections that are open, those of the admin interface included.",
               difference(sum, COUNTER_CLIENT_CONNECTIONS, COUNTER_CLIENT_CONNECTIONS_CLOSED));
    gauges_add(gauges, "origin_connections", "", "Connections to origins that are open, in use or kept.",
               difference(sum, COUNTER_ORIGIN_CONNECTIONS, COUNTER_ORIGIN_CONNECTIONS_CLOSED));
    gauges_add(gauges, "origin_connections_idle", "", "Connections to origins that are kept for the next request.",
               over_loops(proxy, offsetof(struct loop_gauges, origin_idle)));
    gauges_add(gauges, "origin_addresses", "state=\"up\"", addresses, all > down ? all - down : 0);
    gauges_add(gauges, "origin_addresses", "state=\"down\"", addresses, down);
}

static void add_origins(struct gauges *gauges, const struct proxy *proxy, struct arena *arena)
{
    const struct origin_gauges **of = arena_alloc(arena, proxy->worker_count * sizeof(struct origin_gauges *));
    for (unsigned i = 0; i < proxy->worker_count; i++)
        of[i] = &proxy->loops[i].origins;
    origin_gauges_collect(gauges, proxy->control_loop->worker.config, of, proxy->worker_count, arena);
}

/* ---- certificates ----------------------------------------------------------------------------------------------------------------------- */

enum { CERTIFICATES_SHOWN_MAX = 64 }; /* there may be thousands: those that end first are in the log */

static void add_certificates(struct gauges *gauges, const struct proxy *proxy, struct arena *arena)
{
    const struct tls_server *tls = proxy->control_loop->worker.tls;
    struct wall_seconds ends;
    struct bytes name;
    const char *kind;
    for (unsigned i = 0; tls && i < CERTIFICATES_SHOWN_MAX && tls_server_certificate(tls, i, &name, &kind, &ends); i++)
        gauges_add(gauges, "tls_certificate_expiry_seconds", arena_printf(arena, "site=\"%.*s\",key=\"%s\"", BYTES_FMT(name), kind).at,
                   "When the certificate of a site ends, in seconds since 1970.", (double)ends.s);
}

/* ---- cache ------------------------------------------------------------------------------------------------------------------------------ */

static void add_cache(struct gauges *gauges, struct cache *cache)
{
    static const char memory[] = "Memory of the cache by kind: what is used, what is free, and what the index takes beside it.";
    struct cache_stats stats;
    struct slab_stats *slab = &stats.slab;
    cache_stats(cache, &stats);
    gauges_add(gauges, "cache_memory_bytes", "kind=\"limit\"", memory, (double)slab->bytes);
    gauges_add(gauges, "cache_memory_bytes", "kind=\"allocated\"", memory, (double)slab->allocated);
    gauges_add(gauges, "cache_memory_bytes", "kind=\"fragmented\"", memory, (double)slab->free_in_pages);
    gauges_add(gauges, "cache_memory_bytes", "kind=\"free\"", memory, (double)slab->free_pages * SLAB_PAGE_BYTES);
    gauges_add(gauges, "cache_memory_bytes", "kind=\"index\"", memory, (double)stats.index_bytes);
    gauges_add(gauges, "cache_memory_held_bytes", "", "Memory that the kernel has given for stored responses, free places in it included.",
               (double)slab->held_pages * SLAB_PAGE_BYTES);
    gauges_add(gauges, "cache_objects", "", "Stored responses.", (double)stats.objects);
    gauges_add(gauges, "cache_object_bytes", "", "Bytes of stored responses.", (double)stats.object_bytes);
    gauges_add(gauges, "cache_fills", "", "Responses on their way in.", (double)stats.fills);
    gauges_add_counter(gauges, "cache_evictions_total", "", "Stored responses that made room for others.", (double)stats.evictions);
    gauges_add_counter(gauges, "cache_evicted_bytes_total", "", "Bytes of stored responses that made room for others.",
                       (double)stats.evicted_bytes);
    gauges_add_counter(gauges, "cache_admission_failures_total", "", "Responses not stored because no room could be made.",
                       (double)stats.admission_failures);
    gauges_add_counter(gauges, "cache_purges_total", "", "Purges: of a URL that was stored, of a tag, of a host, of everything.",
                       (double)stats.purges);
    gauges_add_counter(gauges, "cache_taken_over_responses_total", "", "Responses in memory taken over from the server before an upgrade.",
                       (double)stats.adopted);
    gauges_add_counter(gauges, "cache_taken_over_bytes_total", "", "Bytes of these responses.", (double)stats.adopted_bytes);
}

/* ---- memory that is short ------------------------------------------------------------------------------------------------------------------ */

/* That all workers serve by; while one is being changed to, the one before it. */
static double memory_level(const struct proxy *proxy)
{
    uint64_t level = proxy->memory_watch.ladder.level;
    for (unsigned i = 0; i < proxy->worker_count; i++) {
        uint64_t taken = atomic_load_explicit(&proxy->loops[i].gauges.memory_level, memory_order_relaxed);
        if (taken != proxy->memory_watch.ladder.level)
            level = taken;
    }
    return (double)level;
}

static void add_memory(struct gauges *gauges, const struct proxy *proxy)
{
    const struct memory_watch *watch = &proxy->memory_watch;
    static const char entered[] = "How often memory was so short that this rung of the ladder of limits.memory was entered.";
    static const char *const labels[MEMORY_LEVELS] = {[MEMORY_ENDS_KEEP_ALIVE] = "level=\"ends_keep_alive\"",
                                                      [MEMORY_EVICTS] = "level=\"evicts\"",
                                                      [MEMORY_REFUSES_MISSES] = "level=\"refuses_misses\"",
                                                      [MEMORY_STOPS_ACCEPTING] = "level=\"stops_accepting\""};
    gauges_add(gauges, "memory_limit_bytes", "", "What limits.memory, or the control group, leaves to the server; 0: it is off.",
               (double)watch->look.limit_bytes);
    gauges_add(gauges, "memory_used_bytes", "",
               "What counts against that: of the proxy process and the cache, or of the whole control group.",
               (double)watch->look.used_bytes);
    gauges_add(gauges, "memory_level", "",
               "How short memory is: 0 it is not, 1 keep-alive has ended, 2 stored responses are evicted, 3 misses are refused, 4 nobody "
               "is accepted.",
               memory_level(proxy));
    for (unsigned level = MEMORY_ENDS_KEEP_ALIVE; level < MEMORY_LEVELS; level++)
        gauges_add_counter(gauges, "memory_level_entered_total", labels[level], entered, (double)watch->entered[level]);
    gauges_add_counter(gauges, "memory_given_back_bytes_total", "",
                       "Memory of the cache that was given back to the kernel because it was short.", (double)watch->given_back_bytes);
}

/* ---- helpers ---------------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *label;
    enum role role;
    size_t gauges; /* in struct loop_gauges */
} helper_roles[] = {
    {"role=\"disk\"", ROLE_DISK, offsetof(struct loop_gauges, disk)},
    {"role=\"store\"", ROLE_STORE, offsetof(struct loop_gauges, store)},
    {"role=\"resolver\"", ROLE_RESOLVER, offsetof(struct loop_gauges, resolver)},
};

/* The workers agree except for a moment; the control loop is told of the helpers as well. */
static double helpers_alive(const struct proxy *proxy, size_t gauge)
{
    return (double)atomic_load_explicit((_Atomic uint64_t *)((char *)&proxy->loops[0].gauges + gauge), memory_order_relaxed);
}

static void add_helpers(struct gauges *gauges, const struct proxy *proxy)
{
    static const struct {
        const char *name, *help;
        size_t offset;
        bool is_counter;
    } rows[] = {
        {"helper_queue_depth", "Requests that wait for helpers.", offsetof(struct role_gauges, queue_depth), false},
        {"helper_requests_total", "Requests to helpers.", offsetof(struct role_gauges, requests), true},
        {"helper_retries_total", "Requests sent to another helper because the first one died or hung.",
         offsetof(struct role_gauges, retries), true},
        {"helper_failures_total", "Requests that no helper answered.", offsetof(struct role_gauges, failures), true},
        {"helper_timeouts_total", "Requests past their deadline.", offsetof(struct role_gauges, timeouts), true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        void (*append)(struct gauges *, const char *, const char *, const char *, double) =
            rows[i].is_counter ? gauges_add_counter : gauges_add;
        for (size_t k = 0; k < sizeof helper_roles / sizeof *helper_roles; k++)
            append(gauges, rows[i].name, helper_roles[k].label, rows[i].help, over_loops(proxy, helper_roles[k].gauges + rows[i].offset));
    }
    size_t alive = offsetof(struct role_gauges, helpers_alive);
    for (size_t k = 0; k < sizeof helper_roles / sizeof *helper_roles; k++)
        gauges_add(gauges, "helpers", helper_roles[k].label, "Helper processes that answer.",
                   helpers_alive(proxy, helper_roles[k].gauges + alive));
    static const char restarts[] = "Helper processes started again since the proxy process started.";
    for (size_t k = 0; k < sizeof helper_roles / sizeof *helper_roles; k++)
        gauges_add_counter(gauges, "helper_restarts_total", helper_roles[k].label, restarts, proxy->restarts[helper_roles[k].role]);
    gauges_add_counter(gauges, "helper_restarts_total", "role=\"log\"", restarts, proxy->restarts[ROLE_LOG]);
    gauges_add(gauges, "log_backlog_bytes", "", "Log lines on their way to the log helper.",
               over_loops(proxy, offsetof(struct loop_gauges, log_backlog_bytes)));
}

void proxy_collect(void *context, struct arena *arena, struct counters *sum, struct gauge **gauges, unsigned *gauge_count)
{
    struct proxy *proxy = context;
    struct gauges collected = {.at = arena_alloc(arena, GAUGES_MAX * sizeof(struct gauge))};
    for (unsigned i = 0; i <= proxy->worker_count; i++)
        counters_sum(sum, proxy->loops[i].worker.counters);
    add_process(&collected, proxy, arena);
    add_connections(&collected, proxy, sum);
    add_cache(&collected, proxy->cache);
    add_memory(&collected, proxy);
    add_helpers(&collected, proxy);
    add_certificates(&collected, proxy, arena);
    add_origins(&collected, proxy, arena);
    collect_store(&collected, cache_store(proxy->cache), proxy->control_loop->worker.config, arena);
    struct sizing_report sizing;
    cache_sizing(proxy->cache, &sizing);
    collect_sizing(&collected, &sizing, arena);
    *gauges = collected.at;
    *gauge_count = collected.count;
}
