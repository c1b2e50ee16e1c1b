/* Connecting to one of several addresses (RFC 8305). */
#include "proxy/origin/race.h"
#include "tests/unit/proxy/origin/fakes.h"

enum { DOWN_MS = 10000 };

static struct pool_settings settings;
static struct endpoint *endpoints[12];
static struct race race;
static struct upstream *won;
static enum error lost;
static unsigned over;

static void set_up(void)
{
    settings = (struct pool_settings){.loop = &fake_loop, .counters = fake_counters(), .limit = 8, .idle_ms = 1000};
    for (unsigned i = 0; i < 12; i++) {
        union socket_address address = {.in = {.sin_family = AF_INET, .sin_port = htons(80)}};
        address.in.sin_addr.s_addr = htonl(0x0a000000 + i);
        endpoints[i] = endpoint_new(&settings, &address, sizeof(address.in));
    }
}

static void tear_down(void)
{
    race_stop(&race, false);
    race_stop(&race, false);
    if (won)
        upstream_close(&won);
    for (unsigned i = 0; i < 12; i++) {
        cr_assert_eq(endpoints[i]->refs, 1);
        endpoint_unref(&endpoints[i]);
    }
    cr_assert_eq(fake_open_count(), 0);
    cr_assert(list_is_empty(&fake_loop.deadlines));
}

TestSuite(race, .init = set_up, .fini = tear_down);

static void done(struct race *ended, struct upstream *upstream, enum error error)
{
    cr_assert_eq(ended, &race);
    over++;
    won = upstream;
    lost = error;
}

static bool start(unsigned count)
{
    return race_start(&race, endpoints, count, DOWN_MS, done);
}

static bool is_down(unsigned index)
{
    return health_is_down(&endpoints[index]->health, loop_now(&fake_loop));
}

Test(race, the_first_address_connects)
{
    cr_assert(start(2));
    cr_assert_eq(fake_open_count(), 1);
    fake_connected("10.0.0.0", ERROR_OK);
    cr_assert_eq(over, 1);
    cr_assert_str_eq(won->endpoint->text, "10.0.0.0:80");
    fake_pass(1000);
    cr_assert_eq(fake_opened, 1);
}

Test(race, a_refusal_moves_on_at_once)
{
    start(3);
    fake_connected("10.0.0.0", ERROR_ORIGIN_REFUSED);
    cr_assert_eq(fake_open_count(), 1);
    fake_connected("10.0.0.1", ERROR_OK);
    cr_assert_str_eq(won->endpoint->text, "10.0.0.1:80");
    cr_assert(is_down(0));
    cr_assert_not(is_down(1));
}

Test(race, silence_starts_the_next_and_the_first_to_connect_wins)
{
    start(3);
    fake_pass(249);
    cr_assert_eq(fake_open_count(), 1);
    fake_pass(1);
    cr_assert_eq(fake_open_count(), 2);
    fake_pass(250);
    cr_assert_eq(fake_open_count(), 3);
    fake_connected("10.0.0.1", ERROR_OK);
    cr_assert_str_eq(won->endpoint->text, "10.0.0.1:80");
    cr_assert_eq(fake_open_count(), 1, "the others are closed");
    cr_assert(is_down(0), "the next request does not wait for it again");
    cr_assert_not(is_down(2), "it had not had its time");
}

Test(race, an_early_address_may_still_win)
{
    start(2);
    fake_pass(250);
    fake_connected("10.0.0.0", ERROR_OK);
    cr_assert_str_eq(won->endpoint->text, "10.0.0.0:80");
    cr_assert_not(is_down(0));
    cr_assert_not(is_down(1));
}

Test(race, lost_when_all_have_failed)
{
    start(2);
    fake_connected("10.0.0.0", ERROR_ORIGIN_UNREACHABLE);
    cr_assert_eq(over, 0);
    fake_connected("10.0.0.1", ERROR_ORIGIN_REFUSED);
    cr_assert_eq(over, 1);
    cr_assert_null(won);
    cr_assert_eq(lost, ERROR_ORIGIN_REFUSED);
    cr_assert(is_down(0) && is_down(1));
}

Test(race, a_failure_while_another_is_under_way_is_not_the_end)
{
    start(2);
    fake_pass(250);
    fake_connected("10.0.0.0", ERROR_ORIGIN_REFUSED);
    cr_assert_eq(over, 0);
    fake_connected("10.0.0.1", ERROR_OK);
    cr_assert_not_null(won);
}

