/* What is to be written to disk: a memory tier (S3-FIFO as built) above a log of records ten times its size.
 *
 * The log: records are appended; when it is full, the oldest SEGMENTS_PART of it is reclaimed, and what was read from it since it was last appended is
 * appended again, its bit cleared. A hit on disk brings the response into memory. The doorkeeper remembers a bounded number of missed keys.
 * A kill half-way empties the memory and the doorkeeper; the log stays. */
#include "tests/bench/eviction.h"

#include <stdlib.h>

enum {
    DISK_PART = 10, /* times the memory */
    SEGMENTS_PART = 100,
    RESTART_WINDOW = 20, /* a 20th of the trace counts as "after a restart" */
};

enum admission {
    WRITE_ALWAYS,      /* at the end of each fill */
    WRITE_EVICTED,     /* when evicted from memory */
    WRITE_EVICTED_HIT, /* when evicted from memory, if it was hit there or its key had been missed before */
    WRITE_SECOND_MISS, /* at the end of a fill, if its key had been missed before */
    WRITE_SECOND_HIT,  /* so, or at the first hit in memory */
    WRITE_UNTIL_FULL,  /* always until the log is full for the first time, then so */
};

struct rule {
    const char *name;
    enum admission admission;
    unsigned door_bytes; /* of disk for each key that the doorkeeper remembers */
};

static const struct rule rules[] = {
    {"always, at fill end", WRITE_ALWAYS, 0},
    {"always, when evicted from memory", WRITE_EVICTED, 0},
    {"second-hit, when evicted from memory", WRITE_EVICTED_HIT, 16384},
    {"second-hit, at the second miss", WRITE_SECOND_MISS, 16384},
    {"second-hit, at the second request", WRITE_SECOND_HIT, 16384},
    {"so, doorkeeper of a quarter", WRITE_SECOND_HIT, 65536},
    {"so, doorkeeper of four times", WRITE_SECOND_HIT, 4096},
    {"so, but always until first full", WRITE_UNTIL_FULL, 16384},
};

enum { RULES = sizeof rules / sizeof rules[0], SECOND_REQUEST = 4 };

struct disk {
    const struct trace *trace;
    const struct rule *rule;
    struct simulation memory;
    uint64_t capacity, used;
    uint32_t *log; /* a ring of objects */
    uint32_t oldest, count;
    uint8_t *is_there, *was_read, *is_wanted; /* per object */
    uint64_t *missed_at, misses, door_entries;
    uint64_t written, appended_again;
    bool was_full;
};

struct tier_result {
    struct ratio all, restarted;
    uint64_t memory_hits, written, appended_again;
};

static void *zeroes(size_t count, size_t bytes)
{
    void *at = calloc(count, bytes);
    if (at == NULL)
        abort();
    return at;
}

static void append(struct disk *disk, uint32_t object)
{
    disk->log[(disk->oldest + disk->count++) % disk->trace->objects_count] = object;
    disk->is_there[object] = 1;
    disk->used += disk->trace->bytes[object];
    disk->written += disk->trace->bytes[object];
}

/* Each object is in the log at most once, so the ring never overflows. */
static void reclaim(struct disk *disk)
{
    disk->was_full = true;
    for (uint64_t done = 0; done < disk->capacity / SEGMENTS_PART && disk->count > 0;) {
        uint32_t object = disk->log[disk->oldest];
        uint64_t bytes = disk->trace->bytes[object];
        disk->oldest = (disk->oldest + 1) % disk->trace->objects_count;
        disk->count--;
        disk->is_there[object] = 0;
        disk->used -= bytes;
        done += bytes;
        if (disk->was_read[object]) {
            disk->was_read[object] = 0;
            append(disk, object);
            disk->appended_again += bytes;
        }
    }
}

static void write_record(struct disk *disk, uint32_t object)
{
    uint64_t bytes = disk->trace->bytes[object];
    if (disk->is_there[object] || bytes > disk->capacity / OBJECT_MAX_PART)
        return;
    while (disk->used + bytes > disk->capacity)
        reclaim(disk);
    disk->was_read[object] = 0;
    append(disk, object);
}

static void memory_evicted(void *context, uint32_t object)
{
    struct disk *disk = context;
    enum admission admission = disk->rule->admission;
    if (admission == WRITE_EVICTED || (admission == WRITE_EVICTED_HIT && disk->is_wanted[object]))
        write_record(disk, object);
}

/* Whether the doorkeeper knows the key of a miss. */
static bool knock(struct disk *disk, uint32_t object)
{
    bool known = disk->missed_at[object] != 0 && disk->misses - disk->missed_at[object] < disk->door_entries;
    disk->missed_at[object] = ++disk->misses;
    return known;
}

static bool is_admitted(const struct disk *disk, bool is_known)
{
    switch (disk->rule->admission) {
    case WRITE_ALWAYS:
        return true;
    case WRITE_EVICTED:
    case WRITE_EVICTED_HIT:
        return false;
    case WRITE_UNTIL_FULL:
        return is_known || !disk->was_full;
    case WRITE_SECOND_MISS:
    case WRITE_SECOND_HIT:
        break;
    }
    return is_known;
}

