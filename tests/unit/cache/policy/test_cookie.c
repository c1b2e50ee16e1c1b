#include "cache/policy/cookie.h"

#include "tests/unit/cache/policy/fields.h"

#include <malloc.h>

Test(cookie, names_and_beginnings_of_names)
{
    static const struct bytes names[] = {{"session", 7}, {"wp_*", 4}};
    static const struct rule_names patterns = {names, 2};
    static const struct {
        const char *clause, *request;
        bool found;
    } cases[] = {
        {"none", "Accept: a", false},
        {"empty", "Cookie:", false},
        {"that one", "Cookie: session=1", true},
        {"among others", "Cookie: a=1; session=1; b=2", true},
        {"no space", "Cookie: a=1;session=1", true},
        {"much space", "Cookie: a=1 ;   session = 1", true},
        {"on another line", "Cookie: a=1\nCookie: session=1", true},
        {"behind an empty line", "Cookie:\nCookie: session=1", true},
        {"without a value", "Cookie: session", true},
        {"with an empty one", "Cookie: session=", true},
        {"a longer name", "Cookie: sessions=1", false},
        {"a shorter name", "Cookie: sessio=1", false},
        {"the end of a name", "Cookie: xsession=1", false},
        {"case counts", "Cookie: Session=1", false},
        {"in a value", "Cookie: a=session=1", false},
        {"a quoted value ends at a semicolon all the same", "Cookie: a=\"x; session=1\"", true},
        {"a beginning", "Cookie: wp_login=1", true},
        {"a beginning alone", "Cookie: wp_=1", true},
        {"less than the beginning", "Cookie: wp=1", false},
        {"nothing but separators", "Cookie: ;;; ;", false},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers request = fields_from(&arena, cases[i].request);
        cr_expect_eq(cookie_has_any(&request, &patterns), cases[i].found, "%s: %s", cases[i].clause, cases[i].request);
        cr_expect_not(cookie_has_any(&request, &(struct rule_names){NULL, 0}), "%s", cases[i].request);
    }
    struct headers request = fields_from(&arena, "Cookie: anything=1");
    cr_expect(cookie_has_any(&request, &(struct rule_names){&(struct bytes){"*", 1}, 1}), "a star alone is any name");
    arena_free(&arena);
}

Test(cookie, values)
{
    static const struct {
        const char *clause, *request, *expected; /* NULL: absent */
    } cases[] = {
        {"none", "Accept: a", NULL},
        {"another", "Cookie: b=1", NULL},
        {"one", "Cookie: a=1", "1"},
        {"empty", "Cookie: a=", ""},
        {"without =", "Cookie: a", ""},
        {"a value with =", "Cookie: a=b=c", "b=c"},
        {"quotes belong to it", "Cookie: a=\"b\"", "\"b\""},
        {"several, since origins differ", "Cookie: a=1; b=2; a=3", "1;3"},
        {"on several lines", "Cookie: a=1\nCookie: a=2", "1;2"},
        {"an empty one among them", "Cookie: a=; a=2", ";2"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers request = fields_from(&arena, cases[i].request);
        struct bytes value = cookie_values(&request, BYTES("a"), &arena);
        if (cases[i].expected == NULL)
            cr_expect_null(value.at, "%s: %s", cases[i].clause, cases[i].request);
        else
            cr_expect(value.at && bytes_equal(value, bytes_from_string(cases[i].expected)), "%s: %s: %.*s", cases[i].clause,
                      cases[i].request, BYTES_FMT(value));
    }
    arena_free(&arena);
}

Test(cookie, thousands_of_one_name_take_no_more_memory_than_they_are)
{
    enum { TIMES = 4000, LEAST = 64 * 1024 };
    struct arena arena;
    char *line = malloc(sizeof "Cookie: " + TIMES * strlen("a=1;")), *at = stpcpy(line, "Cookie: ");
    for (unsigned i = 0; i < TIMES; i++)
        at = stpcpy(at, "a=1;");
    arena_init(&arena);
    struct headers request = fields_from(&arena, line);
    size_t before = mallinfo2().uordblks;
    struct bytes value = cookie_values(&request, BYTES("a"), &arena);
    size_t taken = mallinfo2().uordblks - before;
    cr_expect_eq(value.len, 2 * TIMES - 1);
    cr_expect_lt(taken, LEAST, "%zu bytes", taken);
    arena_free(&arena);
    free(line);
}
