/* What a response can be purged by besides its URL: the tags that its origin gave it. Pure.
 *
 *   Surrogate-Key (Fastly, Varnish)   separated by white space
 *   Cache-Tag (Akamai, Cloudflare)    separated by commas
 *   xkey (Varnish)                    separated by white space or commas
 *   Cache-Groups (RFC 9875)           a structured field: a list of strings; they are groups of their origin, too
 *
 * Tags are compared byte for byte. */
#ifndef CACHE_POLICY_TAGS_H
#define CACHE_POLICY_TAGS_H

#include "base/headers.h"

#include <stdbool.h>

struct tag {
    struct bytes name;
    bool         is_group; /* came from Cache-Groups */
};

/* All of them in the order of the fields, repetitions included; *tags lies in `arena`. */
unsigned tags_collect(const struct headers *response, struct arena *arena, struct tag **tags);
/* Without Cache-Groups: the tags that a PURGE names. */
unsigned tags_requested(const struct headers *request, struct arena *arena, struct tag **tags);
/* The members of Cache-Groups or Cache-Group-Invalidation (RFC 9875 §2, §3). A field that is no list of strings is ignored (RFC 9651 §4.2). */
unsigned groups_collect(const struct headers *fields, enum header_id id, struct arena *arena, struct tag **groups);

/* For the cache alone, not for clients; Cache-Groups is for every cache on the way. */
bool header_is_tag_field(enum header_id id);

#endif
