#include "proxy/config/address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

/* `shown`: the address as address_format writes it; NULL: refused. */
Test(address, forms_of_an_address)
{
    static const struct {
        const char *text;
        uint16_t default_port;
        const char *shown;
    } cases[] = {
        {"8080", 0, "0.0.0.0:8080"},
        {":8080", 0, "0.0.0.0:8080"},
        {"127.0.0.1:8080", 0, "127.0.0.1:8080"},
        {"[::1]:8080", 0, "[::1]:8080"},
        {"[::]:1", 0, "[::]:1"},
        {"0.0.0.0:65535", 0, "0.0.0.0:65535"},
        {"10.0.0.1", 53, "10.0.0.1:53"},
        {"10.0.0.1:5353", 53, "10.0.0.1:5353"},
        {"::1", 53, "[::1]:53"},
        {"[::1]", 53, "[::1]:53"},
        {"[::1]:5353", 53, "[::1]:5353"},
        {"", 0, NULL},
        {":", 0, NULL},
        {"0", 0, NULL},
        {":0", 0, NULL},
        {":65536", 0, NULL},
        {":-1", 0, NULL},
        {": 80", 0, NULL},
        {"127.0.0.1", 0, NULL},
        {"127.0.0.1:", 0, NULL},
        {"127.0.0.1:http", 0, NULL},
        {"127.0.0.1:80:80", 0, NULL},
        {"127.0.0.256:80", 0, NULL},
        {"127.1:80", 0, NULL},
        {"localhost:80", 0, NULL},
        {"::1", 0, NULL},
        {"[::1]", 0, NULL},
        {"[::1]8080", 0, NULL},
        {"[::1", 0, NULL},
        {"[]:80", 0, NULL},
        {"[127.0.0.1]:80", 0, NULL},
        {"[fe80::1%eth0]:80", 0, NULL},
        {"5353", 53, NULL},
        {":53", 53, NULL},
        {"dns.example", 53, NULL},
        {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80", 0, NULL},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_address address;
        char shown[64] = "";
        const char *refusal = address_parse(bytes_from_string(cases[i].text), cases[i].default_port, &address);
        if (!refusal)
            address_format(&address.address, shown);
        cr_expect_eq(!refusal, cases[i].shown != NULL, "%s: %s%s", cases[i].text, refusal ? refusal : "", shown);
        if (!refusal && cases[i].shown)
            cr_expect_str_eq(shown, cases[i].shown);
    }
}

Test(address, listeners_overlap_when_one_keeps_the_other_from_binding)
{
    static const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {
        {"127.0.0.1:80", "127.0.0.1:80", true}, {"127.0.0.1:80", "127.0.0.1:81", false}, {"127.0.0.1:80", "127.0.0.2:80", false},
        {":80", "127.0.0.1:80", true},          {"[::]:80", "[::1]:80", true},           {"[::1]:80", "[::2]:80", false},
        {"[::1]:80", "[::0:1]:80", true},       {"[::1]:80", "127.0.0.1:80", false},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_address a, b, off = {.length = 0};
        cr_assert_null(address_parse(bytes_from_string(cases[i].a), 0, &a));
        cr_assert_null(address_parse(bytes_from_string(cases[i].b), 0, &b));
        cr_expect_eq(address_overlaps(&a, &b), cases[i].overlap, "%s %s", cases[i].a, cases[i].b);
        cr_expect_eq(address_overlaps(&b, &a), cases[i].overlap, "%s %s", cases[i].b, cases[i].a);
        cr_expect_not(address_overlaps(&a, &off));
    }
}

Test(address, networks)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1"},
        {"10.0.0.0/8", "10.0.0.0/8"},
        {"0.0.0.0/0", "0.0.0.0/0"},
        {"192.0.2.128/25", "192.0.2.128/25"},
        {"10.0.0.1/32", "10.0.0.1"},
        {"::1", "::1"},
        {"2001:db8::/32", "2001:db8::/32"},
        {"::/0", "::/0"},
        {"10.0.0.1/8", NULL},
        {"192.0.2.129/25", NULL},
        {"2001:db8::1/32", NULL},
        {"10.0.0.0/33", NULL},
        {"::/129", NULL},
        {"10.0.0.0/", NULL},
        {"10.0.0.0/-1", NULL},
        {"10.0.0.0/8/8", NULL},
        {"10.0.0.0/99999999999999999999", NULL},
        {"10.0.0", NULL},
        {"", NULL},
        {"/8", NULL},
        {"localhost", NULL},
        {"[::1]", NULL},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config_network network;
        char shown[64] = "";
        const char *refusal = network_parse(bytes_from_string(cases[i].text), &network);
        cr_expect_eq(!refusal, cases[i].shown != NULL, "%s: %s", cases[i].text, refusal ? refusal : "");
        if (!refusal && cases[i].shown) {
            network_format(&network, shown);
            cr_expect_str_eq(shown, cases[i].shown);
        }
    }
}

