/* What is asked for most: URLs, sites, tags and statuses by requests, by bytes and by misses, of the last five to ten minutes, in bounded memory.
 *
 * DESIGN. One struct top a loop: space-saving (Metwally et al., ICDT '05) with TOP_ENTRIES places a list; what is not listed takes the place of the
 * least, whose count it inherits as its possible error. A busy loop counts one request in so many, for as many, so that a few dozen a second cost more
 * than a decrement. The loop's own lock is taken for these only, and not waited for: the control loop holds it while it copies. */
#ifndef OBSERVE_TOP_H
#define OBSERVE_TOP_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/clock.h"

#include <stdbool.h>

enum { TOP_ENTRIES = 64, TOP_NAME_BYTES = 232, TOP_TAGS_MAX = 8, TOP_WINDOW_MS = 300000 };

enum top_kind { TOP_URLS, TOP_SITES, TOP_TAGS, TOP_STATUSES, TOP_KINDS };
enum top_measure { TOP_REQUESTS, TOP_BYTES, TOP_MISSES, TOP_MEASURES };

extern const char *const top_kind_words[TOP_KINDS];       /* "urls" */
extern const char *const top_measure_words[TOP_MEASURES]; /* "requests" */

struct top;

struct top *top_new(void);
void        top_free(struct top **top);

struct top_request {
    struct bytes scheme, host, path, query; /* of the URL; query absent: none */
    struct bytes site;                      /* absent: none answered */
    struct bytes tags[TOP_TAGS_MAX];
    unsigned     tags_count;
    unsigned     status;
    uint64_t     bytes;
    bool         is_miss; /* it was, or would have been, asked from the origin */
};

/* ---- on the loop ---- */

/* Whether the request that ends now is one to be counted; to be asked once for each. */
bool top_wants(struct top *top);
void top_count(struct top *top, const struct top_request *request);
/* Every now and then: how many of the requests are counted follows from how many there are. */
void top_tick(struct top *top, struct monotonic_ms now);

/* ---- by whoever shows them ---- */

struct top_row {
    struct bytes name; /* cut at TOP_NAME_BYTES */
    uint64_t     count, error; /* it is between count − error and count, but for what is not counted one by one */
};

struct top_list {
    struct top_row *rows; /* the most first */
    unsigned        count;
};

struct top_lists {
    struct top_list by[TOP_KINDS][TOP_MEASURES];
};

/* Of all loops together, `rows_max` each at most; in `arena`. */
void top_merge(struct top *const *tops, unsigned count, unsigned rows_max, struct arena *arena, struct top_lists *lists);

#endif
