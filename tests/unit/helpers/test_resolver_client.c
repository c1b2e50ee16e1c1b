#include "helpers/resolver_client.h"
#include "tests/unit/helpers/fake_helper.h"

#include <unistd.h>

enum { DEADLINE_MS = 5000 };

static struct resolver_client *client;
static struct reports reports;
static unsigned done_count;

static void count_done(struct resolve_request *request)
{
    (void)request;
    done_count++;
}

static struct channel *attach(unsigned helper, unsigned generation)
{
    struct channel *end;
    resolver_client_attach(client, helper, generation, make_channel(ROLE_RESOLVER, &end));
    return end;
}

static void start(struct resolve_request *request, int64_t ms)
{
    *request = (struct resolve_request){.name = BYTES("origin.example"), .done = count_done, .status = 99};
    resolver_client_resolve(client, request, at_ms(ms));
}

static void answer(struct channel *end, uint64_t id, enum resolve_status status, unsigned count, uint8_t family)
{
    struct message_resolved message = {.request = id, .status = status, .count = count};
    for (unsigned i = 0; i < count && i < RESOLVE_ADDRESSES_MAX; i++)
        message.addresses[i] = (struct resolved_address){.family = family, .ttl_s = i, .bytes = {127, 0, 0, i}};
    cr_assert(channel_send(end, MESSAGE_RESOLVED, &message, BYTES_NONE));
}

static void set_up(void)
{
    client = resolver_client_new(&(struct helper_hooks){.context = &reports, .report_hung = note_report}, DEADLINE_MS);
}

static void tear_down(void)
{
    drop_channels();
    resolver_client_free(&client);
}

TestSuite(resolver_client, .init = set_up, .fini = tear_down);

Test(resolver_client, a_question_travels_and_its_addresses_come_back)
{
    struct channel *end = attach(0, 1);
    struct resolve_request request;
    start(&request, 0);
    struct taken taken = take(end);
    cr_assert_str_eq(taken.tail, "origin.example");
    answer(end, taken.id, RESOLVE_OK, RESOLVE_ADDRESSES_MAX, 4);
    cr_assert(resolver_client_receive(client, 0, at_ms(1)));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(request.status, RESOLVE_OK);
    cr_assert_eq(request.count, RESOLVE_ADDRESSES_MAX);
    cr_assert_eq(request.addresses[63].bytes[3], 63);
    cr_assert_eq(request.addresses[63].ttl_s, 63);
}

Test(resolver_client, without_any_helper_or_a_carriable_name_it_ends_at_the_next_tick)
{
    static char name[256];
    struct resolve_request request, long_one = {.name = {name, sizeof(name)}, .done = count_done};
    start(&request, 0);
    resolver_client_resolve(client, &long_one, at_ms(0));
    cr_assert_eq(done_count, 0);
    resolver_client_tick(client, at_ms(1));
    cr_assert_eq(done_count, 2);
    cr_assert_eq(request.status, RESOLVE_FAILED);
    cr_assert_eq(long_one.status, RESOLVE_NOT_FOUND);
}

Test(resolver_client, a_silent_helper_fails_the_question_at_its_deadline_and_is_reported)
{
    struct channel *end = attach(0, 1);
    struct resolve_request first, second;
    start(&first, 0);
    start(&second, 3000);
    resolver_client_tick(client, at_ms(DEADLINE_MS));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(first.status, RESOLVE_FAILED);
    cr_assert_eq(reports.count, 1);
    cr_assert_eq(reports.role, ROLE_RESOLVER);
    drop_channel(&end);
    resolver_client_lost(client, 0, 1);
    end = attach(0, 2);
    cr_assert_eq(take(end).id, second.call.id, "the other one is asked again");
    cr_assert_not(take(end).is_there);
    struct helper_stats stats;
    resolver_client_stats(client, &stats);
    cr_assert_eq(stats.timeouts, 1);
    cr_assert_eq(stats.retries, 1);
}