Test(race, a_success_ends_the_time_of_being_down)
{
    health_fail(&endpoints[0]->health, loop_now(&fake_loop), DOWN_MS);
    start(1);
    fake_connected("10.0.0.0", ERROR_OK);
    cr_assert_not(is_down(0));
}

Test(race, stopped_by_a_timeout_what_was_tried_has_failed)
{
    start(3);
    fake_pass(250);
    race_stop(&race, true);
    cr_assert_eq(over, 0);
    cr_assert_eq(fake_open_count(), 0);
    cr_assert(is_down(0) && is_down(1));
    cr_assert_not(is_down(2));
}

Test(race, stopped_otherwise_nothing_has_failed)
{
    start(3);
    race_stop(&race, false);
    cr_assert_eq(fake_open_count(), 0);
    cr_assert_not(is_down(0));
}

Test(race, at_most_so_many_addresses)
{
    start(12);
    fake_pass(100000);
    cr_assert_eq(fake_opened, RACE_ATTEMPTS_MAX);
}

Test(race, without_a_descriptor_it_does_not_begin)
{
    fake_descriptors = 0;
    cr_assert_not(start(3));
    cr_assert_eq(over, 0);
    cr_assert_eq(race.error, ERROR_OVERLOADED);
    cr_assert_not(is_down(0), "that is our trouble, not the address's");
}

/* ---- TLS: an address has connected when its handshake is over */

static void use_tls(void)
{
    settings.tls = (struct tls_client *)&settings;
    settings.tls_name = BYTES("origin.test");
}

Test(race, a_handshake_follows_before_anybody_wins)
{
    use_tls();
    start(2);
    cr_assert_not(fake_connection_to("10.0.0.0")->has_tls);
    fake_connected("10.0.0.0", ERROR_OK);
    cr_assert(fake_connection_to("10.0.0.0")->has_tls);
    cr_assert(bytes_equal(fake_connection_to("10.0.0.0")->tls_name, BYTES("origin.test")));
    cr_assert_eq(over, 0);
    fake_connected("10.0.0.0", ERROR_OK);
    cr_assert_eq(over, 1);
    cr_assert_str_eq(won->endpoint->text, "10.0.0.0:80");
    cr_assert_eq(fake_count(COUNTER_ORIGIN_TLS_FULL), 1);
}

Test(race, a_resumed_handshake_is_counted_as_such)
{
    use_tls();
    start(1);
    fake_connected("10.0.0.0", ERROR_OK);
    fake_tls_facts.resumed = true;
    fake_connected("10.0.0.0", ERROR_OK);
    cr_assert_eq(fake_count(COUNTER_ORIGIN_TLS_RESUMED), 1);
    cr_assert_eq(fake_count(COUNTER_ORIGIN_TLS_FULL), 0);
}

Test(race, a_handshake_that_fails_moves_on_at_once)
{
    use_tls();
    start(2);
    fake_connected("10.0.0.0", ERROR_OK);
    fake_connected("10.0.0.0", ERROR_ORIGIN_TLS_NAME);
    cr_assert_eq(over, 0);
    cr_assert(is_down(0));
    fake_connected("10.0.0.1", ERROR_OK);
    fake_connected("10.0.0.1", ERROR_ORIGIN_TLS_UNTRUSTED);
    cr_assert_eq(over, 1);
    cr_assert_null(won);
    cr_assert_eq(lost, ERROR_ORIGIN_TLS_UNTRUSTED);
    cr_assert_str_eq(race.reason, "no good");
    cr_assert_eq(fake_count(COUNTER_ORIGIN_TLS_FAILED), 2);
}

Test(race, a_handshake_that_takes_long_starts_the_next)
{
    use_tls();
    start(2);
    fake_connected("10.0.0.0", ERROR_OK);
    fake_pass(RACE_STAGGER_MS);
    fake_connected("10.0.0.1", ERROR_OK);
    fake_connected("10.0.0.1", ERROR_OK);
    cr_assert_eq(over, 1);
    cr_assert_str_eq(won->endpoint->text, "10.0.0.1:80");
    cr_assert(is_down(0));
}

Test(race, a_handshake_that_cannot_begin)
{
    use_tls();
    fake_tls_fails = true;
    start(1);
    fake_connected("10.0.0.0", ERROR_OK);
    cr_assert_eq(over, 1);
    cr_assert_null(won);
    cr_assert_eq(lost, ERROR_OVERLOADED);
    cr_assert_str_eq(race.reason, "");
}
