/* See purge.h.
 *
 * DESIGN. A URL's responses stand under one primary key: a hard purge takes away what stands there. Where that is the selector, no variant is ever
 * found again, for their names are made with its serial; they leave memory as eviction meets them. A soft purge marks the response, or the selector
 * for its variants to look at. What of it is on disk is forgotten by a hard purge; of a soft one, which has nothing to mark there, the table has an entry
 * under the URL's own name. All other purges are entries of the table (purge_table.h), which stored responses are compared with as they are hit:
 * what is found to be purged leaves the index then. */
#include "cache/fill_state.h"

#include <assert.h>

/* ---- names of the table ----------------------------------------------------------------------------------------------------------------- */

enum name_kind { NAME_TAG, NAME_GROUP, NAME_HOST };

/* Length-prefixed parts, so that no two names are spelled the same. */
static uint64_t name_hash(const struct cache *cache, enum name_kind kind, const struct bytes *parts, unsigned count, struct arena *arena)
{
    size_t size = 1;
    for (unsigned i = 0; i < count; i++)
        size += sizeof(size_t) + parts[i].len;
    char *text = arena_alloc(arena, size), *at = text;
    *at++ = (char)kind;
    for (unsigned i = 0; i < count; i++) {
        at = (char *)memcpy(at, &parts[i].len, sizeof(size_t)) + sizeof(size_t);
        if (parts[i].len > 0)
            at = (char *)memcpy(at, parts[i].at, parts[i].len) + parts[i].len;
    }
    uint64_t hash = hash_bytes(&cache->hash_key, bytes_from(text, size)).low;
    return hash != 0 ? hash : 1;
}

uint64_t tag_hash(const struct cache *cache, struct bytes tag, struct arena *arena)
{
    return name_hash(cache, NAME_TAG, &tag, 1, arena);
}

/* Scheme and host as keys have them: lower case, without the default port. */
uint64_t group_hash(const struct cache *cache, struct bytes scheme, struct bytes host, struct bytes group, struct arena *arena)
{
    struct cache_key key = cache_key_build(&cache->hash_key, arena, scheme, host, BYTES_NONE, BYTES_NONE);
    return name_hash(cache, NAME_GROUP, (struct bytes[]){key.encoded, group}, 2, arena);
}

/* Without port and trailing dot, in lower case. */
uint64_t host_hash(const struct cache *cache, struct bytes host, struct arena *arena)
{
    for (size_t i = host.len; i > 0 && host.at[i - 1] != ']'; i--) {
        if (host.at[i - 1] == ':')
            host.len = i - 1;
    }
    if (host.len > 1 && host.at[host.len - 1] == '.')
        host.len--;
    char *text = arena_alloc(arena, host.len + 1);
    for (size_t i = 0; i < host.len; i++)
        text[i] = byte_lower(host.at[i]);
    struct bytes lower = bytes_from(text, host.len);
    return name_hash(cache, NAME_HOST, &lower, 1, arena);
}

uint64_t key_host_hash(const struct cache *cache, struct bytes key, struct arena *arena)
{
    struct bytes scheme, host, path, query;
    bool is_key = cache_key_parts(key, &scheme, &host, &path, &query);
    assert(is_key);
    (void)is_key;
    return host_hash(cache, host, arena);
}

/* Of a URL: its key's hash, but not the part of it that the index uses. */
static uint64_t url_name(struct hash128 key_hash)
{
    return key_hash.high != 0 ? key_hash.high : 1;
}

/* ---- purging ---------------------------------------------------------------------------------------------------------------------------- */

static void count_purge(struct cache *cache)
{
    atomic_fetch_add_explicit(&cache->purges_count, 1, memory_order_relaxed);
}

/* `name` 0: everything. Holds after a restart as well. */
static void add_purge(struct cache *cache, uint64_t name, enum purge_kind kind, struct wall_seconds now)
{
    uint64_t sequence = name != 0 ? purge_add(&cache->purges, name, kind, now) : purge_add_all(&cache->purges, kind, now);
    if (cache->store != NULL)
        store_log_purge(cache->store, &(struct store_purge){.name = name, .sequence = sequence, .at_s = now.s, .kind = kind});
}

