/* See load.h.
 *
 * DESIGN. A load is listed in a table from before its memory is taken until its end, so that whoever wants the same joins it. At the end the shard's lock
 * decides: the object is listed if nothing of its name is there, the disk tier's index still leads to where it was read from, and its selector is
 * listed; so what was forgotten, purged or replaced while it was read does not come back. Those who wait find out by looking again.
 *
 *     load_open ──table──→ take space ──io→read──→ done ──→ build ──→ list in memory ──→ wake ──→ load_close … last one frees
 *
 * Ownership: while it reads, the port's answer owns the load; afterwards those who wait, together. */
#include "cache/disk/load_state.h"

#include "cache/fill_state.h"

#include <assert.h>
#include <stdlib.h>

void load_table_init(struct load_table *table)
{
    pthread_mutex_init(&table->lock, NULL);
    for (unsigned i = 0; i < LOAD_HEADS; i++)
        list_init(&table->heads[i]);
    list_init(&table->searches);
}

static void load_free(struct load *load)
{
    assert(list_is_empty(&load->waits) && !list_is_linked(&load->link));
    load_give_space(load);
    object_unref(load->cache, &load->object);
    object_unref(load->cache, &load->selector);
    cache_memory_freed(load->cache); /* they may be evicted now */
    free(load);
}

static void free_all(struct list *loads)
{
    for (struct list *node; (node = list_pop_front(loads)) != NULL;)
        load_free(LIST_OWNER(node, struct load, link));
}

void load_table_free(struct cache *cache)
{
    struct load_table *table = &cache->loads;
    for (unsigned i = 0; i < LOAD_HEADS; i++)
        free_all(&table->heads[i]);
    free_all(&table->searches);
    pthread_mutex_destroy(&table->lock);
}

static struct list *head_of(struct load_table *table, uint64_t hash)
{
    return &table->heads[hash >> INDEX_SHARD_BITS & (LOAD_HEADS - 1)];
}

static struct bytes copy_text(char **at, struct bytes text)
{
    char *copy = *at;
    if (text.len > 0)
        memcpy(copy, text.at, text.len);
    *at += text.len;
    return bytes_from(copy, text.len);
}

struct load *load_new(struct cache *cache, struct disk_io *io, const struct object_name *name, struct object *selector,
                      const struct store_where *where)
{
    struct load *load = calloc(1, sizeof *load + name->key.len + name->values.len);
    if (load == NULL)
        abort();
    char *at = (char *)(load + 1);
    load->cache = cache;
    load->io = io;
    load->name.hash = name->hash;
    load->name.key = copy_text(&at, name->key);
    load->name.values = copy_text(&at, name->values);
    load->selector = selector != NULL ? object_ref(selector) : NULL;
    load->where = *where;
    list_init(&load->link);
    list_init(&load->waits);
    return load;
}

static bool has_name(const struct load *load, const struct object_name *name)
{
    return load->name.hash == name->hash && bytes_equal(load->name.key, name->key) && bytes_equal(load->name.values, name->values);
}

/* With the table's lock held, both. */

static struct load *find_load(struct load_table *table, const struct object_name *name)
{
    LIST_FOR_EACH(node, head_of(table, name->hash))
    {
        struct load *load = LIST_OWNER(node, struct load, link);
        if (has_name(load, name))
            return load;
    }
    return NULL;
}

static void join(struct load *load, struct load_wait *wait)
{
    wait->load = load;
    list_push_back(&load->waits, &wait->link);
}

void load_join(struct load *load, struct load_wait *wait)
{
    pthread_mutex_lock(&load->cache->loads.lock);
    join(load, wait);
    pthread_mutex_unlock(&load->cache->loads.lock);
}

void load_end(struct load *load, enum load_state state, struct object *object)
{
    struct load_table *table = &load->cache->loads;
    load_give_space(load);
    pthread_mutex_lock(&table->lock);
    list_remove(&load->link);
    load->object = object;
    atomic_store_explicit(&load->state, (uint8_t)state, memory_order_release);
    LIST_FOR_EACH(node, &load->waits)
    {
        waker_wake(LIST_OWNER(node, struct load_wait, link)->waker);
    }
    bool is_wanted = !list_is_empty(&load->waits);
    pthread_mutex_unlock(&table->lock);
    if (!is_wanted)
        load_free(load);
}

/* Without pages whole responses are those' alone who wait for them: load_take. */
static bool is_kept(const struct load *load, const struct object *object)
{
    bool is_slice = load->selector != NULL && load->selector->kind == OBJECT_SLICED;
    return !load->cache->settings.keeps_no_pages || object->kind != OBJECT_RESPONSE || is_slice;
}

/* Lists it, if that is still right (and `is_kept`); then it is its readers' to judge. Returns whether it was. */
static bool list(struct load *load, struct object *object, bool is_kept)
{
    struct cache *cache = load->cache;
    struct shard *shard = shard_of(cache, load->name.hash);
    struct store_where where;
    shard_lock_to_insert(cache, shard);
    bool is_valid = shard_find(cache, shard, &load->name) == NULL && store_find(cache->store, load->name.hash, &where) &&
                    where.unit == load->where.unit &&
                    (load->selector == NULL || atomic_load_explicit(&load->selector->listing, memory_order_acquire) == OBJECT_LISTED);
    if (is_valid && is_kept)
        shard_insert(cache, shard, object);
    pthread_mutex_unlock(&shard->lock);
    return is_valid;
}

