/* The shards: see cache_state.h. Everything that changes what other requests find goes through here. */
#include "cache/fill_state.h"

#include <assert.h>

void shard_lock_to_insert(struct cache *cache, struct shard *shard)
{
    for (;;) {
        pthread_mutex_lock(&shard->lock);
        if (index_is_ready(&shard->index))
            return;
        pthread_mutex_unlock(&shard->lock);
        index_stock(&shard->index, &shard->lock, &cache->buckets);
    }
}

void shard_lock_pair(struct cache *cache, struct shard *insert, struct shard *other)
{
    if (insert == other) {
        shard_lock_to_insert(cache, insert);
        return;
    }
    for (;;) {
        struct shard *first = insert < other ? insert : other;
        pthread_mutex_lock(&first->lock);
        pthread_mutex_lock(&(first == insert ? other : insert)->lock);
        if (index_is_ready(&insert->index))
            return;
        shard_unlock_pair(insert, other);
        index_stock(&insert->index, &insert->lock, &cache->buckets);
    }
}

void shard_unlock_pair(struct shard *insert, struct shard *other)
{
    pthread_mutex_unlock(&insert->lock);
    if (other != insert)
        pthread_mutex_unlock(&other->lock);
}

struct object *shard_find(struct cache *cache, struct shard *shard, const struct object_name *name)
{
    return index_find(cache, &shard->index, name);
}

void shard_insert(struct cache *cache, struct shard *shard, struct object *object)
{
    assert(atomic_load_explicit(&object->listing, memory_order_relaxed) == OBJECT_UNLISTED);
    object_ref(object);
    object->leave = atomic_load_explicit(&cache->leave, memory_order_relaxed);
    index_insert(&shard->index, object);
    /* Release: whoever sees it listed (evict_this) may read its hash. */
    atomic_store_explicit(&object->listing, OBJECT_LISTED, memory_order_release);
    evict_insert(&cache->evict, object);
}

void shard_delist(struct cache *cache, struct shard *shard, struct object *object, enum object_listing listing)
{
    assert(atomic_load_explicit(&object->listing, memory_order_relaxed) == OBJECT_LISTED && listing != OBJECT_LISTED);
    index_remove(&shard->index, object, &cache->buckets);
    atomic_store_explicit(&object->listing, (uint8_t)listing, memory_order_release);
    visitors_hand_over(&cache->visitors, object);
    evict_remove(&cache->evict, object);
    if (listing == OBJECT_PURGED && sizing_samples(&cache->sizing, object->hash))
        sizing_note_purged(&cache->sizing, object->hash);
}

static struct list *fill_head(struct shard *shard, uint64_t hash)
{
    return &shard->fills[hash >> INDEX_SHARD_BITS & (SHARD_FILL_HEADS - 1)];
}

struct fill *shard_find_fill(struct shard *shard, const struct object_name *name)
{
    LIST_FOR_EACH(node, fill_head(shard, name->hash))
    {
        struct fill *fill = LIST_OWNER(node, struct fill, listed_link);
        if (fill->name.hash == name->hash && bytes_equal(fill->name.key, name->key) && bytes_equal(fill->name.values, name->values))
            return fill;
    }
    return NULL;
}

void shard_list_fill(struct shard *shard, struct fill *fill)
{
    assert(!fill->is_listed);
    ref_take(&fill->refs);
    fill->is_listed = true;
    list_push_back(fill_head(shard, fill->name.hash), &fill->listed_link);
}

void shard_unlist_fill(struct fill *fill)
{
    assert(fill->is_listed);
    fill->is_listed = false;
    list_remove(&fill->listed_link);
}
