/* The front door of the disk tier: see store.h, and store_state.h for what its modules share. */
#include "cache/disk/admission.h"
#include "cache/disk/append.h"
#include "cache/disk/logged.h"
#include "cache/disk/queue.h"
#include "cache/disk/reclaim.h"
#include "cache/disk/recover.h"

#include "base/log.h"
#include "cache/cache_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_MS = 2000 /* of what is bypassed */ };

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

static void init_directory(struct store *store, unsigned number, const struct store_directory *settings, uint64_t first_unit)
{
    struct directory *directory = &store->directories[number];
    directory->store = store;
    directory->settings = *settings;
    directory->number = (uint16_t)number;
    directory->first_unit = first_unit;
    directory->units_per_segment = settings->segment_bytes / STORE_UNIT_BYTES;
    uint64_t halves[2];
    memcpy(halves, settings->identity, sizeof halves);
    directory->seed = mix(mix(halves[0]) ^ halves[1]);
    directory->segments = calloc(settings->segment_count, sizeof *directory->segments);
    if (directory->segments == NULL)
        abort();
    directory->segments_count[SEGMENT_UNKNOWN] = settings->segment_count;
    append_init(directory);
    reclaim_init(directory);
}

struct store *store_new(struct cache *cache, const struct store_settings *settings)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL)
        abort();
    store->cache = cache;
    store->index = disk_index_new();
    store->directory_count = settings->directory_count;
    store->admission = settings->admission;
    store->queue_max_bytes = settings->queue_max_bytes;
    uint64_t unit = 0;
    for (unsigned i = 0; i < store->directory_count; i++) {
        init_directory(store, i, &settings->directories[i], unit);
        unit += store->directories[i].units_per_segment * settings->directories[i].segment_count;
    }
    queue_init(store);
    recover_init(store);
    return store;
}

void store_free(struct store **store_pointer)
{
    struct store *store = *store_pointer;
    *store_pointer = NULL;
    if (store == NULL)
        return;
    recover_free(store);
    for (unsigned i = 0; i < store->directory_count; i++)
        reclaim_free(&store->directories[i]);
    queue_free(store);
    for (unsigned i = 0; i < store->directory_count; i++) {
        append_free(&store->directories[i]);
        free(store->directories[i].segments);
    }
    disk_index_free(&store->index);
    free(store);
}

/* ---- places ------------------------------------------------------------------------------------------------------------------------------ */

/* Weighted rendezvous: a directory that is added or taken away moves the names of its own share only. */
struct directory *directory_of(struct store *store, uint64_t hash)
{
    struct directory *best = &store->directories[0];
    double best_score = 0;
    for (unsigned i = 0; i < store->directory_count && store->directory_count > 1; i++) {
        struct directory *directory = &store->directories[i];
        double part = ((double)(mix(hash ^ directory->seed) >> 11) + 0.5) / (double)(UINT64_C(1) << 53);
        double score = (double)directory->settings.segment_bytes * directory->settings.segment_count / -log(part);
        if (score > best_score) {
            best = directory;
            best_score = score;
        }
    }
    return best;
}

struct directory *directory_at(struct store *store, uint64_t unit)
{
    unsigned number = store->directory_count - 1;
    while (number > 0 && unit < store->directories[number].first_unit)
        number--;
    return &store->directories[number];
}

uint64_t sequence_at(struct store *store, uint64_t unit)
{
    const struct directory *directory = directory_at(store, unit);
    return segment_sequence(directory, (uint32_t)((unit - directory->first_unit) / directory->units_per_segment));
}

bool store_find(struct store *store, uint64_t hash, struct store_where *where)
{
    struct disk_entry entry;
    if (!atomic_load_explicit(&store->is_open, memory_order_acquire) || !disk_index_find(store->index, hash, &entry))
        return false;
    const struct directory *directory = directory_at(store, entry.unit);
    uint64_t units = entry.unit - directory->first_unit;
    uint64_t left = (directory->units_per_segment - units % directory->units_per_segment) * STORE_UNIT_BYTES;
    uint64_t read_bytes = store_class_bytes(entry.size_class);
    *where = (struct store_where){
        .unit = entry.unit,
        .place = {.directory = directory->number, .offset = STORE_FIRST_SEGMENT + units * STORE_UNIT_BYTES},
        .segment_sequence = sequence_at(store, entry.unit),
        .read_bytes = read_bytes < left ? read_bytes : left,
        .is_lasting = entry.is_lasting,
    };
    return where->segment_sequence != 0;
}

void store_note_read(struct store *store, uint64_t hash, const struct store_where *where, enum disk_status status)
{
    struct directory *directory = &store->directories[where->place.directory];
    count_add(&directory->reads, 1);
    if (status == DISK_OK) {
        count_add(&directory->read_bytes, where->read_bytes);
        count_add(&store->hits, 1);
        return;
    }
    count_add(status == DISK_ABSENT ? &store->misses : &directory->read_failures, 1);
    if (status != DISK_ABSENT)
        return;
    pthread_mutex_lock(&store->lock);
    if (disk_index_remove_at(store->index, hash, where->unit)) {
        atomic_fetch_sub_explicit(&directory->records, 1, memory_order_relaxed);
        tombstone_add(directory, hash); /* or the next start might read it better, when it is out of date */
    }
    pthread_mutex_unlock(&store->lock);
}