/* What hangs on a selector keeps it on the disk. */
static void touch(struct load *load)
{
    struct disk_index *index = load->cache->store->index;
    disk_index_touch(index, load->name.hash);
    if (load->selector != NULL)
        disk_index_touch(index, load->selector->hash);
}

static void end_good(struct load *load)
{
    struct object *object = load_build(load);
    store_note_read(load->cache->store, load->name.hash, &load->where, object != NULL ? DISK_OK : DISK_ABSENT);
    if (object == NULL) { /* another's record, with the same hash or tag */
        load_end(load, LOAD_FAILED, NULL);
        return;
    }
    if (list(load, object, is_kept(load, object)))
        touch(load);
    else
        object_unref(load->cache, &object);
    load_end(load, LOAD_DONE, object);
}

static void read_done(struct disk_read *read)
{
    struct load *load = read->context;
    enum disk_status status = read->destination_lost ? DISK_UNAVAILABLE : read->status;
    uint32_t front_bytes = read->header.front_bytes;
    if (status == DISK_OK) {
        end_good(load);
    } else if (status == DISK_FRONT_LARGE && !load->has_retried && front_bytes > 0 && load_take_space(load, front_bytes)) {
        load->has_retried = true;
        load->io->read(load->io, read);
    } else {
        store_note_read(load->cache->store, load->name.hash, &load->where, status);
        load_end(load, LOAD_FAILED, NULL);
    }
}

/* Somebody listed it, or fetches it, since the caller looked. */
static bool is_there(struct load *load)
{
    struct shard *shard = shard_of(load->cache, load->name.hash);
    pthread_mutex_lock(&shard->lock);
    bool is_there = shard_find(load->cache, shard, &load->name) != NULL || shard_find_fill(shard, &load->name) != NULL;
    pthread_mutex_unlock(&shard->lock);
    return is_there;
}

static enum load_answer begin(struct load *load, struct load_wait *wait)
{
    struct disk_read *read = &load->read;
    if (is_there(load)) {
        load_end(load, LOAD_DONE, NULL);
        return LOAD_CHANGED;
    }
    if (!load_take_space(load, 0)) {
        load_end(load, LOAD_FAILED, NULL);
        return LOAD_NONE;
    }
    read->place = load->where.place;
    read->segment_sequence = load->where.segment_sequence;
    read->hash = load->name.hash;
    read->read_bytes = load->where.read_bytes;
    read->done = read_done;
    read->context = load;
    load_join(load, wait);
    load->io->read(load->io, read);
    return LOAD_WAIT;
}

enum load_answer load_open(struct cache *cache, struct disk_io *io, const struct object_name *name, struct object *selector,
                           struct load_wait *wait)
{
    struct load_table *table = &cache->loads;
    struct store_where where;
    assert(wait->load == NULL);
    if (wait->has_failed || wait->count == LOADS_PER_WAIT_MAX || !store_find(cache->store, name->hash, &where))
        return LOAD_NONE;
    wait->count++;
    struct load *made = load_new(cache, io, name, selector, &where);
    pthread_mutex_lock(&table->lock);
    struct load *found = find_load(table, name);
    if (found != NULL)
        join(found, wait);
    else
        list_push_back(head_of(table, name->hash), &made->link);
    pthread_mutex_unlock(&table->lock);
    if (found != NULL) {
        load_free(made);
        return LOAD_WAIT;
    }
    return begin(made, wait);
}

struct object *load_take(const struct load_wait *wait, const struct object_name *name)
{
    const struct load *load = wait->load;
    struct store_where where;
    if (load == NULL || load_is_under_way(wait) || load->object == NULL || is_kept(load, load->object) || !has_name(load, name))
        return NULL;
    bool is_valid = store_find(load->cache->store, name->hash, &where) && where.unit == load->where.unit;
    return is_valid ? object_ref(load->object) : NULL;
}

bool load_list_taken(const struct load_wait *wait, struct object *object)
{
    return list(wait->load, object, true);
}

bool load_is_under_way(const struct load_wait *wait)
{
    return wait->load != NULL && atomic_load_explicit(&wait->load->state, memory_order_acquire) == LOAD_READING;
}

void load_close(struct cache *cache, struct load_wait *wait)
{
    struct load *load = wait->load;
    if (load == NULL)
        return;
    pthread_mutex_lock(&cache->loads.lock);
    list_remove(&wait->link);
    enum load_state state = (enum load_state)atomic_load_explicit(&load->state, memory_order_relaxed);
    bool is_last = state != LOAD_READING && list_is_empty(&load->waits);
    pthread_mutex_unlock(&cache->loads.lock);
    wait->load = NULL;
    wait->is_search = false;
    wait->has_failed |= state == LOAD_FAILED;
    if (is_last)
        load_free(load);
}

bool load_is_on_disk(const struct cache *cache, uint64_t hash)
{
    struct store_where where;
    return cache->store != NULL && store_find(cache->store, hash, &where);
}
