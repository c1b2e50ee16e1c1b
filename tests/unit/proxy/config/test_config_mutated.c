/* Thousands of broken configurations (CONFIG_MUTATIONS=n: n of them, and the largest texts): no crash, no leak (under ASan), and either a finished configuration that prints and parses back, or a located error. */
#include "proxy/config/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

static const char *const seeds[] = {
    "workers: 3\nuser: root\nlisten:\n  - address: 8080\n  - \"[::1]:8443\"\nadmin: {listen: off, socket: /run/outrigger/admin.sock}\n"
    "cache: {memory: 1GiB, object_max: 100MB, variants: 8}\naccess_log: {path: /var/log/access.log, format: json}\n"
    "error_log: {path: /var/log/error.log, level: debug}\nhelpers: {disk: 2, resolver: 2, deadline: 500ms}\n"
    "resolver: {servers: [127.0.0.1:5353, \"::1\"], ttl_min: 0, ttl_max: 1d, failure_ttl: 10s}\n"
    "limits: {header_bytes: 32KiB, header_count: 50, url_bytes: 4KiB, body_bytes: 10GiB, connections: 500}\n"
    "timeouts: {header: 1s, body: 2s, body_min_rate: 0, keep_alive: 0, write_stall: 3s, drain: 4s}\n",
    "sites:\n  - hosts: [WWW.Example.com, \"*.example.org\", \"[::1]\", 10.0.0.1]\n"
    "    origin: [http://a.internal, \"http://[2001:db8::1]:81/\", files:/tmp]\n    host_header: origin.example:8080\n"
    "    purge: {allow: [10.0.0.0/8, 2001:db8::/32]}\n    timeouts: {connect: 1s, first_byte: 2s}\n    pool: {connections: 1, idle: 2m}\n"
    "    retries: 0\n    files: {delay: 20ms, max_age: 1h}\n    cache: {honour_request_directives: on, grace: 5m}\n"
    "  - hosts: other.example\n    origin: http://b\n",
    "listen: 127.0.0.1:80\naccess_log: \"-\"\nsites: [{hosts: \"*\", origin: http://127.0.0.1:3000, purge: []}]\n",
};

static const char *const pieces[] = {
    ":",
    ": ",
    "\n",
    "\n  ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "#",
    "&a ",
    "*a",
    "!t ",
    "|\n",
    ">\n",
    "? ",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "<<: ",
    "\t",
    "\r\n",
    "\xff",
    "\xc3\xa9",
    "~",
    "null",
    "-1",
    "0",
    "99999999999999999999",
    "1.5",
    "off",
    "true",
    "\\x00",
    "\"\\0\"",
    "\"\\ud800\"",
    "sites: ",
    "hosts: ",
    "origin: ",
    "listen: ",
    "@",
    "`",
    "%",
    "\xef\xbb\xbf",
    "\xe2\x80\xa8",
    "\xc2\x85",
    "*",
    "''''''''''''",
    "''",
    "'a",
    "::1",
    "/",
    "http://",
    "files:",
    "https://x",
    "cache: ",
    "disk: ",
    "tls: true",
    "KiB",
    "ms",
    "[[[[[[[[",
    "{a: {b: {c: {",
    "\"\\x85\"",
    "\"\\u2028\"",
    " ",
};

enum { PIECES = sizeof(pieces) / sizeof(pieces[0]), TEXT_MAX = 8192 };

static unsigned state;

static size_t dice(size_t sides)
{
    state = state * 1664525 + 1013904223;
    return sides > 0 ? (state >> 8) % sides : 0;
}

static size_t splice(char *text, size_t length, size_t at, size_t removed, const char *piece, size_t piece_length)
{
    if (length - removed + piece_length > TEXT_MAX)
        return length;
    memmove(text + at + piece_length, text + at + removed, length - at - removed);
    memcpy(text + at, piece, piece_length);
    return length - removed + piece_length;
}

static size_t mutate(char *text, size_t length)
{
    size_t at = dice(length + 1), rest = length - at;
    char copy[64];

    switch (dice(6)) {
    case 0:
        return splice(text, length, at, rest > 0, (char[]){(char)dice(256)}, 1);
    case 1:
        return splice(text, length, at, dice(rest < 40 ? rest + 1 : 40), "", 0);
    case 2: { /* a run is written twice */
        size_t run = rest < sizeof(copy) ? rest : dice(sizeof(copy));
        memcpy(copy, text + at, run);
        return splice(text, length, dice(length + 1), 0, copy, run);
    }
    case 3: /* cut short */
        return dice(8) == 0 ? at : length;
    default: {
        const char *piece = pieces[dice(PIECES)];
        return splice(text, length, at, dice(4) == 0 && rest > 0, piece, strlen(piece));
    }
    }
}

static char *print(const struct config *config)
{
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);

    config_print(config, out);
    fclose(out);
    return text;
}

static struct config *parse(struct bytes text, char **findings)
{
    size_t length;
    FILE *errors = open_memstream(findings, &length);
    struct config *config = config_parse(BYTES("t.yaml"), text, errors);

    fclose(errors);
    return config;
}

static void check_round_trip(struct config *first, struct bytes text)
{
    char *once = print(first), *findings;
    struct config *second = parse(bytes_from_string(once), &findings);

    cr_assert(second, "%.*s\nis printed as\n%s\nwhich is refused:\n%s", BYTES_FMT(text), once, findings);
    char *twice = print(second);
    cr_assert_str_eq(once, twice);
    free(twice);
    free(findings);
    free(once);
    config_unref(&second);
}

