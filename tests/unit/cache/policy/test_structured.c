#include "cache/policy/structured.h"

#include "tests/unit/cache/policy/fields.h"

/* Members and their values as "key=TYPE:text" joined by spaces; "!" where it is invalid. */
static struct bytes walk(struct arena *arena, struct bytes text)
{
    static const char *const types[] = {"int", "dec", "str", "tok", "bin", "bool", "date", "disp", "list"};
    struct bytes out = BYTES("");
    struct structured_member member;
    enum structured_result result;
    while ((result = structured_next_member(&text, &member)) == STRUCTURED_MEMBER) {
        enum structured_type type = member.value.type;
        bool is_number = type == STRUCTURED_INTEGER || type == STRUCTURED_BOOLEAN || type == STRUCTURED_DATE;
        struct bytes value = is_number ? arena_printf(arena, "%ld", (long)member.value.integer) : member.value.text;
        out = arena_printf(arena, "%.*s%s%.*s=%s:%.*s", BYTES_FMT(out), out.len > 0 ? " " : "", BYTES_FMT(member.key), types[type],
                           BYTES_FMT(value));
    }
    return result == STRUCTURED_END ? out : BYTES("!");
}

struct row {
    const char *clause, *text, *expected;
};

static void check(const struct row *rows, size_t count)
{
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < count; i++) {
        struct bytes seen = walk(&arena, bytes_from_string(rows[i].text));
        cr_expect(bytes_equal(seen, bytes_from_string(rows[i].expected)), "%s: %s: %.*s", rows[i].clause, rows[i].text, BYTES_FMT(seen));
    }
    arena_free(&arena);
}

Test(structured, dictionaries)
{
    static const struct row rows[] = {
        {"§3.2: empty", "", ""},
        {"§4.2: spaces alone", "   ", ""},
        {"§3.2: one member", "a=1", "a=int:1"},
        {"§3.2: two", "a=1, b=2", "a=int:1 b=int:2"},
        {"§4.2.2: no space", "a=1,b=2", "a=int:1 b=int:2"},
        {"§4.2.2: any blanks beside the comma", "a=1 \t,\t b=2", "a=int:1 b=int:2"},
        {"§4.2: spaces at both ends", "  a=1  ", "a=int:1"},
        {"§3.2: true without a value", "a", "a=bool:1"},
        {"§3.2: true, then others", "a, b;x=1, c=2", "a=bool:1 b=bool:1 c=int:2"},
        {"§4.2.2: repeated", "a=1, a=2", "a=int:1 a=int:2"},
        {"§4.2.2: a comma at the end", "a=1,", "!"},
        {"§4.2.2: a comma and a space at the end", "a=1, ", "!"},
        {"§4.2.2: a comma at the beginning", ",a=1", "!"},
        {"§4.2.2: an empty member", "a=1,,b=2", "!"},
        {"§4.2.2: no comma", "a=1 b=2", "!"},
        {"§4.2.2: a semicolon is no comma", "a=1;b=2", "a=int:1"},
        {"§4.2.2: a tab at the beginning", "\ta=1", "!"},
        {"§4.2: an invalid member spoils the field", "a=1, &&&&&", "!"},
        {"§4.2.3.3: upper case key", "A=1", "!"},
        {"§4.2.3.3: upper case inside", "aB=1", "!"},
        {"§4.2.3.3: digit first", "1a=1", "!"},
        {"§4.2.3.3: hyphen first", "-a=1", "!"},
        {"§4.2.3.3: star first", "*a=1", "*a=int:1"},
        {"§4.2.3.3: all that is allowed", "a_b-c.d*1=1", "a_b-c.d*1=int:1"},
        {"§4.2.2: space before =", "a =1", "!"},
        {"§4.2.2: space after =", "a= 1", "!"},
        {"§4.2.2: no value after =", "a=", "!"},
        {"§4.2.2: no value, but a comma", "a=,b", "!"},
    };
    check(rows, COUNT(rows));
}

