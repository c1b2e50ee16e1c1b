/* Sampled simulations held against simulations of everything (tests/bench), and the cache's own ones against the cache itself. */
#include "cache_rig.h"
#include "tests/bench/eviction.h"

#include <math.h>

enum { PLENTY = 16384, FEW = 2048 };

static const char epa_log[] = "tests/data/epa-http.txt";
static const double within_points = 2;

/* As a keyed hash would spread them. */
static uint64_t hash_of(uint32_t object, uint64_t salt)
{
    uint64_t state = (object + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15) ^ salt;
    random_next(&state);
    return random_next(&state);
}

/* Percent of the requests after the first ones, which only warm the caches up. */
static void run_ghosts(struct ghosts *ghosts, const struct trace *trace, uint64_t salt, double ratios[GHOST_SIZES])
{
    double misses[GHOST_SIZES], before[GHOST_SIZES] = {0};
    for (uint32_t i = 0; i < trace->requests_count; i++) {
        uint64_t hash = hash_of(trace->requests[i], salt);
        if (i == trace->warm_count)
            ghosts_misses(ghosts, before);
        if (hash >> GHOST_HASH_SHIFT < ghosts_threshold(ghosts))
            ghosts_refer(ghosts, hash, trace->bytes[trace->requests[i]], false);
    }
    ghosts_misses(ghosts, misses);
    for (unsigned i = 0; i < GHOST_SIZES; i++)
        ratios[i] = 100 * (1 - (misses[i] - before[i]) / (trace->requests_count - trace->warm_count));
}

/* How far the sample is from the simulation of everything, in points of the hit ratio: the worst of the sizes. memory_bytes 0: they are of memory. */
static double worst_difference(const struct trace *trace, uint64_t memory_bytes, uint64_t built_bytes, uint32_t entries, uint64_t salt)
{
    struct ghosts_settings settings = {.memory_bytes = memory_bytes, .entries_max = entries};
    double ratios[GHOST_SIZES], worst = 0;
    for (unsigned i = 0; i < GHOST_SIZES; i++)
        settings.capacities[i] = (uint64_t)((double)built_bytes * ghost_times[i]);
    struct ghosts *ghosts = ghosts_new(&settings);
    run_ghosts(ghosts, trace, salt, ratios);
    for (unsigned i = 0; i < GHOST_SIZES; i++) {
        uint64_t capacity = settings.capacities[i];
        struct ratio all = memory_bytes > 0 ? simulate_disk(trace, memory_bytes, capacity) : simulate(trace, &policy_built, capacity);
        double is = percent(all.hits, all.requests);
        cr_log_info("%s, %s of %.1f MB: by a sample of 1 in %.1f %.1f %%, by all %.1f %%", trace->name,
                    memory_bytes > 0 ? "disk" : "memory", (double)capacity / 1e6, 0x1p32 / (double)ghosts_threshold(ghosts), ratios[i], is);
        worst = fmax(worst, fabs(ratios[i] - is));
    }
    ghosts_free(&ghosts);
    return worst;
}

Test(ghosts, agree_with_the_simulation_of_all_of_a_real_log)
{
    struct trace trace;
    trace_from_log(&trace, epa_log);
    for (unsigned part = 5; part <= 100; part *= 2) {
        uint64_t bytes = trace.footprint / part;
        cr_expect_lt(worst_difference(&trace, 0, bytes, PLENTY, 0), within_points, "memory of a %u-th of the footprint", part);
        cr_expect_lt(worst_difference(&trace, bytes / 10, bytes, PLENTY, 0), within_points, "disk of a %u-th of the footprint", part);
    }
    trace_free(&trace);
}

Test(ghosts, agree_by_a_sample_of_a_real_log)
{
    struct trace one, trace;
    trace_from_log(&one, epa_log);
    trace_of_servers(&trace, &one, 32);
    cr_expect_lt(worst_difference(&trace, 0, trace.footprint / 20, PLENTY, 0), within_points);
    cr_expect_lt(worst_difference(&trace, trace.footprint / 50, trace.footprint / 10, PLENTY, 0), within_points);
    cr_expect_lt(worst_difference(&trace, 0, trace.footprint / 20, FEW, 0), 2 * within_points);
    cr_expect_lt(worst_difference(&trace, trace.footprint / 50, trace.footprint / 10, FEW, 0), 2 * within_points);
    trace_free(&one);
    trace_free(&trace);
}

Test(ghosts, a_table_that_is_too_small_narrows_the_sample_and_goes_on)
{
    struct ghosts_settings settings = {.capacities = {1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20}, .entries_max = 64};
    struct ghosts *ghosts = ghosts_new(&settings);
    uint64_t memory = ghosts_memory_bytes(ghosts), threshold = ghosts_threshold(ghosts), asked = 0;
    double misses[GHOST_SIZES];
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t object = 0; object < 5000; object++) {
            uint64_t hash = hash_of(object, 0);
            asked++;
            if (hash >> GHOST_HASH_SHIFT < ghosts_threshold(ghosts))
                ghosts_refer(ghosts, hash, 512, false);
        }
    }
    ghosts_misses(ghosts, misses);
    cr_expect_lt(ghosts_threshold(ghosts), threshold);
    cr_expect_eq(ghosts_memory_bytes(ghosts), memory);
    cr_expect_lt(misses[GHOST_SIZES - 1] / (double)asked, 0.2, "everything fits into the largest: %.0f of %lu", misses[GHOST_SIZES - 1],
                 (unsigned long)asked);
    ghosts_free(&ghosts);
}

