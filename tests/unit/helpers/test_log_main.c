#include "helpers/log_output.h"
#include "tests/unit/helpers/helper_process.h"

#include <fcntl.h>
#include <stdlib.h>

static struct helper_process helper;

static void set_up(void)
{
    helper = start_helper(ROLE_LOG, -1);
}

TestSuite(log_main, .init = set_up, .fini = drop_channels, .timeout = 30);

static void direct(enum log_kind kind, int fd)
{
    struct message_log_file file = {.kind = kind};
    cr_assert_eq(control_send(helper.control, MESSAGE_LOG_FILE, &file, BYTES("a path"), &fd, 1), 0);
    close(fd);
}

static bool write_line(struct channel *channel, enum log_kind kind, struct bytes line)
{
    struct message_log_line message = {.kind = kind};
    return channel_send(channel, MESSAGE_LOG_LINE, &message, line);
}

/* Reads until `text` has arrived. */
static void expect_text(int fd, const char *text)
{
    char seen[256];
    size_t len = 0;
    while (len < strlen(text)) {
        struct pollfd end = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&end, 1, 10000), 1, "nothing was written");
        ssize_t count = read(fd, seen + len, sizeof(seen) - len);
        cr_assert_gt(count, 0);
        len += count;
    }
    cr_assert(bytes_equal(bytes_from(seen, len), bytes_from_string(text)));
}

Test(log_main, lines_of_several_loops_reach_their_files)
{
    int access[2], error[2];
    cr_assert_eq(pipe(access), 0);
    cr_assert_eq(pipe(error), 0);
    direct(LOG_KIND_ACCESS, access[1]);
    direct(LOG_KIND_ERROR, error[1]);
    struct channel *loops[2] = {connect_loop(&helper, 0), connect_loop(&helper, 1)};
    cr_assert(write_line(loops[0], LOG_KIND_ACCESS, BYTES("first\n")));
    channel_flush(loops[0]);
    expect_text(access[0], "first\n");
    cr_assert(write_line(loops[1], LOG_KIND_ERROR, BYTES("oops\n")));
    channel_flush(loops[1]);
    expect_text(error[0], "oops\n");
    cr_assert(write_line(loops[1], LOG_KIND_ACCESS, BYTES("second\n")));
    channel_flush(loops[1]);
    expect_text(access[0], "second\n");
    cr_assert_eq(end_helper(&helper), 0);
}

Test(log_main, lines_sent_before_the_end_are_written)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    direct(LOG_KIND_ACCESS, ends[1]);
    struct channel *channel = connect_loop(&helper, 0);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert(write_line(channel, LOG_KIND_ACCESS, BYTES("x\n")));
    channel_flush(channel);
    cr_assert_eq(end_helper(&helper), 0);
    char text[4096];
    ssize_t len, total = 0;
    while ((len = read(ends[0], text, sizeof(text))) > 0)
        total += len;
    cr_assert_eq(total, 2000);
}

Test(log_main, lines_of_a_proxy_that_died_are_written)
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    direct(LOG_KIND_ACCESS, ends[1]);
    struct channel *channel = connect_loop(&helper, 0);
    cr_assert(write_line(channel, LOG_KIND_ACCESS, BYTES("last words\n")));
    drop_channel(&channel); /* without having rung */
    expect_text(ends[0], "last words\n");
    cr_assert_eq(end_helper(&helper), 0);
}

Test(log_main, a_reader_that_stalls_stops_nobody)
{
    int stalled[2], error[2];
    cr_assert_eq(pipe(stalled), 0);
    cr_assert_eq(pipe(error), 0);
    direct(LOG_KIND_ACCESS, stalled[1]);
    direct(LOG_KIND_ERROR, error[1]);
    struct channel *channel = connect_loop(&helper, 0);
    /* Five times what pipe and helper hold; the helper keeps taking lines, and drops. */
    for (unsigned sent = 0; sent < 5 * 1024 * 1024 / 64;) {
        if (write_line(channel, LOG_KIND_ACCESS, BYTES("63 bytes of an access log's line, and one of them a newline  \n")))
            sent++;
        channel_flush(channel);
    }
    while (!write_line(channel, LOG_KIND_ERROR, BYTES("still here\n")))
        continue;
    channel_flush(channel);
    expect_text(error[0], "still here\n");
    cr_assert_eq(end_helper(&helper), 0, "and its end does not wait for the reader");
}

Test(log_main, a_reopened_file_gets_the_lines_from_then_on)
{
    int first[2], second[2];
    cr_assert_eq(pipe(first), 0);
    cr_assert_eq(pipe(second), 0);
    direct(LOG_KIND_ACCESS, first[1]);
    struct channel *channel = connect_loop(&helper, 0);
    cr_assert(write_line(channel, LOG_KIND_ACCESS, BYTES("before\n")));
    channel_flush(channel);
    expect_text(first[0], "before\n");
    direct(LOG_KIND_ACCESS, second[1]);
    char byte;
    cr_assert_eq(read(first[0], &byte, 1), 0, "let go of");
    cr_assert(write_line(channel, LOG_KIND_ACCESS, BYTES("after\n")));
    channel_flush(channel);
    expect_text(second[0], "after\n");
    cr_assert_eq(end_helper(&helper), 0);
}

Test(log_main, an_unknown_kind_closes_the_channel)
{
    struct channel *channel = connect_loop(&helper, 0);
    struct message message;
    cr_assert(write_line(channel, LOG_KIND_COUNT, BYTES("x\n")));
    channel_flush(channel);
    cr_assert_not(wait_for_message(channel, &message));
    cr_assert_eq(end_helper(&helper), 0);
}

Test(log_main, under_load_nobody_rings)
{
    int file = open("/dev/null", O_WRONLY);
    direct(LOG_KIND_ACCESS, file);
    struct channel *channel = connect_loop(&helper, 0);
    unsigned sent = 0;
    while (sent < 100000) { /* no flush at all: what is rung for is taken by itself */
        if (write_line(channel, LOG_KIND_ACCESS, BYTES("a line of an access log\n")))
            sent++;
        else
            channel_flush(channel); /* only needed should it have found nothing and gone to sleep */
    }
    channel_flush(channel);
    while (channel_backlog(channel) > 0)
        continue;
    cr_assert_eq(end_helper(&helper), 0);
}

Test(log_main, the_proxy_is_told_how_many_lines_found_no_room)
{
    static char line[4096];
    int ends[2];
    unsigned sent = 0;
    uint64_t dropped = 0;
    cr_assert_eq(pipe(ends), 0); /* nobody reads */
    direct(LOG_KIND_ACCESS, ends[1]);
    struct channel *channel = connect_loop(&helper, 0);
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\n';
    while (dropped == 0) {
        struct message message;
        if (write_line(channel, LOG_KIND_ACCESS, bytes_from(line, sizeof(line))))
            sent++;
        channel_flush(channel);
        while (channel_receive_awake(channel, &message) == CHANNEL_MESSAGE)
            dropped += ((const struct message_log_dropped *)message.payload)->lines;
    }
    cr_assert_gt(sent, LOG_OUTPUT_BYTES / sizeof(line));
    cr_assert_leq(dropped, sent);
    cr_assert_eq(end_helper(&helper), 0);
}
