/* Keys whose last response was not to be stored (hit-for-miss): whoever asks for one of them does not wait for another's fetch, which would end in
 * nothing for him.
 *
 * DESIGN. A table of fixed size: sets of slots, each of which holds, in one word, a part of the key's hash and the second until which it is remembered;
 * and beside that by what its response can be purged, and since when, for a purge says that the next response may be another one.
 * No locks: when two write to a slot at once, one of them is forgotten, or gets the other's purges. A forgotten key costs a wait, a key taken for another
 * (1 in 2^32 / UNSTORABLE_WAYS), or a purge that is missed, a response that is not shared for some seconds; none is wrong. */
#ifndef CACHE_UNSTORABLE_H
#define CACHE_UNSTORABLE_H

#include "base/clock.h"
#include "cache/purge_table.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    UNSTORABLE_WAYS = 8,
    UNSTORABLE_SETS = 4096, /* 32,768 keys in 1 MiB, of which only what is used becomes resident */
    UNSTORABLE_PURGE_NAMES = 2, /* the host and a tag; of a response with more tags, every purge counts */
};

struct unstorable_slot {
    _Atomic uint64_t key;   /* upper half: of the hash; lower half: wall seconds until which it counts. 0: free */
    _Atomic uint64_t since; /* a purge sequence; its lowest bit: every purge counts, whatever its name */
    _Atomic uint64_t purge_names[UNSTORABLE_PURGE_NAMES]; /* of purge_table.h; 0: none */
};

struct unstorable {
    struct unstorable_slot *slots;
};

/* A response that was not to be stored. */
struct unstorable_mark {
    uint64_t            name;  /* unstorable_name */
    struct wall_seconds until;
    uint64_t            since; /* purges after this one concern it… */
    const uint64_t     *purge_names; /* …of any of these */
    uint32_t            purge_names_count;
};

/* What another instance needs to know of a slot. */
struct unstorable_entry {
    uint64_t key; /* as in the slot */
    uint64_t purge_names[UNSTORABLE_PURGE_NAMES];
    uint32_t set;
    uint32_t any_purge; /* 1: every purge counts */
};

_Static_assert(sizeof(struct unstorable_entry) == 32, "shared with other versions");

void unstorable_init(struct unstorable *table);
void unstorable_free(struct unstorable *table);

/* What is remembered of a hash: never 0, which means none. Requests with credentials have a memory of their own: what one of them gets says nothing
 * about what others get (RFC 9111 §3.5). */
uint64_t unstorable_name(uint64_t hash, bool has_authorization);

/* The one that ends first gives way in a full set. */
void unstorable_add(struct unstorable *table, const struct unstorable_mark *mark);
void unstorable_remove(struct unstorable *table, uint64_t name);
/* Not when it was purged since. */
bool unstorable_has(const struct unstorable *table, const struct purge_table *purges, uint64_t name, struct wall_seconds now);

/* All that was not purged since, `max` at most, ended or not: how many. Any thread. */
uint32_t unstorable_list(const struct unstorable *table, const struct purge_table *purges, struct unstorable_entry *entries, uint32_t max);
/* One of those, of an instance with the same hash key: purges after `since` concern it. Nothing when it is none. */
void unstorable_adopt(struct unstorable *table, const struct unstorable_entry *entry, uint64_t since);

#endif
