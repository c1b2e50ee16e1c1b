#include "proxy/config/report.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct arena arena;

static char *printed(struct report *report)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    report_print(report, out);
    fclose(out);
    return text;
}

static void assert_printed(struct report *report, const char *expected)
{
    char *text = printed(report);

    cr_assert_str_eq(text, expected);
    free(text);
    arena_free(&arena);
}

static struct report report_of(const char *text)
{
    struct report report;

    arena_init(&arena);
    report_init(&report, &arena, BYTES("f"), bytes_from_string(text));
    return report;
}

Test(report, the_caret_follows_tabs_and_characters)
{
    struct report report = report_of("\t\xc3\xa9: x\xe2\x82\xacy\n");

    report_error(&report, (struct place){5, 5}, "wrong");
    assert_printed(&report, "f:1:5: error: wrong\n    \t\xc3\xa9: x\xe2\x82\xacy\n    \t   ^~~\n");
}

Test(report, a_long_line_is_shown_around_the_caret)
{
    char text[1001] = "";

    memset(text, 'a', 1000);
    struct report report = report_of(text);
    report_error(&report, (struct place){500, 400}, "wrong");
    char *shown = printed(&report);
    cr_assert_lt(strlen(shown), 300);
    cr_assert(strstr(shown, "f:1:501: error: wrong\n"));
    cr_assert(strchr(shown, '^'));
    free(shown);
    arena_free(&arena);
}

Test(report, a_place_behind_the_end_is_the_end)
{
    struct report report = report_of("a\n");

    report_error(&report, (struct place){99, 7}, "wrong");
    assert_printed(&report, "f:2:1: error: wrong\n    \n    ^\n");
}

Test(report, windows_line_ends_do_not_show)
{
    struct report report = report_of("a: 1\r\nb: 2\r\n");

    report_error(&report, (struct place){9, 1}, "wrong");
    assert_printed(&report, "f:2:4: error: wrong\n    b: 2\n       ^\n");
}

Test(report, nothing_drives_the_terminal)
{
    struct report report = report_of("a\x1b[31m\x7f\xc2\x9b\xff\xc3\n");

    report_error(&report, (struct place){0, 1}, "no \x1b[2J");
    report_hint(&report, "\x07");
    assert_printed(&report, "f:1:1: error: no ?[2J\n    a?[31m?????\n    ^\n    hint: ?\n");
}

Test(report, findings_come_in_the_order_of_the_text_and_warnings_are_no_errors)
{
    struct report report = report_of("a\nb\n");

    report_error(&report, (struct place){2, 1}, "second");
    report_warning(&report, (struct place){0, 1}, "first");
    report_error(&report, (struct place){2, 1}, "third");
    cr_assert_eq(report.errors, 2);
    assert_printed(&report, "f:1:1: warning: first\n    a\n    ^\nf:2:1: error: second\n    b\n    ^\nf:2:1: error: third\n    b\n    ^\n");
}

Test(report, the_same_warning_of_the_same_place_is_one_with_its_hint)
{
    struct report report = report_of("ab");

    for (unsigned i = 0; i < 3; i++) {
        report_warning(&report, (struct place){0, 1}, "odd");
        report_hint(&report, "first");
        report_warning(&report, (struct place){1, 1}, "odd");
        report_hint(&report, "second");
    }
    assert_printed(&report, "f:1:1: warning: odd\n    ab\n    ^\n    hint: first\nf:1:2: warning: odd\n    ab\n     ^\n    hint: second\n");
}

Test(report, keeps_so_many_and_counts_the_rest)
{
    struct report report = report_of("");

    for (unsigned i = 0; i < REPORT_FINDINGS_MAX + 5; i++) {
        cr_assert_eq(report_is_full(&report), i >= REPORT_FINDINGS_MAX);
        report_error(&report, (struct place){0, 0}, "%u", i);
        report_hint(&report, "hint %u", i);
    }
    char *shown = printed(&report);
    cr_assert(strstr(shown, "f:1:1: error: 99\n    hint: hint 99\n"));
    cr_assert_null(strstr(shown, "hint 100"));
    cr_assert(strstr(shown, "f: and 5 more errors\n"));
    free(shown);
    arena_free(&arena);
}

Test(report, user_text_is_cut_between_characters)
{
    char text[100];

    memset(text, 'a', 63);
    memcpy(text + 63, "\xc3\xa9xx", 4);
    cr_assert_eq(report_shown(bytes_from(text, 67)).len, 63);
    cr_assert_eq(report_shown(bytes_from(text, 64)).len, 64);
}
