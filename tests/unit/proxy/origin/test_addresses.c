/* Names, their addresses, and what is done while there is no answer. */
#include "proxy/origin/addresses.h"
#include "tests/unit/proxy/origin/fakes.h"

static struct pool_settings pool;
static const struct addresses_settings settings = {.ttl_min_s = 5, .ttl_max_s = 300, .failure_ttl_s = 10};
static struct addresses addresses;
static unsigned told;

struct waiter {
    struct addresses_waiter waiter;
    struct waiter *also_leaves;
};

static void known(struct addresses_waiter *waiter)
{
    struct waiter *also_leaves = LIST_OWNER(waiter, struct waiter, waiter)->also_leaves;
    cr_assert_neq(addresses.state, ADDRESSES_UNKNOWN);
    if (also_leaves)
        addresses_leave(&also_leaves->waiter);
    told++;
}

static void begin(const char *host)
{
    pool = (struct pool_settings){.loop = &fake_loop, .counters = fake_counters(), .limit = 8, .idle_ms = 100000};
    addresses_init(&addresses, &pool, &settings, bytes_from_string(host), 80);
}

static void wait_for(struct waiter *waiter)
{
    waiter->waiter.known = known;
    list_init(&waiter->waiter.link);
    addresses_wait(&addresses, &waiter->waiter);
}

/* All of them in their present order. */
static void expect(const char *wanted)
{
    char text[4096] = "";
    for (unsigned i = 0; i < addresses.count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "", addresses.endpoints[i]->text);
    cr_assert_str_eq(text, wanted);
}

static void tear_down(void)
{
    addresses_clear(&addresses);
    cr_assert_null(fake_question);
    cr_assert(list_is_empty(&fake_loop.deadlines));
    cr_assert_eq(fake_open_count(), 0);
}

TestSuite(addresses, .fini = tear_down);

Test(addresses, literals_are_not_asked_about)
{
    begin("192.0.2.1");
    expect("192.0.2.1:80");
    addresses_clear(&addresses);
    begin("2001:db8::1");
    cr_assert_eq(addresses.state, ADDRESSES_KNOWN);
    expect("[2001:db8::1]:80");
    cr_assert_eq(fake_questions, 0);
}

Test(addresses, all_who_wait_are_told_with_the_first_answer)
{
    struct waiter a = {0}, b = {0}, c = {.also_leaves = &b};
    begin("name.example");
    cr_assert_eq(addresses.state, ADDRESSES_UNKNOWN);
    cr_assert_eq(fake_questions, 1);
    wait_for(&a);
    wait_for(&c);
    wait_for(&b);
    fake_answer(RESOLVE_OK, 60, "192.0.2.1 192.0.2.2");
    cr_assert_eq(told, 2, "one left when another was told");
    expect("192.0.2.1:80 192.0.2.2:80");
}

Test(addresses, one_who_left_is_not_told)
{
    struct waiter a = {0};
    begin("name.example");
    wait_for(&a);
    addresses_leave(&a.waiter);
    addresses_leave(&a.waiter);
    fake_answer(RESOLVE_OK, 60, "192.0.2.1");
    cr_assert_eq(told, 0);
}

Test(addresses, families_take_turns_and_none_comes_twice)
{
    begin("name.example");
    fake_answer(RESOLVE_OK, 60, "2001:db8::1 2001:db8::2 2001:db8::3 192.0.2.1 2001:db8::1 192.0.2.2");
    expect("[2001:db8::1]:80 192.0.2.1:80 [2001:db8::2]:80 192.0.2.2:80 [2001:db8::3]:80");
}

Test(addresses, renewed_before_the_ttl_ends)
{
    begin("name.example");
    fake_answer(RESOLVE_OK, 60, "192.0.2.1");
    fake_pass(53000);
    cr_assert_eq(fake_questions, 1);
    fake_pass(2000);
    cr_assert_eq(fake_questions, 2);
    expect("192.0.2.1:80"); /* in use until the answer */
    fake_answer(RESOLVE_OK, 60, "192.0.2.2");
    expect("192.0.2.2:80");
}

Test(addresses, the_shortest_ttl_counts)
{
    begin("name.example");
    struct resolve_request *request = fake_question;
    fake_question = NULL;
    request->status = RESOLVE_OK;
    request->count = 2;
    request->addresses[0] = fake_address("192.0.2.1", 100);
    request->addresses[1] = fake_address("192.0.2.2", 20);
    request->done(request);
    fake_pass(20000);
    cr_assert_eq(fake_questions, 2);
}

Test(addresses, ttls_of_0_and_of_years_are_clamped)
{
    begin("name.example");
    fake_answer(RESOLVE_OK, 0, "192.0.2.1");
    fake_pass(4000);
    cr_assert_eq(fake_questions, 1);
    fake_pass(1000);
    cr_assert_eq(fake_questions, 2);
    fake_answer(RESOLVE_OK, UINT32_MAX, "192.0.2.1");
    fake_pass(300000);
    cr_assert_eq(fake_questions, 3);
}

