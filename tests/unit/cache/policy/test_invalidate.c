#include "cache/policy/invalidate.h"

#include <criterion/criterion.h>

Test(invalidate, unsafe_methods_that_did_not_fail)
{
    static const struct {
        const char *clause;
        enum method method;
        unsigned status;
        bool invalidates;
    } cases[] = {
        {"§4.4: PUT", METHOD_PUT, 200, true},
        {"§4.4: PUT that created", METHOD_PUT, 201, true},
        {"§4.4: POST", METHOD_POST, 200, true},
        {"§4.4: POST that redirects", METHOD_POST, 303, true},
        {"§4.4: DELETE", METHOD_DELETE, 204, true},
        {"§4.4: PATCH", METHOD_PATCH, 200, true},
        {"§4.4: unknown methods count as unsafe", METHOD_OTHER, 200, true},
        {"§4.4: the last non-error", METHOD_POST, 399, true},
        {"§4.4: 4xx is an error", METHOD_POST, 400, false},
        {"§4.4: 404", METHOD_DELETE, 404, false},
        {"§4.4: 5xx is an error", METHOD_POST, 500, false},
        {"§4.4: unknown 5xx", METHOD_PUT, 599, false},
        {"§4.4: beyond 5xx", METHOD_PUT, 999, false},
        {"§4.4: interim", METHOD_POST, 100, false},
        {"RFC 9110 §9.2.1: safe", METHOD_GET, 200, false},
        {"RFC 9110 §9.2.1: safe", METHOD_HEAD, 200, false},
        {"RFC 9110 §9.2.1: safe", METHOD_OPTIONS, 200, false},
        {"RFC 9110 §9.2.1: safe", METHOD_TRACE, 200, false},
        {"RFC 4918 §9.1: safe", METHOD_PROPFIND, 207, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(invalidates_target(cases[i].method, cases[i].status), cases[i].invalidates, "%s", cases[i].clause);
}
