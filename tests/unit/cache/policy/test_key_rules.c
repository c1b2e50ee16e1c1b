#include "cache/policy/key_rules.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct arena arena;

static void setup(void)
{
    arena_init(&arena);
}

static void teardown(void)
{
    arena_free(&arena);
}

TestSuite(key_rules, .init = setup, .fini = teardown);

enum { NAMES_MAX = 8 };

/* "a b*" */
static struct rule_names names(const char *list)
{
    struct bytes *at = arena_alloc(&arena, NAMES_MAX * sizeof *at);
    struct rule_names names = {.at = at};
    struct bytes rest = bytes_from_string(list);
    while (rest.len > 0) {
        size_t end = bytes_find(rest, ' ');
        cr_assert(names.count < NAMES_MAX);
        at[names.count++] = bytes_from(rest.at, end);
        rest = end < rest.len ? bytes_from(rest.at + end + 1, rest.len - end - 1) : BYTES("");
    }
    return names;
}

struct row {
    const char *query, *expected; /* NULL: none */
};

static struct bytes text(const char *string)
{
    return string == NULL ? BYTES_NONE : bytes_from_string(string);
}

static void check(const struct query_rules *rules, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct bytes got = query_apply_rules(text(rows[i].query), rules, &arena);
        cr_expect_eq(got.at == NULL, rows[i].expected == NULL, "%s: %s a query", rows[i].query, got.at == NULL ? "not" : "still");
        cr_expect(bytes_equal(got, text(rows[i].expected)), "%s: \"%.*s\", not \"%s\"", rows[i].query, BYTES_FMT(got), rows[i].expected);
        struct bytes again = query_apply_rules(got, rules, &arena);
        cr_expect(again.at == got.at && again.len == got.len, "%s: what the rules made is changed by them", rows[i].query);
    }
}

#define CHECK(rules, ...)                                                                                                                  \
    do {                                                                                                                                   \
        static const struct row rows[] = {__VA_ARGS__};                                                                                    \
        check(&rules, rows, sizeof rows / sizeof *rows);                                                                                   \
    } while (0)

Test(key_rules, without_rules_nothing_is_touched)
{
    struct query_rules rules = {.sort = false};
    CHECK(rules, {NULL, NULL}, {"", ""}, {"&&", "&&"}, {"b=1&a=2", "b=1&a=2"}, {"utm_source=x", "utm_source=x"}, {"=", "="}, {"?", "?"});
}

Test(key_rules, ignored_parameters_are_dropped)
{
    struct query_rules rules = {.ignore = names("gclid utm_* a%2f")};
    CHECK(rules, {NULL, NULL}, {"", ""}, {"gclid=1", NULL}, {"gclid", NULL}, {"gclid=", NULL}, {"gclid=1&gclid=2", NULL},
          {"utm_source=x&utm_medium=y&page=2", "page=2"}, {"page=2&utm_source=x", "page=2"}, {"a=1&gclid=x&b=2", "a=1&b=2"},
          {"utm_=1", NULL}, {"utm=1", "utm=1"}, {"xutm_a=1", "xutm_a=1"},
          /* Case, percent-encodings and all other bytes count. */
          {"GCLID=1", "GCLID=1"}, {"gcl%69d=1", "gcl%69d=1"}, {"a%2f=1&a%2F=2&a/=3", "a%2F=2&a/=3"}, {" gclid=1", " gclid=1"},
          {"gclid;b=1", "gclid;b=1"}, {"gclid[]=1", "gclid[]=1"}, {"gclid+=1", "gclid+=1"}, {"a=gclid=1", "a=gclid=1"},
          {"a=%zz&gclid=%00", "a=%zz"}, {"\xc3\xa9=1&gclid=\xff", "\xc3\xa9=1"},
          /* Empty ones are parameters without a name. */
          {"&", "&"}, {"&&", "&&"}, {"=", "="}, {"=x&gclid=1", "=x"}, {"&gclid=1", ""}, {"gclid=1&", ""}, {"a&&b&gclid", "a&&b"},
          {"gclid&&gclid", ""}, {"?gclid=1", "?gclid=1"});
}

