/* Memory tiers that exist only as lists of numbers: S3-FIFO as in cache/evict.c, SIEVE, LRU, and two marks that look at sizes and at the future. All are
 * bounded in bytes. GDSF and Belady's rule pick the worst of SAMPLES objects drawn at random, which is within a point of sorting all of them. */
#include "tests/bench/eviction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NOWHERE, SMALL, MAIN, SAMPLES = 64, HITS_MAX = 3 };

const struct policy policy_built = {"S3-FIFO", POLICY_S3FIFO, 10, 2, 100, false, false};

static uint32_t *numbers(uint32_t count)
{
    uint32_t *at = malloc(count * sizeof *at);
    if (at == NULL)
        abort();
    memset(at, 0xff, count * sizeof *at);
    return at;
}

static void *zeroes(uint32_t count, size_t bytes)
{
    void *at = calloc(count, bytes);
    if (at == NULL)
        abort();
    return at;
}

void simulation_init(struct simulation *s, const struct trace *trace, const struct policy *policy, uint64_t capacity)
{
    uint32_t count = trace->objects_count;
    *s = (struct simulation){.trace = trace, .policy = policy, .bytes = trace->bytes, .capacity = capacity, .random = 88172645463325252u};
    s->previous = numbers(count);
    s->next = numbers(count);
    s->members = numbers(count);
    s->place = numbers(count);
    s->next_use = numbers(count);
    s->where = zeroes(count, sizeof *s->where);
    s->hits = zeroes(count, sizeof *s->hits);
    s->rounds = zeroes(count, sizeof *s->rounds);
    s->forgotten_at = zeroes(count, sizeof *s->forgotten_at);
    s->worth = zeroes(count, sizeof *s->worth);
    simulation_forget_all(s);
}

void simulation_free(struct simulation *s)
{
    free(s->previous);
    free(s->next);
    free(s->members);
    free(s->place);
    free(s->next_use);
    free(s->where);
    free(s->hits);
    free(s->rounds);
    free(s->forgotten_at);
    free(s->worth);
}

void simulation_forget_all(struct simulation *s)
{
    memset(s->where, NOWHERE, s->trace->objects_count);
    memset(s->forgotten_at, 0, s->trace->objects_count * sizeof *s->forgotten_at);
    for (unsigned i = 0; i < 3; i++)
        s->queues[i] = (struct queue){NEVER, NEVER, 0};
    s->hand = NEVER;
    s->used = s->count = 0;
    s->evictions = 0;
    s->inflation = 0;
}

/* ---- queues ---- */

static void push(struct simulation *s, uint32_t object, uint8_t to)
{
    struct queue *queue = &s->queues[to];
    s->where[object] = to;
    s->previous[object] = queue->last;
    s->next[object] = NEVER;
    *(queue->last == NEVER ? &queue->first : &s->next[queue->last]) = object;
    queue->last = object;
    queue->bytes += s->bytes[object];
}

static void take(struct simulation *s, uint32_t object)
{
    struct queue *queue = &s->queues[s->where[object]];
    uint32_t before = s->previous[object], after = s->next[object];
    *(before == NEVER ? &queue->first : &s->next[before]) = after;
    *(after == NEVER ? &queue->last : &s->previous[after]) = before;
    queue->bytes -= s->bytes[object];
    s->where[object] = NOWHERE;
}

/* ---- S3-FIFO ---- */

static bool is_remembered(const struct simulation *s, uint32_t object)
{
    return s->forgotten_at[object] != 0 && (s->evictions - s->forgotten_at[object]) * 100 < (uint64_t)s->count * s->policy->ghost_percent;
}

static uint8_t rounds_of(const struct simulation *s, uint32_t object)
{
    uint64_t mean = s->used / s->count, bytes = s->bytes[object];
    return !s->policy->by_size || bytes > mean ? 0 : bytes > mean / 4 ? 1 : bytes > mean / 16 ? 3 : 6;
}

static bool is_large(const struct simulation *s, uint32_t object)
{
    return s->policy->by_size && s->bytes[object] > 2 * s->used / s->count;
}

