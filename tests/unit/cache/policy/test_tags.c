#include "cache/policy/tags.h"

#include "fields.h"

#include <criterion/criterion.h>

/* "a|b|" + "(g)" for a group. */
static struct bytes joined(const struct tag *tags, unsigned count, struct arena *arena)
{
    struct bytes text = BYTES("");
    for (unsigned i = 0; i < count; i++)
        text = arena_printf(arena, tags[i].is_group ? "%.*s(%.*s)|" : "%.*s%.*s|", BYTES_FMT(text), BYTES_FMT(tags[i].name));
    return text;
}

struct row {
    const char *fields, *tags;
};

static void check(const struct row *rows, size_t count, unsigned (*collect)(const struct headers *, struct arena *, struct tag **))
{
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < count; i++) {
        struct headers fields = fields_from(&arena, rows[i].fields);
        struct tag *tags;
        unsigned found = collect(&fields, &arena, &tags);
        struct bytes text = joined(tags, found, &arena);
        cr_expect(bytes_equal(text, bytes_from_string(rows[i].tags)), "%s: %.*s", rows[i].fields, BYTES_FMT(text));
    }
    arena_free(&arena);
}

Test(tags, each_field_has_its_separators)
{
    static const struct row rows[] = {
        {"X: a", ""},
        {"Surrogate-Key: a", "a|"},
        {"Surrogate-Key: a b  c\td,e", "a|b|c|d,e|"},
        {"surrogate-key:", ""},
        {"Surrogate-Key: a\nSurrogate-Key: b a", "a|b|a|"},
        {"Cache-Tag: a, b ,c d,,", "a|b|c d|"},
        {"Cache-Tag: \"a,b\"", "\"a|b\"|"},
        {"xkey: a b,c , d", "a|b|c|d|"},
        {"XKEY: A a", "A|a|"},
        {"xkey: x\nCache-Tag: t\nSurrogate-Key: s", "s|t|x|"},
    };
    check(rows, COUNT(rows), tags_collect);
    check(rows, COUNT(rows), tags_requested);
}

Test(tags, cache_groups_are_a_list_of_strings)
{
    static const struct row rows[] = {
        {"Cache-Groups: \"a\"", "(a)|"},
        {"Cache-Groups: \"a\", \"b c\"  ,\t\"d,e\"", "(a)|(b c)|(d,e)|"},
        {"Cache-Groups: \"a\"\nCache-Groups: \"b\"", "(a)|(b)|"},
        {"Cache-Groups: \"q\\\"\\\\\"", "(q\"\\)|"},
        {"Cache-Groups: \"a\";x;y=1;z=\"p;,q\";k=?1;t=*a/b:c;b=:aGk=:, \"b\"", "(a)|(b)|"},
        {"Cache-Groups: \"a\";  *k-.9=-1.5", "(a)|"},
        {"Cache-Groups: \"\", \"a\"", "(a)|"},
        {"Cache-Groups:", ""},
        {"Surrogate-Key: a\nCache-Groups: \"a\"", "a|(a)|"},
    };
    check(rows, COUNT(rows), tags_collect);
}

/* RFC 9651 §4.2: all of it, or nothing. */
Test(tags, cache_groups_that_are_no_list_of_strings_are_ignored)
{
    static const char *const values[] = {
        "a",         "\"a",      "\"a\", b", "\"a\" \"b\"", "\"a\",",   "\"a\",,\"b\"", ",\"a\"",      "\"a\\b\"",
        "\"a\\",     "(\"a\")",  "\"a\";",   "\"a\";X=1",   "\"a\";x=", "\"a\";x=\"",   "\"a\";x=:ab", "1",
        "\"a\x80\"", "\"a\tb\"", "\"a\" ;x", "?1",          "\"a\";1x", "\"a\"x",
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(values); i++) {
        struct headers fields;
        struct tag *tags;
        headers_init(&fields, &arena);
        headers_add_known(&fields, HEADER_CACHE_GROUPS, bytes_from_string(values[i]));
        headers_add_known(&fields, HEADER_XKEY, BYTES("kept"));
        unsigned found = tags_collect(&fields, &arena, &tags);
        cr_expect_eq(found, 1, "%s", values[i]);
    }
    arena_free(&arena);
}

Test(tags, a_purge_does_not_take_groups_for_tags_and_groups_do_not_take_tags)
{
    struct arena arena;
    arena_init(&arena);
    struct headers fields = fields_from(&arena, "Cache-Groups: \"a\"\nCache-Group-Invalidation: \"b\", \"c\"\nxkey: x");
    struct tag *tags;
    cr_expect_eq(tags_requested(&fields, &arena, &tags), 1);
    unsigned found = groups_collect(&fields, HEADER_CACHE_GROUP_INVALIDATION, &arena, &tags);
    cr_expect(bytes_equal(joined(tags, found, &arena), BYTES("(b)|(c)|")));
    arena_free(&arena);
}

/* RFC 9875 §2: at least 128 groups of at least 128 characters. */
Test(tags, as_many_groups_as_the_rfc_asks_for)
{
    struct arena arena;
    struct headers fields;
    arena_init(&arena);
    headers_init(&fields, &arena);
    for (unsigned i = 0; i < 128; i++)
        headers_add_known(&fields, HEADER_CACHE_GROUPS, arena_printf(&arena, "\"%0128u\"", i));
    struct tag *tags;
    cr_expect_eq(tags_collect(&fields, &arena, &tags), 128);
    cr_expect_eq(tags[127].name.len, 128);
    arena_free(&arena);
}

Test(tags, fields_for_the_cache_alone)
{
    cr_expect(header_is_tag_field(HEADER_SURROGATE_KEY) && header_is_tag_field(HEADER_CACHE_TAG) && header_is_tag_field(HEADER_XKEY));
    cr_expect_not(header_is_tag_field(HEADER_CACHE_GROUPS) || header_is_tag_field(HEADER_CACHE_CONTROL));
}