Test(addresses, while_dns_fails_the_last_answer_is_used) /* RFC 8767 */
{
    begin("name.example");
    fake_answer(RESOLVE_OK, 60, "192.0.2.1");
    fake_pass(60000);
    fake_answer(RESOLVE_FAILED, 0, "");
    cr_assert_eq(addresses.state, ADDRESSES_KNOWN);
    expect("192.0.2.1:80");
    fake_pass(9000); /* RFC 9520: not asked again at once */
    cr_assert_eq(fake_questions, 2);
    fake_pass(1000);
    cr_assert_eq(fake_questions, 3);
    fake_answer(RESOLVE_OK, 60, "192.0.2.9");
    expect("192.0.2.9:80");
    cr_assert_eq(fake_count(COUNTER_NAME_LOOKUP_FAILURES), 1);
}

Test(addresses, that_there_is_no_such_name_is_an_answer)
{
    begin("name.example");
    fake_answer(RESOLVE_OK, 60, "192.0.2.1");
    fake_pass(60000);
    fake_answer(RESOLVE_NOT_FOUND, 0, "");
    cr_assert_eq(addresses.state, ADDRESSES_FAILED);
    expect("");
}

Test(addresses, an_answer_without_usable_addresses_is_none)
{
    begin("name.example");
    struct resolve_request *request = fake_question;
    fake_question = NULL;
    request->status = RESOLVE_OK;
    request->count = 1;
    request->addresses[0] = (struct resolved_address){.family = 99};
    request->done(request);
    cr_assert_eq(addresses.state, ADDRESSES_FAILED);
}

Test(addresses, a_failure_at_first_is_told_and_overcome)
{
    struct waiter a = {0};
    begin("name.example");
    wait_for(&a);
    fake_answer(RESOLVE_FAILED, 0, "");
    cr_assert_eq(told, 1);
    cr_assert_eq(addresses.state, ADDRESSES_FAILED);
    fake_pass(10000);
    fake_answer(RESOLVE_OK, 60, "192.0.2.1");
    cr_assert_eq(addresses.state, ADDRESSES_KNOWN);
}

Test(addresses, addresses_that_stay_keep_their_connections_and_their_health)
{
    static const struct connection_events events;
    begin("name.example");
    fake_answer(RESOLVE_OK, 60, "192.0.2.1 192.0.2.2");
    struct endpoint *stays = addresses.endpoints[1];
    for (unsigned i = 0; i < 2; i++) {
        struct upstream *upstream = upstream_connect(addresses.endpoints[i], &events, NULL);
        pool_keep(&upstream);
        health_fail(&addresses.endpoints[i]->health, loop_now(&fake_loop), 100000);
    }
    fake_pass(60000);
    fake_answer(RESOLVE_OK, 60, "192.0.2.3 192.0.2.2");
    expect("192.0.2.3:80 192.0.2.2:80");
    cr_assert_eq(addresses.endpoints[1], stays);
    cr_assert(stays->health.failed);
    cr_assert_eq(fake_open_count(), 1);
    cr_assert_not_null(fake_connection_to("192.0.2.2"));
}

Test(addresses, at_most_64)
{
    char text[4096] = "";
    for (unsigned i = 0; i < RESOLVE_ADDRESSES_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s192.0.2.%u", i ? " " : "", i);
    begin("name.example");
    struct resolve_request *request = fake_question;
    fake_answer(RESOLVE_OK, 60, text);
    cr_assert_eq(addresses.count, RESOLVE_ADDRESSES_MAX);
    fake_pass(60000);
    fake_question = NULL;
    request->status = RESOLVE_OK;
    request->count = 4000000000u; /* a helper that lies */
    request->done(request);
    cr_assert_leq(addresses.count, RESOLVE_ADDRESSES_MAX);
}

Test(addresses, they_take_turns_and_failed_ones_come_last)
{
    struct endpoint *out[RESOLVE_ADDRESSES_MAX];
    begin("name.example");
    fake_answer(RESOLVE_OK, 60, "192.0.2.1 192.0.2.2 192.0.2.3");
    cr_assert_eq(addresses_order(&addresses, 1000, out), 3);
    cr_assert_str_eq(out[0]->text, "192.0.2.1:80");
    addresses_order(&addresses, 1000, out);
    cr_assert_str_eq(out[0]->text, "192.0.2.2:80");
    health_fail(&addresses.endpoints[2]->health, loop_now(&fake_loop), 1000);
    addresses_order(&addresses, 1000, out);
    cr_assert_str_eq(out[0]->text, "192.0.2.1:80");
    cr_assert_str_eq(out[2]->text, "192.0.2.3:80");
}

Test(addresses, a_retired_one_asks_no_more)
{
    begin("name.example");
    fake_answer(RESOLVE_OK, 60, "192.0.2.1");
    pool.closed = true;
    addresses_retire(&addresses);
    fake_pass(1000000);
    cr_assert_eq(fake_questions, 1);
}

Test(addresses, one_that_ends_while_it_asks_takes_the_question_back)
{
    begin("name.example");
    cr_assert_not_null(fake_question);
}
