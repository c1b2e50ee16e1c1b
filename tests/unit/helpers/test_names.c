#include "helpers/names.h"
#include "tests/unit/helpers/dns_server.h"

#include <criterion/criterion.h>
#include <poll.h>

static struct names *names;
static struct dns_server server;

/* Answers in the order they came. */
static struct {
    void *asker;
    struct message_resolved answer;
} answers[300];
static unsigned answer_count;

static void take_answer(void *asker, const struct message_resolved *answer)
{
    answers[answer_count].asker = asker;
    answers[answer_count++].answer = *answer;
}

static void configure(uint32_t timeout_ms, uint32_t tries, uint32_t question_ms)
{
    struct message_resolver_settings settings = {timeout_ms, tries, question_ms, .hosts_file = 0};
    names_configure(names, &settings, bytes_from_string(server.address), clock_monotonic());
}

static void set_up(void)
{
    dns_server_start(&server);
    names = names_new(take_answer);
    configure(200, 1, 2000);
}

static void tear_down(void)
{
    names_free(&names);
    dns_server_stop(&server);
}

TestSuite(names, .init = set_up, .fini = tear_down, .timeout = 20);

static void ask(const char *name, void *asker, uint64_t request)
{
    names_ask(names, bytes_from_string(name), asker, request, clock_monotonic());
}

/* Runs the engine and the server, in this one thread, until there are `count` answers. */
static void run_until(unsigned count)
{
    while (answer_count < count) {
        struct pollfd polls[2] = {{.fd = names_fd(names), .events = POLLIN}, {.fd = server.socket, .events = POLLIN}};
        poll(polls, 2, names_timeout_ms(names, clock_monotonic()));
        if (polls[1].revents)
            dns_server_serve(&server);
        names_process(names, clock_monotonic());
    }
}

/* One question from beginning to end. */
static const struct message_resolved *resolve(const char *name)
{
    answer_count = 0;
    ask(name, &server, 42);
    run_until(1);
    cr_assert_eq(answers[0].asker, &server);
    cr_assert_eq(answers[0].answer.request, 42);
    return &answers[0].answer;
}

