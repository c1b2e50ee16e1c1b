#include "helpers/log_output.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <signal.h>
#include <unistd.h>

static struct log_output output;
static int ends[2];

static struct monotonic_ms at_ms(int64_t ms)
{
    return (struct monotonic_ms){1000000 + ms};
}

static void use_pipe(void)
{
    cr_assert_eq(pipe(ends), 0);
    cr_assert_geq(fcntl(ends[1], F_SETPIPE_SZ, 4096), 0);
    log_output_init(&output, "access", ends[1]);
}

static void use_file(const char *path)
{
    log_output_init(&output, "access", open(path, O_WRONLY | O_CREAT | O_APPEND | O_TRUNC, 0644));
}

static struct bytes content(const char *path)
{
    static char text[4 * LOG_OUTPUT_BYTES];
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, text, sizeof(text));
    close(fd);
    cr_assert_geq(len, 0);
    return bytes_from(text, len);
}

static char directory[] = "/tmp/outrigger-test-XXXXXX", first_path[64], second_path[64];

static void set_up(void)
{
    cr_assert_not_null(mkdtemp(directory));
    snprintf(first_path, sizeof(first_path), "%s/first", directory);
    snprintf(second_path, sizeof(second_path), "%s/second", directory);
}

static void tear_down(void)
{
    log_output_free(&output);
    unlink(first_path);
    unlink(second_path);
    rmdir(directory);
}

TestSuite(log_output, .init = set_up, .fini = tear_down, .timeout = 20);

Test(log_output, lines_are_gathered_and_written_by_a_flush)
{
    use_file(first_path);
    log_output_add(&output, BYTES("one\n"), at_ms(0));
    log_output_add(&output, BYTES("two\nthree\n"), at_ms(0));
    cr_assert_eq(content(first_path).len, 0);
    log_output_flush(&output, at_ms(1));
    cr_assert(bytes_equal(content(first_path), BYTES("one\ntwo\nthree\n")));
    cr_assert_eq(log_output_timeout_ms(&output, at_ms(1)), -1);
    cr_assert_not(log_output_awaits_room(&output));
}

Test(log_output, more_than_the_buffer_holds_is_written_on_the_way)
{
    static char line[1000];
    memset(line, 'x', sizeof(line));
    line[999] = '\n';
    use_file(first_path);
    for (unsigned i = 0; i < 2500; i++)
        log_output_add(&output, bytes_from(line, sizeof(line)), at_ms(0));
    log_output_flush(&output, at_ms(0));
    cr_assert_eq(content(first_path).len, 2500000);
    cr_assert_eq(output.dropped_lines, 0);
}

Test(log_output, a_full_pipe_is_not_waited_for)
{
    char text[8192];
    use_pipe();
    while (output.dropped_lines == 0)
        log_output_add(&output, BYTES("a line of an access log\n"), at_ms(0));
    cr_assert(log_output_awaits_room(&output));
    cr_assert_eq(output.filled - output.written + 4096, LOG_OUTPUT_BYTES + 4096 - output.written - (LOG_OUTPUT_BYTES - output.filled));
    log_output_add(&output, BYTES("two\nlines\n"), at_ms(0));
    cr_assert_eq(output.dropped_lines, 3, "whole lines are counted");

    /* The reader comes back: all that was kept arrives, in order and whole. */
    size_t total = 0, expected = output.filled - output.written + 4096;
    ssize_t len;
    cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    while (total < expected) {
        while ((len = read(ends[0], text, sizeof(text))) > 0) {
            for (ssize_t i = 0; i < len; i++)
                cr_assert_eq(text[i], "a line of an access log\n"[(total + i) % 24], "byte %zu", total + i);
            total += len;
        }
        log_output_flush(&output, at_ms(1));
    }
    cr_assert_eq(total, expected);
    cr_assert_not(log_output_awaits_room(&output));
    log_output_add(&output, BYTES("again\n"), at_ms(2));
    log_output_flush(&output, at_ms(2));
    cr_assert_eq(read(ends[0], text, sizeof(text)), 6);
}

Test(log_output, a_non_blocking_pipe_is_waited_for_too)
{
    use_pipe();
    cr_assert_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while (output.dropped_lines == 0)
        log_output_add(&output, BYTES("a line of an access log\n"), at_ms(0));
    cr_assert(log_output_awaits_room(&output));
    cr_assert_eq(output.error, 0);
}

