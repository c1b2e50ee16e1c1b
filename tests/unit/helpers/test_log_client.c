#include "helpers/log_client.h"
#include "tests/unit/helpers/fake_helper.h"

#include <unistd.h>

static struct log_client *client;

static struct channel *attach(unsigned generation)
{
    struct channel *end;
    log_client_attach(client, generation, make_channel(ROLE_LOG, &end));
    return end;
}

static void set_up(void)
{
    client = log_client_new();
}

static void tear_down(void)
{
    drop_channels();
    log_client_free(&client);
}

TestSuite(log_client, .init = set_up, .fini = tear_down);

Test(log_client, lines_arrive_with_their_kind)
{
    struct channel *end = attach(1);
    cr_assert(log_client_write(client, LOG_KIND_ERROR, BYTES("oops\n")));
    cr_assert_gt(log_client_backlog(client), 0);
    log_client_flush(client);
    cr_assert(channel_answer_bell(end));
    struct taken taken = take(end);
    cr_assert_str_eq(taken.tail, "oops\n");
    cr_assert_eq(((struct message_log_line *)taken.payload)->kind, LOG_KIND_ERROR);
    cr_assert_eq(log_client_backlog(client), 0);
    cr_assert_eq(log_client_collect_dropped(client), 0);
}

Test(log_client, without_a_helper_lines_are_dropped_and_counted)
{
    cr_assert_not(log_client_write(client, LOG_KIND_ACCESS, BYTES("one\ntwo\n")));
    cr_assert_eq(log_client_collect_dropped(client), 2);
    cr_assert_eq(log_client_backlog(client), 0);
    log_client_flush(client);
}

Test(log_client, a_full_ring_and_a_long_line_are_dropped_and_counted)
{
    static char line[MESSAGE_TAIL_MAX + 1];
    struct channel *end = attach(1);
    unsigned taken = 0;
    memset(line, 'x', sizeof(line));
    line[MESSAGE_TAIL_MAX] = '\n';
    cr_assert_not(log_client_write(client, LOG_KIND_ACCESS, bytes_from(line, sizeof(line))));
    cr_assert_eq(log_client_collect_dropped(client), 1);
    while (log_client_write(client, LOG_KIND_ACCESS, BYTES("a line of the usual length, more or less, of an access log\n")))
        taken++;
    cr_assert_gt(taken, 1000);
    cr_assert_eq(log_client_collect_dropped(client), 1);
    cr_assert(take(end).is_there);
    cr_assert(log_client_write(client, LOG_KIND_ACCESS, BYTES("room again\n")));
}

Test(log_client, lines_that_the_helper_dropped_are_counted_once)
{
    struct channel *end = attach(1);
    struct message_log_dropped dropped = {.lines = 7};
    cr_assert(channel_send(end, MESSAGE_LOG_DROPPED, &dropped, BYTES_NONE));
    cr_assert(channel_send(end, MESSAGE_LOG_DROPPED, &dropped, BYTES_NONE));
    cr_assert_eq(log_client_collect_dropped(client), 14);
    cr_assert_eq(log_client_collect_dropped(client), 0);
    cr_assert(channel_send(end, MESSAGE_LOG_DROPPED, &dropped, BYTES_NONE));
    attach(2);
    cr_assert_eq(log_client_collect_dropped(client), 7, "what a helper said before it was replaced counts");
}

Test(log_client, lines_that_a_dead_helper_never_took_go_to_its_successor)
{
    struct channel *end = attach(1);
    log_client_write(client, LOG_KIND_ACCESS, BYTES("taken\n"));
    log_client_write(client, LOG_KIND_ACCESS, BYTES("left behind\n"));
    cr_assert(take(end).is_there);
    drop_channel(&end);
    log_client_lost(client, 1);
    cr_assert(log_client_write(client, LOG_KIND_ACCESS, BYTES("meanwhile\n")));
    end = attach(2);
    cr_assert_str_eq(take(end).tail, "left behind\n");
    cr_assert_str_eq(take(end).tail, "meanwhile\n");
    cr_assert_not(take(end).is_there);
    cr_assert_eq(log_client_collect_dropped(client), 0);
}

Test(log_client, a_helper_that_lives_keeps_the_lines_it_was_sent)
{
    struct channel *old = attach(1);
    log_client_write(client, LOG_KIND_ACCESS, BYTES("line\n"));
    struct channel *new = attach(2);
    cr_assert_not(take(new).is_there);
    cr_assert_str_eq(take(old).tail, "line\n");
}