Test(structured, items)
{
    static const struct row rows[] = {
        {"§4.2.4: zero", "a=0", "a=int:0"},
        {"§4.2.4: negative", "a=-5", "a=int:-5"},
        {"§4.2.4: leading zeros", "a=0042", "a=int:42"},
        {"§4.2.4: 15 digits", "a=999999999999999", "a=int:999999999999999"},
        {"§4.2.4: 15 digits, negative", "a=-999999999999999", "a=int:-999999999999999"},
        {"§4.2.4: 16 digits", "a=1000000000000000", "!"},
        {"§4.2.4: sign alone", "a=-", "!"},
        {"§4.2.4: plus", "a=+1", "!"},
        {"§4.2.4: two signs", "a=--1", "!"},
        {"§4.2.4: decimal", "a=1.5", "a=dec:1.5"},
        {"§4.2.4: decimal, negative", "a=-0.125", "a=dec:-0.125"},
        {"§4.2.4: four places", "a=1.1234", "!"},
        {"§4.2.4: point at the end", "a=1.", "!"},
        {"§4.2.4: point at the beginning", "a=.1", "!"},
        {"§4.2.4: 12 digits before the point", "a=123456789012.1", "a=dec:123456789012.1"},
        {"§4.2.4: 13 digits before the point", "a=1234567890123.1", "!"},
        {"§4.2.4: two points", "a=1.1.1", "!"},
        {"§4.2.4: letters behind", "a=1x", "!"},
        {"§4.2.4: hexadecimal", "a=0x10", "!"},
        {"§4.2.5: string", "a=\"b\"", "a=str:b"},
        {"§4.2.5: empty string", "a=\"\"", "a=str:"},
        {"§4.2.5: a comma inside", "a=\"b, c=1\", d=2", "a=str:b, c=1 d=int:2"},
        {"§4.2.5: escapes", "a=\"\\\"\\\\\"", "a=str:\\\"\\\\"},
        {"§4.2.5: another escape", "a=\"\\n\"", "!"},
        {"§4.2.5: escape at the end", "a=\"\\", "!"},
        {"§4.2.5: never closed", "a=\"b", "!"},
        {"§4.2.5: a control byte", "a=\"b\tc\"", "!"},
        {"§4.2.5: DEL", "a=\"\x7f\"", "!"},
        {"§4.2.5: not ASCII", "a=\"\xc3\xa4\"", "!"},
        {"§4.2.5: single quotes", "a='b'", "!"},
        {"§4.2.6: token", "a=b", "a=tok:b"},
        {"§4.2.6: all kinds of bytes", "a=*foo123/456:x!#$%&'*+-.^_`|~", "a=tok:*foo123/456:x!#$%&'*+-.^_`|~"},
        {"§4.2.6: upper case", "a=BC", "a=tok:BC"},
        {"§4.2.6: ends at what is none", "a=b(c", "!"},
        {"§4.2.7: bytes", "a=:aGVsbG8=:", "a=bin:aGVsbG8="},
        {"§4.2.7: empty", "a=::", "a=bin:"},
        {"§4.2.7: padding left out", "a=:aGVsbG8:", "a=bin:aGVsbG8"},
        {"§4.2.7: two of it", "a=:aGVsbA==:", "a=bin:aGVsbA=="},
        {"§4.2.7: too much of it", "a=:aGVsbG8==:", "!"},
        {"§4.2.7: padding in the middle", "a=:aG=sbG8=:", "!"},
        {"§4.2.7: another alphabet", "a=:aG-_:", "!"},
        {"§4.2.7: never closed", "a=:aGVsbG8=", "!"},
        {"§4.2.7: six bits are no byte", "a=:aGVsb:", "!"},
        {"§4.2.8: true", "a=?1", "a=bool:1"},
        {"§4.2.8: false", "a=?0", "a=bool:0"},
        {"§4.2.8: another digit", "a=?2", "!"},
        {"§4.2.8: a letter", "a=?T", "!"},
        {"§4.2.8: nothing", "a=?", "!"},
        {"§4.2.8: two digits", "a=?11", "!"},
        {"§4.2.9: date", "a=@1659578233", "a=date:1659578233"},
        {"§4.2.9: before 1970", "a=@-1", "a=date:-1"},
        {"§4.2.9: decimal", "a=@1.5", "!"},
        {"§4.2.9: nothing", "a=@", "!"},
        {"§4.2.10: display string", "a=%\"f%c3%bc\"", "a=disp:f%c3%bc"},
        {"§4.2.10: plain", "a=%\"b\"", "a=disp:b"},
        {"§4.2.10: four bytes", "a=%\"%f0%9f%98%80\"", "a=disp:%f0%9f%98%80"},
        {"§4.2.10: upper case hex", "a=%\"%C3%BC\"", "!"},
        {"§4.2.10: half a character", "a=%\"%c3\"", "!"},
        {"§4.2.10: a byte that must follow another", "a=%\"%bc\"", "!"},
        {"§4.2.10: overlong", "a=%\"%c0%80\"", "!"},
        {"§4.2.10: overlong, three bytes", "a=%\"%e0%80%80\"", "!"},
        {"§4.2.10: overlong, four bytes", "a=%\"%f0%80%80%80\"", "!"},
        {"§4.2.10: a surrogate", "a=%\"%ed%a0%80\"", "!"},
        {"§4.2.10: beyond U+10FFFF", "a=%\"%f4%90%80%80\"", "!"},
        {"§4.2.10: beyond that", "a=%\"%f5%80%80%80\"", "!"},
        {"§4.2.10: broken off", "a=%\"%c", "!"},
        {"§4.2.10: never closed", "a=%\"b", "!"},
        {"§4.2.10: no quote", "a=%b", "!"},
        {"§4.2.3.1: nothing that an item begins with", "a=$", "!"},
        {"§4.2.3.1: an opening brace", "a={}", "!"},
    };
    check(rows, COUNT(rows));
}

