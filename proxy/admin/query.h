/* The parameters of a request's query. */
#ifndef ADMIN_QUERY_H
#define ADMIN_QUERY_H

#include "base/arena.h"

#include <stdbool.h>

/* Takes "a=1" from the front of "a=1&b=2"; the value decoded (%XX and +), BYTES_NONE without "=". False when nothing is left. */
bool query_next(struct arena *arena, struct bytes *query, struct bytes *name, struct bytes *value);

#endif
