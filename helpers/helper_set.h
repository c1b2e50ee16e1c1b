/* One loop's view of the helpers of one role: their channels, which of them are alive, and the choice of one for the next request.
 * Shared by the disk, resolver and log clients. Belongs to one loop. */
#ifndef HELPERS_HELPER_SET_H
#define HELPERS_HELPER_SET_H

#include "base/clock.h"
#include "helpers/channel.h"

enum { HELPERS_MAX = 16 };

struct helper_hooks {
    void *context;
    /* A request of this helper is past its deadline: have it killed. Called at most once a generation. */
    void (*report_hung)(void *context, enum role role, unsigned helper, unsigned generation);
};

#endif
