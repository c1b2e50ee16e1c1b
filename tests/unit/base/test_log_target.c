/* What a log's target may be called, and what daemons get, byte for byte. */
#include "base/log_target.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char access_line[] =
    "192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /a?b=c HTTP/1.1\" 200 2326 \"-\" \"An agent [x]\" HIT - 0.000123 www.example.com\n";
static const char error_line[] = "2026-01-31T12:00:00.123Z warn proxy[42] tls: a: b, <c>\n";

static struct log_target parse(const char *text)
{
    struct log_target target;
    const char *error = log_target_parse(bytes_from_string(text), &target);
    cr_assert_null(error, "%s: %s", text, error);
    return target;
}

Test(log_target, what_is_no_daemon_is_a_file)
{
    static const char *const texts[] = {"-", "/var/log/a.log", "syslogd", "/syslog:", "journal", "", "Syslog"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_expect_eq(parse(texts[i]).kind, LOG_TARGET_FILE, "%s", texts[i]);
}

Test(log_target, defaults)
{
    struct log_target syslog = parse("syslog"), journald = parse("journald");
    cr_expect(syslog.kind == LOG_TARGET_SYSLOG && log_target_is_local(&syslog) && syslog.facility == 3 && syslog.severity == 6);
    cr_expect_str_eq(syslog.address.local.sun_path, "/dev/log");
    cr_expect_str_eq(syslog.tag, "outrigger");
    cr_expect(journald.kind == LOG_TARGET_JOURNALD && log_target_is_local(&journald));
    cr_expect_str_eq(journald.address.local.sun_path, "/run/systemd/journal/socket");
}

Test(log_target, addresses)
{
    struct log_target ip4 = parse("syslog:server=192.0.2.1:5514,facility=local7,tag=edge-1,severity=notice");
    cr_expect_eq(ip4.address.ip4.sin_port, htons(5514));
    cr_expect_eq(ip4.address.ip4.sin_addr.s_addr, htonl(0xc0000201));
    cr_expect(ip4.facility == 23 && ip4.severity == 5 && ip4.has_severity);
    cr_expect_str_eq(ip4.tag, "edge-1");
    cr_expect_eq(parse("syslog:server=192.0.2.1").address.ip4.sin_port, htons(514));
    cr_expect_eq(parse("syslog:server=[::1]").address.ip6.sin6_port, htons(514));
    cr_expect_eq(parse("syslog:server=[2001:db8::1]:1").address.ip6.sin6_port, htons(1));
    cr_expect_str_eq(parse("journald:server=unix:/a").address.local.sun_path, "/a");
}

Test(log_target, what_cannot_be_meant_is_refused)
{
    static const char *const texts[] = {
        "syslog:server=",
        "syslog:server=host",
        "syslog:server=1.2.3",
        "syslog:server=1.2.3.4:",
        "syslog:server=1.2.3.4:0",
        "syslog:server=1.2.3.4:65536",
        "syslog:server=1.2.3.4:x",
        "syslog:server=[::1",
        "syslog:server=[::1]5",
        "syslog:server=[::1]:",
        "syslog:server=[1.2.3.4]",
        "syslog:server=unix:",
        "syslog:server=unix:a",
        "syslog:facility=local8",
        "syslog:facility=",
        "syslog:severity=warning",
        "syslog:tag=",
        "syslog:tag=a b",
        "syslog:tag=a[1]",
        "syslog:tag=123456789012345678901234567890123",
        "syslog:nohostname",
        "syslog:colour=green",
        "syslog:,",
        "syslog:tag=a,,",
        "journald:server=127.0.0.1",
        ("syslog:server=unix:/"
         "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678")};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct log_target target;
        cr_expect_not_null(log_target_parse(bytes_from_string(texts[i]), &target), "%s", texts[i]);
    }
}

/* ---- what is sent ----------------------------------------------------------------------------------------------------------------------- */

