/* See method.h; the rows are in method.tbl. */
#include "base/method.h"

#include <assert.h>

static const struct {
    struct bytes name;
    bool safe, idempotent;
} methods[METHOD_COUNT] = {
    [METHOD_OTHER] = {BYTES_NONE, false, false},
#define METHOD(name, safe, idempotent) [METHOD_##name] = {{#name, sizeof(#name) - 1}, safe, idempotent},
#include "base/method.tbl"
#undef METHOD
};

enum method method_identify(struct bytes name)
{
    /* GET is first in the table: nearly every request ends at the first comparison. */
    for (enum method method = METHOD_OTHER + 1; method < METHOD_COUNT; method++) {
        if (bytes_equal(name, methods[method].name))
            return method;
    }
    return METHOD_OTHER;
}

bool method_is_safe(enum method method)
{
    assert(method < METHOD_COUNT);
    return methods[method].safe;
}

bool method_is_idempotent(enum method method)
{
    assert(method < METHOD_COUNT);
    return methods[method].idempotent;
}
