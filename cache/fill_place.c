/* Where in the index a fill's response belongs: selectors and secondary keys (RFC 9111 §4.1), and the last step, when it gets there.
 * Runs on the writer's loop; the shards' locks are taken here. */
#include "cache/fill_state.h"

#include "cache/policy/vary.h"

#include <assert.h>

enum { PLACE_ATTEMPTS_MAX = 4 };

struct object_name name_of_values(const struct cache *cache, const struct object *selector, const struct cache_key *key,
                                  struct bytes values, struct arena *arena)
{
    const uint64_t serial = object_serial(selector);
    size_t prefix = sizeof key->hash + sizeof serial;
    char *text = arena_alloc(arena, prefix + values.len);
    memcpy(text, &key->hash, sizeof key->hash);
    memcpy(text + sizeof key->hash, &serial, sizeof serial);
    memcpy(text + prefix, values.at, values.len);
    struct hash128 hash = hash_bytes(&cache->hash_key, bytes_from(text, prefix + values.len));
    return (struct object_name){.hash = hash.low, .key = key->encoded, .values = values};
}

struct object_name variant_name(struct cache *cache, const struct object *selector, const struct cache_key *key,
                                const struct headers *fields, struct arena *arena)
{
    struct bytes values = vary_values(record_vary_names(object_record(cache, selector)), fields, arena);
    return name_of_values(cache, selector, key, values, arena);
}

/* Why the response must not be stored any more, or DETAIL_NONE. With the lock of the fill's shard held, and, where its selector matters, that of
 * the primary key's. A purge finds a fill under the primary key; one that fetches a variant is struck through its selector: whether that was purged
 * or replaced, nothing that hangs on it may come back. */
static enum cache_detail overtaken(const struct fill *fill)
{
    if (atomic_load_explicit(&fill->is_purged, memory_order_relaxed))
        return DETAIL_PURGED;
    enum object_listing listing =
        fill->selector != NULL ? atomic_load_explicit(&fill->selector->listing, memory_order_acquire) : OBJECT_LISTED;
    return listing == OBJECT_LISTED ? DETAIL_NONE : listing == OBJECT_PURGED ? DETAIL_PURGED : DETAIL_VARIANT;
}

static void drop_listing(struct fill *fill)
{
    shard_unlist_fill(fill);
    bool last = ref_drop(&fill->refs);
    assert(!last); /* the writer has one */
    (void)last;
}

void unlist_fill(struct fill *fill)
{
    if (!fill->is_listable)
        return;
    struct shard *shard = shard_of(fill->cache, fill->name.hash);
    pthread_mutex_lock(&shard->lock);
    if (fill->is_listed)
        drop_listing(fill);
    pthread_mutex_unlock(&shard->lock);
}

bool list_if_new(struct fill *fill)
{
    struct shard *shard = shard_of(fill->cache, fill->name.hash);
    pthread_mutex_lock(&shard->lock);
    bool is_new = shard_find(fill->cache, shard, &fill->name) == NULL && shard_find_fill(shard, &fill->name) == NULL;
    if (is_new)
        shard_list_fill(shard, fill);
    pthread_mutex_unlock(&shard->lock);
    return is_new;
}

/* Whoever found it while it was listed, and has not attached to it yet, finds it private: both at once, or a reader might come in between. */
void fill_withdraw(struct fill *fill)
{
    struct shard *shard = shard_of(fill->cache, fill->name.hash);
    pthread_mutex_lock(&shard->lock);
    pthread_mutex_lock(&fill->lock);
    if (list_is_empty(&fill->readers)) {
        fill->is_private = true;
        if (fill->is_listed)
            drop_listing(fill);
    }
    pthread_mutex_unlock(&fill->lock);
    pthread_mutex_unlock(&shard->lock);
}

static void refuse(struct head_plan *plan, enum cache_detail detail)
{
    plan->store = false;
    plan->detail = detail;
}

static bool names_match(const struct cache *cache, const struct object *object, struct bytes names)
{
    return object != NULL && object->kind == OBJECT_SELECTOR && bytes_equal(record_vary_names(object_record(cache, object)), names);
}

/* The selector that stands under the primary key, if it names the same fields. A reference. */
static struct object *find_selector(const struct fill *fill, struct bytes names)
{
    struct object_name name = name_of_key(&fill->key);
    struct shard *shard = shard_of(fill->cache, name.hash);
    pthread_mutex_lock(&shard->lock);
    struct object *object = shard_find(fill->cache, shard, &name);
    object = names_match(fill->cache, object, names) ? object_ref(object) : NULL;
    pthread_mutex_unlock(&shard->lock);
    return object;
}

static struct object *new_selector(const struct fill *fill, const struct record_parts *response)
{
    const struct record_parts parts = {
        .meta = {.response_time_s = response->meta.response_time_s}, /* soft purges are counted from it */
        .key = response->key,
        .vary_names = response->vary_names,
        .stale_since_s = META_ABSENT,
        .length_known = true,
    };
    struct object *selector = object_new(fill->cache, OBJECT_SELECTOR, &parts);
    if (selector != NULL) {
        object_set_serial(selector, atomic_fetch_add_explicit(&fill->cache->selector_serial, 1, memory_order_relaxed) + 1);
        selector->hash = fill->key.hash.low;
    }
    return selector;
}

