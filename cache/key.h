/* The cache key (RFC 9111 §2): a length-prefixed tuple of scheme, host, path and query, so that no two different requests can be spelled
 * the same. Method is not part of it: a GET's response answers HEAD (RFC 9110 §9.3.2), other methods are never looked up. */
#ifndef CACHE_KEY_H
#define CACHE_KEY_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/hash.h"

struct cache_key {
    struct bytes   encoded; /* the tuple; compared in full after the hash */
    struct hash128 hash;
};

/* `host` is lower-cased, its default port for `scheme` and a trailing dot are dropped; path and query are taken byte for byte as they are
 * forwarded (HARDENING: cache). A missing query ("/a") and an empty one ("/a?") differ. `encoded` lies in `arena`. */
struct cache_key cache_key_build(const struct hash_key *hash_key, struct arena *arena, struct bytes scheme, struct bytes host,
                                 struct bytes path, struct bytes query);

/* `host` as a key of that scheme has it, in `arena`: by no other spelling is an origin asked. */
struct bytes cache_key_host(struct arena *arena, struct bytes scheme, struct bytes host);

/* The parts of an encoded key, borrowed from it. False when it is not an encoding. */
bool cache_key_parts(struct bytes encoded, struct bytes *scheme, struct bytes *host, struct bytes *path, struct bytes *query);
/* As a URL, in `arena`, for people. BYTES_NONE when it is not an encoding. */
struct bytes cache_key_url(struct bytes encoded, struct arena *arena);

#endif
