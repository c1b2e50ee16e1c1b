/* Keys whose last response was not to be stored (hit-for-miss): whoever asks for one of them does not wait for another's fetch, which would end in
 * nothing for him.
 *
 * DESIGN. A table of fixed size: sets of a cache line each, of slots that hold a part of the key's hash and the second until which it is remembered,
 * in one word. No locks: a slot is read and written as a whole, and when two write at once, one of them is forgotten. A forgotten key costs a wait, a
 * key taken for another (1 in 2^32 / UNSTORABLE_WAYS) a response that is not shared for some seconds; neither is wrong. */
#ifndef CACHE_UNSTORABLE_H
#define CACHE_UNSTORABLE_H

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    UNSTORABLE_WAYS = 8,
    UNSTORABLE_SETS = 4096, /* 32,768 keys in 256 KiB, of which only what is used becomes resident */
};

struct unstorable {
    _Atomic uint64_t *slots;
};

void unstorable_init(struct unstorable *table);
void unstorable_free(struct unstorable *table);

/* What is remembered of a hash: never 0, which means none. Requests with credentials have a memory of their own: what one of them gets says nothing
 * about what others get (RFC 9111 §3.5). */
uint64_t unstorable_name(uint64_t hash, bool has_authorization);

/* The one that ends first gives way in a full set. */
void unstorable_add(struct unstorable *table, uint64_t name, struct wall_seconds until);
void unstorable_remove(struct unstorable *table, uint64_t name);
bool unstorable_has(const struct unstorable *table, uint64_t name, struct wall_seconds now);

#endif
