/* Traces for the eviction benchmark: a real server's log, and Zipf's law with objects that are asked for once. */
#include "tests/bench/eviction.h"

#include <math.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

enum {
    POPULAR_OBJECTS = 20000,
    POPULAR_REQUESTS = 300000,
    DRIFT_STEPS = 300, /* moments at which popular objects are replaced */
    WARM_DIVISOR = 3,  /* the first third of a synthetic trace is not counted */
    BODY_BYTES_MIN = 100,
    BODY_BYTES_MAX = 4 * 1024 * 1024,
    LOG_OBJECTS_MAX = 20000,
    LOG_REQUESTS_MAX = 100000,
};

static const double body_median = 12 * 1024, body_sigma = 1.5; /* log-normal */

uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(2685821657736338717);
}

double random_unit(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

static void *allocate(size_t count, size_t bytes)
{
    void *at = calloc(count, bytes);
    if (at == NULL) {
        perror("eviction");
        exit(1);
    }
    return at;
}

static uint32_t body_bytes(uint64_t *random)
{
    double radius = sqrt(-2 * log(1 - random_unit(random))), angle = 2 * M_PI * random_unit(random);
    double bytes = body_median * exp(body_sigma * radius * cos(angle));
    return (uint32_t)fmin(fmax(bytes, BODY_BYTES_MIN), BODY_BYTES_MAX);
}

/* What follows from the requests and the sizes. */
static void finish(struct trace *trace)
{
    uint32_t *last = allocate(trace->objects_count, sizeof *last);
    trace->next_use = allocate(trace->requests_count, sizeof *trace->next_use);
    for (uint32_t i = 0; i < trace->objects_count; i++)
        last[i] = NEVER;
    for (uint32_t i = trace->requests_count; i-- > 0;) {
        uint32_t object = trace->requests[i];
        if (last[object] == NEVER)
            trace->footprint += trace->bytes[object];
        trace->next_use[i] = last[object];
        last[object] = i;
    }
    free(last);
}

void trace_free(struct trace *trace)
{
    free(trace->requests);
    free(trace->next_use);
    free(trace->bytes);
    free(trace->extents);
}

/* ---- synthetic ---- */

/* Objects by rank; replaced ones get new numbers. Returns how many objects there are. */
static uint32_t draw_popular(uint32_t *requests, const struct synthetic *how, uint64_t *random)
{
    double *sums = allocate(POPULAR_OBJECTS, sizeof *sums), sum = 0;
    uint32_t *by_rank = allocate(POPULAR_OBJECTS, sizeof *by_rank), objects = POPULAR_OBJECTS;
    for (uint32_t i = 0; i < POPULAR_OBJECTS; i++) {
        sums[i] = sum += pow(i + 1, -how->exponent);
        by_rank[i] = i;
    }
    for (uint32_t i = 0; i < POPULAR_REQUESTS; i++) {
        if (how->drift > 0 && i % (POPULAR_REQUESTS / DRIFT_STEPS) == 0) {
            for (unsigned n = POPULAR_OBJECTS / 100 * how->drift / DRIFT_STEPS; n > 0; n--)
                by_rank[random_next(random) % POPULAR_OBJECTS] = objects++;
        }
        double drawn = random_unit(random) * sum;
        uint32_t low = 0, high = POPULAR_OBJECTS - 1;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (sums[middle] < drawn)
                low = middle + 1;
            else
                high = middle;
        }
        requests[i] = by_rank[low];
    }
    free(sums);
    free(by_rank);
    return objects;
}

/* How many objects that are asked for once have to be mixed in. */
static uint32_t once_count(const uint32_t *requests, uint32_t objects, const struct synthetic *how)
{
    if (how->once_requests > 0)
        return (uint32_t)(POPULAR_REQUESTS * how->once_requests / (1 - how->once_requests));
    uint32_t *times = allocate(objects, sizeof *times), seen = 0, once = 0;
    for (uint32_t i = 0; i < POPULAR_REQUESTS; i++)
        times[requests[i]]++;
    for (uint32_t i = 0; i < objects; i++) {
        seen += times[i] > 0;
        once += times[i] == 1;
    }
    free(times);
    double missing = how->once_objects * seen - once;
    return missing <= 0 ? 0 : (uint32_t)(missing / (1 - how->once_objects));
}