/* The disk is full: no file of this process may grow over `bytes`. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit = {bytes, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(log_output, a_full_disk_is_tried_again_every_second_and_loses_nothing_that_was_kept)
{
    use_file(first_path);
    limit_files(10);
    log_output_add(&output, BYTES("line one\nline two\n"), at_ms(0));
    log_output_flush(&output, at_ms(0));
    cr_assert_eq(output.error, EFBIG);
    cr_assert(bytes_equal(content(first_path), BYTES("line one\nl")));
    cr_assert_eq(log_output_timeout_ms(&output, at_ms(100)), 900);
    cr_assert_not(log_output_awaits_room(&output));
    limit_files(RLIM_INFINITY);
    log_output_flush(&output, at_ms(999));
    cr_assert_eq(content(first_path).len, 10, "not yet");
    log_output_flush(&output, at_ms(1000));
    cr_assert(bytes_equal(content(first_path), BYTES("line one\nline two\n")));
    cr_assert_eq(output.dropped_lines, 0);
    cr_assert_eq(output.error, 0);
}

Test(log_output, a_disk_that_stays_full_costs_lines_and_they_are_counted)
{
    use_file(first_path);
    limit_files(0);
    for (unsigned i = 0; i < LOG_OUTPUT_BYTES / 8; i++)
        log_output_add(&output, BYTES("8 bytes\n"), at_ms(0));
    cr_assert_eq(output.dropped_lines, 0);
    log_output_add(&output, BYTES("one\ntwo\nthree\n"), at_ms(0));
    cr_assert_eq(output.dropped_lines, 3);
}

/* Flushes a broken output at `ms`, returns how many lines of complaint reached stderr. */
static unsigned count_complaints(int64_t ms)
{
    FILE *captured = tmpfile();
    int saved = dup(STDERR_FILENO);
    unsigned lines = 0;
    dup2(fileno(captured), STDERR_FILENO);
    log_output_flush(&output, at_ms(ms));
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(captured);
    for (int c; (c = getc(captured)) != EOF;)
        lines += c == '\n';
    fclose(captured);
    return lines;
}

Test(log_output, trouble_is_told_once_a_minute)
{
    cr_assert_eq(pipe(ends), 0);
    log_output_init(&output, "access", ends[1]);
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    log_output_add(&output, BYTES("line\n"), at_ms(0));
    cr_assert_eq(count_complaints(0), 1);
    cr_assert_eq(output.error, EPIPE);
    cr_assert_eq(count_complaints(30000), 0);
    cr_assert_eq(count_complaints(59999), 0);
    cr_assert_eq(count_complaints(60000), 1);
    cr_assert_eq(count_complaints(60001), 0);
}

Test(log_output, a_new_file_gets_what_comes_after_and_the_old_one_what_came_before)
{
    use_file(first_path);
    int old = output.fd;
    log_output_add(&output, BYTES("before\n"), at_ms(0));
    log_output_replace(&output, open(second_path, O_WRONLY | O_CREAT, 0644), BYTES("second"), at_ms(0));
    log_output_add(&output, BYTES("after\n"), at_ms(0));
    log_output_flush(&output, at_ms(0));
    cr_assert(bytes_equal(content(first_path), BYTES("before\n")));
    cr_assert(bytes_equal(content(second_path), BYTES("after\n")));
    cr_assert_eq(fcntl(old, F_GETFD), -1, "the old one is closed");
    cr_assert_str_eq(output.path, "second");
}

Test(log_output, a_new_file_takes_over_from_one_that_is_full)
{
    use_pipe();
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    log_output_add(&output, BYTES("one\ntwo\n"), at_ms(0));
    log_output_flush(&output, at_ms(0));
    log_output_replace(&output, open(second_path, O_WRONLY | O_CREAT, 0644), BYTES("second"), at_ms(1));
    cr_assert(bytes_equal(content(second_path), BYTES("one\ntwo\n")));
}