Test(key_rules, only_what_is_kept_is_kept)
{
    struct query_rules rules = {.keep = names("id page_*"), .keeps_only = true};
    CHECK(rules, {NULL, NULL}, {"", NULL}, {"&", NULL}, {"x=1", NULL}, {"id=1", "id=1"}, {"id", "id"}, {"x=1&id=2&y=3", "id=2"},
          {"id=2&id=1&x", "id=2&id=1"}, {"page_a=1&page_=2&page=3", "page_a=1&page_=2"}, {"ID=1", NULL}, {"&&id=1&&", "id=1"});
    struct query_rules none = {.keeps_only = true};
    CHECK(none, {NULL, NULL}, {"", NULL}, {"a", NULL}, {"=", NULL}, {"a=1&b=2", NULL});
}

Test(key_rules, what_is_kept_can_be_ignored)
{
    struct query_rules rules = {.keep = names("p*"), .ignore = names("password"), .keeps_only = true};
    CHECK(rules, {"page=1&password=x&q=2", "page=1"}, {"password=x", NULL});
}

Test(key_rules, sorting_is_by_name_and_stable)
{
    struct query_rules rules = {.sort = true};
    CHECK(rules, {NULL, NULL}, {"", ""}, {"a=1", "a=1"}, {"b=1&a=2", "a=2&b=1"}, {"a=2&b=1", "a=2&b=1"}, {"a=2&a=1", "a=2&a=1"},
          {"b=1&a=2&b=0&a=1", "a=2&a=1&b=1&b=0"}, {"b&a&=", "=&a&b"}, {"&b&&a", "&&a&b"}, {"a&", "&a"}, {"ab=1&a=2", "a=2&ab=1"},
          {"a-b=1&a=2", "a=2&a-b=1"}, {"a=2&a-b=1", "a=2&a-b=1"}, {"b[]=2&b[]=1&a", "a&b[]=2&b[]=1"}, {"%62&%61&b&a", "%61&%62&a&b"},
          {"\xff=1&z=2", "z=2&\xff=1"}, {"B=1&a=2&A=3", "A=3&B=1&a=2"});
    struct query_rules both = {.ignore = names("x"), .sort = true};
    CHECK(both, {"c&x&b&x=1&a", "a&b&c"}, {"x", NULL}, {"a&x&b", "a&b"});
}

Test(key_rules, the_ready_list_has_the_usual_ones)
{
    struct query_rules rules = {.ignore = names("tracking sid")};
    CHECK(rules, {"utm_source=a&utm_id=b&gclid=c&fbclid=d&msclkid=e&_ga=f&mc_eid=g&sid=h&q=1", "q=1"}, {"tracking=1", "tracking=1"},
          {"hsa_cam=1&mtm_campaign=2&gbraid=3&ttclid=4", NULL}, {"id=1&pk_id=2&fb_user=3&sort=4", "id=1&pk_id=2&fb_user=3&sort=4"});
}

Test(key_rules, a_star_alone_is_every_name)
{
    struct query_rules rules = {.ignore = names("*")};
    CHECK(rules, {NULL, NULL}, {"", NULL}, {"a&b=1&=", NULL});
}

Test(key_rules, a_great_many_parameters)
{
    enum { COUNT = 20000 };
    char *query = arena_alloc(&arena, COUNT * 8), *at = query;
    for (unsigned i = 0; i < COUNT; i++)
        at += sprintf(at, "%sp%05u", i > 0 ? "&" : "", COUNT - 1 - i);
    struct query_rules rules = {.sort = true};
    struct bytes got = query_apply_rules(bytes_from(query, (size_t)(at - query)), &rules, &arena);
    cr_assert_eq(got.len, (size_t)(at - query));
    for (unsigned i = 0; i < COUNT; i++) {
        char expected[8];
        sprintf(expected, "p%05u", i);
        cr_assert_eq(memcmp(got.at + (size_t)i * 7, expected, 6), 0, "%u", i);
    }
}
