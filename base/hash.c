/* See hash.h. xxhash is compiled in here, never linked: libfyaml exports the functions of an older copy under the same names, and
 * whichever library the linker finds first would answer. */
#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

_Static_assert(sizeof(((struct hash_key *)0)->secret) >= XXH3_SECRET_SIZE_MIN, "xxhash refuses shorter secrets");

void hash_key_derive(struct hash_key *key, const unsigned char material[HASH_KEY_BYTES])
{
    memmove(key->material, material, HASH_KEY_BYTES);
    if (XXH3_generateSecret(key->secret, sizeof(key->secret), key->material, HASH_KEY_BYTES) != XXH_OK)
        abort();
}

void hash_key_random(struct hash_key *key)
{
    unsigned char material[HASH_KEY_BYTES];
    /* Up to 256 bytes come whole once the kernel's pool is ready (getrandom(2)). */
    if (getrandom(material, sizeof(material), 0) != (ssize_t)sizeof(material)) {
        perror("hash: getrandom");
        abort();
    }
    hash_key_derive(key, material);
}

struct hash128 hash_bytes(const struct hash_key *key, struct bytes text)
{
    XXH128_hash_t hash = XXH3_128bits_withSecret(text.at, text.len, key->secret, sizeof(key->secret));
    return (struct hash128){.high = hash.high64, .low = hash.low64};
}