Test(structured, inner_lists_and_parameters)
{
    static const struct row rows[] = {
        {"§4.2.1.2: empty", "a=()", "a=list:"},
        {"§4.2.1.2: spaces", "a=(  )", "a=list:  "},
        {"§4.2.1.2: one", "a=(1)", "a=list:1"},
        {"§4.2.1.2: two", "a=(1  \"b\")", "a=list:1  \"b\""},
        {"§4.2.1.2: parameters inside", "a=(1;x 2;y=3);z", "a=list:1;x 2;y=3"},
        {"§4.2.1.2: a parenthesis in a string", "a=(\")\")", "a=list:\")\""},
        {"§4.2.1.2: commas", "a=(1,2)", "!"},
        {"§4.2.1.2: nothing between", "a=(1\"b\")", "!"},
        {"§4.2.1.2: never closed", "a=(1", "!"},
        {"§4.2.1.2: never closed, empty", "a=(", "!"},
        {"§4.2.1.2: never closed, a space", "a=(1 ", "!"},
        {"§4.2.1.2: a list in a list", "a=((1))", "!"},
        {"§4.2.1.2: a tab", "a=(1\t2)", "!"},
        {"§4.2.3.2: a parameter", "a=1;b", "a=int:1"},
        {"§4.2.3.2: several", "a=1;b;c=2;d=\"e\", f", "a=int:1 f=bool:1"},
        {"§4.2.3.2: space after the semicolon", "a=1;  b=2", "a=int:1"},
        {"§4.2.3.2: space before it", "a=1 ;b=2", "!"},
        {"§4.2.3.2: no name", "a=1;", "!"},
        {"§4.2.3.2: upper case", "a=1;B", "!"},
        {"§4.2.3.2: no value", "a=1;b=", "!"},
        {"§4.2.3.2: a list is no value", "a=1;b=(1)", "!"},
        {"§4.2.3.2: of true", "a;b=1", "a=bool:1"},
    };
    check(rows, COUNT(rows));
}

/* §4.2.1; inner lists in brackets, their strings unescaped. */
static struct bytes walk_list(struct arena *arena, struct bytes text)
{
    struct bytes out = BYTES("");
    struct structured_value item;
    enum structured_result result;
    while ((result = structured_next_item(&text, &item)) == STRUCTURED_MEMBER) {
        struct bytes rest = item.text, plain = item.text;
        if (item.type == STRUCTURED_STRING) {
            plain = structured_unescape(item.text, arena);
        } else if (item.type == STRUCTURED_INNER_LIST) {
            for (plain = BYTES(""); structured_next_inner_item(&rest, &item);)
                plain = arena_printf(arena, "%.*s[%.*s]", BYTES_FMT(plain), BYTES_FMT(structured_unescape(item.text, arena)));
        }
        out = arena_printf(arena, "%.*s<%.*s>", BYTES_FMT(out), BYTES_FMT(plain));
    }
    return result == STRUCTURED_END ? out : BYTES("!");
}

Test(structured, lists)
{
    static const struct row rows[] = {
        {"§3.1: empty", "", ""},
        {"§4.2: spaces alone", "  ", ""},
        {"§3.1: strings", "\"a\", \"b c\"", "<a><b c>"},
        {"§4.2.1: any blanks beside the comma", "a\t ,\t b", "<a><b>"},
        {"§4.2.5: escapes", "\"a\\\"b\\\\\"", "<a\"b\\>"},
        {"§4.2.3.2: parameters are dropped", "a;b=\"c,d\";e, f", "<a><f>"},
        {"§3.1.1: inner lists", "(\"a\" \"\\\\\"), ( \"b\";x=1  c ;y), ()", "!"},
        {"§3.1.1: inner lists", "(\"a\" \"\\\\\"), ( \"b\";x=1  c;y );z, ()", "<[a][\\]><[b][c]><>"},
        {"§4.2.1: a comma at the end", "a, ", "!"},
        {"§4.2.1: a comma at the beginning", ", a", "!"},
        {"§4.2.1: no comma", "a b", "!"},
        {"§4.2.1: a member of a Dictionary", "a=1", "!"},
        {"§4.2.1: an invalid member spoils the field", "a, \"b", "!"},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bytes seen = walk_list(&arena, bytes_from_string(rows[i].text));
        cr_expect(bytes_equal(seen, bytes_from_string(rows[i].expected)), "%s: %s: %.*s", rows[i].clause, rows[i].text, BYTES_FMT(seen));
    }
    arena_free(&arena);
}

Test(structured, a_nul_byte_is_like_any_other)
{
    struct arena arena;
    arena_init(&arena);
    cr_expect(bytes_equal(walk(&arena, bytes_from("a\0=1", 4)), BYTES("!")));
    cr_expect(bytes_equal(walk(&arena, bytes_from("a=1\0", 4)), BYTES("!")));
    arena_free(&arena);
}