/* Moves the fill to its secondary key, and the selector, if it is new, in the place of what stood under the primary one. Both shards are locked.
 * Returns the fill's selector of before, a reference to drop without them. */
static struct object *settle(struct fill *fill, struct object *selector, struct object *replaced, const struct object_name *name)
{
    struct cache *cache = fill->cache;
    if (replaced != selector) {
        struct shard *primary = shard_of(cache, selector->hash);
        if (replaced != NULL)
            shard_delist(cache, primary, replaced, OBJECT_UNLISTED);
        shard_insert(cache, primary, selector);
    }
    bool was_listed = fill->is_listed;
    if (was_listed)
        drop_listing(fill);
    fill->name = *name;
    struct shard *secondary = shard_of(cache, name->hash);
    if (was_listed && shard_find_fill(secondary, name) == NULL)
        shard_list_fill(secondary, fill);
    struct object *before = fill->selector;
    fill->selector = object_ref(selector);
    return before;
}

/* False: somebody else changed the selector meanwhile; try again. */
static bool try_place(struct fill *fill, struct head_plan *plan, struct object *selector, bool is_new)
{
    struct cache *cache = fill->cache;
    struct object_name first = name_of_key(&fill->key);
    struct object_name name = name_of_values(cache, selector, &fill->key, plan->parts.vary_values, &fill->arena);
    struct shard *primary = shard_of(cache, first.hash), *secondary = shard_of(cache, name.hash);
    struct shard *listed_in = shard_of(cache, fill->name.hash);
    if (listed_in != primary && listed_in != secondary)
        unlist_fill(fill); /* under a selector of the past */
    shard_lock_pair(cache, primary, secondary);
    struct object *current = shard_find(cache, primary, &first), *before = NULL;
    bool expected = is_new ? !names_match(cache, current, plan->parts.vary_names) : current == selector;
    if (expected) {
        enum cache_detail detail = overtaken(fill);
        if (detail != DETAIL_NONE)
            refuse(plan, detail);
        else if (object_variants_count(selector) >= cache->settings.variants_max && shard_find(cache, secondary, &name) == NULL)
            refuse(plan, DETAIL_VARIANTS_FULL);
        else
            before = settle(fill, selector, current, &name);
    }
    shard_unlock_pair(primary, secondary);
    if (expected && plan->store && current != selector) {
        cache_offer(cache, selector, &fill->rules);
        object_unref(cache, &current); /* the index's reference to what was replaced */
    }
    object_unref(cache, &before);
    return expected;
}

static void place_variant(struct fill *fill, struct head_plan *plan, struct object **selector)
{
    for (unsigned i = 0; i < PLACE_ATTEMPTS_MAX; i++) {
        *selector = find_selector(fill, plan->parts.vary_names);
        bool is_new = *selector == NULL;
        if (is_new)
            *selector = new_selector(fill, &plan->parts);
        if (*selector == NULL) {
            refuse(plan, DETAIL_NO_MEMORY);
            return;
        }
        if (try_place(fill, plan, *selector, is_new))
            return;
        object_unref(fill->cache, selector);
    }
    refuse(plan, DETAIL_VARIANT);
}

void place_fill(struct fill *fill, struct head_plan *plan, struct object **selector)
{
    *selector = NULL;
    if (plan->parts.vary_names.len > 0) {
        place_variant(fill, plan, selector);
        return;
    }
    struct shard *shard = shard_of(fill->cache, fill->name.hash);
    pthread_mutex_lock(&shard->lock);
    enum cache_detail detail = overtaken(fill);
    pthread_mutex_unlock(&shard->lock);
    if (detail != DETAIL_NONE)
        refuse(plan, detail);
}

static void note_size(struct cache *cache, const struct object *object, bool has_replaced)
{
    if (!has_replaced)
        atomic_fetch_add_explicit(&cache->sizing.stored, 1, memory_order_relaxed);
    if (sizing_samples(&cache->sizing, object->hash))
        (has_replaced ? sizing_note_replaced : sizing_note_stored)(&cache->sizing, object->hash, object_footprint(object));
}

enum cache_detail place_object(struct fill *fill, struct object *object)
{
    struct cache *cache = fill->cache;
    struct object_name name = object_selector(object) != NULL ? fill->name : name_of_key(&fill->key);
    if (name.hash != fill->name.hash)
        unlist_fill(fill); /* it was fetched as a variant, and does not vary any more */
    object->hash = name.hash;
    bool is_purged = fill_is_purged(fill); /* by tag, host or all, so far; what comes later is seen as it is hit */
    struct object *replaced = NULL;
    struct shard *shard = shard_of(cache, name.hash);
    shard_lock_to_insert(cache, shard);
    enum cache_detail detail = is_purged ? DETAIL_PURGED : overtaken(fill);
    if (fill->is_listed)
        drop_listing(fill);
    if (detail == DETAIL_NONE) {
        replaced = shard_find(cache, shard, &name);
        if (replaced != NULL)
            shard_delist(cache, shard, replaced, OBJECT_UNLISTED);
        shard_insert(cache, shard, object);
    }
    pthread_mutex_unlock(&shard->lock);
    if (detail == DETAIL_NONE) {
        note_size(cache, object, replaced != NULL);
        cache_offer(cache, object, &fill->rules);
    }
    object_unref(cache, &replaced);
    return detail;
}
