/* What -t warns of, and where: a row a warning; and what it must not warn of. */
#include "proxy/config/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#define SITE(more) "sites:\n- hosts: a\n  origin: http://b\n" more

static bool test(const char *text, char **findings)
{
    size_t length;
    FILE *errors = open_memstream(findings, &length);
    struct config *config = config_test(BYTES("t.yaml"), bytes_from_string(text), errors);
    bool is_valid = config != NULL;
    fclose(errors);
    config_unref(&config);
    return is_valid;
}

Test(advice, each_danger_has_its_place_and_its_reason)
{
    static const struct {
        const char *text, *place, *words;
    } rows[] = {
        {SITE("  cache: {store_set_cookie: true}\n"), "4:29", "handed to everybody"},
        {SITE("  cache: {honour_request_directives: on}\n"), "4:38", "any client can make each of its requests go to the origin"},
        {SITE("  origin_tls: {verify: false}\n"), "4:24", "have it stored for everybody"},
        {SITE("  purge: 0.0.0.0/0\n"), "4:10", "purge.allow: 0.0.0.0/0 is open to the world"},
        {SITE("  purge: {allow: [127.0.0.1, \"::/0\"]}\n"), "4:30", "purge.allow: ::/0 is open to the world"},
        {SITE("  cache: {show_key: [\"::/0\"]}\n"), "4:22", "where to poison it"},
        {SITE("  cache: {errors: {404: 1h, 5xx: 1h}}\n"), "4:19", "served for 3600 s"},
        {SITE("  cache: {errors: 1h}\n"), "4:19", "served for 3600 s"},
        {SITE("  cache: {query: {keep: []}}\n"), "4:25", "are one page"},
        {SITE("  timeouts: {first_byte: 1h}\n"), "4:26", "as good as no timeout: an origin that hangs"},
        {SITE("  timeouts: {connect: 2m}\n"), "4:23", "as good as no timeout: while an origin does not answer"},
        {SITE("  timeouts: {between_bytes: 11m}\n"), "4:29", "as good as no timeout"},
        {SITE("timeouts: {header: 1h}\n"), "4:20", "as good as no timeout: a client that sends a byte now and then"},
        {SITE("timeouts: {body: 1d}\n"), "4:18", "as good as no timeout"},
        {SITE("timeouts: {write_stall: 1d}\n"), "4:25", "as good as no timeout"},
        {SITE("timeouts: {keep_alive: 1d}\n"), "4:24", "as good as no timeout"},
        {SITE("timeouts: {body_min_rate: 0}\n"), "4:27", "keeps its connection for ever"},
        {SITE("timeouts: {write_min_rate: 0}\n"), "4:28", "takes a byte within each timeouts.write_stall keeps its connection for ever"},
        {SITE("trusted_proxies: [10.0.0.0/8, 0.0.0.0/1]\n"), "4:31", "anybody can say that a request comes from any address"},
        {SITE("admin: {listen: 0.0.0.0:8081}\n"), "4:17", "asks nobody for a password"},
        {SITE("admin: {listen: \"[::]:8081\"}\n"), "4:17", "asks nobody for a password"},
        {SITE("admin: {listen: 0.0.0.0:8081, control: on}\n"), "4:40", "whoever reaches it can empty the cache"},
        {SITE("access_log: syslog:server=unix:/nonexistent/log\n"), "4:13", "nobody listens at /nonexistent/log"},
        {SITE("error_log: journald:server=unix:/nonexistent/log\n"), "4:12", "nobody listens at /nonexistent/log"},
        {SITE("user: root\n"), "4:7", "root may do everything"},
        {SITE("limits: {memory: 16TiB}\n"), "4:18", "the kernel would end processes before this limit is near"},
        {SITE("limits: {memory: 200MiB}\n"), "4:18", "do not fit into what it may take, 200 MiB"},
        {SITE("limits: {memory: 200MiB}\ncache: {memory: 128MiB}\n"), "5:17", "lower cache.memory to 121MiB, or raise limits.memory"},
        {SITE("limits: {memory: 64MiB}\n"), "4:18", "hint: raise limits.memory"},
        {SITE("cache: {disk: [{path: /nonexistent/a/b, size: 8TiB}]}\n"), "4:47", "the filesystem of /nonexistent/a/b has only"},
        {SITE("cache: {disk: [{path: /nonexistent/a, size: 7TiB}, {path: /nonexistent/b, size: 8MiB}]}\n"), "4:81",
         "the directories before this one are on it, too"},
        {"listen: 8080\nsites: [{hosts: a, origin: http://localhost:8080}]\n", "2:28", "in a circle"},
        {"listen: \"[::1]:8080\"\nsites: [{hosts: a, origin: [http://b, \"http://[::1]:8080\"]}]\n", "2:39", "in a circle"},
        {"sites: [{hosts: a, origin: files:/etc/}]\n", "1:28", "passwords and keys too"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *findings, place[64];
        cr_assert(test(rows[i].text, &findings), "a warning is no error: %s\n%s", rows[i].text, findings);
        snprintf(place, sizeof place, "t.yaml:%s: warning: ", rows[i].place);
        cr_expect(strstr(findings, place), "%s: not at %s in\n%s", rows[i].text, rows[i].place, findings);
        cr_expect(strstr(findings, rows[i].words), "%s: \"%s\" is not in\n%s", rows[i].text, rows[i].words, findings);
        free(findings);
    }
}

Test(advice, a_cache_is_not_larger_than_the_machine)
{
    char *findings;
    if (sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) > UINT64_C(140) << 30)
        cr_skip_test("this machine has more than a cache can");
    cr_assert(test(SITE("cache: {memory: 127GiB}\n"), &findings));
    cr_expect(strstr(findings, "t.yaml:4:17: warning: ") && strstr(findings, "this machine has only"), "%s", findings);
    free(findings);
    cr_assert_not(test(SITE("cache: {memory: 128GiB}\n"), &findings), "what a slab has no numbers for");
    cr_expect(strstr(findings, "t.yaml:4:17: error: "), "%s", findings);
    free(findings);
}