/* What arrives at a socket of our own. */
static void send_and_receive(const char *format, int family, const char *line, bool has_level, char out[8192])
{
    char directory[] = "/tmp/outrigger-test-XXXXXX", text[256], path[64] = "";
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof remote;
    int receiver = socket(family, SOCK_DGRAM, 0);
    if (family == AF_UNIX) {
        cr_assert_not_null(mkdtemp(directory));
        snprintf(path, sizeof path, "%s/log", directory);
        strcpy(local.sun_path, path);
        cr_assert_eq(bind(receiver, (struct sockaddr *)&local, sizeof local), 0);
        snprintf(text, sizeof text, format, path);
    } else {
        cr_assert_eq(bind(receiver, (struct sockaddr *)&remote, sizeof remote), 0);
        cr_assert_eq(getsockname(receiver, (struct sockaddr *)&remote, &size), 0);
        snprintf(path, sizeof path, "127.0.0.1:%u", ntohs(remote.sin_port));
        snprintf(text, sizeof text, format, path);
    }
    struct log_target target = parse(text);
    int sender = log_target_open(&target);
    cr_assert_geq(sender, 0);
    cr_assert_eq(log_target_send(&target, sender, bytes_from_string(line), has_level), 0);
    ssize_t got = recv(receiver, out, 8191, 0);
    cr_assert_gt(got, 0);
    out[got] = '\0';
    close(sender);
    close(receiver);
    if (family == AF_UNIX) {
        unlink(path);
        rmdir(directory);
    }
}