static bool has(const char *network_text, const char *address_text)
{
    struct config_network network;
    struct config_address address;

    cr_assert_null(network_parse(bytes_from_string(network_text), &network));
    cr_assert_null(address_parse(bytes_from_string(address_text), 1, &address), "%s", address_text);
    return config_networks_have(&(struct config_networks){&network, 1}, (struct sockaddr *)&address.address);
}

Test(address, an_address_is_in_a_network_by_its_prefix)
{
    cr_expect(has("10.0.0.0/8", "10.255.255.255"));
    cr_expect_not(has("10.0.0.0/8", "11.0.0.0"));
    cr_expect(has("10.128.0.0/9", "10.128.0.1"));
    cr_expect_not(has("10.128.0.0/9", "10.127.255.255"));
    cr_expect(has("192.0.2.129", "192.0.2.129"));
    cr_expect_not(has("192.0.2.129", "192.0.2.128"));
    cr_expect(has("0.0.0.0/0", "203.0.113.9"));
    cr_expect_not(has("0.0.0.0/0", "::1"));
    cr_expect(has("2001:db8:8000::/33", "2001:db8:ffff::1"));
    cr_expect_not(has("2001:db8:8000::/33", "2001:db8:7fff::1"));
    cr_expect(has("127.0.0.0/8", "::ffff:127.0.0.1"), "an IPv4 client of a dual-stack socket");
    cr_expect_not(has("::/0", "::ffff:127.0.0.1"));
    struct sockaddr unix_client = {.sa_family = AF_UNIX};
    cr_expect_not(config_networks_have(&(struct config_networks){NULL, 0}, &unix_client));
}

Test(address, host_patterns)
{
    static const char *const good[] = {
        "*", "www.example.com", "*.example.com", "*.com", "localhost", "a_b.internal", "xn--bcher-kva.example", "10.0.0.1", "[::1]"};
    static const char *const bad[] = {"",
                                      ".",
                                      "a.",
                                      ".a",
                                      "a..b",
                                      "**",
                                      "*a.b",
                                      "a.*.b",
                                      "a.*",
                                      "*.",
                                      "*.*.a",
                                      "a b",
                                      "a/b",
                                      "http://a",
                                      "a:80",
                                      "[::1]:80",
                                      "[::1",
                                      "[x]",
                                      "a\tb",
                                      "b\303\274cher.example",
                                      "a,b",
                                      "a@b",
                                      "0123456789012345678901234567890123456789012345678901234567890123.example"};

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        cr_expect_null(host_pattern_check(bytes_from_string(good[i])), "%s", good[i]);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect(host_pattern_check(bytes_from_string(bad[i])), "%s", bad[i]);
    char longest[254];
    for (unsigned i = 0; i < sizeof(longest); i++)
        longest[i] = i % 50 == 49 ? '.' : 'a';
    cr_expect_null(host_pattern_check(bytes_from(longest, 253)));
    cr_expect(host_pattern_check(bytes_from(longest, 254)));
    cr_expect(host_pattern_check(bytes_from("a\0b", 3)));
}

Test(address, origins)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {
        {"http://127.0.0.1:3000", "127.0.0.1", 3000},
        {"http://app", "app", 80},
        {"http://app/", "app", 80},
        {"http://[::1]:81", "::1", 81},
        {"http://[::1]", "::1", 80},
        {"https://app", "app", 443},
        {"https://[::1]:8443/", "::1", 8443},
        {"http://App.Internal:65535/", "App.Internal", 65535},
    };
    static const char *const bad[] = {
        "",           "app",        "app:80",         "//app",      "ftp://app",   "HTTP://app",     "https://",
        "http:/app",  "http://",    "http:///x",      "http://:80", "http://app:", "http://app:0",   "http://a:b",
        "http://a/x", "http://a//", "http://a?",      "http://a#x", "http://u@a",  "http://u:p@a:1", "http://[::1]x",
        "http://[1]", "http://a b", "http://a:70000", "files:",     "files:srv",   "files://srv",    "files:./a"};

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct config_origin origin;
        const char *refusal = origin_parse(bytes_from_string(good[i].text), &origin);
        cr_expect_null(refusal, "%s %s", good[i].text, refusal);
        cr_expect_eq(origin.kind, ORIGIN_KIND_HTTP);
        cr_expect(bytes_equal(origin.host, bytes_from_string(good[i].host)), "%s", good[i].text);
        cr_expect_eq(origin.port, good[i].port, "%s", good[i].text);
        cr_expect_eq(origin.is_https, bytes_starts_with(origin.url, BYTES("https://")), "%s", good[i].text);
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct config_origin origin;
        cr_expect(origin_parse(bytes_from_string(bad[i]), &origin), "%s", bad[i]);
    }
    struct config_origin files;
    cr_expect_null(origin_parse(BYTES("files:/srv/www"), &files));
    cr_expect_eq(files.kind, ORIGIN_KIND_FILES);
}