Test(resolver_client, an_answer_after_the_deadline_is_ignored)
{
    struct channel *end = attach(0, 1);
    struct resolve_request first, second;
    start(&first, 0);
    start(&second, 10);
    answer(end, second.call.id, RESOLVE_NOT_FOUND, 0, 0); /* the helper is not hung */
    resolver_client_receive(client, 0, at_ms(20));
    resolver_client_tick(client, at_ms(DEADLINE_MS + 1));
    cr_assert_eq(done_count, 2);
    cr_assert_eq(reports.count, 0);
    answer(end, first.call.id, RESOLVE_OK, 1, 4);
    cr_assert(resolver_client_receive(client, 0, at_ms(DEADLINE_MS + 2)));
    cr_assert_eq(done_count, 2);
}

Test(resolver_client, a_cancelled_question_is_never_done)
{
    struct channel *end = attach(0, 1);
    struct resolve_request sent, waiting;
    start(&sent, 0);
    resolver_client_cancel(client, &sent);
    answer(end, take(end).id, RESOLVE_OK, 1, 4);
    cr_assert(resolver_client_receive(client, 0, at_ms(1)));
    resolver_client_lost(client, 0, 1);
    start(&waiting, 0);
    resolver_client_cancel(client, &waiting);
    resolver_client_tick(client, at_ms(10 * DEADLINE_MS));
    cr_assert_eq(done_count, 0);
    drop_channel(&end);
}

Test(resolver_client, a_question_refused_may_be_cancelled_before_the_tick)
{
    struct resolve_request request;
    start(&request, 0);
    resolver_client_cancel(client, &request);
    resolver_client_tick(client, at_ms(1));
    cr_assert_eq(done_count, 0);
}

Test(resolver_client, more_questions_than_answers_fit_are_sent_by_and_by)
{
    struct channel *end = attach(0, 1);
    static struct resolve_request requests[1000];
    for (unsigned i = 0; i < 1000; i++)
        start(&requests[i], 0);
    while (done_count < 1000) {
        unsigned taken_count = 0, before = done_count;
        struct taken taken;
        while ((taken = take(end)).is_there) { /* all answers at once: none may find the ring full */
            answer(end, taken.id, RESOLVE_OK, 1, 6);
            taken_count++;
        }
        cr_assert_gt(taken_count, 0);
        resolver_client_receive(client, 0, at_ms(1));
        cr_assert_eq(done_count, before + taken_count);
    }
}

Test(resolver_client, an_answer_that_breaks_a_rule_has_the_helper_killed)
{
    static const struct {
        enum resolve_status status;
        unsigned count;
        uint8_t family;
    } bad[] = {
        {RESOLVE_OK, RESOLVE_ADDRESSES_MAX + 1, 4},
        {RESOLVE_OK, 0, 4},
        {RESOLVE_OK, 1, 5},
        {RESOLVE_FAILED, 1, 4},
        {RESOLVE_FAILED + 1, 0, 4},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct channel *end = attach(0, i + 1);
        struct resolve_request request;
        start(&request, 0);
        answer(end, take(end).id, bad[i].status, bad[i].count, bad[i].family);
        cr_assert_not(resolver_client_receive(client, 0, at_ms(1)), "row %u", i);
        cr_assert_eq(reports.count, i + 1, "row %u", i);
        resolver_client_cancel(client, &request);
        drop_channel(&end);
    }
    cr_assert_eq(done_count, 0);
}

static struct resolve_request other;

static void cancel_other(struct resolve_request *request)
{
    (void)request;
    done_count++;
    resolver_client_cancel(client, &other);
}

Test(resolver_client, done_may_cancel_a_question_that_fails_in_the_same_tick)
{
    struct channel *end = attach(0, 1);
    struct resolve_request request = {.name = BYTES("a"), .done = cancel_other};
    resolver_client_resolve(client, &request, at_ms(0));
    start(&other, 0);
    resolver_client_tick(client, at_ms(DEADLINE_MS));
    cr_assert_eq(done_count, 1);
    drop_channel(&end);
}
