/* Settings of a server at the edge: what each text means, printed, and what is said of a wrong one. */
#include "proxy/config/config.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define LISTEN "listen: {address: \":8080\", proxy_protocol: true}\n"
#define HTTPS  "sites: [{hosts: \"*\", origin: https://app.test"
#define SITE   "sites: [{hosts: \"*\", origin: http://127.0.0.1:3000"

static struct config *parse(const char *text, char **findings)
{
    size_t length;
    FILE *errors = open_memstream(findings, &length);
    struct config *config = config_parse(BYTES("t.yaml"), bytes_from_string(text), errors);
    fclose(errors);
    return config;
}

static void expect_printed(const char *text, const char *line)
{
    char *findings, *printed, *again;
    size_t length;
    struct config *config = parse(text, &findings);
    cr_assert(config, "refused:\n%s\n%s", text, findings);
    FILE *out = open_memstream(&printed, &length);
    config_print(config, out);
    fclose(out);
    cr_expect(strstr(printed, line), "\"%s\" is not in\n%s", line, printed);
    free(findings);
    config_unref(&config);

    config = parse(printed, &findings);
    cr_assert(config, "refused:\n%s\n%s", printed, findings);
    out = open_memstream(&again, &length);
    config_print(config, out);
    fclose(out);
    cr_expect_str_eq(printed, again);
    free(findings);
    free(printed);
    free(again);
    config_unref(&config);
}

