#include "proxy/boot/origin_gauges.h"

static uint64_t load(const _Atomic uint64_t *figure)
{
    return atomic_load_explicit(figure, memory_order_relaxed);
}

void origin_gauges_publish(struct origin_gauges *gauges, const struct config *config, const struct routes *routes)
{
    unsigned row = 0;
    for (unsigned s = 0; s < routes->site_count; s++) {
        const struct config_site *site = routes->sites[s].config;
        for (unsigned i = 0; i < site->origin_count && row < ORIGINS_SHOWN_MAX; i++, row++) {
            uint64_t figures[ORIGIN_FIGURES];
            origin_figures(routes->sites[s].origin, i, figures);
            for (unsigned k = 0; k < ORIGIN_FIGURES; k++)
                atomic_store_explicit(&gauges->figures[row][k], figures[k], memory_order_relaxed);
        }
    }
    atomic_store_explicit(&gauges->config, config, memory_order_release);
}

static const struct {
    const char *name, *more, *help;
    enum origin_figure figure;
    bool is_counter;
} rows[] = {
    {"site_origin_requests_total", "", "Requests sent to an origin, retries included.", ORIGIN_REQUESTS, true},
    {"site_origin_failures_total", "", "Requests that an origin did not answer, or not properly.", ORIGIN_FAILURES, true},
    {"site_origin_answers_total", "", "Responses of an origin whose head was received.", ORIGIN_ANSWERS, true},
    {"site_origin_connections", ",state=\"active\"", "Connections to an origin, in use or kept for the next request.", ORIGIN_ACTIVE,
     false},
    {"site_origin_connections", ",state=\"idle\"", "Connections to an origin, in use or kept for the next request.", ORIGIN_IDLE, false},
};

static void add_row(struct gauges *gauges, const char *labels, const uint64_t sum[ORIGIN_FIGURES], struct arena *arena)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        void (*append)(struct gauges *, const char *, const char *, const char *, double) =
            rows[i].is_counter ? gauges_add_counter : gauges_add;
        append(gauges, rows[i].name, arena_printf(arena, "%s%s", labels, rows[i].more).at, rows[i].help, (double)sum[rows[i].figure]);
    }
    gauges_add_counter(gauges, "site_origin_first_byte_seconds_total", labels,
                       "Seconds between requests sent to an origin and the heads of its responses.",
                       (double)sum[ORIGIN_FIRST_BYTE_US] / 1e6);
    gauges_add(gauges, "site_origin_up", labels, "0: a worker skips the origin because it failed.", sum[ORIGIN_DOWN] == 0);
}

static void add_up(uint64_t sum[ORIGIN_FIGURES], const struct origin_gauges *gauges, unsigned row)
{
    for (unsigned k = 0; k < ORIGIN_FIGURES; k++)
        sum[k] += load(&gauges->figures[row][k]);
}

void origin_gauges_collect(struct gauges *gauges, const struct config *config, const struct origin_gauges *const *of, unsigned count,
                           struct arena *arena)
{
    unsigned row = 0;
    for (unsigned s = 0; config && s < config->site_count; s++) {
        const struct config_site *site = &config->sites[s];
        for (unsigned i = 0; i < site->origin_count && row < ORIGINS_SHOWN_MAX; i++, row++) {
            uint64_t sum[ORIGIN_FIGURES] = {0};
            for (unsigned loop = 0; loop < count; loop++)
                if (atomic_load_explicit(&of[loop]->config, memory_order_acquire) == config)
                    add_up(sum, of[loop], row);
            const char *labels =
                arena_printf(arena, "site=\"%.*s\",origin=\"%.*s\"", BYTES_FMT(site->hosts[0]), BYTES_FMT(site->origins[i].url)).at;
            add_row(gauges, labels, sum, arena);
        }
    }
}
