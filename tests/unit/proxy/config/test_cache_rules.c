/* The cache rules of a site: lists of names, and lifetimes of errors. */
#include "proxy/config/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct config *parse(const char *rules, char **errors)
{
    char text[512];
    size_t length;
    int written = snprintf(text, sizeof(text), "sites: [{hosts: a, origin: http://b, cache: {%s}}]\n", rules);
    cr_assert_lt(written, (int)sizeof(text));
    FILE *out = open_memstream(errors, &length);
    struct config *config = config_parse(BYTES("t.yaml"), bytes_from_string(text), out);
    fclose(out);
    return config;
}

static struct config *parse_good(const char *rules)
{
    char *errors;
    struct config *config = parse(rules, &errors);
    cr_assert(config, "%s: %s", rules, errors);
    cr_assert_str_empty(errors);
    free(errors);
    return config;
}

static void expect_names(const struct config_names *names, const char *expected)
{
    struct bytes rest = bytes_from_string(expected), name;
    unsigned count = 0;
    while (bytes_next_list_member(&rest, &name)) {
        cr_assert_lt(count, names->count);
        cr_expect(bytes_equal(names->at[count], name), "%.*s, not %.*s", BYTES_FMT(names->at[count]), BYTES_FMT(name));
        count++;
    }
    cr_expect_eq(names->count, count, "%s", expected);
}

Test(cache_rules, defaults)
{
    struct config *config = parse_good("");
    const struct config_site *site = config->sites;
    expect_names(&site->targeted, "Outrigger-Cache-Control, CDN-Cache-Control");
    expect_names(&site->bypass_cookies, "");
    expect_names(&site->key_cookies, "");
    cr_expect_not(site->surrogate_control);
    cr_expect_not(site->accel_expires);
    cr_expect_eq(site->error_count, 0);
    config_unref(&config);
}

Test(cache_rules, lists_of_names)
{
    struct config *config = parse_good(
        "targeted: [], bypass_cookies: [session, \"wp_*\", \"*\"], key_cookies: lang, surrogate_control: true, x_accel_expires: true");
    const struct config_site *site = config->sites;
    expect_names(&site->targeted, "");
    expect_names(&site->bypass_cookies, "session, wp_*, *");
    expect_names(&site->key_cookies, "lang");
    cr_expect(site->surrogate_control);
    cr_expect(site->accel_expires);
    config_unref(&config);
}

Test(cache_rules, lifetimes_of_errors)
{
    static const struct {
        const char *rules;
        unsigned count;
        struct status_ttl expected[3];
    } cases[] = {
        {"errors: {404: 10s, 5xx: 1s}", 2, {{404, 404, 10}, {500, 599, 1}}},
        {"errors: {4xx: 1m, 404: 0}", 2, {{400, 499, 60}, {404, 404, 0}}},
        {"errors: 2s", 3, {{404, 404, 2}, {410, 410, 2}, {500, 599, 2}}},
        {"errors: {}", 0, {{0, 0, 0}}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *config = parse_good(cases[i].rules);
        const struct config_site *site = config->sites;
        cr_assert_eq(site->error_count, cases[i].count, "%s", cases[i].rules);
        for (unsigned k = 0; k < site->error_count; k++) {
            cr_expect_eq(site->errors[k].first, cases[i].expected[k].first, "%s", cases[i].rules);
            cr_expect_eq(site->errors[k].last, cases[i].expected[k].last, "%s", cases[i].rules);
            cr_expect_eq(site->errors[k].ttl_s, cases[i].expected[k].ttl_s, "%s", cases[i].rules);
        }
        config_unref(&config);
    }
}

Test(cache_rules, what_is_wrong_is_said_once)
{
    static const struct {
        const char *rules, *error;
    } cases[] = {
        {"targeted: [\"a b\"]", "cache.targeted: \"a b\" is not the name of a field\n"},
        {"targeted: {a: b}", "cache.targeted: expected the name of a header field or a list of them, found a mapping\n"},
        {"key_cookies: [\"a*\"]", "cache.key_cookies: \"a*\" is not the name of a cookie\n"},
        {"bypass_cookies: [\"a=b\"]", "cache.bypass_cookies: \"a=b\" is not the name of a cookie\n"},
        {"bypass_cookies: [\"a*b\"]", "cache.bypass_cookies: \"a*b\" is not the name of a cookie\n"},
        {"bypass_cookies: [\"\"]", "cache.bypass_cookies: \"\" is not the name of a cookie\n"},
        {"errors: {200: 1s}", "cache.errors: \"200\" is not the status of an error: 404, or 4xx or 5xx for all of a class\n"},
        {"errors: {600: 1s}", "cache.errors: \"600\" is not the status of an error: 404, or 4xx or 5xx for all of a class\n"},
        {"errors: {3xx: 1s}", "cache.errors: \"3xx\" is not the status of an error: 404, or 4xx or 5xx for all of a class\n"},
        {"errors: {401: 1s}", "cache.errors: \"401\" answers who asked, so that it cannot be kept for others\n"},
        {"errors: {404: 10}", "cache.errors: \"10\" has no unit\n"},
        {"errors: often", "cache.errors: \"often\" is not a duration\n"},
        {"errors: 500ms", "cache.errors: \"500ms\" is not in whole seconds\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *errors;
        struct config *config = parse(cases[i].rules, &errors);
        cr_expect_null(config, "%s", cases[i].rules);
        const char *first = strstr(errors, cases[i].error);
        cr_expect(first != NULL, "%s: %s", cases[i].rules, errors);
        cr_expect(first == NULL || strstr(first + 1, ": error: cache") == NULL, "%s: %s", cases[i].rules, errors);
        free(errors);
    }
}

Test(cache_rules, they_are_printed_as_they_are_read)
{
    struct config *config = parse_good("targeted: A, bypass_cookies: [\"wp_*\", a], key_cookies: [], errors: {404: 10s, 5xx: 1m}");
    char *text;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    config_print(config, out);
    fclose(out);
    cr_expect(strstr(text, "targeted: [A]\n"));
    cr_expect(strstr(text, "bypass_cookies: [\"wp_*\", a]\n"), "%s", text);
    cr_expect(strstr(text, "key_cookies: []\n"));
    cr_expect(strstr(text, "errors: {404: 10s, 5xx: 1m}\n"), "%s", text);
    free(text);
    config_unref(&config);
}
