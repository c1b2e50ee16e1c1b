#include "cache/policy/no_vary_search.h"

#include <criterion/criterion.h>

static struct arena arena;

static void setup(void)
{
    arena_init(&arena);
}

static void teardown(void)
{
    arena_free(&arena);
}

TestSuite(no_vary_search, .init = setup, .fini = teardown);

static struct bytes text(const char *string)
{
    return string == NULL ? BYTES_NONE : bytes_from_string(string);
}

/* §5.1 */
Test(no_vary_search, what_is_not_understood_is_the_default)
{
    static const char *const fields[] = {
        NULL,
        "",
        "unknown-key",
        "key-order=\"not a boolean\"",
        "key-order=1",
        "key-order=(?1)",
        "params=\"not an inner list\"",
        "params=x",
        "params=1",
        "params",
        "params=?1",
        "params=?0",
        "params=(not-a-string)",
        "params=(\"a\" b)",
        "params=(\"a\" 1)",
        "params=(\"a\" ?1)",
        "params=(\"a\"), except=(\"x\")",
        "params=(), except=()",
        "params=?1, except=(\"x\")",
        "params, except=(\"x\")",
        "except=\"not an inner list\"",
        "except=(not-a-string)",
        "except=?1",
        "except",
        "except=(\"a\" b)",
        "params=()",
        "key-order=?0",
        "key-order=?0, params=()",
        "except=(), ",
        "params=(\"a\"),,key-order",
        "EXCEPT=()",
        "params=(\"a)",
        "params=(\"a\"",
        "params=(\"a\"\"b\")",
        "key-order=?2",
        "except=(); params=(\"a\"",
        "except=(\"a\";)",
        "key-order, params=x",
        "key-order, except=x",
        "key-order=x, except=()",
    };
    struct search_variance variance;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        cr_expect_not(search_variance_parse(text(fields[i]), &arena, &variance), "%s", fields[i]);
}

Test(no_vary_search, many_names_are_no_names)
{
    char field[1024], *at = stpcpy(field, "params=(");
    for (unsigned i = 0; i < 65; i++)
        at = stpcpy(at, "\"a\" ");
    strcpy(at, ")");
    struct search_variance variance;
    cr_assert_not(search_variance_parse(text(field), &arena, &variance));
}

/* §6 */
static const struct {
    const char *field, *a, *b;
    bool same;
} rows[] = {
    {"key-order", NULL, "", true},
    {"key-order", "a=x", "%61=%78", true},
    {"key-order", "a=\xc3\xa9", "a=%C3%A9", true},
    {"key-order", "a=\xc3\xa9", "a=%c3%a9", true},
    {"key-order", "a=x&&&&", "a=x", true},
    {"key-order", "a=", "a", true},
    {"key-order", "a=%20", "a=+", true},
    {"key-order", "a=+", "a=%2B", false},
    {"key-order", "a&b&c", "c&b&a", true},
    {"key-order", "a=1&b=5&a=3&a=4", "b=5&a=1&a=3&a=4", true},
    {"key-order", "a=1&b=5&a=3&a=4", "a=3&b=5&a=1&a=4", false},
    {"key-order", "a=1&b=2", "a=1&b=3", false},
    {"key-order", "a=1", "a=1&b", false},
    {"key-order", "=1", "=", false},
    {"key-order", "=", NULL, false},
    {"key-order", "a=b=c", "a=b%3dc", true},
    {"key-order", "a%3db", "a=b", false},
    {"key-order", "ab=c", "a=bc", false},
    {"key-order", "a=%zz", "a=%zz", true},
    {"key-order", "a=%4", "a=%254", true},
    {"key-order", "a=%00", "a=%00b", false},
    {"except=()", "a=1&b=2", NULL, true},
    {"except=()", "a=1", "c=5&d", true},
    {"except=();x=1", "a", "b", true},
    {"params=(\"a\";x=1 \"b\";y);z", "a&c", "b&c", true},
    {"params=( \"a\"  \"b\" )", "a&c", "b&c", true},
    {"params=(), key-order", "a&c", "c&a", true},
    {"key-order=?0, except=()", "a", "b", true},
    {"params=(\"a\")", "a=1&b=2", "b=2&a=2", true},
    {"params=(\"a\")", "b=2&c", "c&b=2", false},
    {"params=(\"a\")", "b=2&A", "b=2", false},
    {"params=(\"a\")", "b=2&%61=5&a", "b=2", true},
    {"params=(\"a\" \"b\"), key-order", "d&b=2&c", "c&d&a=1", true},
    {"params=(\"%C3%A9+%E6%B0%97\")", "\xc3\xa9+\xe6\xb0\x97=2", "%C3%A9%20\xe6\xb0\x97=3", true},
    {"params=(\"a\\\"b\" \"c\\\\\")", "a%22b=1&c%5c=2&d", "d", true},
    {"params=(\"\")", "=1&b", "b", true},
    {"except=(\"x\")", "a=1&x=2&b", "x=2", true},
    {"except=(\"x\")", "x=2", "x=3", false},
    {"except=(\"x\")", "a", "b", true},
    {"except=(\"x\" \"y\")", "x=1&y=2", "y=2&x=1", false},
    {"key-order, except=(\"x\" \"y\")", "x=1&y=2&z", "z=3&y=2&x=1", true},
    {"except=x, except=()", "x", "y", true},
    {"except=(), future=1", "x", "y", true},
    {"  except=()  ,  key-order  ", "x", "y", true},
    {"key-order;x=1", "a&b", "b&a", true},
};

Test(no_vary_search, equivalent_queries_have_one_canonical_text)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct search_variance variance;
        cr_assert(search_variance_parse(text(rows[i].field), &arena, &variance), "%s", rows[i].field);
        struct bytes a = search_canonical(text(rows[i].a), &variance, &arena), b = search_canonical(text(rows[i].b), &variance, &arena);
        cr_expect_eq(bytes_equal(a, b), rows[i].same, "%s: %s and %s", rows[i].field, rows[i].a, rows[i].b);
    }
}
