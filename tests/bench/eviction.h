/* What the parts of the eviction benchmark share: traces of requests, caches that are only simulated, and the real one. See eviction.c. */
#ifndef TESTS_BENCH_EVICTION_H
#define TESTS_BENCH_EVICTION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum {
    RECORD_BYTES = 320,    /* what is stored of a response beside its body: the record's fixed part, key, header block */
    OBJECT_MAX_PART = 4,   /* a response over this part of the memory is not kept, as in the accelerator (cache.object_max) */
    NEVER = UINT32_MAX,
};

/* ---- traces (eviction_traces.c) ---- */

struct trace {
    char      name[48];
    uint32_t *requests; /* numbers of objects, in the order of the requests */
    uint32_t *next_use; /* per request: when its object is next asked for, or NEVER */
    uint32_t *bytes;    /* per object: its whole record */
    uint32_t *extents;  /* per object: what the slab gives for it (built_extents); NULL until then */
    uint32_t  requests_count, objects_count;
    uint32_t  warm_count; /* the first requests, which fill the caches and are not counted */
    uint64_t  footprint;  /* bytes of all objects */
};

/* The static GETs of a server's log with their URLs and sizes. Exits with a message when it cannot be read. */
void trace_from_log(struct trace *trace, const char *path);

struct synthetic {
    double   exponent;      /* of Zipf's law */
    double   once_objects;  /* part of all objects that are asked for once, or */
    double   once_requests; /* part of all requests that are for such objects */
    unsigned drift;         /* percent of the popular objects replaced by new ones during the trace, again and again */
};

/* As many servers of that kind behind one cache, each with its own objects, at different hours of its day. */
void trace_of_servers(struct trace *trace, const struct trace *one, unsigned servers);
void trace_synthetic(struct trace *trace, const char *name, const struct synthetic *how);
void trace_free(struct trace *trace);

/* Deterministic: xorshift64*. */
uint64_t random_next(uint64_t *state);
double   random_unit(uint64_t *state);

/* ---- simulated memory tiers (eviction_policies.c) ---- */

enum policy_kind { POLICY_S3FIFO, POLICY_SIEVE, POLICY_LRU, POLICY_GDSF, POLICY_BELADY };

struct policy {
    const char      *name;
    enum policy_kind kind;
    /* of S3-FIFO; cache/evict.c has 10, 2, 100 */
    unsigned small_percent;   /* of all bytes, before the small queue is the one to evict from */
    unsigned promote_hits;    /* in the small queue, to be moved to the main one */
    unsigned ghost_percent;   /* evictions remembered, of the number of responses held */
    bool     by_size;         /* small responses get more rounds in the main queue, large ones lose all their hits at a look */
    bool     in_extents;      /* what an object takes is what the slab gives for it */
};

extern const struct policy policy_built; /* the parameters of cache/evict.c */

struct queue {
    uint32_t first, last; /* oldest, newest; NEVER: empty */
    uint64_t bytes;
};

struct simulation {
    const struct trace  *trace;
    const struct policy *policy;
    const uint32_t      *bytes; /* per object: what it takes */
    uint64_t             capacity, used;
    uint32_t             count, now;
    uint32_t            *previous, *next; /* per object: neighbours in its queue */
    uint8_t             *where, *hits;    /* per object: its queue (0: not here), hits since the last look */
    uint8_t             *rounds;          /* per object: left in the main queue whatever its hits */
    struct queue         queues[3];       /* 1: small, or the only one; 2: main */
    uint32_t             hand;            /* of SIEVE */
    uint64_t            *forgotten_at;    /* per object: ghost */
    uint64_t             evictions;
    uint32_t            *members, *place; /* of what samples: all objects here, and where each stands */
    uint32_t            *next_use;        /* per object */
    double              *worth, inflation;
    uint64_t             random;
    void (*evicted)(void *context, uint32_t object); /* may be NULL */
    void *context;
};

void simulation_init(struct simulation *simulation, const struct trace *trace, const struct policy *policy, uint64_t capacity);
void simulation_free(struct simulation *simulation);
/* The request number `now` of the trace: true when it is a hit. */
bool simulation_touch(struct simulation *simulation, uint32_t now);
/* After a miss of that request. False when it is too large, or not worth it. */
bool simulation_insert(struct simulation *simulation, uint32_t now);
/* All that is here is gone, unnoticed: the process was killed. */
void simulation_forget_all(struct simulation *simulation);

/* ---- results ---- */

struct ratio {
    uint64_t requests, hits, bytes, hit_bytes;
};

static inline void ratio_count(struct ratio *ratio, uint64_t bytes, bool is_hit)
{
    ratio->requests++;
    ratio->bytes += bytes;
    if (is_hit) {
        ratio->hits++;
        ratio->hit_bytes += bytes;
    }
}

static inline double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

struct ratio simulate(const struct trace *trace, const struct policy *policy, uint64_t capacity);

/* The same trace through the accelerator's own cache (eviction_built.c). requests is 0 when its slab cannot be that small. */
struct ratio run_built(const struct trace *trace, uint64_t capacity);
/* Bytes of the extents that the cache takes for each object. */
void built_extents(struct trace *trace);

/* A memory tier above a disk tier that admits as cache/disk does; hits in either. */
struct ratio simulate_disk(const struct trace *trace, uint64_t memory_bytes, uint64_t disk_bytes);
/* Admission to a disk tier (eviction_disk.c): prints its tables. */
void disk_tables(FILE *out, const struct trace *traces, unsigned count);

#endif
