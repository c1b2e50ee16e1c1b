/* GET /top: what is asked for most, as JSON. */
#ifndef ADMIN_TOP_H
#define ADMIN_TOP_H

#include "proxy/observe/top.h"

#include <jansson.h>

/* {"urls": {"requests": [{"name": …, "count": …, "error": …}, …], "bytes": …, "misses": …}, "sites": …, …}. A new reference. */
json_t *top_json(const struct top_lists *lists, struct arena *arena);

#endif