/* ---- what comes in ----------------------------------------------------------------------------------------------------------------------- */

static void offer(struct store *store, struct object *object, uint64_t slice_bytes, bool is_hit)
{
    uint8_t kind = object->kind == OBJECT_SLICED ? STORE_SLICED : STORE_RESPONSE;
    struct offer *made = offer_new(directory_of(store, object->hash), kind, object->hash);
    made->object = object_ref(object);
    made->serial = kind == STORE_SLICED ? object_serial(object) : 0;
    made->slice_bytes = slice_bytes;
    queue_offer(made, is_hit);
}

void store_offer(struct store *store, struct object *object, uint64_t slice_bytes)
{
    if (object->kind == OBJECT_SELECTOR) /* it is written with the first variant (offer.c) */
        queue_forget(store, object->hash, false);
    else
        offer(store, object, slice_bytes, false);
}

void store_offer_again(struct store *store, struct object *object, uint64_t slice_bytes)
{
    offer(store, object, slice_bytes, true);
}

bool store_forget(struct store *store, uint64_t hash)
{
    return queue_forget(store, hash, true);
}

bool store_may_have(struct store *store, uint64_t hash)
{
    struct disk_entry entry;
    bool is_pending = queue_has(store, hash); /* first: it may arrive meanwhile */
    pthread_mutex_lock(&store->lock);
    bool may = is_pending || directory_of(store, hash)->is_latent || disk_index_find(store->index, hash, &entry);
    pthread_mutex_unlock(&store->lock);
    return may;
}

void store_log_purge(struct store *store, const struct store_purge *purge)
{
    queue_purge(store, purge);
}

/* ---- trouble ----------------------------------------------------------------------------------------------------------------------------- */

void directory_fail(struct directory *directory, enum disk_status status, int error, const char *what)
{
    if (!directory_is_bypassed(directory))
        log_error("store", "directory %u: %s: %s; going on without it, and trying again every %d s", directory->number, what,
                  status == DISK_UNAVAILABLE ? "no helper answered" : strerror(error), RETRY_MS / 1000);
    directory->retry_at = monotonic_add(directory->store->now, RETRY_MS);
    atomic_store_explicit(&directory->error, error, memory_order_relaxed);
    atomic_store_explicit(&directory->state, DIRECTORY_BYPASSED, memory_order_relaxed);
    queue_drop_all(directory);
    logged_wake(directory->store);
}

void directory_restore(struct directory *directory)
{
    int before = atomic_load_explicit(&directory->state, memory_order_relaxed);
    int after = directory->is_recovered ? DIRECTORY_WORKING : DIRECTORY_RECOVERING;
    if (before == DIRECTORY_BYPASSED)
        log_info("store", "directory %u: it works again", directory->number);
    if (before == after)
        return;
    atomic_store_explicit(&directory->error, 0, memory_order_relaxed);
    atomic_store_explicit(&directory->state, after, memory_order_relaxed);
}

void directory_note_latent(struct directory *directory)
{
    bool is_latent = !directory->is_recovered || reclaim_is_active(directory) || directory->condemned_count > 0 ||
                     directory->segments_count[SEGMENT_WIPED] > 0;
    pthread_mutex_lock(&directory->store->lock);
    directory->is_latent = is_latent;
    pthread_mutex_unlock(&directory->store->lock);
}

void segment_set_state(struct directory *directory, uint32_t number, enum segment_state state)
{
    struct segment *segment = &directory->segments[number];
    directory->segments_count[segment->state]--;
    directory->segments_count[state]++;
    segment->state = (uint8_t)state;
}

void segment_condemn(struct directory *directory, uint32_t number)
{
    struct segment *segment = &directory->segments[number];
    segment->is_condemned = true;
    directory->condemned_count++;
    atomic_store_explicit(&segment->sequence, 0, memory_order_release);
    directory_note_latent(directory);
}

void directory_condemn(struct directory *directory, uint64_t up_to)
{
    struct store *store = directory->store;
    uint32_t open = append_open_segment(directory);
    if (open != SEGMENT_NONE && directory->segments[open].age <= up_to)
        append_abandon(directory);
    for (uint32_t i = 0; i < directory->settings.segment_count; i++) {
        const struct segment *segment = &directory->segments[i];
        if (segment->state != SEGMENT_USED || segment->is_condemned || segment->age > up_to)
            continue;
        segment_condemn(directory, i);
        uint64_t from = segment_unit(directory, i);
        pthread_mutex_lock(&store->lock);
        uint64_t removed = disk_index_remove_range(store->index, from, from + directory->units_per_segment);
        atomic_fetch_sub_explicit(&directory->records, removed, memory_order_relaxed);
        pthread_mutex_unlock(&store->lock);
    }
}

