/* What the answer to a HEAD does to the stored response to GET (RFC 9111 §4.3.5). Runs on the writer's loop. */
#include "cache/fill_state.h"

#include "cache/policy/validate.h"

static struct object_name name_of(struct cache *cache, const struct object *object)
{
    const struct record *record = object_record(cache, object);
    return (struct object_name){.hash = object->hash, .key = record_key(record), .values = record_vary_values(record)};
}

void replace_stale(struct fill *fill, struct object *newer)
{
    struct cache *cache = fill->cache;
    struct object_name name = name_of(cache, fill->stale);
    struct shard *shard = shard_of(cache, name.hash);
    struct object *replaced = NULL;
    shard_lock_to_insert(cache, shard);
    struct object *current = shard_find(cache, shard, &name);
    if (current == fill->stale) {
        replaced = fill->stale;
        shard_delist(cache, shard, replaced, OBJECT_UNLISTED);
        if (newer != NULL)
            shard_insert(cache, shard, newer);
    }
    if (newer == NULL && (current == fill->stale || current == NULL)) /* evicted, it may be on disk */
        cache_forget(cache, name.hash);
    pthread_mutex_unlock(&shard->lock);
    if (newer != NULL && replaced != NULL)
        cache_offer(cache, newer, &fill->rules);
    object_unref(cache, &replaced); /* the index's reference */
}

/* With the fields that the HEAD brought and the body that is stored. NULL: it may not be kept, or there is no room. */
static struct object *updated_object(struct fill *fill, const struct origin_head *head)
{
    struct head_plan plan;
    plan_update(fill, head, &plan);
    struct object *object =
        plan.store && plan.error == ERROR_OK ? object_new(fill->cache, (enum object_kind)fill->stale->kind, &plan.parts) : NULL;
    if (object == NULL)
        return NULL;
    if (object_selector(fill->stale) != NULL)
        object_set_selector(object, object_selector(fill->stale));
    take_stale_body(fill, object);
    object->hash = fill->stale->hash;
    return object;
}

void update_stored_by_head(struct fill *fill, const struct origin_head *head)
{
    const struct response_view *stale = &fill->stale_view;
    struct headers stored;
    headers_init(&stored, &fill->arena);
    headers_parse_block(&stored, stale->fields);
    enum head_effect effect = head_effect_on(stale->status, &stored, stale->length, head->status, head->fields);
    if (effect == HEAD_SAYS_NOTHING)
        return;
    struct object *object = effect == HEAD_UPDATES ? updated_object(fill, head) : NULL;
    replace_stale(fill, object);
    object_unref(fill->cache, &object);
}