Test(advice, what_is_usual_is_not_warned_of)
{
    static const char *const texts[] = {
        SITE(""),
        SITE("  cache: {store_set_cookie: false, query: {keep: [q]}, errors: {404: 1h, 5xx: 5m}, show_key: [127.0.0.1]}\n"),
        SITE("  purge: [10.0.0.0/8, 2001:db8::/32]\n  timeouts: {connect: 1m, first_byte: 10m}\n"),
        SITE("trusted_proxies: 10.0.0.0/8\nadmin: {listen: 127.0.0.9:8081, control: on}\nuser: nobody\n"),
        SITE("admin: {control: on}\n"),
        SITE("access_log: syslog:server=192.0.2.1\nerror_log: /nonexistent/log\n"),
        SITE("admin: {listen: off, control: on}\n"),
        SITE("cache: {memory: 64MiB, disk: [{path: /nonexistent, size: 8MiB}]}\ntimeouts: {header: 1m, body_min_rate: 1B}\n"),
        "listen: 8080\nsites: [{hosts: a, origin: [http://127.0.0.1:8081, http://10.0.0.1:8080, files:/tmp]}]\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *findings;
        cr_assert(test(texts[i], &findings));
        cr_expect_str_eq(findings, "", "%s\n%s", texts[i], findings);
        free(findings);
    }
}

Test(advice, each_site_is_looked_at_and_what_is_wrong_comes_first_by_line)
{
    char *findings;
    cr_assert(test("sites:\n- {hosts: a, origin: http://b, purge: 0.0.0.0/0}\n- {hosts: c, origin: http://b}\n"
                   "- {hosts: d, origin: http://b, purge: 0.0.0.0/0}\nuser: root\n",
                   &findings));
    const char *first = strstr(findings, "t.yaml:2:"), *second = strstr(findings, "t.yaml:4:"), *third = strstr(findings, "t.yaml:5:");
    cr_expect(first && second && third && first < second && second < third, "%s", findings);
    cr_expect(!strstr(findings, "t.yaml:3:"), "%s", findings);
    free(findings);
}

Test(advice, a_wrong_configuration_has_errors_and_no_advice)
{
    char *findings;
    cr_assert(!test("user: root\n", &findings));
    cr_expect(strstr(findings, "there is no \"sites\"") && !strstr(findings, "warning"), "%s", findings);
    free(findings);
}

/* ---- where values come from ---- */

static char *show(struct bytes name, const char *text)
{
    char *printed;
    size_t length;
    FILE *out = open_memstream(&printed, &length);
    struct config *config = config_show(name, bytes_from_string(text), stderr, out);
    cr_assert(config);
    fclose(out);
    config_unref(&config);
    return printed;
}

static void expect_line(const char *printed, const char *setting, const char *source)
{
    const char *line = strstr(printed, setting);
    cr_assert(line, "%s is not in\n%s", setting, printed);
    const char *end = strchr(line, '\n'), *comment = strstr(line, "  # ");
    cr_assert(comment && comment < end, "%s has no source", setting);
    comment += 4;
    cr_expect(strncmp(comment, source, strlen(source)) == 0 && comment + strlen(source) == end, "%s is from %.*s, not from %s", setting,
              (int)(end - comment), comment, source);
}

Test(show, each_value_says_where_it_comes_from)
{
    char *printed = show(BYTES("t.yaml"), "cache: {memory: 8MiB}\n"
                                          "access_log: /var/log/x\n"
                                          "listen: [127.0.0.1:8080, {address: 127.0.0.1:8082, http2: true}]\n"
                                          "sites:\n"
                                          "- hosts: one\n"
                                          "  origin: http://b\n"
                                          "  retries: 7\n"
                                          "- hosts: two\n"
                                          "  origin: http://b\n"
                                          "  retries:\n"
                                          "    8\n");
    expect_line(printed, "memory: 8MiB", "t.yaml:1");
    expect_line(printed, "object_max: 2MiB", "default: 64MiB");
    expect_line(printed, "variants: 64", "default");
    expect_line(printed, "path: /var/log/x", "t.yaml:2");
    expect_line(printed, "format: combined", "default");
    expect_line(printed, "address: 127.0.0.1:8080", "t.yaml:3");
    expect_line(printed, "http2: false", "default");
    expect_line(printed, "http2: true", "t.yaml:3");
    expect_line(printed, "hosts: [two]", "t.yaml:8");
    expect_line(printed, "retries: 7", "t.yaml:7");
    expect_line(printed, "retries: 8", "t.yaml:11");
    free(printed);
}

Test(show, without_a_file_there_are_no_lines)
{
    char *printed = show(BYTES("command line"), "listen: [\":80\"]\nsites:\n  - hosts: \"*\"\n    origin: http://b\n");
    expect_line(printed, "address: \":80\"", "command line");
    expect_line(printed, "retries: 2", "default");
    free(printed);
}

Test(show, a_name_cannot_get_out_of_its_comment)
{
    char *printed = show(BYTES("x\nworkers: 9\n"), SITE("")), *findings;
    cr_expect(test(printed, &findings), "%s\n%s", printed, findings);
    free(findings);
    free(printed);
}