Test(names, both_families_are_found_with_their_ttls)
{
    const struct message_resolved *answer = resolve("both.test");
    cr_assert_eq(answer->status, RESOLVE_OK);
    cr_assert_eq(answer->count, 3);
    cr_assert_eq(answer->addresses[0].family, 4);
    cr_assert_arr_eq(answer->addresses[0].bytes, "\x7f\0\0\1", 4);
    cr_assert_eq(answer->addresses[0].ttl_s, 60);
    cr_assert_arr_eq(answer->addresses[1].bytes, "\x7f\0\0\2", 4);
    cr_assert_eq(answer->addresses[2].family, 6);
    cr_assert_arr_eq(answer->addresses[2].bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    cr_assert_eq(answer->addresses[2].ttl_s, 300);
}

Test(names, one_family_is_enough)
{
    const struct message_resolved *answer = resolve("v4.test");
    cr_assert_eq(answer->status, RESOLVE_OK);
    cr_assert_eq(answer->count, 1);
    answer = resolve("v6.test");
    cr_assert_eq(answer->status, RESOLVE_OK);
    cr_assert_eq(answer->count, 1);
    cr_assert_eq(answer->addresses[0].family, 6);
}

Test(names, an_alias_is_followed_and_its_ttl_counts)
{
    const struct message_resolved *answer = resolve("alias.test");
    cr_assert_eq(answer->status, RESOLVE_OK);
    cr_assert_eq(answer->addresses[0].ttl_s, 5);
}

Test(names, ttl_0_and_the_largest_are_told_as_they_are)
{
    cr_assert_eq(resolve("ttl0.test")->addresses[0].ttl_s, 0);
    cr_assert_eq(resolve("ttlmax.test")->addresses[0].ttl_s, INT32_MAX);
    cr_assert_eq(resolve("ttlneg.test")->addresses[0].ttl_s, 0, "RFC 2181 §8");
}

Test(names, no_such_name_and_no_addresses_are_not_found)
{
    cr_assert_eq(resolve("nxdomain.test")->status, RESOLVE_NOT_FOUND);
    cr_assert_eq(resolve("nodata.test")->status, RESOLVE_NOT_FOUND);
    cr_assert_eq(answers[0].answer.count, 0);
}

Test(names, failures_of_the_server_are_failures)
{
    cr_assert_eq(resolve("servfail.test")->status, RESOLVE_FAILED);
    cr_assert_eq(resolve("refused.test")->status, RESOLVE_FAILED);
    cr_assert_eq(resolve("garbage.test")->status, RESOLVE_FAILED);
    cr_assert_eq(resolve("cut.test")->status, RESOLVE_FAILED);
    cr_assert_eq(resolve("silent.test")->status, RESOLVE_FAILED);
}

Test(names, a_failure_of_one_family_is_not_mistaken_for_no_addresses)
{
    cr_assert_eq(resolve("a-fails.test")->status, RESOLVE_FAILED, "A: SERVFAIL, AAAA: none");
    cr_assert_eq(resolve("aaaa-fails.test")->status, RESOLVE_OK, "A: found, AAAA: SERVFAIL");
    cr_assert_eq(answers[0].answer.count, 1);
}

Test(names, one_family_does_not_wait_long_for_the_other)
{
    configure(5000, 1, 10000);
    struct monotonic_ms start = clock_monotonic();
    cr_assert_eq(resolve("aaaa-silent.test")->status, RESOLVE_OK);
    cr_assert_lt(monotonic_since(clock_monotonic(), start), 4000);
}

Test(names, a_question_ends_at_its_deadline)
{
    configure(20000, 1, 100);
    cr_assert_eq(resolve("silent.test")->status, RESOLVE_FAILED);
    server.queries = 0;
    ask("silent.test", &server, 43);
    run_until(2);
    cr_assert_eq(answers[1].answer.request, 43, "asked anew, not joined to what has ended");
    cr_assert_eq(server.queries, 2);
}

Test(names, a_query_that_was_lost_is_repeated)
{
    configure(50, 3, 5000);
    cr_assert_eq(resolve("second-try.test")->status, RESOLVE_OK);
}

Test(names, equal_names_share_one_query)
{
    for (uint64_t i = 0; i < 100; i++)
        ask(i % 2 ? "both.test" : "BOTH.Test", &server, i);
    run_until(100);
    cr_assert_eq(server.queries, 2, "one A, one AAAA");
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert_eq(answers[i].answer.request, i);
        cr_assert_eq(answers[i].answer.count, 3);
    }
}

Test(names, many_names_are_asked_at_once)
{
    char name[32];
    for (uint64_t i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "v4.n%lu.test", (unsigned long)i);
        ask(name, &server, i);
    }
    run_until(100);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(answers[i].answer.status, RESOLVE_OK);
}

Test(names, at_most_64_addresses_and_both_families_keep_a_share)
{
    const struct message_resolved *answer = resolve("many.test"); /* 70 and 40 */
    cr_assert_eq(answer->count, RESOLVE_ADDRESSES_MAX);
    cr_assert_eq(answer->addresses[0].family, 4);
    cr_assert_eq(answer->addresses[31].family, 4);
    cr_assert_eq(answer->addresses[32].family, 6);
    answer = resolve("many4.test"); /* 70 and none */
    cr_assert_eq(answer->count, RESOLVE_ADDRESSES_MAX);
    cr_assert_eq(answer->addresses[63].family, 4);
}

Test(names, an_asker_that_went_away_gets_no_answer)
{
    int one, two;
    ask("both.test", &one, 1);
    ask("both.test", &two, 2);
    ask("v4.test", &one, 3);
    names_forget(names, &one);
    run_until(1);
    ask("v6.test", &two, 4);
    run_until(2);
    cr_assert_eq(answers[0].answer.request, 2);
    cr_assert_eq(answers[1].answer.request, 4);
}

