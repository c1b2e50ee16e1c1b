/* Purge: whatever stands under the primary key goes, in one step. Where that is the selector, no variant is ever found again, for their names
 * are made with its serial; they leave memory as eviction meets them. A fill under way goes on for its readers, and is not stored. */
#include "cache/fill_state.h"

bool cache_purge(struct cache *cache, const struct cache_key *key)
{
    struct object_name name = {.hash = key->hash.low, .key = key->encoded};
    struct shard *shard = shard_of(cache, name.hash);
    pthread_mutex_lock(&shard->lock);
    struct object *object = shard_find(cache, shard, &name);
    if (object != NULL)
        shard_delist(cache, shard, object, OBJECT_PURGED);
    struct fill *fill = shard_find_fill(shard, &name);
    if (fill != NULL) {
        atomic_store_explicit(&fill->is_purged, true, memory_order_relaxed);
        shard_unlist_fill(fill);
    }
    pthread_mutex_unlock(&shard->lock);
    for (unsigned with_authorization = 0; with_authorization < 2; with_authorization++)
        unstorable_remove(&cache->unstorable, unstorable_name(name.hash, with_authorization));
    bool found = object != NULL;
    object_unref(cache, &object);
    fill_unref(&fill);
    if (found)
        atomic_fetch_add_explicit(&cache->purges_count, 1, memory_order_relaxed);
    return found;
}
