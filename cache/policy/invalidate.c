#include "cache/policy/invalidate.h"

bool invalidates_target(enum method method, unsigned status)
{
    /* RFC 9111 §4.4: a method whose safety is unknown counts as unsafe; an error changed nothing. */
    return !method_is_safe(method) && status >= 200 && status < 400;
}
