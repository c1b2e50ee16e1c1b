#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

static char lines[16384];
static size_t lines_len, lines_count;

static void keep(void *context, struct bytes line)
{
    cr_assert_eq(context, &lines);
    cr_assert_leq(lines_len + line.len, sizeof(lines));
    memcpy(lines + lines_len, line.at, line.len);
    lines_len += line.len;
    lines_count++;
    errno = EPIPE;
}

static void begin(void)
{
    log_init("test", LOG_LEVEL_INFO);
    log_set_thread_sink(keep, &lines);
}

TestSuite(log, .init = begin);

static struct bytes kept(void)
{
    return bytes_from(lines, lines_len);
}

Test(log, escape_hides_control_bytes_quotes_and_backslashes)
{
    static const struct {
        const char *text, *escaped;
    } cases[] = {
        {"", ""},
        {"plain text", "plain text"},
        {"a\nb", "a\\x0Ab"},
        {"\r\n\t", "\\x0D\\x0A\\x09"},
        {"\x1b[31m", "\\x1B[31m"},
        {"\x7f", "\\x7F"},
        {"say \"hi\"", "say \\x22hi\\x22"},
        {"back\\slash", "back\\x5Cslash"},
        {"caf\xc3\xa9", "caf\xc3\xa9"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[64];
        size_t len = log_escape(out, sizeof(out), bytes_from_string(cases[i].text));
        cr_expect(bytes_equal(bytes_from(out, len), bytes_from_string(cases[i].escaped)), "case %zu: %.*s", i, (int)len, out);
    }
    for (unsigned c = 0; c < 256; c++) {
        char one = (char)c, out[8];
        bool escaped = c < 0x20 || c == 0x7f || c == '\\' || c == '"';
        size_t len = log_escape(out, sizeof(out), bytes_from(&one, 1));
        cr_expect_eq(len, escaped ? 4 : 1, "byte %02x", c);
    }
    char out[4];
    cr_expect_eq(log_escape(out, sizeof(out), BYTES_NONE), 0);
}

Test(log, escape_cuts_without_splitting_an_escape)
{
    char out[16];
    memset(out, '#', sizeof(out));
    cr_expect_eq(log_escape(out, 4, BYTES("abcdef")), 4);
    cr_expect_eq(out[4], '#');
    cr_expect_eq(log_escape(out, 7, BYTES("abcd\nef")), 4, "three bytes are too few for \\x0A");
    cr_expect_eq(log_escape(out, 8, BYTES("abcd\nef")), 8);
    cr_expect_eq(out[8], '#');
    cr_expect_eq(log_escape(out, 0, BYTES("a")), 0);
}

Test(log, a_line_has_time_level_role_area_and_text)
{
    log_error("cache", "%s is %d", "answer", 42);
    unsigned year, month, day, hour, minute, second, millisecond;
    int pid, end = 0;
    lines[lines_len] = '\0';
    cr_assert_eq(sscanf(lines, "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ error test[%d] cache: answer is 42%n", &year, &month, &day, &hour, &minute,
                        &second, &millisecond, &pid, &end),
                 8, "%s", lines);
    cr_assert_eq((size_t)end + 1, lines_len);
    cr_assert_eq(lines[end], '\n');
    cr_assert_eq(pid, getpid());
    cr_assert_geq(year, 2024);
    cr_assert_eq(lines_count, 1);
}

Test(log, what_is_below_the_threshold_is_not_written)
{
    log_debug("x", "no");
    log_info("x", "yes");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("x", "no");
    log_error("x", "yes");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("x", "yes");
    cr_assert_eq(lines_count, 3);
}

Test(log, a_text_cannot_forge_a_line)
{
    log_warn("client", "target %s", "/\n2026-01-01T00:00:00.000Z error proxy[1] x: \"forged\"\x1b[2J\\");
    cr_assert_eq(bytes_find(kept(), '\n'), lines_len - 1, "one line, its end at its end");
    cr_assert(bytes_ends_with(kept(), BYTES("target /\\x0A2026-01-01T00:00:00.000Z error proxy[1] x: \"forged\"\\x1B[2J\\\n")),
              "quotes and backslashes stay as they are");
}

Test(log, a_long_text_is_cut_and_still_one_line)
{
    char text[9000];
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    log_info("x", "%s", text);
    size_t plain = lines_len;
    cr_assert_leq(plain, 4096);
    cr_assert_gt(plain, 2000);
    cr_assert_eq(lines[plain - 1], '\n');
    memset(text, '\x01', sizeof(text) - 1);
    log_info("x", "%s", text);
    cr_assert_leq(lines_len - plain, 4096);
    cr_assert_eq(lines[lines_len - 1], '\n');
    cr_assert_eq(bytes_find(kept(), '\n'), plain - 1);
}

Test(log, errno_is_left_alone)
{
    errno = ENOENT;
    log_info("x", "text");
    cr_assert_eq(errno, ENOENT);
}

Test(log, without_a_sink_lines_go_to_stderr)
{
    int pipe_ends[2];
    cr_assert_eq(pipe(pipe_ends), 0);
    int saved = dup(STDERR_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    log_set_thread_sink(NULL, NULL);
    log_info("x", "to stderr");
    dup2(saved, STDERR_FILENO);
    ssize_t got = read(pipe_ends[0], lines, sizeof(lines));
    cr_assert_gt(got, 0);
    cr_assert(bytes_ends_with(bytes_from(lines, (size_t)got), BYTES(" x: to stderr\n")));
    cr_assert_eq(lines_count, 0);
}

Test(log, level_names)
{
    enum log_level level = LOG_LEVEL_INFO;
    cr_expect(log_level_parse(BYTES("error"), &level) && level == LOG_LEVEL_ERROR);
    cr_expect(log_level_parse(BYTES("warn"), &level) && level == LOG_LEVEL_WARN);
    cr_expect(log_level_parse(BYTES("info"), &level) && level == LOG_LEVEL_INFO);
    cr_expect(log_level_parse(BYTES("debug"), &level) && level == LOG_LEVEL_DEBUG);
    cr_expect_not(log_level_parse(BYTES("warning"), &level));
    cr_expect_not(log_level_parse(BYTES("Error"), &level));
    cr_expect_not(log_level_parse(BYTES(""), &level));
    cr_expect_eq(level, LOG_LEVEL_DEBUG, "untouched on failure");
}

Test(log, a_quota_says_how_many_lines_were_left_out)
{
    struct log_quota quota = {0};
    struct wall_seconds now = {1700000000};
    unsigned left_out = 9;
    for (unsigned i = 0; i < 3; i++) {
        cr_expect(log_may(&quota, now, 3, &left_out));
        cr_expect_eq(left_out, 0);
    }
    for (unsigned i = 0; i < 5; i++)
        cr_expect_not(log_may(&quota, now, 3, &left_out));
    now.s++;
    cr_expect(log_may(&quota, now, 3, &left_out));
    cr_expect_eq(left_out, 5);
    cr_expect(log_may(&quota, now, 3, &left_out));
    cr_expect_eq(left_out, 0, "they were told of");
}
