#include "tests/unit/helpers/dns_server.h"
#include "tests/unit/helpers/helper_process.h"

static struct helper_process helper;
static struct dns_server server;

static void set_up(void)
{
    struct message_resolver_settings settings = {.timeout_ms = 200, .tries = 2, .question_ms = 3000, .hosts_file = 0};
    dns_server_start(&server);
    helper = start_helper(ROLE_RESOLVER, -1);
    cr_assert_eq(control_send(helper.control, MESSAGE_RESOLVER_SETTINGS, &settings, bytes_from_string(server.address), NULL, 0), 0);
}

static void tear_down(void)
{
    drop_channels();
    dns_server_stop(&server);
}

TestSuite(resolver_main, .init = set_up, .fini = tear_down, .timeout = 30);

static void ask(struct channel *channel, uint64_t request, struct bytes name)
{
    cr_assert(channel_send(channel, MESSAGE_RESOLVE, &(struct message_resolve){request}, name));
    channel_flush(channel);
}

/* Serves DNS until the channel has a message. */
static const struct message_resolved *wait_for_answer(struct channel *channel)
{
    static struct message message;
    while (channel_receive(channel, &message) != CHANNEL_MESSAGE) {
        struct pollfd polls[2] = {{.fd = channel_fd(channel), .events = POLLIN}, {.fd = server.socket, .events = POLLIN}};
        cr_assert_gt(poll(polls, 2, 10000), 0, "no answer");
        if (polls[0].revents)
            cr_assert(channel_answer_bell(channel));
        if (polls[1].revents)
            dns_server_serve(&server);
    }
    return message.payload;
}

Test(resolver_main, names_become_addresses)
{
    struct channel *channel = connect_loop(&helper, 0);
    ask(channel, 1, BYTES("both.test"));
    const struct message_resolved *answer = wait_for_answer(channel);
    cr_assert_eq(answer->request, 1);
    cr_assert_eq(answer->status, RESOLVE_OK);
    cr_assert_eq(answer->count, 3);
    ask(channel, 2, BYTES("nxdomain.test"));
    cr_assert_eq(wait_for_answer(channel)->status, RESOLVE_NOT_FOUND);
    ask(channel, 3, BYTES("servfail.test"));
    cr_assert_eq(wait_for_answer(channel)->status, RESOLVE_FAILED);
    cr_assert_eq(end_helper(&helper), 0);
}

Test(resolver_main, a_slow_name_does_not_hold_up_others)
{
    struct channel *channel = connect_loop(&helper, 0);
    ask(channel, 1, BYTES("silent.test"));
    ask(channel, 2, BYTES("v4.test"));
    cr_assert_eq(wait_for_answer(channel)->request, 2);
    const struct message_resolved *answer = wait_for_answer(channel);
    cr_assert_eq(answer->request, 1);
    cr_assert_eq(answer->status, RESOLVE_FAILED, "a silent server is told of as well");
    cr_assert_eq(end_helper(&helper), 0);
}

Test(resolver_main, loops_share_a_query_and_one_that_leaves_takes_nobody_along)
{
    struct channel *one = connect_loop(&helper, 0), *two = connect_loop(&helper, 1);
    ask(one, 1, BYTES("second-try.test"));
    ask(two, 2, BYTES("second-try.test"));
    drop_channel(&one);
    const struct message_resolved *answer = wait_for_answer(two);
    cr_assert_eq(answer->request, 2);
    cr_assert_eq(answer->status, RESOLVE_OK);
    cr_assert_eq(end_helper(&helper), 0);
}

Test(resolver_main, an_end_with_questions_under_way_is_an_end)
{
    struct channel *channel = connect_loop(&helper, 0);
    ask(channel, 1, BYTES("silent.test"));
    ask(channel, 2, BYTES("v4.test"));
    wait_for_answer(channel);
    cr_assert_eq(end_helper(&helper), 0);
}