static bool is_like(const char *text, const char *pattern)
{
    regex_t compiled;
    cr_assert_eq(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool matches = regexec(&compiled, text, 0, NULL, 0) == 0;
    regfree(&compiled);
    return matches;
}

Test(log_target, a_local_daemon_gets_what_syslog_would_write)
{
    char got[8192];
    send_and_receive("syslog:server=unix:%s,facility=local7", AF_UNIX, access_line, false, got);
    cr_expect(
        is_like(got, "^<190>[A-Z][a-z]{2} [ 1-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} outrigger: 192\\.0\\.2\\.1 - - .* www\\.example\\.com$"),
        "%s", got);
    send_and_receive("syslog:server=unix:%s,tag=edge", AF_UNIX, error_line, true, got);
    cr_expect(is_like(got, "^<28>[A-Z][a-z]{2} [ 1-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} edge\\[42\\]: proxy tls: a: b, <c>$"), "%s", got);
}

Test(log_target, a_remote_daemon_gets_rfc_5424)
{
    char got[8192];
    send_and_receive("syslog:server=%s,facility=local0", AF_INET, error_line, true, got);
    cr_expect(is_like(got, "^<132>1 2026-01-31T12:00:00\\.123Z [!-~]+ outrigger 42 - - proxy tls: a: b, <c>$"), "%s", got);
    send_and_receive("syslog:server=%s,severity=debug", AF_INET, access_line, false, got);
    cr_expect(
        is_like(got,
                "^<31>1 20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z [!-~]+ outrigger - - - 192\\.0\\.2\\.1 - - "),
        "%s", got);
}

Test(log_target, a_journal_gets_fields)
{
    char got[8192];
    send_and_receive("journald:server=unix:%s", AF_UNIX, access_line, false, got);
    char expected[1024];
    snprintf(expected, sizeof expected,
             "MESSAGE=%.*s\nPRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=outrigger\nOUTRIGGER_LOG=access\nOUTRIGGER_CLIENT=192.0.2.1\n"
             "OUTRIGGER_REQUEST=GET /a?b=c HTTP/1.1\nOUTRIGGER_STATUS=200\nOUTRIGGER_BYTES=2326\nOUTRIGGER_USER_AGENT=An agent "
             "[x]\nOUTRIGGER_RESULT=HIT\n"
             "OUTRIGGER_DURATION=0.000123\nOUTRIGGER_HOST=www.example.com\n",
             (int)strlen(access_line) - 1, access_line);
    cr_expect_str_eq(got, expected);
    send_and_receive("journald:server=unix:%s,tag=edge,facility=user", AF_UNIX, error_line, true, got);
    cr_expect_str_eq(got,
                     "MESSAGE=tls: a: b, <c>\nPRIORITY=4\nSYSLOG_FACILITY=1\nSYSLOG_IDENTIFIER=edge\nOUTRIGGER_LOG=error\nSYSLOG_PID=42\n"
                     "OUTRIGGER_ROLE=proxy\nOUTRIGGER_AREA=tls\n");
}

#define JOURNAL_BEFORE(line) "MESSAGE=" line "\nPRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=outrigger\nOUTRIGGER_LOG=access\n"

/* By the names that those of a combined line have; what is absent or empty is left out, and escapes that hide control bytes stay. */
Test(log_target, a_journal_gets_the_fields_of_json_lines)
{
#define LINE                                                                                                                               \
    "{\"time\":\"2026-01-31T12:00:00Z\",\"client\":\"192.0.2.1\",\"target\":\"/a\\\"b,}\\\\\",\"status\":502,\"referer\":null,"            \
    "\"user_agent\":\"x\\u000aPRIORITY=0\",\"cache\":\"MISS\",\"detail\":\"\",\"error\":\"origin-refused\",\"duration\":0.000123}"
    char got[8192];
    send_and_receive("journald:server=unix:%s", AF_UNIX, LINE "\n", false, got);
    cr_expect_str_eq(got, JOURNAL_BEFORE(LINE) "OUTRIGGER_CLIENT=192.0.2.1\nOUTRIGGER_TARGET=/a\"b,}\\\nOUTRIGGER_STATUS=502\n"
                                               "OUTRIGGER_USER_AGENT=x\\u000aPRIORITY=0\nOUTRIGGER_RESULT=MISS\n"
                                               "OUTRIGGER_REASON=origin-refused\nOUTRIGGER_DURATION=0.000123\n");
#undef LINE
}

Test(log_target, other_lines_go_as_they_are)
{
    char got[8192];
    static const char *const lines[][2] = {
        {"{\"status\":200\n", JOURNAL_BEFORE("{\"status\":200")},
        {"{\"status\":200} x\n", JOURNAL_BEFORE("{\"status\":200} x")},
        {"{\"status\":200,\"a\n", JOURNAL_BEFORE("{\"status\":200,\"a")},
        {"{\"status\":\"a\\\n", JOURNAL_BEFORE("{\"status\":\"a\\")},
        {"{\"status\"\n", JOURNAL_BEFORE("{\"status\"")},
        {"{\"status\":\n", JOURNAL_BEFORE("{\"status\":")},
        {"{\"a=b\":\"c\"}\n", JOURNAL_BEFORE("{\"a=b\":\"c\"}")},
        {"{\n", JOURNAL_BEFORE("{")},
        {"hm\n", JOURNAL_BEFORE("hm")},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        send_and_receive("journald:server=unix:%s", AF_UNIX, lines[i][0], false, got);
        cr_expect_str_eq(got, lines[i][1]);
    }
    send_and_receive("journald:server=unix:%s", AF_UNIX, "malloc: corrupted", true, got);
    cr_expect_str_eq(got, "MESSAGE=malloc: corrupted\nPRIORITY=3\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=outrigger\nOUTRIGGER_LOG=error\n");
}

Test(log_target, the_longest_line_fits_whole)
{
    static char line[4097], got[8192];
    memset(line, 'x', 4096);
    send_and_receive("syslog:server=unix:%s", AF_UNIX, line, false, got);
    cr_expect_eq(strlen(strchr(got, 'x')), 4096);
}

Test(log_target, an_absent_daemon_is_an_error_and_no_wait)
{
    struct log_target target = parse("syslog:server=unix:/nonexistent/log");
    int fd = log_target_open(&target);
    cr_assert_geq(fd, 0);
    cr_expect_eq(log_target_send(&target, fd, BYTES("a line"), false), ENOENT);
    close(fd);
}