Test(log_output, a_line_cut_by_a_full_disk_is_not_ended_in_another_file)
{
    use_file(first_path);
    limit_files(6);
    log_output_add(&output, BYTES("line one\nline two\n"), at_ms(0));
    log_output_flush(&output, at_ms(0));
    int next = open(second_path, O_WRONLY | O_CREAT, 0644);
    limit_files(6);
    log_output_replace(&output, next, BYTES("second"), at_ms(1));
    cr_assert(bytes_equal(content(second_path), BYTES("line t")));
    cr_assert_eq(output.dropped_lines, 1);
}

Test(log_output, nowhere_takes_everything_without_a_word)
{
    log_output_init(&output, "access", -1);
    log_output_add(&output, BYTES("line\n"), at_ms(0));
    log_output_flush(&output, at_ms(0));
    cr_assert_eq(output.dropped_lines, 0);
    cr_assert_eq(log_output_timeout_ms(&output, at_ms(0)), -1);
    log_output_replace(&output, open(second_path, O_WRONLY | O_CREAT, 0644), BYTES("second"), at_ms(1));
    cr_assert_eq(content(second_path).len, 0);
}

/* ---- a logging daemon ------------------------------------------------------------------------------------------------------------------- */

static int daemon_starts(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    strcpy(address.sun_path, first_path);
    unlink(first_path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void use_daemon(void)
{
    char text[128];
    struct log_target target;
    snprintf(text, sizeof text, "syslog:server=unix:%s", first_path);
    cr_assert_null(log_target_parse(bytes_from_string(text), &target));
    log_output_init(&output, "access", -1);
    log_output_replace(&output, log_target_open(&target), bytes_from_string(text), at_ms(0));
}

/* The end of each datagram there is; returns how many. */
static unsigned receive(int fd, const char *last)
{
    char got[512] = "";
    unsigned count = 0;
    ssize_t length;
    while ((length = recv(fd, got, sizeof got - 1, 0)) > 0) {
        got[length] = '\0';
        count++;
    }
    cr_expect(count == 0 || strcmp(got + strlen(got) - strlen(last), last) == 0, "%s", got);
    return count;
}

Test(log_output, a_daemon_gets_a_datagram_a_line)
{
    int daemon = daemon_starts();
    use_daemon();
    log_output_add(&output, BYTES("one\ntwo\nthree\n"), at_ms(0));
    log_output_flush(&output, at_ms(0));
    cr_expect_eq(receive(daemon, ": three"), 3);
    cr_expect_not(log_output_awaits_room(&output));
    cr_expect_eq(log_output_timeout_ms(&output, at_ms(0)), -1);
    close(daemon);
}

Test(log_output, lines_wait_for_a_daemon_that_is_started_anew)
{
    int daemon = daemon_starts();
    use_daemon();
    close(daemon);
    log_output_add(&output, BYTES("one\ntwo\n"), at_ms(0));
    log_output_flush(&output, at_ms(0));
    cr_expect_eq(output.error, ECONNREFUSED);
    int timeout = log_output_timeout_ms(&output, at_ms(0));
    cr_expect(timeout > 0 && timeout <= 1000, "%d", timeout);
    cr_expect_not(log_output_awaits_room(&output));
    daemon = daemon_starts();
    log_output_flush(&output, at_ms(timeout));
    cr_expect_eq(receive(daemon, ": two"), 2);
    cr_expect_eq(output.dropped_lines, 0);
    close(daemon);
}

Test(log_output, a_daemon_that_does_not_read_costs_lines_that_are_counted)
{
    int daemon = daemon_starts();
    static char lines[60000];
    unsigned sent = 0;
    use_daemon();
    memset(lines, 'x', sizeof lines);
    for (size_t i = 99; i < sizeof lines; i += 100)
        lines[i] = '\n';
    for (unsigned i = 0; i < 40; i++, sent += 600)
        log_output_add(&output, bytes_from(lines, sizeof lines), at_ms(0));
    log_output_flush(&output, at_ms(0));
    cr_expect_eq(output.error, EAGAIN);
    int timeout = log_output_timeout_ms(&output, at_ms(0));
    cr_expect(timeout > 0 && timeout < 1000, "%d", timeout);
    cr_expect_gt(output.dropped_lines, 0);
    unsigned received = 0;
    for (int64_t now = 0; output.filled > 0; now += 1000) {
        received += receive(daemon, "x");
        log_output_flush(&output, at_ms(now));
    }
    received += receive(daemon, "x");
    cr_expect_eq(received + output.dropped_lines, sent);
    close(daemon);
}