void trace_synthetic(struct trace *trace, const char *name, const struct synthetic *how)
{
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
    uint32_t *popular = allocate(POPULAR_REQUESTS, sizeof *popular);
    *trace = (struct trace){0};
    snprintf(trace->name, sizeof trace->name, "%s", name);
    uint32_t objects = draw_popular(popular, how, &random), once = once_count(popular, objects, how), taken = 0;
    trace->objects_count = objects + once;
    trace->requests_count = POPULAR_REQUESTS + once;
    trace->warm_count = trace->requests_count / WARM_DIVISOR;
    trace->requests = allocate(trace->requests_count, sizeof *trace->requests);
    trace->bytes = allocate(trace->objects_count, sizeof *trace->bytes);
    for (uint32_t i = 0; i < trace->requests_count; i++) {
        uint32_t left = trace->requests_count - i, once_left = once - (i - taken);
        bool is_once = random_next(&random) % left < once_left;
        trace->requests[i] = is_once ? objects + (i - taken) : popular[taken];
        taken += !is_once;
    }
    for (uint32_t i = 0; i < trace->objects_count; i++)
        trace->bytes[i] = RECORD_BYTES + body_bytes(&random);
    free(popular);
    finish(trace);
}

/* ---- a log ---- */

/* host [time] "GET target HTTP/1.0" status bytes. What may be cached by its URL: no query, no CGI. Changes the line. */
static bool parse_line(char *line, char **target, unsigned *status, uint32_t *bytes)
{
    char *request = strstr(line, "] \"GET /"), *end = request != NULL ? strrchr(request, '"') : NULL;
    if (request == NULL || end <= request + strlen("] \"") || sscanf(end + 1, "%u %u", status, bytes) < 1)
        return false;
    *end = '\0';
    *target = request + strlen("] \"GET ");
    (*target)[strcspn(*target, " #")] = '\0';
    return strchr(*target, '?') == NULL && strstr(*target, "/cgi-bin/") == NULL;
}

static uint32_t number_of(struct trace *trace, const char *target)
{
    ENTRY *found = hsearch((ENTRY){.key = (char *)(uintptr_t)target}, FIND);
    if (found == NULL && trace->objects_count < LOG_OBJECTS_MAX) {
        uintptr_t number = trace->objects_count++;
        found = hsearch((ENTRY){.key = strdup(target), .data = (void *)number}, ENTER);
    }
    if (found == NULL) {
        fprintf(stderr, "eviction: the log has more than %d paths\n", LOG_OBJECTS_MAX);
        exit(1);
    }
    return (uint32_t)(uintptr_t)found->data;
}

void trace_from_log(struct trace *trace, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[4096], *target;
    uint32_t all = 0;
    if (file == NULL || hcreate(2 * (size_t)LOG_OBJECTS_MAX) == 0) {
        perror(path);
        exit(1);
    }
    *trace = (struct trace){.name = "EPA log"};
    trace->requests = allocate(LOG_REQUESTS_MAX, sizeof *trace->requests);
    trace->bytes = allocate(LOG_OBJECTS_MAX, sizeof *trace->bytes);
    while (all < LOG_REQUESTS_MAX && fgets(line, sizeof line, file) != NULL) {
        unsigned status;
        uint32_t bytes = 0;
        if (!parse_line(line, &target, &status, &bytes) || (status != 200 && status != 304))
            continue;
        uint32_t object = trace->requests[all++] = number_of(trace, target);
        if (status == 200 && trace->bytes[object] == 0)
            trace->bytes[object] = bytes + RECORD_BYTES;
    }
    fclose(file);
    for (uint32_t i = 0; i < all; i++) { /* but what was only ever confirmed, whose size is not known */
        if (trace->bytes[trace->requests[i]] > 0)
            trace->requests[trace->requests_count++] = trace->requests[i];
    }
    finish(trace);
}

void trace_of_servers(struct trace *trace, const struct trace *one, unsigned servers)
{
    *trace = (struct trace){.objects_count = one->objects_count * servers, .requests_count = one->requests_count * servers};
    snprintf(trace->name, sizeof trace->name, "%.20s, %u such servers", one->name, servers);
    trace->requests = allocate(trace->requests_count, sizeof *trace->requests);
    trace->bytes = allocate(trace->objects_count, sizeof *trace->bytes);
    for (uint32_t i = 0; i < trace->objects_count; i++)
        trace->bytes[i] = one->bytes[i % one->objects_count];
    for (uint32_t i = 0; i < trace->requests_count; i++) {
        uint32_t server = i % servers, at = i / servers + server * (one->requests_count / servers);
        trace->requests[i] = one->requests[at % one->requests_count] + server * one->objects_count;
    }
    finish(trace);
}
