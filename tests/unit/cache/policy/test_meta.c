#include "cache/policy/meta.h"

#include "tests/unit/cache/policy/fields.h"

Test(meta, what_a_request_says)
{
    struct arena arena;
    arena_init(&arena);
    struct headers fields = fields_from(&arena, "Cache-Control: max-age=5\nPragma: a, NO-CACHE\nAuthorization: Basic x");
    struct request_meta meta;
    request_meta_from(&meta, METHOD_HEAD, &fields);
    cr_expect_eq(meta.method, METHOD_HEAD);
    cr_expect_eq(meta.cache_control.max_age, 5);
    cr_expect(meta.pragma_no_cache);
    cr_expect(meta.has_authorization);
    cr_expect_eq(meta.fields, &fields);

    fields = fields_from(&arena, "Pragma: no-cached\nProxy-Authorization: x");
    request_meta_from(&meta, METHOD_GET, &fields);
    cr_expect_not(meta.cache_control.is_present);
    cr_expect_eq(meta.cache_control.max_age, CC_ABSENT);
    cr_expect_not(meta.pragma_no_cache);
    cr_expect_not(meta.has_authorization);
    arena_free(&arena);
}