void cache_purge_tag(struct cache *cache, struct bytes tag, enum purge_kind kind, struct wall_seconds now)
{
    struct arena arena;
    arena_init(&arena);
    add_purge(cache, tag_hash(cache, tag, &arena), kind, now);
    arena_free(&arena);
    count_purge(cache);
}

void cache_purge_group(struct cache *cache, struct bytes scheme, struct bytes host, struct bytes group, enum purge_kind kind,
                       struct wall_seconds now)
{
    struct arena arena;
    arena_init(&arena);
    add_purge(cache, group_hash(cache, scheme, host, group, &arena), kind, now);
    arena_free(&arena);
    count_purge(cache);
}

void cache_purge_host(struct cache *cache, struct bytes host, enum purge_kind kind, struct wall_seconds now)
{
    struct arena arena;
    arena_init(&arena);
    add_purge(cache, host_hash(cache, host, &arena), kind, now);
    arena_free(&arena);
    count_purge(cache);
}

void cache_purge_all(struct cache *cache, enum purge_kind kind, struct wall_seconds now)
{
    add_purge(cache, 0, kind, now);
    if (kind == PURGE_HARD)
        sizing_note_all_purged(&cache->sizing);
    count_purge(cache);
}

/* Records are constant for all but these two members. */
static struct record *record_of(const struct cache *cache, const struct object *object)
{
    return (struct record *)object_record(cache, object);
}

/* With the lock of the object's shard held. */
static void purge_softly(struct cache *cache, const struct object *object, struct wall_seconds now)
{
    struct record *record = record_of(cache, object);
    if (object->kind == OBJECT_RESPONSE) {
        record_note_stale(record, now.s);
        return;
    }
    uint64_t sequence = purge_begin(&cache->purges);
    record_set_stale(record, now.s);
    atomic_store_explicit(&record->purge_checked, sequence, memory_order_release);
    purge_end(&cache->purges);
}

struct purge_verdict key_find_purge(const struct cache *cache, const struct cache_key *key, uint64_t since)
{
    uint64_t name = url_name(key->hash);
    return purge_find(&cache->purges, &name, 1, since);
}

static bool purge_key(struct cache *cache, const struct cache_key *key, enum purge_kind kind, struct wall_seconds now)
{
    struct object_name name = name_of_key(key);
    struct shard *shard = shard_of(cache, name.hash);
    struct object *purged = NULL;
    bool is_awaited = atomic_load(&cache->is_adopting);
    if (is_awaited) /* before the lock: who adopts it looks with the lock held, and either sees this, or has listed it by then (handover.h) */
        purge_add(&cache->purges, url_name(key->hash), kind, now);
    pthread_mutex_lock(&shard->lock);
    struct object *object = shard_find(cache, shard, &name);
    bool is_listed = object != NULL, found = is_listed || is_awaited;
    if (is_listed && kind == PURGE_SOFT) {
        purge_softly(cache, object, now);
    } else if (is_listed) {
        shard_delist(cache, shard, object, OBJECT_PURGED);
        purged = object;
    }
    found |= kind == PURGE_SOFT ? load_is_on_disk(cache, name.hash) : cache_forget(cache, name.hash);
    bool is_logged = kind == PURGE_SOFT && cache->store != NULL && (found || store_may_have(cache->store, name.hash));
    struct fill *fill = shard_find_fill(shard, &name);
    if (fill != NULL) {
        atomic_store_explicit(&fill->is_purged, true, memory_order_relaxed);
        shard_unlist_fill(fill);
    }
    pthread_mutex_unlock(&shard->lock);
    if (is_logged)
        add_purge(cache, url_name(key->hash), kind, now);
    for (unsigned with_authorization = 0; with_authorization < 2; with_authorization++)
        unstorable_remove(&cache->unstorable, unstorable_name(name.hash, with_authorization));
    object_unref(cache, &purged);
    fill_unref(&fill);
    return found;
}

