/* GET /why: what the cache knows of a URL and what the next request for it would get, as JSON and as lines of text within it. */
#ifndef ADMIN_WHY_H
#define ADMIN_WHY_H

#include "base/memory_ladder.h"
#include "base/memory_meter.h"
#include "cache/explain.h"

#include <jansson.h>

struct admin_why {
    struct bytes        site;     /* its first host name; absent: no site answers this host, and there is nothing else to say */
    struct bytes        key;      /* as a URL */
    uint64_t            key_hash;
    struct wall_seconds now;
    int64_t             grace_s;  /* of the site */
    struct memory_look  memory;   /* the last one */
    enum memory_level   memory_level;
    struct explanation  explanation;
};

/* A new reference. `arena` is scratch. */
json_t *why_json(const struct admin_why *why, struct arena *arena);

#endif
