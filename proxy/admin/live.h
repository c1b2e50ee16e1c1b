/* GET /log: which requests are asked for. */
#ifndef ADMIN_LIVE_H
#define ADMIN_LIVE_H

#include "base/arena.h"
#include "proxy/observe/live.h"

struct live_query {
    struct live_filter filter; /* but for its site */
    struct bytes       host;   /* of the site that is asked for; absent: any */
};

/* NULL, or what is wrong with it, in `arena`. What it says lies in `arena`. */
const char *live_read_query(struct bytes query, struct arena *arena, struct live_query *asked);

#endif