static uint32_t s3fifo_victim(struct simulation *s)
{
    for (;;) {
        bool is_small = s->queues[SMALL].bytes * 100 >= s->used * s->policy->small_percent && s->queues[SMALL].first != NEVER;
        is_small = is_small || s->queues[MAIN].first == NEVER;
        uint32_t object = s->queues[is_small ? SMALL : MAIN].first;
        if (is_small && s->hits[object] >= s->policy->promote_hits) {
            take(s, object);
            s->hits[object] = 0;
            s->rounds[object] = rounds_of(s, object);
            push(s, object, MAIN);
        } else if (!is_small && s->rounds[object] > 0) {
            take(s, object);
            s->rounds[object]--;
            push(s, object, MAIN);
        } else if (!is_small && s->hits[object] > 0) {
            take(s, object);
            s->hits[object] = is_large(s, object) ? 0 : s->hits[object] - 1;
            s->rounds[object] = rounds_of(s, object);
            push(s, object, MAIN);
        } else {
            if (is_small)
                s->forgotten_at[object] = ++s->evictions;
            return object;
        }
    }
}

/* ---- SIEVE ---- */

static uint32_t sieve_victim(struct simulation *s)
{
    uint32_t object = s->hand == NEVER ? s->queues[SMALL].first : s->hand;
    while (s->hits[object] > 0) {
        s->hits[object] = 0;
        object = s->next[object] == NEVER ? s->queues[SMALL].first : s->next[object];
    }
    s->hand = s->next[object];
    return object;
}

/* ---- by sampling ---- */

static double worth_of(const struct simulation *s, uint32_t object)
{
    if (s->policy->kind == POLICY_GDSF)
        return s->worth[object];
    /* Belady's rule by bytes: what takes most room for longest is worth least. */
    return s->next_use[object] == NEVER ? -INFINITY : -(double)(s->next_use[object] - s->now) * s->bytes[object];
}

static uint32_t sampled_victim(struct simulation *s)
{
    uint32_t worst = NEVER;
    for (unsigned i = 0; i < SAMPLES; i++) {
        uint32_t object = s->members[random_next(&s->random) % s->count];
        if (worst == NEVER || worth_of(s, object) < worth_of(s, worst))
            worst = object;
    }
    if (s->policy->kind == POLICY_GDSF)
        s->inflation = s->worth[worst];
    return worst;
}

/* ---- all ---- */

static void evict(struct simulation *s)
{
    uint32_t object = s->policy->kind == POLICY_S3FIFO  ? s3fifo_victim(s)
                      : s->policy->kind == POLICY_SIEVE ? sieve_victim(s)
                      : s->policy->kind == POLICY_LRU   ? s->queues[SMALL].first
                                                        : sampled_victim(s);
    take(s, object);
    s->used -= s->bytes[object];
    s->count--;
    s->members[s->place[object]] = s->members[s->count];
    s->place[s->members[s->count]] = s->place[object];
    if (s->evicted != NULL)
        s->evicted(s->context, object);
}

static void note_use(struct simulation *s, uint32_t object, double times)
{
    s->next_use[object] = s->trace->next_use[s->now];
    s->worth[object] = s->inflation + times / s->bytes[object];
}

bool simulation_touch(struct simulation *s, uint32_t now)
{
    uint32_t object = s->trace->requests[now];
    s->now = now;
    if (s->where[object] == NOWHERE)
        return false;
    if (s->hits[object] < (s->policy->kind == POLICY_GDSF ? UINT8_MAX : HITS_MAX))
        s->hits[object]++;
    note_use(s, object, s->hits[object] + 1);
    if (s->policy->kind == POLICY_LRU) {
        take(s, object);
        push(s, object, SMALL);
    }
    return true;
}

bool simulation_insert(struct simulation *s, uint32_t now)
{
    uint32_t object = s->trace->requests[now], bytes = s->bytes[object];
    s->now = now;
    if (bytes > s->capacity / OBJECT_MAX_PART || (s->policy->kind == POLICY_BELADY && s->trace->next_use[now] == NEVER))
        return false;
    while (s->used + bytes > s->capacity)
        evict(s);
    bool returns = s->policy->kind == POLICY_S3FIFO && is_remembered(s, object);
    s->forgotten_at[object] = 0;
    s->hits[object] = 0;
    push(s, object, returns ? MAIN : SMALL);
    note_use(s, object, 1);
    s->used += bytes;
    s->place[object] = s->count;
    s->members[s->count++] = object;
    return true;
}

struct ratio simulate(const struct trace *trace, const struct policy *policy, uint64_t capacity)
{
    struct simulation s;
    struct ratio ratio = {0};
    simulation_init(&s, trace, policy, capacity);
    if (policy->in_extents)
        s.bytes = trace->extents;
    for (uint32_t now = 0; now < trace->requests_count; now++) {
        bool is_hit = simulation_touch(&s, now);
        if (!is_hit)
            simulation_insert(&s, now);
        if (now >= trace->warm_count)
            ratio_count(&ratio, trace->bytes[trace->requests[now]], is_hit);
    }
    simulation_free(&s);
    return ratio;
}