/* Every line that stands at the left margin has a place; nothing that would drive a terminal comes through. */
static void check_findings(const char *findings, bool accepted, struct bytes text)
{
    cr_assert(accepted || strstr(findings, ": error: "), "refused without a word: %.*s", BYTES_FMT(text));
    for (const char *line = findings; *line; line = strchr(line, '\n') + 1) {
        unsigned row, column;
        cr_assert(strchr(line, '\n'));
        if (strncmp(line, "    ", 4) != 0 && !strstr(line, " more error"))
            cr_assert_eq(sscanf(line, "t.yaml:%u:%u: ", &row, &column), 2, "no place: %s", line);
    }
    for (const char *at = findings; *at; at++)
        cr_assert((unsigned char)*at >= 0x20 || *at == '\n' || *at == '\t', "control byte %#x in %s", *at, findings);
}

/* -t and -T say yes to the same texts, and what -T prints has a source on each value and means the same. */
static void check_test_and_show(const struct config *config, struct bytes text)
{
    char *findings, *errors, *shown, *again;
    size_t length;
    FILE *out = open_memstream(&findings, &length);
    struct config *tested = config_test(BYTES("t.yaml"), text, out);
    fclose(out);
    cr_assert_eq(tested != NULL, config != NULL);
    config_unref(&tested);
    check_findings(findings, config != NULL, text);

    FILE *stream = open_memstream(&errors, &length);
    out = open_memstream(&shown, &length);
    struct config *shown_of = config_show(BYTES("t.yaml"), text, stream, out);
    fclose(out);
    cr_assert_eq(shown_of != NULL, config != NULL);
    config_unref(&shown_of);
    fclose(stream);
    if (config) {
        struct config *second = parse(bytes_from_string(shown), &again);
        cr_assert(second, "%.*s\nis shown as\n%s\nwhich is refused:\n%s", BYTES_FMT(text), shown, again);
        char *once = print(config), *twice = print(second);
        cr_assert_str_eq(once, twice);
        free(once);
        free(twice);
        free(again);
        config_unref(&second);
    }
    free(findings);
    free(errors);
    free(shown);
}

Test(config_mutated, is_refused_with_a_place_or_accepted)
{
    const char *rounds = getenv("CONFIG_MUTATIONS");
    unsigned accepted = 0;

    for (unsigned round = 0, count = rounds ? (unsigned)atoi(rounds) : 3000; round < count; round++) {
        char text[TEXT_MAX];
        size_t length = 0;
        state = round;
        dice(1);
        unsigned which = (unsigned)dice(3); /* the first seed has no sites, the others may not stand together */
        if (which == 0)
            length = splice(text, length, length, 0, seeds[0], strlen(seeds[0]));
        length = splice(text, length, length, 0, seeds[which == 2 ? 2 : 1], strlen(seeds[which == 2 ? 2 : 1]));
        for (size_t i = 1 + dice(dice(10) == 0 ? 40 : 3); i > 0; i--)
            length = mutate(text, length);

        char *copy = malloc(length + 1); /* its end is where ASan looks */
        char *findings;
        struct bytes given = bytes_from(copy, length);
        memcpy(copy, text, length);
        struct config *config = parse(given, &findings);
        check_findings(findings, config != NULL, given);
        check_test_and_show(config, given);
        if (config) {
            accepted++;
            check_round_trip(config, given);
        }
        config_unref(&config);
        free(findings);
        free(copy);
    }
    cr_assert_gt(accepted, 0, "the mutations are too wild to test the way back");
    if (rounds)
        fprintf(stderr, "%u accepted\n", accepted);
}

/* Large texts that are built to be slow. */
Test(config_mutated, a_hostile_text_is_read_in_a_moment)
{
    static const char *const units[] = {"[",
                                        "{",
                                        "- ",
                                        "a: ",
                                        "a: {\n",
                                        "? ",
                                        "\"",
                                        "x",
                                        " ",
                                        "\n",
                                        "'",
                                        "a,",
                                        "- a\n",
                                        "a: 1\n",
                                        "workers: 1\n",
                                        "[]\n",
                                        "#",
                                        "&a ",
                                        "|",
                                        "a: |\n b\n",
                                        "[a,",
                                        "\\",
                                        "\\\"",
                                        "''b",
                                        "a\n",
                                        " a\n",
                                        " \n",
                                        "\n\n\n a\n",
                                        "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\na"};
    static const char *const heads[] = {"",
                                        "sites: [",
                                        "listen: [",
                                        "sites: [{hosts: [",
                                        "sites:\n- hosts: \"",
                                        "user: |\n",
                                        "user: '",
                                        "user: \"",
                                        "user: >\n ",
                                        "user: ",
                                        "sites: [{hosts: a, origin: http://a, purge: ["};
    size_t size = getenv("CONFIG_MUTATIONS") ? 1024 * 1024 - 64 : 128 * 1024;
    char *text = malloc(size + 64);

    for (unsigned h = 0; h < sizeof(heads) / sizeof(heads[0]); h++) {
        for (unsigned u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
            size_t length = strlen(heads[h]), unit = strlen(units[u]);
            char *findings;
            struct timespec before, after;
            memcpy(text, heads[h], length);
            for (; length + unit <= size; length += unit)
                memcpy(text + length, units[u], unit);
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
            struct config *config = parse(bytes_from(text, length), &findings);
            clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
            double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
            if (getenv("CONFIG_MUTATIONS") && ms > 200)
                fprintf(stderr, "%s %s: %.0f ms\n", heads[h], units[u], ms);
            cr_expect_lt(ms, 20000, "%s %s: %.0f ms", heads[h], units[u], ms);
            config_unref(&config);
            free(findings);
        }
    }
    free(text);
}
