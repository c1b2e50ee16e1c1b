/* URLs that a stored response answers besides its own (No-Vary-Search).
 *
 * DESIGN. Two small tables of fixed size, each entry in the one place that its hash leads to, where the latest stays: a path leads to the field that its
 * latest response came with; path and canonical query, by that field, lead to the key of the latest response that was stored for them. So one probe
 * each finds at most one stored response, and it is judged by its own field whether it answers. What is forgotten costs a fetch.
 * Until a response came with the field, a lookup costs one load. Locks: one, a leaf. */
#ifndef CACHE_EQUIVALENTS_H
#define CACHE_EQUIVALENTS_H

#include "base/headers.h"
#include "cache/key.h"

#include <pthread.h>

enum {
    EQUIVALENT_FIELDS = 512,     /* paths… */
    EQUIVALENT_FIELD_BYTES = 512, /* …and the longest field that is heeded */
    EQUIVALENT_KEYS = 4096,
    EQUIVALENT_KEY_BYTES = 1024,
};

struct equivalent {
    uint64_t name; /* of a path, or of a path and a canonical query */
    char    *text;
    size_t   len;
};

struct equivalents {
    pthread_mutex_t    lock;
    struct equivalent *fields, *keys;
    _Atomic bool       is_used;
};

void equivalents_init(struct equivalents *table);
void equivalents_free(struct equivalents *table);

/* A response with these fields is being stored under `key`. */
void equivalents_add(struct equivalents *table, const struct hash_key *hash_key, const struct cache_key *key, const struct headers *response,
                     struct arena *arena);
/* The key of another URL whose stored response may answer. In `arena`. */
bool equivalents_find(struct equivalents *table, const struct hash_key *hash_key, const struct cache_key *key, struct arena *arena,
                      struct cache_key *other);
/* Whether a response with these fields that is stored under `stored` answers `asked`. */
bool equivalents_match(struct bytes stored, struct bytes asked, const struct headers *response);

#endif