static bool request(struct disk *disk, uint32_t now, bool *in_memory)
{
    uint32_t object = disk->trace->requests[now];
    enum admission admission = disk->rule->admission;
    *in_memory = simulation_touch(&disk->memory, now);
    if (*in_memory) {
        disk->is_wanted[object] = 1;
        if (admission == WRITE_SECOND_HIT || admission == WRITE_UNTIL_FULL)
            write_record(disk, object);
        return true;
    }
    bool on_disk = disk->is_there[object];
    disk->was_read[object] |= on_disk;
    disk->is_wanted[object] = on_disk || knock(disk, object);
    simulation_insert(&disk->memory, now);
    if (!on_disk && is_admitted(disk, disk->is_wanted[object]))
        write_record(disk, object);
    return on_disk;
}

static void forget_all(struct disk *disk)
{
    simulation_forget_all(&disk->memory);
    for (uint32_t i = 0; i < disk->trace->objects_count; i++)
        disk->missed_at[i] = 0;
}

static struct tier_result run(const struct trace *trace, const struct rule *rule, uint64_t memory_bytes, uint64_t capacity, bool restart)
{
    struct tier_result result = {0};
    uint32_t objects = trace->objects_count, killed_at = restart ? trace->requests_count / 2 : NEVER;
    struct disk disk = {.trace = trace, .rule = rule, .capacity = capacity};
    disk.log = zeroes(objects, sizeof *disk.log);
    disk.is_there = zeroes(objects, 1);
    disk.was_read = zeroes(objects, 1);
    disk.is_wanted = zeroes(objects, 1);
    disk.missed_at = zeroes(objects, sizeof *disk.missed_at);
    disk.door_entries = rule->door_bytes == 0 ? 0 : capacity / rule->door_bytes;
    simulation_init(&disk.memory, trace, &policy_built, memory_bytes);
    disk.memory.evicted = memory_evicted;
    disk.memory.context = &disk;
    for (uint32_t now = 0; now < trace->requests_count; now++) {
        bool in_memory;
        if (now == trace->warm_count)
            disk.written = disk.appended_again = 0;
        if (now == killed_at)
            forget_all(&disk);
        bool is_hit = request(&disk, now, &in_memory);
        uint64_t bytes = trace->bytes[trace->requests[now]];
        if (now >= trace->warm_count) {
            ratio_count(&result.all, bytes, is_hit);
            result.memory_hits += in_memory;
        }
        if (restart && now >= killed_at && now - killed_at < trace->requests_count / RESTART_WINDOW)
            ratio_count(&result.restarted, bytes, is_hit);
    }
    result.written = disk.written;
    result.appended_again = disk.appended_again;
    simulation_free(&disk.memory);
    free(disk.log);
    free(disk.is_there);
    free(disk.was_read);
    free(disk.is_wanted);
    free(disk.missed_at);
    return result;
}

struct ratio simulate_disk(const struct trace *trace, uint64_t memory_bytes, uint64_t disk_bytes)
{
    return run(trace, &rules[RULES - 1], memory_bytes, disk_bytes, false).all;
}

struct row {
    double hits, bytes, memory, written, again, restarted;
};

static struct row row_of(const struct trace *trace, const struct rule *rule, double part)
{
    uint64_t memory_bytes = (uint64_t)(part * (double)trace->footprint);
    struct tier_result steady = run(trace, rule, memory_bytes, memory_bytes * DISK_PART, false);
    struct tier_result killed = run(trace, rule, memory_bytes, memory_bytes * DISK_PART, true);
    return (struct row){
        .hits = percent(steady.all.hits, steady.all.requests),
        .bytes = percent(steady.all.hit_bytes, steady.all.bytes),
        .memory = percent(steady.memory_hits, steady.all.requests),
        .written = percent(steady.written, steady.all.bytes) / 100,
        .again = percent(steady.appended_again, steady.all.bytes) / 100,
        .restarted = percent(killed.restarted.hits, killed.restarted.requests),
    };
}

static void print_row(FILE *out, const char *trace, const char *rule, const struct row *row)
{
    fprintf(out, "| %s | %s | %.1f | %.1f | %.1f | %.3f | %.3f | %.1f |\n", trace, rule, row->hits, row->bytes, row->memory, row->written,
            row->again, row->restarted);
}

static void add(struct row *sum, const struct row *row, double part)
{
    sum->hits += row->hits * part;
    sum->bytes += row->bytes * part;
    sum->memory += row->memory * part;
    sum->written += row->written * part;
    sum->again += row->again * part;
    sum->restarted += row->restarted * part;
}

void disk_tables(FILE *out, const struct trace *traces, unsigned count)
{
    static const double parts[] = {0.005, 0.01, 0.025, 0.05};
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        struct row means[RULES] = {0};
        fprintf(out, "\nMemory %.1f %% of the footprint, disk %.0f %%:\n\n", 100 * parts[i], 100 * DISK_PART * parts[i]);
        fprintf(out, "| trace | admission | hits %% | bytes hit %% | hits from memory %% | written per byte served | of it again | hits "
                     "after a kill %% |\n");
        fprintf(out, "|---|---|---|---|---|---|---|---|\n");
        for (unsigned j = 0; j < count; j++) {
            for (unsigned k = 0; k < RULES; k++) {
                struct row row = row_of(&traces[j], &rules[k], parts[i]);
                add(&means[k], &row, 1.0 / count);
                if (i == 1 && (rules[k].admission == WRITE_ALWAYS || &rules[k] == &rules[SECOND_REQUEST]))
                    print_row(out, traces[j].name, rules[k].name, &row);
            }
        }
        for (unsigned k = 0; k < RULES; k++)
            print_row(out, "**mean of all**", rules[k].name, &means[k]);
    }
}
