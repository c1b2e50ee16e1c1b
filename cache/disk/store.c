/* The front door of the disk tier: see store.h, and store_state.h for what its modules share. */
#include "cache/disk/store_state.h"

#include <stdlib.h>

struct store *store_new(struct cache *cache, const struct store_settings *settings)
{
    struct store *store = calloc(1, sizeof *store);
    if (store == NULL)
        abort();
    store->cache = cache;
    store->index = disk_index_new();
    store->directory_count = settings->directory_count;
    pthread_mutex_init(&store->lock, NULL);
    uint64_t unit = 0;
    for (unsigned i = 0; i < settings->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        *directory = (struct directory){
            .store = store,
            .settings = settings->directories[i],
            .number = (uint16_t)i,
            .first_unit = unit,
            .units_per_segment = settings->directories[i].segment_bytes / STORE_UNIT_BYTES,
            .sequences = calloc(settings->directories[i].segment_count, sizeof *directory->sequences),
        };
        if (directory->sequences == NULL)
            abort();
        unit += directory->units_per_segment * directory->settings.segment_count;
    }
    return store;
}

void store_free(struct store **store_pointer)
{
    struct store *store = *store_pointer;
    *store_pointer = NULL;
    if (store == NULL)
        return;
    for (unsigned i = 0; i < store->directory_count; i++)
        free(store->directories[i].sequences);
    disk_index_free(&store->index);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

static struct directory *directory_at(struct store *store, uint64_t unit)
{
    unsigned number = store->directory_count - 1;
    while (number > 0 && unit < store->directories[number].first_unit)
        number--;
    return &store->directories[number];
}

bool store_find(struct store *store, uint64_t hash, struct store_where *where)
{
    struct disk_entry entry;
    if (!atomic_load_explicit(&store->is_open, memory_order_acquire) || !disk_index_find(store->index, hash, &entry))
        return false;
    const struct directory *directory = directory_at(store, entry.unit);
    uint64_t units = entry.unit - directory->first_unit;
    uint64_t sequence = atomic_load_explicit(&directory->sequences[units / directory->units_per_segment], memory_order_acquire);
    uint64_t left = (directory->units_per_segment - units % directory->units_per_segment) * STORE_UNIT_BYTES;
    uint64_t read_bytes = store_class_bytes(entry.size_class);
    *where = (struct store_where){
        .unit = entry.unit,
        .place = {.directory = directory->number, .offset = STORE_FIRST_SEGMENT + units * STORE_UNIT_BYTES},
        .segment_sequence = sequence,
        .read_bytes = read_bytes < left ? read_bytes : left,
        .is_lasting = entry.is_lasting,
    };
    return sequence != 0;
}

void store_note_read(struct store *store, uint64_t hash, const struct store_where *where, enum disk_status status)
{
    struct directory *directory = &store->directories[where->place.directory];
    bool is_absent = status == DISK_ABSENT;
    atomic_fetch_add_explicit(&directory->reads, 1, memory_order_relaxed);
    if (status == DISK_OK) {
        atomic_fetch_add_explicit(&directory->read_bytes, where->read_bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&store->hits, 1, memory_order_relaxed);
        return;
    }
    if (is_absent)
        atomic_fetch_add_explicit(&store->misses, 1, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&directory->read_failures, 1, memory_order_relaxed);
    if (is_absent) {
        pthread_mutex_lock(&store->lock);
        disk_index_remove_at(store->index, hash, where->unit);
        pthread_mutex_unlock(&store->lock);
    }
}

void store_offer(struct store *store, struct object *object, uint64_t slice_bytes)
{
    (void)store, (void)object, (void)slice_bytes;
}

bool store_forget(struct store *store, uint64_t hash)
{
    pthread_mutex_lock(&store->lock);
    bool was_there = disk_index_remove(store->index, hash);
    pthread_mutex_unlock(&store->lock);
    return was_there;
}

void store_log_purge(struct store *store, const struct store_purge *purge)
{
    (void)store, (void)purge;
}

void store_start(struct store *store, struct disk_io *io, struct waker *waker)
{
    (void)io, (void)waker;
    atomic_store_explicit(&store->is_open, true, memory_order_release);
}

void store_run(struct store *store, struct monotonic_ms now, struct wall_seconds wall)
{
    (void)store, (void)now, (void)wall;
}

bool store_drain(struct store *store, struct monotonic_ms now, struct wall_seconds wall)
{
    store_run(store, now, wall);
    return true;
}

void store_stats(const struct store *store, struct store_stats *stats)
{
    *stats = (struct store_stats){.directory_count = store->directory_count};
}
