#include "cache/policy/storable.h"

#include "cache/policy/invalidate.h"

#include "tests/unit/cache/policy/fields.h"

static const struct site_rules defaults = {.heuristic_max_s = 86400, .grace_s = 3600};
static const struct site_rules cookies = {.heuristic_max_s = 86400, .store_set_cookie = true};
static const struct site_rules honouring = {.heuristic_max_s = 86400, .honour_request_directives = true};
static const struct bytes session = {"session", 7};
static const struct site_rules bypassing = {.heuristic_max_s = 86400, .bypass_cookies = {&session, 1}};
static const struct site_rules no_guess = {.heuristic_max_s = 0};

struct case_row {
    const char *clause;
    const struct site_rules *rules;
    enum method method;
    const char *request;
    unsigned status;
    const char *response;
    enum cache_detail detail; /* DETAIL_NONE: stored */
};

static struct store_verdict decide(struct arena *arena, const struct case_row *row, struct response_meta *meta)
{
    struct headers request_fields = fields_from(arena, row->request), response = fields_from(arena, row->response);
    struct request_meta request;
    static const struct target target = {.scheme = {"http", 4}, .host = {"example.com", 11}, .path = {"/a", 2}};
    request_meta_from(&request, row->method, &request_fields);
    request.target = &target;
    return storable_decide(&request, row->status, &response, row->rules, T0, T0, meta);
}

#define D  &defaults
#define OK DETAIL_NONE