bool cache_purge(struct cache *cache, const struct cache_key *key, enum purge_kind kind, struct wall_seconds now)
{
    struct arena arena;
    struct cache_key other;
    bool found = purge_key(cache, key, kind, now);
    arena_init(&arena);
    /* What answers this URL may be stored under another (No-Vary-Search). */
    if (equivalents_find(&cache->equivalents, &cache->hash_key, key, &arena, &other))
        found |= purge_key(cache, &other, kind, now);
    arena_free(&arena);
    if (found)
        count_purge(cache);
    return found;
}

/* ---- comparing -------------------------------------------------------------------------------------------------------------------------- */

static struct purge_verdict find_host_purge(const struct cache *cache, struct bytes key, uint64_t since)
{
    struct arena arena;
    arena_init(&arena);
    uint64_t host = key_host_hash(cache, key, &arena);
    arena_free(&arena);
    return purge_find(&cache->purges, &host, 1, since);
}

static void add_verdict(struct purge_verdict *verdict, struct purge_verdict other)
{
    if (other.is_soft && (!verdict->is_soft || other.stale_since_s < verdict->stale_since_s))
        verdict->stale_since_s = other.stale_since_s;
    verdict->is_soft |= other.is_soft;
    verdict->is_hard |= other.is_hard;
}

struct purge_verdict record_find_purge(const struct cache *cache, const struct record *record, uint64_t since)
{
    struct purge_verdict verdict = {0};
    if (purge_sequence(&cache->purges) <= since)
        return verdict;
    if (cache->store != NULL) {
        uint64_t url = url_name(hash_bytes(&cache->hash_key, record_key(record)));
        verdict = purge_find(&cache->purges, &url, 1, since);
    }
    if (record->goes_with_host)
        add_verdict(&verdict, find_host_purge(cache, record_key(record), since));
    add_verdict(&verdict, purge_find(&cache->purges, record_tags(record), record->tags_count, since));
    return verdict;
}

/* A soft purge of the URL that the variant is of. */
static void add_selector(const struct cache *cache, const struct object *selector, uint64_t since, struct purge_verdict *verdict)
{
    const struct record *record = object_record(cache, selector);
    if (atomic_load_explicit(&record->purge_checked, memory_order_acquire) <= since)
        return;
    int64_t stale_since_s = record_stale_since(record);
    if (!verdict->is_soft || stale_since_s < verdict->stale_since_s)
        verdict->stale_since_s = stale_since_s;
    verdict->is_soft = true;
}

bool object_is_purged(struct cache *cache, const struct object *object)
{
    struct record *record = record_of(cache, object);
    uint64_t sequence = purge_sequence(&cache->purges);
    uint64_t checked = atomic_load_explicit(&record->purge_checked, memory_order_acquire);
    if (checked >= sequence)
        return false;
    struct purge_verdict verdict = record_find_purge(cache, record, checked);
    if (verdict.is_hard)
        return true;
    const struct object *selector = object_selector(object);
    if (selector != NULL)
        add_selector(cache, selector, checked, &verdict);
    if (verdict.is_soft)
        record_note_stale(record, verdict.stale_since_s);
    /* Release: who skips the comparison because of this sees that it is stale. */
    while (checked < sequence &&
           !atomic_compare_exchange_weak_explicit(&record->purge_checked, &checked, sequence, memory_order_release, memory_order_relaxed)) {
    }
    return false;
}

bool fill_is_purged(struct fill *fill)
{
    const struct cache *cache = fill->cache;
    if (atomic_load_explicit(&fill->is_purged, memory_order_relaxed))
        return true;
    if (purge_sequence(&cache->purges) == fill->purge_sequence)
        return false;
    uint64_t since = fill->purge_sequence;
    if (fill->stale != NULL && record_find_purge(cache, object_record(cache, fill->stale), since).is_hard)
        return true;
    pthread_mutex_lock(&fill->lock);
    struct purge_verdict verdict = fill->object != NULL ? record_find_purge(cache, object_record(cache, fill->object), since)
                                                        : find_host_purge(cache, fill->key.encoded, since);
    pthread_mutex_unlock(&fill->lock);
    return verdict.is_hard;
}
