/* Connections that are kept. */
#include "proxy/origin/pool.h"
#include "tests/unit/proxy/origin/fakes.h"

static struct pool_settings settings;
static struct endpoint *endpoint;
static const struct connection_events busy_events;
static int owner;

static void set_up(void)
{
    settings = (struct pool_settings){.loop = &fake_loop, .counters = fake_counters(), .limit = 2, .idle_ms = 1000};
    union socket_address address = {.in = {.sin_family = AF_INET, .sin_port = htons(3000)}};
    inet_pton(AF_INET, "10.0.0.1", &address.in.sin_addr);
    endpoint = endpoint_new(&settings, &address, sizeof(address.in));
}

static void tear_down(void)
{
    endpoint_retire(endpoint);
    endpoint_unref(&endpoint);
    cr_assert_eq(fake_open_count(), 0);
    cr_assert_eq(settings.idle, 0);
    cr_assert_eq(settings.busy, 0);
    cr_assert(list_is_empty(&fake_loop.deadlines));
}

TestSuite(pool, .init = set_up, .fini = tear_down);

static struct upstream *open_one(void)
{
    struct upstream *upstream = upstream_connect(endpoint, &busy_events, &owner);
    cr_assert_not_null(upstream);
    return upstream;
}

static struct upstream *take(void)
{
    return pool_take(endpoint, &busy_events, &owner);
}

static struct connection *keep(void)
{
    struct upstream *upstream = open_one();
    struct connection *connection = upstream->connection;
    pool_keep(&upstream);
    cr_assert_null(upstream);
    return connection;
}

Test(pool, an_address_is_written_with_its_port)
{
    cr_assert_str_eq(endpoint->text, "10.0.0.1:3000");
    union socket_address address = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80), .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    struct endpoint *v6 = endpoint_new(&settings, &address, sizeof(address.in6));
    cr_assert_str_eq(v6->text, "[::1]:80");
    endpoint_unref(&v6);
}

Test(pool, a_kept_connection_is_used_again_by_its_new_owner)
{
    cr_assert_null(take());
    struct connection *connection = keep();
    cr_assert_eq(connection->wants, WANT_READ);
    cr_assert_eq(settings.idle, 1);
    cr_assert_eq(settings.busy, 0);
    struct upstream *upstream = take();
    cr_assert_eq(upstream->connection, connection);
    cr_assert(upstream->reused);
    cr_assert_eq(connection->owner, &owner);
    cr_assert_eq(settings.idle, 0);
    cr_assert_eq(settings.busy, 1);
    cr_assert_null(take());
    upstream_close(&upstream);
    cr_assert_eq(fake_count(COUNTER_ORIGIN_REUSES), 1);
}

Test(pool, last_in_first_out_and_the_oldest_makes_room)
{
    struct upstream *a = open_one(), *b = open_one(), *c = open_one();
    struct connection *second = b->connection, *third = c->connection;
    pool_keep(&a);
    pool_keep(&b);
    pool_keep(&c);
    cr_assert_eq(fake_open_count(), 2);
    a = take();
    cr_assert_eq(a->connection, third);
    b = take();
    cr_assert_eq(b->connection, second);
    cr_assert_null(take());
    upstream_close(&a);
    upstream_close(&b);
}

Test(pool, one_with_something_unread_is_never_used_again)
{
    struct connection *good = keep();
    keep()->has_input = true;
    struct upstream *upstream = take();
    cr_assert_eq(upstream->connection, good);
    cr_assert_eq(fake_open_count(), 1);
    upstream_close(&upstream);
}

Test(pool, one_that_speaks_or_ends_while_idle_is_closed)
{
    struct connection *connection = keep();
    connection->has_input = true;
    connection->events->readable(connection->owner);
    cr_assert_eq(fake_open_count(), 0);
    cr_assert_null(take());
}

/* A TLS connection is readable when a session ticket comes, which is no input. */
Test(pool, one_that_is_readable_without_input_stays)
{
    struct connection *connection = keep();
    connection->events->readable(connection->owner);
    struct upstream *upstream = take();
    cr_assert_eq(upstream->connection, connection);
    upstream_close(&upstream);
}

Test(pool, idle_ones_end_with_time)
{
    keep();
    fake_pass(600);
    keep();
    fake_pass(600);
    cr_assert_eq(fake_open_count(), 1);
    fake_pass(600);
    cr_assert_eq(fake_open_count(), 0);
}

static void keep_as_origin_does(int64_t kept_ms)
{
    struct upstream *upstream = open_one();
    upstream->kept_ms = kept_ms;
    pool_keep(&upstream);
    cr_assert_null(upstream);
}

Test(pool, idle_ones_end_before_the_origin_ends_them)
{
    settings.idle_ms = 60000;
    keep_as_origin_does(5000);
    fake_pass(3900);
    cr_assert_eq(fake_open_count(), 1);
    fake_pass(200);
    cr_assert_eq(fake_open_count(), 0);
    keep_as_origin_does(1000);
    fake_pass(400);
    cr_assert_eq(fake_open_count(), 1);
    fake_pass(200);
    cr_assert_eq(fake_open_count(), 0);
    keep_as_origin_does(0);
    cr_assert_eq(fake_open_count(), 0);
}

Test(pool, a_busy_one_does_not_end_with_time)
{
    keep();
    struct upstream *upstream = take();
    fake_pass(100000);
    cr_assert_eq(fake_open_count(), 1);
    upstream_close(&upstream);
}

Test(pool, nothing_is_kept_with_a_limit_of_none)
{
    settings.limit = 0;
    keep();
    cr_assert_eq(fake_open_count(), 0);
}

Test(pool, nothing_is_kept_for_an_address_that_is_gone)
{
    struct upstream *busy = open_one();
    keep();
    endpoint_retire(endpoint);
    cr_assert_eq(fake_open_count(), 1, "idle ones are closed, busy ones go on");
    pool_keep(&busy);
    cr_assert_eq(fake_open_count(), 0);
}

Test(pool, nothing_is_kept_by_a_retired_origin)
{
    settings.closed = true;
    keep();
    cr_assert_eq(fake_open_count(), 0);
}

Test(pool, an_address_lives_as_long_as_its_connections)
{
    struct endpoint *other = endpoint_new(&settings, &endpoint->address, endpoint->length);
    struct upstream *upstream = upstream_connect(other, &busy_events, &owner);
    endpoint_retire(other);
    struct endpoint *before = other;
    endpoint_unref(&other);
    cr_assert_eq(upstream->endpoint, before);
    cr_assert_str_eq(upstream->endpoint->text, "10.0.0.1:3000");
    pool_keep(&upstream);
}

Test(pool, no_descriptor_no_connection)
{
    fake_descriptors = 0;
    cr_assert_null(upstream_connect(endpoint, &busy_events, &owner));
    cr_assert_eq(settings.busy, 0);
}
