/* See admission.h. */
#include "cache/disk/admission.h"

#include "cache/cache_state.h"
#include "cache/disk/append.h"
#include "cache/disk/doorkeeper.h"
#include "cache/disk/reclaim.h"

enum {
    DISK_BYTES_PER_KEY = 16 * 1024, /* that the doorkeeper remembers: about twice as many as there are records */
    EMPTY_PART = 4,                 /* a log is not full any more when so much of it (1/n) is free: it was emptied */
};

void admission_init(struct store *store)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < store->directory_count; i++)
        bytes += store->directories[i].settings.segment_bytes * store->directories[i].settings.segment_count;
    store->doorkeeper = doorkeeper_new(bytes / DISK_BYTES_PER_KEY);
}

void admission_free(struct store *store)
{
    doorkeeper_free(&store->doorkeeper);
}

uint64_t admission_name(const struct offer *offer)
{
    const struct cache *cache = offer->directory->store->cache;
    const struct object *object = offer->object;
    if (object_selector(object) == NULL)
        return offer->hash;
    const struct record *record = object_record(cache, object);
    struct hash128 key = hash_bytes(&cache->hash_key, record_key(record)),
                   values = hash_bytes(&cache->hash_key, record_vary_values(record));
    return key.low ^ values.high;
}

bool admission_takes(struct store *store, const struct offer *offer, uint64_t name)
{
    if (store->admission == STORE_ADMIT_ALWAYS || atomic_load_explicit(&offer->object->frequency, memory_order_relaxed) > 0)
        return true;
    bool is_known = doorkeeper_ask(store->doorkeeper, name);
    return is_known || !atomic_load_explicit(&offer->directory->is_full, memory_order_relaxed);
}

void admission_look(struct directory *directory)
{
    if (!directory->is_known)
        return;
    uint32_t free_count = append_free_segments(directory);
    if (free_count <= reclaim_kept_free(directory))
        atomic_store_explicit(&directory->is_full, true, memory_order_relaxed);
    else if (free_count > directory->settings.segment_count / EMPTY_PART)
        atomic_store_explicit(&directory->is_full, false, memory_order_relaxed);
}