Test(storable, verdicts)
{
    static const struct case_row cases[] = {
        /* What makes a response worth storing */
        {"§3: explicit max-age", D, METHOD_GET, "", 200, "Cache-Control: max-age=60", OK},
        {"§3: explicit s-maxage", D, METHOD_GET, "", 200, "Cache-Control: s-maxage=60", OK},
        {"§3: explicit Expires", D, METHOD_GET, "", 200, "Expires: @+60\nDate: @", OK},
        {"§4.2.2: heuristic", D, METHOD_GET, "", 200, "Last-Modified: @-3600\nDate: @", OK},
        {"§4.3: a strong validator alone", D, METHOD_GET, "", 200, "ETag: \"a\"", OK},
        {"§4.3: a weak validator alone", D, METHOD_GET, "", 200, "ETag: W/\"a\"", OK},
        {"RFC 9110 §8.8.3: a malformed entity tag is none", D, METHOD_GET, "", 200, "ETag: a", DETAIL_NO_FRESHNESS},
        {"§3.1: an entity tag that is not stored validates nothing", D, METHOD_GET, "", 200, "ETag: \"a\"\nConnection: ETag",
         DETAIL_NO_FRESHNESS},
        {"§5.2.2.4: nor does one for the first client alone", D, METHOD_GET, "", 200, "Cache-Control: no-cache=\"ETag\"\nETag: \"a\"",
         DETAIL_NO_FRESHNESS},
        {"§3.1: nor a Last-Modified", &no_guess, METHOD_GET, "", 200, "Last-Modified: @-3600\nConnection: last-modified",
         DETAIL_NO_FRESHNESS},
        {"§4.3: Last-Modified alone, no guess", &no_guess, METHOD_GET, "", 200, "Last-Modified: @-3600", OK},
        {"§3: nothing at all", D, METHOD_GET, "", 200, "Content-Type: text/html", DETAIL_NO_FRESHNESS},
        {"§3: public says nothing about how long", D, METHOD_GET, "", 200, "Cache-Control: public", DETAIL_NO_FRESHNESS},
        {"§4.2: stale on arrival", D, METHOD_GET, "", 200, "Cache-Control: max-age=0", DETAIL_ZERO_LIFETIME},
        {"§4.2: stale on arrival, validator", D, METHOD_GET, "", 200, "Cache-Control: max-age=0\nETag: \"a\"", OK},
        {"§4.2.1: invalid max-age", D, METHOD_GET, "", 200, "Cache-Control: max-age=x", DETAIL_ZERO_LIFETIME},
        {"§5.3: invalid Expires", D, METHOD_GET, "", 200, "Expires: 0", DETAIL_ZERO_LIFETIME},
        {"§4.2.3: Age has used it up", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nAge: 60", DETAIL_ZERO_LIFETIME},
        {"§4.2.3: Age leaves a second", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nAge: 59", OK},
        {"RFC 5861 §3: of use although stale", D, METHOD_GET, "", 200, "Cache-Control: max-age=0, stale-while-revalidate=9", OK},
        {"RFC 5861 §4: of use although stale", D, METHOD_GET, "", 200, "Cache-Control: max-age=0, stale-if-error=9", OK},
        {"RFC 5861 §3: window of 0", D, METHOD_GET, "", 200, "Cache-Control: max-age=0, stale-while-revalidate=0", DETAIL_ZERO_LIFETIME},
        {"§4.2.4: no use when stale", D, METHOD_GET, "", 200, "Cache-Control: max-age=0, must-revalidate, stale-if-error=9",
         DETAIL_ZERO_LIFETIME},
        {"§4.2.4: too stale for its window", D, METHOD_GET, "", 200, "Cache-Control: max-age=5, stale-if-error=9\nAge: 14",
         DETAIL_ZERO_LIFETIME},
        {"§5.2.2.4: no-cache with a validator", D, METHOD_GET, "", 200, "Cache-Control: no-cache\nETag: \"a\"", OK},
        {"§5.2.2.4: no-cache with field names", D, METHOD_GET, "", 200, "Cache-Control: no-cache=\"A\", max-age=9\nETag: \"a\"", OK},
        {"§5.2.2.4: no-cache, max-age, validator", D, METHOD_GET, "", 200, "Cache-Control: no-cache, max-age=60\nLast-Modified: @-1", OK},
        {"§5.2.2.4: no-cache, nothing to validate", D, METHOD_GET, "", 200, "Cache-Control: no-cache, max-age=60", DETAIL_NO_CACHE},
        {"§5.4: Pragma in a response means nothing", D, METHOD_GET, "", 200, "Pragma: no-cache\nCache-Control: max-age=60", OK},
        {"§5.4: Pragma in a response means nothing", D, METHOD_GET, "", 200, "Pragma: no-cache\nLast-Modified: @-9000", OK},
        /* Methods */
        {"RFC 9110 §9.3.2: HEAD", D, METHOD_HEAD, "", 200, "Cache-Control: max-age=60", DETAIL_HEAD_MISS},
        {"§3: POST", D, METHOD_POST, "", 200, "Cache-Control: max-age=60", DETAIL_METHOD},
        {"RFC 9110 §9.3.3: POST, its own representation", D, METHOD_POST, "", 200, "Cache-Control: max-age=60\nContent-Location: /a", OK},
        {"RFC 9110 §9.3.3: the whole URI", D, METHOD_POST, "", 200, "Cache-Control: max-age=60\nContent-Location: http://example.com:80/a",
         OK},
        {"RFC 9110 §9.3.3: s-maxage", D, METHOD_POST, "", 200, "Cache-Control: s-maxage=60\nContent-Location: /a", OK},
        {"RFC 9110 §9.3.3: Expires", D, METHOD_POST, "", 200, "Expires: @+60\nDate: @\nContent-Location: /a", OK},
        {"RFC 9110 §9.3.3: another resource", D, METHOD_POST, "", 200, "Cache-Control: max-age=60\nContent-Location: /b", DETAIL_METHOD},
        {"RFC 9110 §9.3.3: another query", D, METHOD_POST, "", 200, "Cache-Control: max-age=60\nContent-Location: /a?x", DETAIL_METHOD},
        {"RFC 9110 §9.3.3: another origin", D, METHOD_POST, "", 200, "Cache-Control: max-age=60\nContent-Location: //b.test/a",
         DETAIL_METHOD},
        {"RFC 9110 §9.3.3: two of them", D, METHOD_POST, "", 200, "Cache-Control: max-age=60\nContent-Location: /a\nContent-Location: /a",
         DETAIL_METHOD},
        {"RFC 9110 §9.3.3: a guess is not explicit", D, METHOD_POST, "", 200, "Last-Modified: @-9000\nContent-Location: /a", DETAIL_METHOD},
        {"RFC 9110 §9.3.3: nor is a validator", D, METHOD_POST, "", 200, "ETag: \"a\"\nContent-Location: /a", DETAIL_METHOD},
        {"RFC 9110 §9.3.3: of no use", D, METHOD_POST, "", 200, "Cache-Control: max-age=0\nContent-Location: /a", DETAIL_ZERO_LIFETIME},
        {"RFC 9110 §6.4.2: 201 is about what was created", D, METHOD_POST, "", 201, "Cache-Control: max-age=60\nContent-Location: /a",
         DETAIL_METHOD},
        {"RFC 9110 §9.3.3: an error", D, METHOD_POST, "", 404, "Cache-Control: max-age=60\nContent-Location: /a", DETAIL_METHOD},
        {"§3: POST, no-store", D, METHOD_POST, "", 200, "Cache-Control: max-age=60, no-store\nContent-Location: /a", DETAIL_NO_STORE},
        {"§3: POST, private", D, METHOD_POST, "", 200, "Cache-Control: max-age=60, private\nContent-Location: /a", DETAIL_PRIVATE},
        {"§3.5: POST, Authorization", D, METHOD_POST, "Authorization: x", 200, "Cache-Control: max-age=60\nContent-Location: /a",
         DETAIL_AUTHORIZATION},
        {"§3.5: POST, Authorization, public", D, METHOD_POST, "Authorization: x", 200,
         "Cache-Control: max-age=60, public\nContent-Location: /a", OK},
        {"§3: POST, Set-Cookie", D, METHOD_POST, "", 200, "Cache-Control: max-age=60\nContent-Location: /a\nSet-Cookie: a=b",
         DETAIL_SET_COOKIE},
        {"§4.1: POST, Vary: *", D, METHOD_POST, "", 200, "Cache-Control: max-age=60\nContent-Location: /a\nVary: *", DETAIL_VARY_STAR},
        {"§5.2.1.5: POST, no-store asked for", &honouring, METHOD_POST, "Cache-Control: no-store", 200,
         "Cache-Control: max-age=60\nContent-Location: /a", DETAIL_REQUEST_NO_STORE},
        {"POST with a cookie by which the site bypasses", &bypassing, METHOD_POST, "Cookie: session=1", 200,
         "Cache-Control: max-age=60\nContent-Location: /a", DETAIL_COOKIE},
        {"POST with another cookie", &bypassing, METHOD_POST, "Cookie: lang=de", 200, "Cache-Control: max-age=60\nContent-Location: /a",
         OK},
        {"RFC 9110 §9.3.3: PUT with all of that", D, METHOD_PUT, "", 200, "Cache-Control: max-age=60\nContent-Location: /a", DETAIL_METHOD},
        {"§3: PUT", D, METHOD_PUT, "", 200, "Cache-Control: max-age=60", DETAIL_METHOD},
        {"§3: OPTIONS", D, METHOD_OPTIONS, "", 200, "Cache-Control: max-age=60", DETAIL_METHOD},
        {"§3: unknown method", D, METHOD_OTHER, "", 200, "Cache-Control: max-age=60", DETAIL_METHOD},
        /* Statuses */
        {"§3: 206", D, METHOD_GET, "", 206, "Cache-Control: max-age=60", DETAIL_PARTIAL},
        {"§3: 304", D, METHOD_GET, "", 304, "Cache-Control: max-age=60\nETag: \"a\"", DETAIL_STATUS},
        {"§3: interim", D, METHOD_GET, "", 103, "Cache-Control: max-age=60", DETAIL_STATUS},
        {"§3: 204", D, METHOD_GET, "", 204, "Cache-Control: max-age=60", OK},
        {"§3: 299", D, METHOD_GET, "", 299, "Cache-Control: max-age=60", OK},
        {"§3: 302", D, METHOD_GET, "", 302, "Cache-Control: max-age=60", OK},
        {"§3: 400", D, METHOD_GET, "", 400, "Cache-Control: max-age=60", OK},
        {"§3: 404", D, METHOD_GET, "", 404, "Cache-Control: max-age=60", OK},
        {"§3: 499", D, METHOD_GET, "", 499, "Cache-Control: max-age=60", OK},
        {"§3: 500", D, METHOD_GET, "", 500, "Cache-Control: max-age=60", OK},
        {"§3: 503", D, METHOD_GET, "", 503, "Expires: @+60\nDate: @", OK},
        {"§3: 599", D, METHOD_GET, "", 599, "Cache-Control: max-age=60", OK},
        {"§3: 999", D, METHOD_GET, "", 999, "Cache-Control: max-age=60", OK},
        {"§4.2.2: 302 without explicit freshness", D, METHOD_GET, "", 302, "Last-Modified: @-3600\nDate: @", DETAIL_STATUS},
        {"§4.2.2: 500 without explicit freshness", D, METHOD_GET, "", 500, "ETag: \"a\"", DETAIL_STATUS},
        {"§4.2.2: 201", D, METHOD_GET, "", 201, "Last-Modified: @-3600\nDate: @", DETAIL_STATUS},
        {"§4.2.2: 202", D, METHOD_GET, "", 202, "Last-Modified: @-3600\nDate: @", DETAIL_STATUS},
        {"§4.2.2: 403", D, METHOD_GET, "", 403, "Last-Modified: @-3600\nDate: @", DETAIL_STATUS},
        {"§4.2.2: 502", D, METHOD_GET, "", 502, "Last-Modified: @-3600\nDate: @", DETAIL_STATUS},
        {"§4.2.2: 404", D, METHOD_GET, "", 404, "Last-Modified: @-3600\nDate: @", OK},
        {"§4.2.2: 410", D, METHOD_GET, "", 410, "Last-Modified: @-3600\nDate: @", OK},
        {"§4.2.2: 501", D, METHOD_GET, "", 501, "Last-Modified: @-3600\nDate: @", OK},
        {"§5.2.2.9: 599 and public", D, METHOD_GET, "", 599, "Cache-Control: public\nLast-Modified: @-3600\nDate: @", OK},
        {"§3: no-cache does not make a status storable", D, METHOD_GET, "", 302, "Cache-Control: no-cache\nETag: \"a\"", DETAIL_STATUS},
        {"RFC 9110 §15.5.13: 412 to a condition", D, METHOD_GET, "If-Match: \"a\"", 412, "Cache-Control: max-age=60", DETAIL_STATUS},
        {"RFC 9110 §15.5.13: 412 to a condition", D, METHOD_GET, "If-Unmodified-Since: @", 412, "Cache-Control: max-age=60", DETAIL_STATUS},
        {"RFC 9110 §15.5.13: 412 to nothing", D, METHOD_GET, "", 412, "Cache-Control: max-age=60", OK},
        {"RFC 9110 §15.5.17: 416 to a range", D, METHOD_GET, "Range: bytes=9-", 416, "Cache-Control: max-age=60", DETAIL_STATUS},
        {"RFC 9110 §15.5.17: 416 to nothing", D, METHOD_GET, "", 416, "Cache-Control: max-age=60", OK},
        {"RFC 9110 §15.5.18: 417 to an expectation", D, METHOD_GET, "Expect: x", 417, "Cache-Control: max-age=60", DETAIL_STATUS},
        {"RFC 9110 §14.2: 200 to a range", D, METHOD_GET, "Range: bytes=9-", 200, "Cache-Control: max-age=60", OK},
        /* no-store, private */
        {"§5.2.2.5: no-store", D, METHOD_GET, "", 200, "Cache-Control: no-store", DETAIL_NO_STORE},
        {"§5.2.2.5: no-store beats freshness", D, METHOD_GET, "", 200, "Cache-Control: max-age=60, no-store\nExpires: @+60",
         DETAIL_NO_STORE},
        {"§5.2.2.5: case", D, METHOD_GET, "", 200, "Cache-Control: No-StOrE, max-age=60", DETAIL_NO_STORE},
        {"§5.2.2.5: on another line", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nCache-Control: no-store", DETAIL_NO_STORE},
        {"§5.2.2.7: private", D, METHOD_GET, "", 200, "Cache-Control: private, max-age=60", DETAIL_PRIVATE},
        {"§5.2.2.7: private with names", D, METHOD_GET, "", 200, "Cache-Control: private=\"a\", max-age=60", OK},
        {"§5.2.2.7: private with no name", D, METHOD_GET, "", 200, "Cache-Control: private=\"\", max-age=60", DETAIL_PRIVATE},
        {"§5.2.2.7: private with a name that cannot be left out", D, METHOD_GET, "", 200, "Cache-Control: private=\"vary\", max-age=60",
         DETAIL_PRIVATE},
        {"§5.2.2.4: no-cache with field names, nothing to validate", D, METHOD_GET, "", 200, "Cache-Control: no-cache=\"a\", max-age=60",
         OK},
        {"§5.2.2.4: a cookie that is not stored", D, METHOD_GET, "", 200,
         "Cache-Control: no-cache=\"set-cookie\", max-age=60\nSet-Cookie: a=b", OK},
        {"§5.2.2.7: a cookie that is not stored", D, METHOD_GET, "", 200,
         "Cache-Control: private=\"a, Set-Cookie\", max-age=60\nSet-Cookie: a=b", OK},
        {"§5.2.2.7: another field than the cookie", D, METHOD_GET, "", 200, "Cache-Control: private=\"a\", max-age=60\nSet-Cookie: a=b",
         DETAIL_SET_COOKIE},
        {"§4.2.1: private beats public", D, METHOD_GET, "", 200, "Cache-Control: public, private, s-maxage=60", DETAIL_PRIVATE},
        {"§5.2.3: quoted text is no directive", D, METHOD_GET, "", 200, "Cache-Control: a=\"no-store, private\", max-age=60", OK},
        /* must-understand */
        {"§5.2.2.3: beats no-store", D, METHOD_GET, "", 200, "Cache-Control: max-age=60, no-store, must-understand", OK},
        {"§5.2.2.3: 404 is understood", D, METHOD_GET, "", 404, "Cache-Control: max-age=60, no-store, must-understand", OK},
        {"§5.2.2.3: 599 is not", D, METHOD_GET, "", 599, "Cache-Control: max-age=60, no-store, must-understand", DETAIL_MUST_UNDERSTAND},
        {"§5.2.2.3: 599 is not", D, METHOD_GET, "", 599, "Cache-Control: max-age=60, must-understand", DETAIL_MUST_UNDERSTAND},
        {"§5.2.2.3: 226 is not", D, METHOD_GET, "", 226, "Cache-Control: max-age=60, must-understand", DETAIL_MUST_UNDERSTAND},
        {"§5.2.2.3: private remains", D, METHOD_GET, "", 200, "Cache-Control: private, must-understand, max-age=60", DETAIL_PRIVATE},
        /* Authorization */
        {"§3.5: Authorization", D, METHOD_GET, "Authorization: x", 200, "Cache-Control: max-age=60", DETAIL_AUTHORIZATION},
        {"§3.5: Expires", D, METHOD_GET, "Authorization: x", 200, "Expires: @+60\nDate: @", DETAIL_AUTHORIZATION},
        {"§3.5: public", D, METHOD_GET, "Authorization: x", 200, "Cache-Control: max-age=60, public", OK},
        {"§3.5: s-maxage", D, METHOD_GET, "Authorization: x", 200, "Cache-Control: s-maxage=60", OK},
        {"§3.5: must-revalidate", D, METHOD_GET, "Authorization: x", 200, "Cache-Control: max-age=60, must-revalidate", OK},
        {"§3.5: proxy-revalidate does not help", D, METHOD_GET, "Authorization: x", 200, "Cache-Control: max-age=60, proxy-revalidate",
         DETAIL_AUTHORIZATION},
        {"§3.5: an empty one counts", D, METHOD_GET, "Authorization:", 200, "Cache-Control: max-age=60", DETAIL_AUTHORIZATION},
        {"§3.5: Proxy-Authorization is another matter", D, METHOD_GET, "Proxy-Authorization: x", 200, "Cache-Control: max-age=60", OK},
        {"RFC 6265: Cookie in the request is none of it", D, METHOD_GET, "Cookie: a=b", 200, "Cache-Control: max-age=60", OK},
        /* Set-Cookie (§7.3) */
        {"Set-Cookie", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nSet-Cookie: a=b", DETAIL_SET_COOKIE},
        {"Set-Cookie: public is not enough", D, METHOD_GET, "", 200, "Cache-Control: max-age=60, public\nSet-Cookie: a=b",
         DETAIL_SET_COOKIE},
        {"Set-Cookie: the site is not enough", &cookies, METHOD_GET, "", 200, "Cache-Control: max-age=60\nSet-Cookie: a=b",
         DETAIL_SET_COOKIE},
        {"Set-Cookie: public and the site", &cookies, METHOD_GET, "", 200, "Cache-Control: max-age=60, public\nSet-Cookie: a=b", OK},
        {"Set-Cookie: s-maxage and the site", &cookies, METHOD_GET, "", 200, "Cache-Control: s-maxage=60\nSet-Cookie: a=b", OK},
        /* Vary */
        {"§4.1: Vary", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nVary: Foo", OK},
        {"§4.1: *", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nVary: *", DETAIL_VARY_STAR},
        {"§4.1: a coding by which nobody is told apart", D, METHOD_GET, "", 200,
         "Cache-Control: max-age=60\nVary: Accept-Encoding\nContent-Encoding: foo", DETAIL_VARY_CODING},
        {"§4.1: * among others", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nVary: Foo, *", DETAIL_VARY_STAR},
        {"§4.1: * on the second line", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nVary: Foo\nVary: ,*", DETAIL_VARY_STAR},
        /* The request's no-store */
        {"§5.2.1.5: ignored", D, METHOD_GET, "Cache-Control: no-store", 200, "Cache-Control: max-age=60", OK},
        {"§5.2.1.5: honoured", &honouring, METHOD_GET, "Cache-Control: no-store", 200, "Cache-Control: max-age=60",
         DETAIL_REQUEST_NO_STORE},
        /* Odd, but no reason */
        {"RFC 9110 §14.4: Content-Range on a 200", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nContent-Range: bytes 0-1/2", OK},
        {"Content-Disposition", D, METHOD_GET, "", 200, "Cache-Control: max-age=60\nContent-Disposition: attachment", OK},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct response_meta meta;
        struct store_verdict verdict = decide(&arena, &cases[i], &meta);
        cr_expect_eq(verdict.detail, cases[i].detail, "%s: %u: %s: %s", cases[i].clause, cases[i].status, cases[i].response,
                     detail_word(verdict.detail));
        cr_expect_eq(verdict.store, cases[i].detail == DETAIL_NONE, "%s", cases[i].clause);
    }
    arena_free(&arena);
}

Test(storable, flags)
{
    static const struct {
        const char *clause, *request, *response;
        uint32_t flags;
    } cases[] = {
        {"nothing", "", "Cache-Control: max-age=60", 0},
        {"§5.2.2.4", "", "Cache-Control: no-cache", RESPONSE_NO_CACHE},
        {"§5.2.2.4: with names", "", "Cache-Control: no-cache=\"a\"", 0},
        {"§5.2.2.2", "", "Cache-Control: must-revalidate", RESPONSE_MUST_REVALIDATE},
        {"§5.2.2.8", "", "Cache-Control: proxy-revalidate", RESPONSE_MUST_REVALIDATE},
        {"§5.2.2.10", "", "Cache-Control: s-maxage=60", RESPONSE_MUST_REVALIDATE},
        {"RFC 8246", "", "Cache-Control: immutable", RESPONSE_IMMUTABLE},
        {"RFC 9110 §6.6.1", "", "Date: @", RESPONSE_HAS_DATE},
        {"RFC 9110 §6.6.1: invalid", "", "Date: today", 0},
        {"RFC 9110 §8.8.2", "", "Cache-Control: max-age=1\nLast-Modified: @-60", RESPONSE_HAS_VALIDATOR},
        {"RFC 9110 §8.8.2: invalid", "", "Last-Modified: yesterday", 0},
        {"RFC 9110 §8.8.3", "", "ETag: \"\"", RESPONSE_HAS_VALIDATOR},
        {"RFC 9110 §8.8.3: invalid", "", "ETag: \"a", 0},
        {"§4.2.2", "", "Last-Modified: @-60", RESPONSE_HAS_VALIDATOR},
        {"§3.5", "Authorization: x", "Foo: bar", RESPONSE_AUTHORIZED},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct case_row row = {cases[i].clause, D, METHOD_GET, cases[i].request, 200, cases[i].response, OK};
        struct response_meta meta;
        decide(&arena, &row, &meta);
        cr_expect_eq(meta.flags, cases[i].flags, "%s: %s: %x", cases[i].clause, cases[i].response, meta.flags);
    }
    arena_free(&arena);
}

Test(storable, meta_is_filled_whatever_the_verdict)
{
    struct arena arena;
    arena_init(&arena);
    struct headers request_fields = fields_from(&arena, "");
    struct headers response = fields_from(&arena, "Cache-Control: no-store, max-age=60, stale-while-revalidate=7, stale-if-error=8\n"
                                                  "Date: @-5\nAge: 20\nLast-Modified: @-100");
    struct request_meta request;
    request_meta_from(&request, METHOD_GET, &request_fields);
    struct response_meta meta;
    memset(&meta, 0xff, sizeof(meta));
    struct store_verdict verdict = storable_decide(&request, 200, &response, D, T0, after(2), &meta);
    cr_expect_eq(verdict.detail, DETAIL_NO_STORE);
    cr_expect_eq(meta.response_time_s, T0.s + 2);
    cr_expect(meta.flags & RESPONSE_HAS_DATE);
    cr_expect(meta.flags & RESPONSE_HAS_VALIDATOR);
    cr_expect_eq(meta.corrected_initial_age_s, 22);
    cr_expect_eq(meta.lifetime_s, 60);
    cr_expect_eq(meta.stale_while_revalidate_s, 7);
    cr_expect_eq(meta.stale_if_error_s, 8);
    cr_expect_eq(meta.status, 200);

    struct headers nothing = fields_from(&arena, "");
    storable_decide(&request, 200, &nothing, D, T0, after(2), &meta);
    cr_expect_eq(meta.flags, 0);
    cr_expect_eq(meta.lifetime_s, 0);
    cr_expect_eq(meta.stale_while_revalidate_s, META_ABSENT);
    cr_expect_eq(meta.stale_if_error_s, META_ABSENT);
    arena_free(&arena);
}

Test(storable, statuses_that_must_understand_admits)
{
    /* RFC 9110 §15, without 206 and 304, which are not stored, and 418, which means nothing. */
    static const unsigned understood[] = {200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 305, 307, 308, 400,
                                          401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414,
                                          415, 416, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505};
    struct arena arena;
    arena_init(&arena);
    unsigned stored = 0;
    for (unsigned status = 200; status < 1000; status++) {
        struct case_row row = {"§5.2.2.3", D, METHOD_GET, "", status, "Cache-Control: max-age=60, must-understand", OK};
        struct response_meta meta;
        stored += decide(&arena, &row, &meta).store;
    }
    cr_expect_eq(stored, COUNT(understood), "%u", stored);
    for (size_t i = 0; i < COUNT(understood); i++) {
        struct case_row row = {"§5.2.2.3", D, METHOD_GET, "", understood[i], "Cache-Control: max-age=60, must-understand", OK};
        struct response_meta meta;
        cr_expect(decide(&arena, &row, &meta).store, "%u", understood[i]);
    }
    arena_free(&arena);
}

Test(storable, a_modification_at_the_epoch_is_one)
{
    struct arena arena;
    arena_init(&arena);
    struct case_row row = {"§8.8.2", D, METHOD_GET, "", 200, "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT", OK};
    struct response_meta meta;
    cr_expect(decide(&arena, &row, &meta).store);
    cr_expect(meta.flags & RESPONSE_HAS_VALIDATOR);
    row.response = "Last-Modified: Wed, 31 Dec 1969 23:59:59 GMT";
    decide(&arena, &row, &meta);
    cr_expect_not(meta.flags & RESPONSE_HAS_VALIDATOR);
    arena_free(&arena);
}

Test(storable, what_takes_the_place_of_what)
{
    enum { NONE = LIFETIME_NONE, M = LIFETIME_MAX_AGE, S = LIFETIME_S_MAXAGE, E = LIFETIME_EXPIRES, RULE = LIFETIME_RULE };
    static const struct {
        const char *clause;
        unsigned stored, newer;
        int source;
        bool replaces;
    } cases[] = {
        {"a success, a success", 200, 200, NONE, true},
        {"a success, a redirection", 200, 302, M, true},
        {"an error, a success", 404, 200, NONE, true},
        {"an error, an error", 404, 500, RULE, true},
        {"a success, 404 with max-age", 200, 404, M, true},
        {"a success, 410 with s-maxage", 200, 410, S, true},
        {"a redirection, 404 with Expires", 301, 404, E, true},
        {"a success, 404 by the site's rule", 200, 404, RULE, false},
        {"a success, 404 by a guess", 200, 404, LIFETIME_HEURISTIC, false},
        {"a success, 404 with a validator only", 200, 404, NONE, false},
        {"RFC 5861 §4: 500", 200, 500, M, false},
        {"RFC 5861 §4: 502", 200, 502, M, false},
        {"RFC 5861 §4: 503", 301, 503, E, false},
        {"RFC 5861 §4: 504", 204, 504, S, false},
        {"501 is a statement about the method", 200, 501, M, true},
        {"an unknown error", 200, 599, RULE, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct response_meta stored = {.status = (uint16_t)cases[i].stored};
        struct response_meta newer = {.status = (uint16_t)cases[i].newer, .lifetime_source = (uint8_t)cases[i].source};
        cr_expect_eq(storable_replaces(&stored, &newer), cases[i].replaces, "%s", cases[i].clause);
    }
}

Test(storable, fields_that_are_not_kept_with_it)
{
    struct arena arena;
    arena_init(&arena);
    struct case_row row = {"", D, METHOD_GET, "", 200, "Cache-Control: max-age=60, no-cache=\"A, b\", private=\"set-cookie\"", OK};
    struct response_meta meta;
    struct store_verdict verdict = decide(&arena, &row, &meta);
    cr_expect_not(storable_keeps_field(&verdict, BYTES("a")), "§5.2.2.4");
    cr_expect_not(storable_keeps_field(&verdict, BYTES("B")), "§5.2.2.4");
    cr_expect_not(storable_keeps_field(&verdict, BYTES("Set-Cookie")), "§5.2.2.7");
    cr_expect(storable_keeps_field(&verdict, BYTES("c")));
    row.response = "Cache-Control: max-age=60";
    verdict = decide(&arena, &row, &meta);
    cr_expect(storable_keeps_field(&verdict, BYTES("a")));
    arena_free(&arena);
}