Test(edge_settings, what_each_text_means)
{
    static const struct {
        const char *text, *line;
    } rows[] = {
        {SITE "}]\n", "trusted_proxies: []\n"},
        {SITE "}]\n", "proxy_protocol: false\n"},
        {"trusted_proxies: 10.0.0.0/8\n" LISTEN SITE "}]\n", "trusted_proxies: [10.0.0.0/8]\n"},
        {"trusted_proxies: [\"::1\", 127.0.0.1]\n" LISTEN SITE "}]\n", "proxy_protocol: true\n"},
        {SITE "}]\n", "https_redirect: false\n"},
        {SITE ", https_redirect: true}]\n", "https_redirect: 308\n"},
        {SITE ", https_redirect: 308}]\n", "https_redirect: 308\n"},
        {SITE ", https_redirect: 301}]\n", "https_redirect: 301\n"},
        {SITE ", https_redirect: off}]\n", "https_redirect: false\n"},
        {SITE ", hsts: 365d}]\n", "max_age: 365d\n"},
        {SITE "}]\n", "hsts:\n      max_age: off\n"},
        {SITE "}]\n", "acme_challenge: pass\n"},
        {SITE ", acme_challenge: pass}]\n", "acme_challenge: pass\n"},
        {SITE ", acme_challenge: /tmp}]\n", "acme_challenge: /tmp\n"},
        {HTTPS "}]\n", "origin: [https://app.test]\n"},
        {HTTPS "}]\n", "origin_tls:\n      verify: true\n"},
        {HTTPS ", host_header: a, origin_tls: {verify: off}}]\n", "verify: false\n"},
        {HTTPS ", origin_tls: {name: app.test}}]\n", "name: app.test\n"},
        {HTTPS ", origin_tls: {name: \"[::1]\"}}]\n", "name: \"[::1]\"\n"},
        {HTTPS ", origin_tls: {ca: /a, certificate: /b, key: /c}}]\n", "ca: /a\n      certificate: /b\n      key: /c\n"},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_printed(rows[i].text, rows[i].line);
}

Test(edge_settings, each_mistake_is_explained)
{
    static const struct {
        const char *text, *finding;
        bool is_accepted;
    } rows[] = {
        {LISTEN SITE "}]\n", "t.yaml:1:9: error: listen: proxy_protocol without trusted_proxies: nobody could connect\n", false},
        {"trusted_proxies: a.test\n" SITE "}]\n", "t.yaml:1:18: error: trusted_proxies: \"a.test\" is not an IP address or network\n",
         false},
        {"trusted_proxies: 10.1.0.0/8\n" SITE "}]\n", "has bits set behind its prefix length\n", false},
        {SITE ", https_redirect: 302}]\n", "error: https_redirect: \"302\" is not true, false, 301 or 308\n", false},
        {SITE ", https_redirect: [308]}]\n", "error: https_redirect: expected true, false, 301 or 308, found a list\n", false},
        {SITE ", acme_challenge: challenges}]\n", "error: acme_challenge: \"challenges\" is not an absolute path or pass\n", false},
        {SITE ", acme_challenge: /not/there}]\n", "warning: acme_challenge: /not/there is not a directory that can be read now\n", true},
        {HTTPS ", origin_tls: {certificate: /b}}]\n", "error: origin_tls: there is a certificate without its key\n", false},
        {HTTPS ", origin_tls: {key: /b}}]\n", "error: origin_tls: there is a key without its certificate\n", false},
        {HTTPS ", origin_tls: {ca: system}}]\n", "error: origin_tls.ca: \"system\" is not the absolute path of a file\n", false},
        {HTTPS ", origin_tls: {name: \"https://a\"}}]\n", "is not a host name or an address\n", false},
        {HTTPS ", origin_tls: {name: \"a:8443\"}}]\n", "is not a host name or an address\n", false},
        {SITE ", hsts: 1}]\n", "error: hsts.max_age: \"1\" has no unit\n", false},
        {SITE ", hsts: 1.5s}]\n", "error: hsts.max_age:", false},
        {SITE ", hsts: {include_subdomains: true}}]\n", "warning: hsts: without hsts.max_age nothing is sent\n", true},
        {SITE ", hsts: {max_age: 365d, preload: true}}]\n", "warning: hsts.preload: the lists of browsers' makers", true},
        {SITE ", hsts: {max_age: 300d, preload: true, include_subdomains: true}}]\n", "warning: hsts.preload: the lists", true},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *findings;
        struct config *config = parse(rows[i].text, &findings);
        cr_expect_eq(config != NULL, rows[i].is_accepted, "%s: %s", rows[i].text, findings);
        cr_expect(strstr(findings, rows[i].finding), "%s is said to be\n%s", rows[i].text, findings);
        free(findings);
        config_unref(&config);
    }
}

Test(edge_settings, the_field_line_is_ready_to_send)
{
    char *findings;
    struct config *config = parse(SITE ", hsts: {max_age: 365d, include_subdomains: true, preload: true}}]\n", &findings);
    cr_assert(config, "%s", findings);
    cr_expect(
        bytes_equal(config->sites[0].hsts_line, BYTES("Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n")));
    free(findings);
    config_unref(&config);
}

Test(edge_settings, the_directory_of_challenges_is_an_origin_of_its_own)
{
    char *findings;
    struct config *config = parse(SITE ", acme_challenge: /tmp, files: {delay: 1s, max_age: 1s}}]\n", &findings);
    cr_assert(config, "%s", findings);
    const struct config_site *challenges = config->sites[0].challenges;
    cr_assert_eq(challenges->origin_count, 1);
    cr_expect_eq(challenges->origins[0].kind, ORIGIN_KIND_FILES);
    cr_expect_str_eq(challenges->origins[0].root, "/tmp");
    cr_expect_eq(challenges->files_delay_ms, 0);
    cr_expect_lt(challenges->files_max_age_s, 0);
    cr_expect_eq(config->sites[0].origins[0].kind, ORIGIN_KIND_HTTP);
    free(findings);
    config_unref(&config);
}

static void expect_files(const char *text, const char *const *paths, unsigned count)
{
    char *findings;
    struct config *config = parse(text, &findings);
    cr_assert(config, "%s", findings);
    cr_assert_eq(config->file_count, count, "%s: %u files", text, config->file_count);
    for (unsigned i = 0; i < count; i++) {
        cr_expect(config_file(config, paths[i]), "%s", paths[i]);
        cr_expect_str_eq(config->files[i].path, paths[i]);
    }
    cr_expect_null(config_file(config, "/other"));
    free(findings);
    config_unref(&config);
}

Test(edge_settings, files_that_are_named_belong_to_the_configuration_once)
{
    static const char *const system[] = {"/etc/ssl/certs/ca-certificates.crt"}, *const own[] = {"/a", "/b", "/c"};
    expect_files(SITE "}]\n", NULL, 0);
    expect_files(SITE "}, {hosts: a, origin: https://a}, {hosts: b, origin: [http://b, https://b]}]\n", system, 1);
    expect_files(HTTPS ", origin_tls: {verify: false}}]\n", NULL, 0);
    expect_files(HTTPS ", origin_tls: {ca: /a, certificate: /b, key: /c}}, {hosts: a, origin: https://a, origin_tls: {ca: /a}}]\n", own, 3);
}
