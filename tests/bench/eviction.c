/* Which policy the memory tier evicts by, and what the disk tier admits: hit ratios on a real server's log and on synthetic traces.
 *
 *     build/bench/eviction LOG [DOCUMENT]
 *
 * prints the tables; with a DOCUMENT, also puts them there, between its two markers. Everything is deterministic: two runs print the same. `make
 * bench-eviction` runs it; docs/EVICTION.md says what the figures mean. */
#include "tests/bench/eviction.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double sizes[] = {0.005, 0.01, 0.05, 0.10, 0.25};

enum { SIZES = sizeof sizes / sizeof sizes[0], TRACES_MAX = 9, SERVERS = 32 };

static const struct policy rivals[] = {
    {"SIEVE", POLICY_SIEVE, 0, 0, 0, false, false},
    {"LRU", POLICY_LRU, 0, 0, 0, false, false},
    {"GDSF (by hits per byte)", POLICY_GDSF, 0, 0, 0, false, false},
    {"Belady, by bytes (looks ahead)", POLICY_BELADY, 0, 0, 0, false, false},
};

static const struct policy variants[] = {
    {"small queue of 5 %", POLICY_S3FIFO, 5, 2, 100, false, false},
    {"small queue of 20 %", POLICY_S3FIFO, 20, 2, 100, false, false},
    {"promoted by one hit", POLICY_S3FIFO, 10, 1, 100, false, false},
    {"no ghost", POLICY_S3FIFO, 10, 2, 0, false, false},
    {"ghost of half as many as held", POLICY_S3FIFO, 10, 2, 50, false, false},
    {"ghost of 4 times as many", POLICY_S3FIFO, 10, 2, 400, false, false},
    {"ghost of 16 times as many", POLICY_S3FIFO, 10, 2, 1600, false, false},
    {"by size", POLICY_S3FIFO, 10, 2, 100, true, false},
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static unsigned make_traces(struct trace *traces, const char *log)
{
    static const double exponents[] = {0.7, 0.9, 1.1};
    unsigned count = 0;
    char name[sizeof traces->name];
    trace_from_log(&traces[count++], log);
    trace_of_servers(&traces[count++], &traces[0], SERVERS);
    for (unsigned i = 0; i < COUNT_OF(exponents); i++) {
        snprintf(name, sizeof name, "Zipf %.1f, 40 %% of objects once", exponents[i]);
        trace_synthetic(&traces[count++], name, &(struct synthetic){.exponent = exponents[i], .once_objects = 0.4});
    }
    for (unsigned i = 0; i < COUNT_OF(exponents); i++) {
        snprintf(name, sizeof name, "Zipf %.1f, 40 %% of requests once", exponents[i]);
        trace_synthetic(&traces[count++], name, &(struct synthetic){.exponent = exponents[i], .once_requests = 0.4});
    }
    trace_synthetic(&traces[count++], "Zipf 0.9, new objects all the time",
                    &(struct synthetic){.exponent = 0.9, .once_objects = 0.4, .drift = 300});
    return count;
}

static uint64_t capacity_of(const struct trace *trace, unsigned size)
{
    return (uint64_t)(sizes[size] * (double)trace->footprint);
}

static void print_header(FILE *out, const char *first)
{
    fprintf(out, "| %s |", first);
    for (unsigned i = 0; i < SIZES; i++)
        fprintf(out, " %.1f %% |", 100 * sizes[i]);
    fprintf(out, "\n|---|---|---|---|---|---|\n");
}

static void print_ratios(FILE *out, const char *name, const struct ratio *ratios)
{
    fprintf(out, "| %s |", name);
    for (unsigned i = 0; i < SIZES; i++) {
        if (ratios[i].requests == 0)
            fprintf(out, " – |");
        else
            fprintf(out, " %.1f / %.1f |", percent(ratios[i].hits, ratios[i].requests), percent(ratios[i].hit_bytes, ratios[i].bytes));
    }
    fprintf(out, "\n");
}

static void simulate_sizes(const struct trace *trace, const struct policy *policy, struct ratio *ratios)
{
    for (unsigned i = 0; i < SIZES; i++)
        ratios[i] = simulate(trace, policy, capacity_of(trace, i));
}

static uint64_t sum_of(const uint32_t *numbers, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += numbers[i];
    return sum;
}

static void policy_table(FILE *out, struct trace *trace)
{
    struct ratio ratios[SIZES];
    struct policy in_extents = policy_built;
    in_extents.in_extents = true;
    built_extents(trace);
    double rounding = (double)sum_of(trace->extents, trace->objects_count) / (double)sum_of(trace->bytes, trace->objects_count) - 1;
    fprintf(out, "\n%s: %u requests for %u MB; the slab gives %.0f %% more than was asked for.\n\n", trace->name, trace->requests_count,
            (unsigned)(trace->footprint >> 20), 100 * rounding);
    print_header(out, "hits / bytes hit, %");
    for (unsigned i = 0; i < SIZES; i++)
        ratios[i] = run_built(trace, capacity_of(trace, i));
    print_ratios(out, "**S3-FIFO, as built**", ratios);
    simulate_sizes(trace, &in_extents, ratios);
    print_ratios(out, "S3-FIFO, simulated, in the slab's extents", ratios);
    simulate_sizes(trace, &policy_built, ratios);
    print_ratios(out, "S3-FIFO, simulated", ratios);
    for (unsigned i = 0; i < COUNT_OF(rivals); i++) {
        simulate_sizes(trace, &rivals[i], ratios);
        print_ratios(out, rivals[i].name, ratios);
    }
}

/* Means over all traces. */
static void print_means(FILE *out, const struct trace *traces, unsigned count, const struct policy *policy)
{
    fprintf(out, "| %s |", policy->name);
    for (unsigned i = 0; i < SIZES; i++) {
        double hits = 0, bytes = 0;
        for (unsigned j = 0; j < count; j++) {
            struct ratio ratio = simulate(&traces[j], policy, capacity_of(&traces[j], i));
            hits += percent(ratio.hits, ratio.requests) / count;
            bytes += percent(ratio.hit_bytes, ratio.bytes) / count;
        }
        fprintf(out, " %.1f / %.1f |", hits, bytes);
    }
    fprintf(out, "\n");
}

static void mean_table(FILE *out, const struct trace *traces, unsigned count)
{
    print_header(out, "mean of all traces");
    print_means(out, traces, count, &policy_built);
    for (unsigned i = 0; i < COUNT_OF(rivals); i++)
        print_means(out, traces, count, &rivals[i]);
    for (unsigned i = 0; i < COUNT_OF(variants); i++)
        print_means(out, traces, count, &variants[i]);
}

static char *print_all(const char *log)
{
    struct trace traces[TRACES_MAX];
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        abort();
    unsigned count = make_traces(traces, log);
    fprintf(out, "### Memory\n\n");
    mean_table(out, traces, count);
    for (unsigned i = 0; i < count; i++)
        policy_table(out, &traces[i]);
    fprintf(out, "\n### Disk\n");
    disk_tables(out, traces, count);
    for (unsigned i = 0; i < count; i++)
        trace_free(&traces[i]);
    fclose(out);
    return text;
}

/* Everything between the two markers is replaced. */
static bool put_between_markers(const char *path, const char *text)
{
    static const char begin[] = "<!-- make bench-eviction: begin -->\n", end[] = "<!-- make bench-eviction: end -->\n";
    char document[256 * 1024] = "";
    FILE *file = fopen(path, "r+");
    if (file == NULL)
        return false;
    size_t bytes = fread(document, 1, sizeof document - 1, file);
    document[bytes] = '\0';
    char *from = strstr(document, begin), *to = from != NULL ? strstr(from, end) : NULL;
    if (to == NULL || !feof(file)) {
        fclose(file);
        fprintf(stderr, "eviction: %s has no place for the tables\n", path);
        return false;
    }
    rewind(file);
    fprintf(file, "%.*s%s%s%s", (int)(from - document), document, begin, text, to);
    bool is_written = fflush(file) == 0 && ftruncate(fileno(file), ftell(file)) == 0;
    return fclose(file) == 0 && is_written;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: eviction LOG [DOCUMENT]\n");
        return 2;
    }
    char *text = print_all(argv[1]);
    fputs(text, stdout);
    if (argc == 3 && !put_between_markers(argv[2], text)) {
        perror(argv[2]);
        return 1;
    }
    free(text);
    return 0;
}
