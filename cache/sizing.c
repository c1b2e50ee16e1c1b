/* See sizing.h. */
#include "cache/sizing.h"

#include <stddef.h>

enum {
    ENTRIES_MIN = 1024,
    ENTRIES_MAX = 16384,
    MEMORY_PER_ENTRY = 16 * 1024, /* of the cache: the two tables take less than 2 % of it */
};

static void publish_threshold(struct sizing *sizing)
{
    uint64_t threshold = ghosts_threshold(sizing->memory);
    if (sizing->disk != NULL && ghosts_threshold(sizing->disk) > threshold)
        threshold = ghosts_threshold(sizing->disk);
    if (threshold != atomic_load_explicit(&sizing->threshold, memory_order_relaxed)) /* every hit reads it */
        atomic_store_explicit(&sizing->threshold, threshold, memory_order_relaxed);
}

/* `settings` but for the capacities. */
static struct ghosts *ladder(struct ghosts_settings settings, uint64_t built_bytes)
{
    for (unsigned i = 0; i < GHOST_SIZES; i++)
        settings.capacities[i] = (uint64_t)((double)built_bytes * ghost_times[i]);
    return ghosts_new(&settings);
}

void sizing_init(struct sizing *sizing, uint64_t memory_bytes, uint64_t disk_bytes, bool disk_admits_all)
{
    uint64_t entries = memory_bytes / MEMORY_PER_ENTRY;
    entries = entries < ENTRIES_MIN ? ENTRIES_MIN : entries > ENTRIES_MAX ? ENTRIES_MAX : entries;
    *sizing = (struct sizing){.memory_bytes = memory_bytes, .disk_bytes = disk_bytes};
    pthread_mutex_init(&sizing->lock, NULL);
    struct ghosts_settings memory = {.entries_max = (uint32_t)entries};
    struct ghosts_settings disk = {.memory_bytes = memory_bytes, .admits_all = disk_admits_all, .entries_max = (uint32_t)entries};
    sizing->memory = ladder(memory, memory_bytes);
    sizing->disk = disk_bytes > 0 ? ladder(disk, disk_bytes) : NULL;
    publish_threshold(sizing);
}

void sizing_free(struct sizing *sizing)
{
    ghosts_free(&sizing->memory);
    ghosts_free(&sizing->disk);
    pthread_mutex_destroy(&sizing->lock);
}

/* ---- what happens ----------------------------------------------------------------------------------------------------------------------- */

/* With the lock held. */
static void refer(struct sizing *sizing, uint64_t hash, uint64_t bytes, bool was_found)
{
    struct ghosts *ladders[] = {sizing->memory, sizing->disk};
    for (unsigned i = 0; i < 2; i++) {
        if (ladders[i] != NULL && hash >> GHOST_HASH_SHIFT < ghosts_threshold(ladders[i]))
            ghosts_refer(ladders[i], hash, bytes, was_found);
    }
    publish_threshold(sizing);
}

void sizing_note_found(struct sizing *sizing, uint64_t hash, uint64_t bytes)
{
    sizing_note_many_found(sizing, &(struct sizing_note){hash, bytes}, 1);
}

bool sizing_note_many_found(struct sizing *sizing, const struct sizing_note *notes, unsigned count)
{
    if (pthread_mutex_trylock(&sizing->lock) != 0)
        return false;
    for (unsigned i = 0; i < count; i++)
        refer(sizing, notes[i].hash, notes[i].bytes, true);
    pthread_mutex_unlock(&sizing->lock);
    return true;
}

void sizing_note_stored(struct sizing *sizing, uint64_t hash, uint64_t bytes)
{
    pthread_mutex_lock(&sizing->lock);
    refer(sizing, hash, bytes, false);
    pthread_mutex_unlock(&sizing->lock);
}

void sizing_note_replaced(struct sizing *sizing, uint64_t hash, uint64_t bytes)
{
    pthread_mutex_lock(&sizing->lock);
    ghosts_resize(sizing->memory, hash, bytes);
    if (sizing->disk != NULL)
        ghosts_resize(sizing->disk, hash, bytes);
    pthread_mutex_unlock(&sizing->lock);
}

void sizing_note_purged(struct sizing *sizing, uint64_t hash)
{
    pthread_mutex_lock(&sizing->lock);
    ghosts_forget(sizing->memory, hash);
    if (sizing->disk != NULL)
        ghosts_forget(sizing->disk, hash);
    pthread_mutex_unlock(&sizing->lock);
}

void sizing_note_all_purged(struct sizing *sizing)
{
    pthread_mutex_lock(&sizing->lock);
    ghosts_forget_all(sizing->memory);
    if (sizing->disk != NULL)
        ghosts_forget_all(sizing->disk);
    pthread_mutex_unlock(&sizing->lock);
}

/* ---- what is told ----------------------------------------------------------------------------------------------------------------------- */

static uint64_t requests_of(struct sizing *sizing, uint64_t found)
{
    return found + atomic_load_explicit(&sizing->stored, memory_order_relaxed);
}

static void tell(const struct ghosts *ghosts, uint64_t bytes, uint64_t requests, const double before[GHOST_SIZES],
                 struct sizing_point points[GHOST_SIZES])
{
    double misses[GHOST_SIZES];
    ghosts_misses(ghosts, misses);
    for (unsigned i = 0; i < GHOST_SIZES; i++) {
        double ratio = requests > 0 ? 1 - (misses[i] - before[i]) / (double)requests : 0;
        ratio = ratio < 0 ? 0 : ratio; /* an estimate */
        if (i > 0 && ratio < points[i - 1].hit_ratio)
            ratio = points[i - 1].hit_ratio; /* more room does no harm beyond what a sample can tell */
        points[i] = (struct sizing_point){(uint64_t)((double)bytes * ghost_times[i]), ratio};
    }
}

void sizing_report(struct sizing *sizing, uint64_t found, struct sizing_report *report)
{
    *report = (struct sizing_report){.has_disk = sizing->disk != NULL};
    pthread_mutex_lock(&sizing->lock);
    report->requests = requests_of(sizing, found) - sizing->mark_before.requests;
    report->memory_rate = (double)ghosts_threshold(sizing->memory) / 0x1p32;
    report->used_bytes = ghosts_memory_bytes(sizing->memory);
    tell(sizing->memory, sizing->memory_bytes, report->requests, sizing->mark_before.memory_misses, report->memory);
    if (sizing->disk != NULL) {
        report->disk_rate = (double)ghosts_threshold(sizing->disk) / 0x1p32;
        report->used_bytes += ghosts_memory_bytes(sizing->disk);
        tell(sizing->disk, sizing->disk_bytes, report->requests, sizing->mark_before.disk_misses, report->disk);
    }
    pthread_mutex_unlock(&sizing->lock);
}

void sizing_turn(struct sizing *sizing, uint64_t found)
{
    pthread_mutex_lock(&sizing->lock);
    sizing->mark_before = sizing->mark;
    sizing->mark.requests = requests_of(sizing, found);
    ghosts_misses(sizing->memory, sizing->mark.memory_misses);
    if (sizing->disk != NULL)
        ghosts_misses(sizing->disk, sizing->mark.disk_misses);
    pthread_mutex_unlock(&sizing->lock);
}
