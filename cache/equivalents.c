#include "cache/equivalents.h"

#include "cache/policy/no_vary_search.h"

#include <stdatomic.h>
#include <stdlib.h>

void equivalents_init(struct equivalents *table)
{
    pthread_mutex_init(&table->lock, NULL);
    table->fields = calloc(EQUIVALENT_FIELDS, sizeof *table->fields);
    table->keys = calloc(EQUIVALENT_KEYS, sizeof *table->keys);
    if (table->fields == NULL || table->keys == NULL)
        abort();
}

void equivalents_free(struct equivalents *table)
{
    for (unsigned i = 0; i < EQUIVALENT_FIELDS; i++)
        free(table->fields[i].text);
    for (unsigned i = 0; i < EQUIVALENT_KEYS; i++)
        free(table->keys[i].text);
    free(table->fields);
    free(table->keys);
    pthread_mutex_destroy(&table->lock);
}

static void put(struct equivalents *table, struct equivalent *place, uint64_t name, struct bytes text)
{
    char *copy = malloc(text.len + 1);
    if (copy == NULL)
        abort();
    memcpy(copy, text.at, text.len);
    pthread_mutex_lock(&table->lock);
    char *before = place->text;
    *place = (struct equivalent){name, copy, text.len};
    pthread_mutex_unlock(&table->lock);
    free(before);
}

static struct bytes get(struct equivalents *table, const struct equivalent *place, uint64_t name, struct arena *arena)
{
    struct bytes text = BYTES_NONE;
    pthread_mutex_lock(&table->lock);
    if (place->text != NULL && place->name == name)
        text = arena_copy(arena, bytes_from(place->text, place->len));
    pthread_mutex_unlock(&table->lock);
    return text;
}

struct url {
    struct bytes scheme, host, path, query;
};

static bool split(struct bytes encoded, struct url *url)
{
    return cache_key_parts(encoded, &url->scheme, &url->host, &url->path, &url->query);
}

static uint64_t name_of(const struct hash_key *hash_key, const struct url *url, struct bytes query, struct arena *arena)
{
    return cache_key_build(hash_key, arena, url->scheme, url->host, url->path, query).hash.high;
}

static struct equivalent *field_place(struct equivalents *table, uint64_t name)
{
    return &table->fields[name % EQUIVALENT_FIELDS];
}

static struct equivalent *key_place(struct equivalents *table, uint64_t name)
{
    return &table->keys[name % EQUIVALENT_KEYS];
}

static struct bytes field_of(const struct headers *response, struct arena *arena)
{
    return headers_combined(response, BYTES("No-Vary-Search"), arena);
}

void equivalents_add(struct equivalents *table, const struct hash_key *hash_key, const struct cache_key *key,
                     const struct headers *response, struct arena *arena)
{
    struct bytes field = field_of(response, arena);
    struct search_variance variance;
    struct url url;
    if (field.at == NULL || field.len > EQUIVALENT_FIELD_BYTES || key->encoded.len > EQUIVALENT_KEY_BYTES || !split(key->encoded, &url) ||
        !search_variance_parse(field, arena, &variance))
        return;
    uint64_t path = name_of(hash_key, &url, BYTES_NONE, arena);
    uint64_t canonical = name_of(hash_key, &url, search_canonical(url.query, &variance, arena), arena);
    put(table, field_place(table, path), path, field);
    put(table, key_place(table, canonical), canonical, key->encoded);
    atomic_store_explicit(&table->is_used, true, memory_order_release);
}

bool equivalents_find(struct equivalents *table, const struct hash_key *hash_key, const struct cache_key *key, struct arena *arena,
                      struct cache_key *other)
{
    struct search_variance variance;
    struct url url;
    if (!atomic_load_explicit(&table->is_used, memory_order_acquire) || !split(key->encoded, &url))
        return false;
    uint64_t path = name_of(hash_key, &url, BYTES_NONE, arena);
    struct bytes field = get(table, field_place(table, path), path, arena);
    if (field.at == NULL || !search_variance_parse(field, arena, &variance))
        return false;
    uint64_t canonical = name_of(hash_key, &url, search_canonical(url.query, &variance, arena), arena);
    other->encoded = get(table, key_place(table, canonical), canonical, arena);
    if (other->encoded.at == NULL || bytes_equal(other->encoded, key->encoded))
        return false;
    other->hash = hash_bytes(hash_key, other->encoded);
    return true;
}

bool equivalents_match(struct bytes stored, struct bytes asked, const struct headers *response)
{
    struct arena *arena = response->arena;
    struct search_variance variance;
    struct url a, b;
    return split(stored, &a) && split(asked, &b) && bytes_equal(a.scheme, b.scheme) && bytes_equal(a.host, b.host) &&
           bytes_equal(a.path, b.path) && search_variance_parse(field_of(response, arena), arena, &variance) &&
           bytes_equal(search_canonical(a.query, &variance, arena), search_canonical(b.query, &variance, arena));
}
