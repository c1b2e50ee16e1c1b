/* How long errors of some statuses are kept although they say nothing about it (a site's rule). */
#ifndef BASE_STATUS_TTL_H
#define BASE_STATUS_TTL_H

#include <stdbool.h>
#include <stdint.h>

struct status_ttl {
    uint16_t first, last; /* one status, or all of 4xx or 5xx */
    int64_t  ttl_s;
};

/* An error that answers who asked, or how, and not what: no other client may be given it. */
static inline bool status_depends_on_client(unsigned status)
{
    switch (status) {
    case 401: case 407: case 408: case 412: case 413: case 416: case 417: case 421: case 425: case 426: case 428: case 429: case 431:
        return true;
    default:
        return false;
    }
}

#endif
