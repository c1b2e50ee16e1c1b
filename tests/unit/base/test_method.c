#include "base/method.h"

#include <criterion/criterion.h>

Test(method, rfc_9110_properties)
{
    static const struct {
        const char *name;
        enum method method;
        bool safe, idempotent;
    } cases[] = {
        /* RFC 9110 §9.2.1, §9.2.2 */
        {"GET", METHOD_GET, true, true},
        {"HEAD", METHOD_HEAD, true, true},
        {"OPTIONS", METHOD_OPTIONS, true, true},
        {"TRACE", METHOD_TRACE, true, true},
        {"PUT", METHOD_PUT, false, true},
        {"DELETE", METHOD_DELETE, false, true},
        {"POST", METHOD_POST, false, false},
        {"CONNECT", METHOD_CONNECT, false, false},
        /* RFC 4918, 3253, 5323, 5789 */
        {"PROPFIND", METHOD_PROPFIND, true, true},
        {"REPORT", METHOD_REPORT, true, true},
        {"SEARCH", METHOD_SEARCH, true, true},
        {"PATCH", METHOD_PATCH, false, false},
        {"PURGE", METHOD_PURGE, false, true},
        /* case counts (§9.1), and nothing is a prefix of a method */
        {"get", METHOD_OTHER, false, false},
        {"Get", METHOD_OTHER, false, false},
        {"GE", METHOD_OTHER, false, false},
        {"GETT", METHOD_OTHER, false, false},
        {"", METHOD_OTHER, false, false},
        {"BREW", METHOD_OTHER, false, false},
        {"OTHER", METHOD_OTHER, false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum method method = method_identify(bytes_from_string(cases[i].name));
        cr_expect_eq(method, cases[i].method, "%s", cases[i].name);
        cr_expect_eq(method_is_safe(method), cases[i].safe, "%s", cases[i].name);
        cr_expect_eq(method_is_idempotent(method), cases[i].idempotent, "%s", cases[i].name);
    }
    cr_expect_eq(method_identify(BYTES_NONE), METHOD_OTHER);
}
