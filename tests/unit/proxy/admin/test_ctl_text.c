#include "proxy/admin/ctl_text.h"

#include <criterion/criterion.h>

Test(ctl_text, bytes_for_people)
{
    static const struct {
        double bytes;
        const char *text;
    } cases[] = {{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"}, {256.0 * 1024 * 1024, "256 MiB"}, {1e15, "909 TiB"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        ctl_format_bytes(text, sizeof text, cases[i].bytes);
        cr_assert_str_eq(text, cases[i].text);
    }
}

Test(ctl_text, what_strangers_wrote_cannot_talk_to_the_terminal)
{
    static const struct {
        const char *text, *shown;
        size_t columns;
    } cases[] = {
        {"/plain?a=b", "/plain?a=b", 10},
        {"/\x1b[2J", "/\\x1b[2J", 8},
        {"a\nb\x7f", "a\\x0ab\\x7f", 10},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b31m", 11},
        {"caf\xc3\xa9", "caf\xc3\xa9", 4},
        {"\xe2\x80\xae"
         "gpj",
         "\\xe2\\x80\\xaegpj", 15},
        {"\xe2\x81\xa6", "\\xe2\\x81\\xa6", 12},
        {"\xe2\x82\xac", "\xe2\x82\xac", 1},
        {"", "", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        cr_expect_eq(ctl_safe_text(out, sizeof out, cases[i].text), cases[i].columns, "case %zu", i);
        cr_expect_str_eq(out, cases[i].shown);
    }
}

Test(ctl_text, what_does_not_fit_is_cut_at_a_character)
{
    for (size_t size = 1; size < 12; size++) {
        char out[12];
        ctl_safe_text(out, size,
                      "a\xc3\xa9\x1b"
                      "b");
        cr_expect_str_eq(out,
                         size < 2   ? ""
                         : size < 4 ? "a"
                         : size < 8 ? "a\xc3\xa9"
                         : size < 9 ? "a\xc3\xa9\\x1b"
                                    : "a\xc3\xa9\\x1b"
                                      "b",
                         "size %zu", size);
    }
}