Test(names, a_name_that_cannot_be_one_is_not_found_at_once)
{
    static char long_name[300];
    memset(long_name, 'a', sizeof(long_name));
    names_ask(names, BYTES_NONE, &server, 1, clock_monotonic());
    names_ask(names, bytes_from(long_name, 256), &server, 2, clock_monotonic());
    names_ask(names, bytes_from("a\0b", 3), &server, 3, clock_monotonic());
    cr_assert_eq(answer_count, 3);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(answers[i].answer.status, RESOLVE_NOT_FOUND);
    ask("..", &server, 4);
    names_ask(names, bytes_from(long_name, 255), &server, 5, clock_monotonic()); /* a label over 63 bytes */
    run_until(5);
    cr_assert_neq(answers[3].answer.status, RESOLVE_OK);
    cr_assert_neq(answers[4].answer.status, RESOLVE_OK);
    cr_assert_eq(server.queries, 0);
}

Test(names, localhost_is_this_host_and_no_server_is_asked)
{
    static const char *const spellings[] = {"localhost", "LocalHost", "localhost.", "app.localhost"};
    for (unsigned i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        const struct message_resolved *answer = resolve(spellings[i]);
        cr_assert_eq(answer->status, RESOLVE_OK);
        cr_assert_eq(answer->count, 2);
        cr_assert_arr_eq(answer->addresses[0].bytes, "\x7f\0\0\1", 4);
        cr_assert_arr_eq(answer->addresses[1].bytes, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    }
    cr_assert_eq(server.queries, 0);
    resolve("notlocalhost");
    cr_assert_gt(server.queries, 0);
}

/* A name that /etc/hosts gives an IPv4 address, other than localhost. */
static bool find_in_hosts_file(char address[64], char name[256])
{
    char line[1024], family_probe[4];
    FILE *hosts = fopen("/etc/hosts", "r");
    bool found = false;
    while (hosts && !found && fgets(line, sizeof(line), hosts))
        found =
            sscanf(line, "%63s %255s", address, name) == 2 && inet_pton(AF_INET, address, family_probe) == 1 && !strstr(name, "localhost");
    if (hosts)
        fclose(hosts);
    return found;
}

Test(names, the_hosts_file_is_asked_when_told_so)
{
    struct message_resolver_settings settings = {200, 1, 2000, .hosts_file = 1};
    char address[64], name[256];
    unsigned char bytes[4];
    if (!find_in_hosts_file(address, name))
        cr_skip_test("/etc/hosts has no other name than localhost");
    inet_pton(AF_INET, address, bytes);
    cr_assert_neq(resolve(name)->status, RESOLVE_OK, "the server does not know it");
    names_configure(names, &settings, bytes_from_string(server.address), clock_monotonic());
    const struct message_resolved *answer = resolve(name);
    cr_assert_eq(answer->status, RESOLVE_OK);
    cr_assert_arr_eq(answer->addresses[0].bytes, bytes, 4);
}

Test(names, questions_under_way_fail_when_the_servers_change_and_the_new_ones_are_asked_next)
{
    struct dns_server other;
    dns_server_start(&other);
    ask("silent.test", &server, 1);
    struct message_resolver_settings settings = {200, 1, 2000, .hosts_file = 0};
    names_configure(names, &settings, bytes_from_string(other.address), clock_monotonic());
    cr_assert_eq(answer_count, 1);
    cr_assert_eq(answers[0].answer.status, RESOLVE_FAILED);
    dns_server_stop(&server);
    server = other;
    cr_assert_eq(resolve("v4.test")->status, RESOLVE_OK);
}

Test(names, an_unusable_list_of_servers_does_not_end_the_process)
{
    struct message_resolver_settings settings = {50, 1, 100, .hosts_file = 0};
    names_configure(names, &settings, BYTES("not an address"), clock_monotonic());
    configure(200, 1, 2000);
    cr_assert_eq(resolve("v4.test")->status, RESOLVE_OK);
}
