/* Keyed 128-bit hash (XXH3 with a secret derived from random key material). It spreads keys and makes collisions hard to aim
 * for; it never decides alone: the full key is compared after it. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/bytes.h"

struct hash128 {
    uint64_t high, low;
};

enum { HASH_KEY_BYTES = 32 };

struct hash_key {
    unsigned char material[HASH_KEY_BYTES]; /* what is written to a store's superblock */
    unsigned char secret[192];              /* XXH3 secret derived from it */
};

/* From getrandom(2). Aborts when the kernel gives none. */
void hash_key_random(struct hash_key *key);
void hash_key_derive(struct hash_key *key, const unsigned char material[HASH_KEY_BYTES]);

struct hash128 hash_bytes(const struct hash_key *key, struct bytes text);

static inline bool hash_equal(struct hash128 a, struct hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

#endif