Test(ghosts, what_was_purged_is_a_miss_for_all_sizes)
{
    struct ghosts_settings settings = {.capacities = {1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20}, .entries_max = PLENTY};
    struct ghosts *ghosts = ghosts_new(&settings);
    double misses[GHOST_SIZES];
    ghosts_refer(ghosts, 7, 1000, false);
    ghosts_refer(ghosts, 7, 1000, false);
    ghosts_resize(ghosts, 7, 2000);
    ghosts_forget(ghosts, 7);
    ghosts_refer(ghosts, 7, 1000, false);
    ghosts_forget_all(ghosts);
    ghosts_refer(ghosts, 7, 1000, false);
    ghosts_misses(ghosts, misses);
    for (unsigned i = 0; i < GHOST_SIZES; i++)
        cr_expect_float_eq(misses[i], 3, 1e-9);
    ghosts_free(&ghosts);
}

Test(ghosts, what_was_there_before_they_began_is_no_miss_but_for_a_smaller_cache)
{
    struct ghosts_settings settings = {.capacities = {1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20}, .entries_max = PLENTY};
    struct ghosts *ghosts = ghosts_new(&settings);
    double misses[GHOST_SIZES];
    ghosts_refer(ghosts, 7, 1000, true);
    ghosts_misses(ghosts, misses);
    cr_expect_float_eq(misses[0], 1, 1e-9);
    for (unsigned i = GHOST_SIZE_BUILT; i < GHOST_SIZES; i++)
        cr_expect_float_eq(misses[i], 0, 1e-9);
    ghosts_free(&ghosts);
}

/* ---- of the cache itself ---------------------------------------------------------------------------------------------------------------- */

static bool get(struct rig *rig, uint32_t object, uint32_t bytes)
{
    struct ask ask;
    char path[16];
    snprintf(path, sizeof path, "/%u", object);
    bool is_hit = ask_get(rig, &ask, path) == LOOKUP_HIT;
    if (ask.lookup.fill != NULL)
        answer(rig, &ask, "Cache-Control: max-age=60\r\n", bytes);
    reader_close(&ask.reader);
    arena_clear(&rig->arena);
    return is_hit;
}

static double hit_percent(uint64_t slab_bytes, const struct trace *trace, struct sizing_report *report)
{
    struct rig rig = rig_new(slab_bytes, slab_bytes / OBJECT_MAX_PART, 4);
    uint32_t hits = 0;
    for (uint32_t i = 0; i < trace->requests_count; i++) {
        uint32_t bytes = trace->bytes[trace->requests[i]];
        hits += get(&rig, trace->requests[i], bytes < 40000 ? bytes : 40000);
    }
    cache_sizing(rig.cache, report);
    cr_assert_eq(report->requests, trace->requests_count);
    rig_free(&rig);
    return percent(hits, trace->requests_count);
}

Test(sizing, tells_what_the_cache_itself_does_with_that_much_memory, .timeout = 300)
{
    struct trace trace;
    struct sizing_report report, larger;
    trace_from_log(&trace, epa_log);
    double as_it_is = hit_percent(16 * RIG_MIB, &trace, &report), twice = hit_percent(32 * RIG_MIB, &trace, &larger);
    cr_expect_float_eq(100 * report.memory[GHOST_SIZE_BUILT].hit_ratio, as_it_is, within_points, "told %.1f %%, was %.1f %%",
                       100 * report.memory[GHOST_SIZE_BUILT].hit_ratio, as_it_is);
    cr_expect_float_eq(100 * report.memory[2].hit_ratio, twice, within_points, "told %.1f %%, was %.1f %%",
                       100 * report.memory[2].hit_ratio, twice);
    cr_expect_float_eq(100 * larger.memory[0].hit_ratio, as_it_is, within_points, "told %.1f %%, was %.1f %%",
                       100 * larger.memory[0].hit_ratio, as_it_is);
    cr_expect_not(report.has_disk);
    trace_free(&trace);
}

Test(sizing, counts_the_present_window_and_the_one_before)
{
    struct rig rig = rig_new(16 * RIG_MIB, RIG_MIB, 4);
    struct sizing_report report;
    for (unsigned i = 0; i < 10; i++)
        get(&rig, 1, 1000);
    cache_sizing(rig.cache, &report);
    cr_expect_eq(report.requests, 10);
    cache_turn_sizing(rig.cache);
    for (unsigned i = 0; i < 10; i++)
        get(&rig, 1, 1000);
    cache_sizing(rig.cache, &report);
    cr_expect_eq(report.requests, 20);
    cache_turn_sizing(rig.cache);
    cache_sizing(rig.cache, &report);
    cr_expect_eq(report.requests, 10);
    cr_expect_float_eq(report.memory[GHOST_SIZE_BUILT].hit_ratio, 1, 1e-9);
    rig_free(&rig);
}