/* Tombstones or purges were lost: nothing in the directory can be trusted any more. */
static void drop_if_overflowed(struct directory *directory)
{
    pthread_mutex_lock(&directory->store->lock);
    bool has_overflowed = directory->has_overflowed;
    pthread_mutex_unlock(&directory->store->lock);
    if (!has_overflowed || !directory->is_known || append_is_busy(directory))
        return;
    log_warn("store", "directory %u: too much was purged while it could not be written; it is emptied", directory->number);
    directory_condemn(directory, UINT64_MAX);
    pthread_mutex_lock(&directory->store->lock);
    directory->has_overflowed = false;
    pthread_mutex_unlock(&directory->store->lock);
}

/* ---- the home loop ----------------------------------------------------------------------------------------------------------------------- */

void store_start(struct store *store, struct disk_io *io, struct waker *waker)
{
    store->io = io;
    store->is_started = true;
    atomic_store_explicit(&store->waker, waker, memory_order_release);
    store_wake(store);
}

void store_run(struct store *store, struct monotonic_ms now, struct wall_seconds wall)
{
    if (!store->is_started)
        return;
    store->now = now;
    store->wall = wall;
    recover_run(store);
    for (unsigned i = 0; i < store->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        drop_if_overflowed(directory);
        append_run(directory);
        reclaim_run(directory);
        admission_look(directory);
    }
}

void store_begin_drain(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    store->is_draining = true;
    store->drain_position = store_log_position(store);
    pthread_mutex_unlock(&store->lock);
}

bool store_drain(struct store *store, struct monotonic_ms now, struct wall_seconds wall, bool with_sync)
{
    bool is_done = true;
    if (!store->is_draining)
        store_begin_drain(store);
    store->syncs_at_end = with_sync;
    store_run(store, now, wall);
    for (unsigned i = 0; i < store->directory_count && store->is_started; i++)
        is_done &= append_is_done(&store->directories[i]);
    return is_done;
}

void store_release(struct store *store)
{
    store->was_open = atomic_exchange_explicit(&store->is_open, false, memory_order_acq_rel);
    store->is_started = false;
    for (unsigned i = 0; i < store->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        directory->was_bypassed = directory_is_bypassed(directory);
        atomic_store_explicit(&directory->state, DIRECTORY_BYPASSED, memory_order_relaxed);
        queue_drop_all(directory);
    }
    logged_wake(store);
}

/* Nobody has written there: what the index says is still so, but for what was forgotten meanwhile, which is still to be logged. */
void store_resume(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    store->is_draining = false;
    pthread_mutex_unlock(&store->lock);
    store->syncs_at_end = false;
    for (unsigned i = 0; i < store->directory_count && !store->is_started; i++)
        if (!store->directories[i].was_bypassed)
            directory_restore(&store->directories[i]);
    if (!store->is_started)
        atomic_store_explicit(&store->is_open, store->was_open, memory_order_release);
    store->is_started = true;
    store_wake(store);
}

/* ---- figures ----------------------------------------------------------------------------------------------------------------------------- */

static void directory_stats(const struct directory *directory, struct directory_stats *stats)
{
    *stats = (struct directory_stats){
        .state = (enum directory_state)atomic_load_explicit(&directory->state, memory_order_relaxed),
        .error = atomic_load_explicit(&directory->error, memory_order_relaxed),
        .bytes = directory->settings.segment_bytes * directory->settings.segment_count,
        .segments = directory->settings.segment_count,
        .records = count_get(&directory->records),
        .read_bytes = count_get(&directory->read_bytes),
        .written_bytes = count_get(&directory->written_bytes),
        .admitted_bytes = count_get(&directory->admitted_bytes),
        .moved_bytes = count_get(&directory->moved_bytes),
        .reads = count_get(&directory->reads),
        .read_failures = count_get(&directory->read_failures),
        .writes = count_get(&directory->writes),
        .write_failures = count_get(&directory->write_failures),
    };
    for (uint32_t i = 0; i < directory->settings.segment_count; i++)
        stats->segments_used += segment_sequence(directory, i) != 0;
}

void store_stats(const struct store *store, struct store_stats *stats)
{
    *stats = (struct store_stats){
        .directory_count = store->directory_count,
        .is_recovering = !atomic_load_explicit(&store->is_recovered, memory_order_relaxed),
        .recovered_records = count_get(&store->recovered_records),
        .recovery_ms = count_get(&store->recovery_ms),
        .records = disk_index_count(store->index),
        .index_bytes = disk_index_bytes(store->index),
        .hits = count_get(&store->hits),
        .misses = count_get(&store->misses),
        .offered = count_get(&store->offered),
        .refused = count_get(&store->refused),
        .dropped = count_get(&store->dropped),
        .reclaimed_segments = count_get(&store->reclaimed_segments),
        .moved_records = count_get(&store->moved_records),
        .queue_bytes = count_get(&store->queue_bytes),
    };
    for (unsigned i = 0; i < store->directory_count; i++)
        directory_stats(&store->directories[i], &stats->directories[i]);
}
