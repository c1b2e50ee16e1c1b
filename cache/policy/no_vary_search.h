/* No-Vary-Search (draft-ietf-httpbis-no-vary-search-05): which differences between queries do not matter to a response. Pure. */
#ifndef CACHE_POLICY_NO_VARY_SEARCH_H
#define CACHE_POLICY_NO_VARY_SEARCH_H

#include "base/arena.h"
#include "base/bytes.h"

#include <stdbool.h>

struct search_variance {
    bool          sorts;       /* the order of names does not matter */
    bool          keeps_named; /* only the parameters that `names` has matter; else all others do */
    struct bytes *names;       /* decoded */
    unsigned      names_count;
};

/* `field`: the field's lines, combined; BYTES_NONE: none. False: the default variance, that is, queries must be the same byte for byte (§5.1; so it
 * is where anything is not as it should be). `names` lies in `arena`. */
bool search_variance_parse(struct bytes field, struct arena *arena, struct search_variance *variance);

/* A text that two queries share exactly when they are equivalent (§6). They are read as application/x-www-form-urlencoded; a missing query is an
 * empty one. What is no UTF-8 is compared byte for byte, which finds less equal than the draft allows. In `arena`. */
struct bytes search_canonical(struct bytes query, const struct search_variance *variance, struct arena *arena);

#endif
