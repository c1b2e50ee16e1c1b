/* Purges: by URL, by tag, by host, of everything; each in the same short time, whatever is stored. Any thread.
 *
 * A hard purge makes it as if the response had never been stored; a soft one makes it stale from `now` on. What is being fetched meanwhile goes on for
 * those who asked before, and is not stored (DETAIL_PURGED); a soft purge by anything but URL lets it be stored, stale.
 * What was remembered as not to be stored (unstorable.h) is forgotten, be the purge hard or soft. */
#ifndef CACHE_PURGE_H
#define CACHE_PURGE_H

#include "base/clock.h"
#include "cache/key.h"
#include "cache/purge_table.h"

struct cache;

/* All variants of the URL. Returns whether anything was stored under it, or may have been in the instance before this one (handover.h). */
bool cache_purge(struct cache *cache, const struct cache_key *key, enum purge_kind kind, struct wall_seconds now);
/* Every response that has the tag, by whichever of the fields of policy/tags.h. */
void cache_purge_tag(struct cache *cache, struct bytes tag, enum purge_kind kind, struct wall_seconds now);
/* Those of the origin (scheme and host, as in a key) that are in the group (RFC 9875 §2). */
void cache_purge_group(struct cache *cache, struct bytes scheme, struct bytes host, struct bytes group, enum purge_kind kind,
                       struct wall_seconds now);
/* Every response of the host, whatever scheme and port. */
void cache_purge_host(struct cache *cache, struct bytes host, enum purge_kind kind, struct wall_seconds now);
void cache_purge_all(struct cache *cache, enum purge_kind kind, struct wall_seconds now);

#endif
