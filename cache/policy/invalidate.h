/* Which stored responses an unsafe request makes invalid, RFC 9111 §4.4. Pure. */
#ifndef CACHE_POLICY_INVALIDATE_H
#define CACHE_POLICY_INVALIDATE_H

#include "base/method.h"

#include <stdbool.h>

/* Unsafe method and a non-error (2xx or 3xx) final status. */
bool invalidates_target(enum method method, unsigned status);

#endif
