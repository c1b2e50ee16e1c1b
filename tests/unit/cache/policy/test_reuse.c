#include "cache/policy/reuse.h"

#include "tests/unit/cache/policy/fields.h"

static const struct site_rules ignoring = {.grace_s = 0};
static const struct site_rules honouring = {.honour_request_directives = true};
static const struct site_rules graceful = {.grace_s = 100};
static const struct site_rules graceful_honouring = {.grace_s = 100, .honour_request_directives = true};

enum { NO = META_ABSENT, VALIDATOR = RESPONSE_HAS_VALIDATOR, MUST = RESPONSE_MUST_REVALIDATE };

/* Stored at T0 with age 0. */
static struct response_meta stored_with(int64_t lifetime_s, uint32_t flags, int64_t while_revalidate_s, int64_t if_error_s)
{
    return (struct response_meta){
        .response_time_s = T0.s,
        .lifetime_s = lifetime_s,
        .stale_while_revalidate_s = while_revalidate_s,
        .stale_if_error_s = if_error_s,
        .flags = flags,
        .status = 200,
    };
}

#define IGNORE &ignoring
#define HONOUR &honouring
#define FRESH  REUSE_FRESH
#define STALE  REUSE_STALE
#define VALID  REUSE_REVALIDATE
#define SWR    DETAIL_STALE_WHILE_REVALIDATE
#define IMMUT  RESPONSE_IMMUTABLE

Test(reuse, decide)
{
    static const struct {
        const char *clause;
        const struct site_rules *rules;
        int64_t lifetime;
        uint32_t flags;
        int64_t while_revalidate;
        const char *request;
        int64_t now_s;
        enum reuse reuse;
        enum fwd_reason fwd;
        enum cache_detail detail;
    } cases[] = {
        /* Freshness */
        {"§4.2: fresh", IGNORE, 60, 0, NO, "", 0, FRESH, FWD_NONE, DETAIL_NONE},
        {"§4.2: the last fresh second", IGNORE, 60, 0, NO, "", 59, FRESH, FWD_NONE, DETAIL_NONE},
        {"§4.2: lifetime must exceed age", IGNORE, 60, VALIDATOR, NO, "", 60, VALID, FWD_STALE, DETAIL_EXPIRED},
        {"§4.2: never fresh", IGNORE, 0, VALIDATOR, NO, "", 0, VALID, FWD_STALE, DETAIL_EXPIRED},
        {"§4.3: nothing to validate with", IGNORE, 60, 0, NO, "", 60, VALID, FWD_STALE, DETAIL_NO_VALIDATOR},
        {"§4.2.4: must-revalidate while fresh", IGNORE, 60, MUST, NO, "", 59, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.2.2.4: no-cache while fresh", IGNORE, 60, RESPONSE_NO_CACHE | VALIDATOR, NO, "", 0, VALID, FWD_STALE, DETAIL_NO_CACHE},
        {"§5.2.2.4: no-cache and stale", IGNORE, 60, RESPONSE_NO_CACHE, 100, "", 70, VALID, FWD_STALE, DETAIL_NO_CACHE},
        {"RFC 8246: immutable ends with freshness", IGNORE, 60, IMMUT | VALIDATOR, NO, "", 60, VALID, FWD_STALE, DETAIL_EXPIRED},
        /* stale-while-revalidate */
        {"RFC 5861 §3: not needed", IGNORE, 60, 0, 10, "", 59, FRESH, FWD_NONE, DETAIL_NONE},
        {"RFC 5861 §3: first second", IGNORE, 60, 0, 10, "", 60, STALE, FWD_STALE, SWR},
        {"RFC 5861 §3: last second", IGNORE, 60, 0, 10, "", 69, STALE, FWD_STALE, SWR},
        {"RFC 5861 §3: over", IGNORE, 60, VALIDATOR, 10, "", 70, VALID, FWD_STALE, DETAIL_EXPIRED},
        {"RFC 5861 §3: 0", IGNORE, 60, VALIDATOR, 0, "", 60, VALID, FWD_STALE, DETAIL_EXPIRED},
        {"§4.2.4: must-revalidate forbids", IGNORE, 60, MUST | VALIDATOR, 10, "", 60, VALID, FWD_STALE, DETAIL_EXPIRED},
        /* The request's wishes, ignored */
        {"§5.2.1: no-cache ignored", IGNORE, 60, 0, NO, "Cache-Control: no-cache", 0, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.2.1: max-age ignored", IGNORE, 60, 0, NO, "Cache-Control: max-age=0", 9, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.2.1: min-fresh ignored", IGNORE, 60, 0, NO, "Cache-Control: min-fresh=90", 0, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.2.1: max-stale ignored", IGNORE, 60, VALIDATOR, NO, "Cache-Control: max-stale", 61, VALID, FWD_STALE, DETAIL_EXPIRED},
        {"§5.4: Pragma ignored", IGNORE, 60, 0, NO, "Pragma: no-cache", 0, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.2.1: no-cache ignored when stale", IGNORE, 60, 0, 9, "Cache-Control: no-cache", 60, STALE, FWD_STALE, SWR},
        /* and honoured */
        {"§5.2.1.4: no-cache", HONOUR, 60, 0, NO, "Cache-Control: no-cache", 0, VALID, FWD_REQUEST, DETAIL_REQUEST_NO_CACHE},
        {"§5.2.1.4: no-cache, stale", HONOUR, 60, VALIDATOR, 9, "Cache-Control: no-cache", 60, VALID, FWD_STALE, DETAIL_EXPIRED},
        {"§5.4: Pragma", HONOUR, 60, 0, NO, "Pragma: no-cache", 0, VALID, FWD_REQUEST, DETAIL_REQUEST_NO_CACHE},
        {"§5.4: Pragma in a list, case", HONOUR, 60, 0, NO, "Pragma: x, No-Cache", 0, VALID, FWD_REQUEST, DETAIL_REQUEST_NO_CACHE},
        {"§5.4: Cache-Control beats Pragma", HONOUR, 60, 0, NO, "Pragma: no-cache\nCache-Control: x", 0, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.4: other pragmas", HONOUR, 60, 0, NO, "Pragma: foo", 0, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.2.1.1: young enough", HONOUR, 60, 0, NO, "Cache-Control: max-age=10", 10, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.2.1.1: too old", HONOUR, 60, 0, NO, "Cache-Control: max-age=10", 11, VALID, FWD_REQUEST, DETAIL_REQUEST_MAX_AGE},
        {"§5.2.1.1: 0", HONOUR, 60, 0, NO, "Cache-Control: max-age=0", 1, VALID, FWD_REQUEST, DETAIL_REQUEST_MAX_AGE},
        {"§5.2.1.1: invalid", HONOUR, 60, 0, NO, "Cache-Control: max-age=x", 1, VALID, FWD_REQUEST, DETAIL_REQUEST_MAX_AGE},
        {"§5.2.1.1: no stale one without max-stale", HONOUR, 60, VALIDATOR, 50, "Cache-Control: max-age=90", 61, VALID, FWD_STALE,
         DETAIL_EXPIRED},
        {"§5.2.1.1: with max-stale", HONOUR, 60, VALIDATOR, NO, "Cache-Control: max-age=90, max-stale=5", 61, STALE, FWD_STALE,
         DETAIL_REQUEST_MAX_STALE},
        {"RFC 8246 §2: a reload of an immutable response", HONOUR, 60, IMMUT, NO, "Cache-Control: max-age=0", 9, FRESH, FWD_NONE,
         DETAIL_NONE},
        {"RFC 8246 §2: a forced one", HONOUR, 60, IMMUT, NO, "Cache-Control: no-cache", 9, VALID, FWD_REQUEST, DETAIL_REQUEST_NO_CACHE},
        {"§5.2.1.3: fresh for long enough", HONOUR, 60, 0, NO, "Cache-Control: min-fresh=50", 10, FRESH, FWD_NONE, DETAIL_NONE},
        {"§5.2.1.3: not", HONOUR, 60, 0, NO, "Cache-Control: min-fresh=50", 11, VALID, FWD_REQUEST, DETAIL_REQUEST_MIN_FRESH},
        {"§5.2.1.3: stale", HONOUR, 60, VALIDATOR, 50, "Cache-Control: min-fresh=1", 61, VALID, FWD_STALE, DETAIL_EXPIRED},
        {"§5.2.1.2: any", HONOUR, 60, 0, NO, "Cache-Control: max-stale", 6000, STALE, FWD_STALE, DETAIL_REQUEST_MAX_STALE},
        {"§5.2.1.2: no more than", HONOUR, 60, 0, NO, "Cache-Control: max-stale=10", 70, STALE, FWD_STALE, DETAIL_REQUEST_MAX_STALE},
        {"§5.2.1.2: more", HONOUR, 60, 0, NO, "Cache-Control: max-stale=10", 71, VALID, FWD_STALE, DETAIL_NO_VALIDATOR},
        {"§5.2.1.2: the number counts", HONOUR, 60, 0, NO, "Cache-Control: max-stale, max-stale=1", 70, VALID, FWD_STALE,
         DETAIL_NO_VALIDATOR},
        {"§4.2.4: max-stale against must-revalidate", HONOUR, 60, MUST | VALIDATOR, NO, "Cache-Control: max-stale", 61, VALID, FWD_STALE,
         DETAIL_EXPIRED},
        {"§4.2.4: max-stale against no-cache", HONOUR, 60, RESPONSE_NO_CACHE, NO, "Cache-Control: max-stale", 1, VALID, FWD_STALE,
         DETAIL_NO_CACHE},
        {"§5.2.1.2: a number is a limit for the origin's window too", HONOUR, 60, VALIDATOR, 50, "Cache-Control: max-stale=1", 70, VALID,
         FWD_STALE, DETAIL_EXPIRED},
        {"RFC 5861 §3: no wish, the origin's window", HONOUR, 60, 0, 50, "Cache-Control: x", 70, STALE, FWD_STALE, SWR},
        {"§5.2.1.7: only-if-cached changes nothing here", HONOUR, 60, 0, NO, "Cache-Control: only-if-cached", 9, FRESH, FWD_NONE,
         DETAIL_NONE},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct response_meta stored = stored_with(cases[i].lifetime, cases[i].flags, cases[i].while_revalidate, NO);
        struct headers fields = fields_from(&arena, cases[i].request);
        struct request_meta request;
        request_meta_from(&request, METHOD_GET, &fields);
        struct reuse_verdict verdict = reuse_decide(&stored, &request, cases[i].rules, after(cases[i].now_s));
        cr_expect_eq(verdict.reuse, cases[i].reuse, "%s: reuse %d", cases[i].clause, (int)verdict.reuse);
        cr_expect_eq(verdict.fwd, cases[i].fwd, "%s: fwd %d", cases[i].clause, (int)verdict.fwd);
        cr_expect_eq(verdict.detail, cases[i].detail, "%s: %s", cases[i].clause, detail_word(verdict.detail));
        cr_expect_eq(verdict.age_s, cases[i].now_s, "%s", cases[i].clause);
        cr_expect_eq(verdict.ttl_s, cases[i].lifetime - cases[i].now_s, "%s", cases[i].clause);
    }
    arena_free(&arena);
}

Test(reuse, on_error)
{
    static const struct {
        const char *clause;
        const struct site_rules *rules;
        uint32_t flags;
        int64_t while_revalidate, if_error;
        const char *request;
        int64_t now_s; /* lifetime is 60 */
        bool allowed;
    } cases[] = {
        {"§4.2.4: nothing permits", IGNORE, 0, NO, NO, "", 60, false},
        {"§4.2: fresh", IGNORE, MUST, NO, NO, "", 59, true},
        {"RFC 5861 §4: first second", IGNORE, 0, NO, 10, "", 60, true},
        {"RFC 5861 §4: last second", IGNORE, 0, NO, 10, "", 69, true},
        {"RFC 5861 §4: over", IGNORE, 0, NO, 10, "", 70, false},
        {"RFC 5861 §3: its window serves errors too", IGNORE, 0, 20, 10, "", 75, true},
        {"RFC 5861 §3: over", IGNORE, 0, 20, 10, "", 80, false},
        {"grace", &graceful, 0, NO, NO, "", 159, true},
        {"grace: over", &graceful, 0, NO, NO, "", 160, false},
        {"RFC 5861 §4: the origin's limit replaces grace", &graceful, 0, NO, 10, "", 75, false},
        {"RFC 5861 §4: 0 as well", &graceful, 0, NO, 0, "", 60, false},
        {"§4.2.4: must-revalidate against stale-if-error", IGNORE, MUST, NO, 10, "", 61, false},
        {"§4.2.4: must-revalidate against grace", &graceful, MUST, NO, NO, "", 61, false},
        {"§4.2.4: no-cache against grace", &graceful, RESPONSE_NO_CACHE, NO, NO, "", 61, false},
        {"§5.2.2.4: no-cache while fresh", &graceful, RESPONSE_NO_CACHE, NO, 10, "", 0, false},
        {"§5.2.1.4: the request's no-cache, honoured", &graceful_honouring, 0, NO, NO, "Cache-Control: no-cache", 61, false},
        {"§5.2.1.4: the request's no-cache, ignored", &graceful, 0, NO, NO, "Cache-Control: no-cache", 61, true},
        {"RFC 5861 §4: in the request, honoured", HONOUR, 0, NO, NO, "Cache-Control: stale-if-error=10", 69, true},
        {"RFC 5861 §4: in the request, over", HONOUR, 0, NO, NO, "Cache-Control: stale-if-error=10", 70, false},
        {"RFC 5861 §4: in the request, ignored", IGNORE, 0, NO, NO, "Cache-Control: stale-if-error=10", 61, false},
        {"§4.2.4: in the request, against must-revalidate", HONOUR, MUST, NO, NO, "Cache-Control: stale-if-error=10", 61, false},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct response_meta stored = stored_with(60, cases[i].flags, cases[i].while_revalidate, cases[i].if_error);
        struct headers fields = fields_from(&arena, cases[i].request);
        struct request_meta request;
        request_meta_from(&request, METHOD_GET, &fields);
        bool allowed = reuse_allowed_on_error(&stored, &request, cases[i].rules, after(cases[i].now_s));
        cr_expect_eq(allowed, cases[i].allowed, "%s", cases[i].clause);
    }
    arena_free(&arena);
}

Test(reuse, requests_that_pass)
{
    static const struct bytes session = {"session", 7};
    static const struct site_rules cookie_rules = {.bypass_cookies = {&session, 1}};
    static const struct {
        const char *clause;
        const struct site_rules *rules;
        enum method method;
        const char *request;
        enum fwd_reason fwd;
        enum cache_detail detail; /* DETAIL_NONE: looked up */
    } cases[] = {
        {"§4: GET", IGNORE, METHOD_GET, "", FWD_NONE, DETAIL_NONE},
        {"RFC 9110 §9.3.2: HEAD", IGNORE, METHOD_HEAD, "", FWD_NONE, DETAIL_NONE},
        {"§4: POST", IGNORE, METHOD_POST, "", FWD_METHOD, DETAIL_METHOD},
        {"§4: OPTIONS", IGNORE, METHOD_OPTIONS, "", FWD_METHOD, DETAIL_METHOD},
        {"§4: an unknown method", IGNORE, METHOD_OTHER, "", FWD_METHOD, DETAIL_METHOD},
        {"RFC 9110 §7.8: Upgrade", IGNORE, METHOD_GET, "Connection: upgrade\nUpgrade: websocket", FWD_BYPASS, DETAIL_BYPASS_UPGRADE},
        {"RFC 9110 §7.8: in a list, case", IGNORE, METHOD_GET, "Connection: keep-alive, Upgrade\nUpgrade: websocket", FWD_BYPASS,
         DETAIL_BYPASS_UPGRADE},
        {"RFC 9110 §7.8: Upgrade without Connection", IGNORE, METHOD_GET, "Upgrade: websocket", FWD_NONE, DETAIL_NONE},
        {"RFC 9113 §3.1: h2c is never taken up", IGNORE, METHOD_GET, "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c", FWD_NONE,
         DETAIL_NONE},
        {"a cookie of the site's rule", &cookie_rules, METHOD_GET, "Cookie: a=1; session=2", FWD_BYPASS, DETAIL_COOKIE},
        {"a cookie of another name", &cookie_rules, METHOD_GET, "Cookie: a=1", FWD_NONE, DETAIL_NONE},
        {"a cookie without a rule", IGNORE, METHOD_GET, "Cookie: session=2", FWD_NONE, DETAIL_NONE},
        {"RFC 9110 §9.3.1: a body", IGNORE, METHOD_GET, "Content-Length: 5", FWD_BYPASS, DETAIL_REQUEST_BODY},
        {"RFC 9110 §9.3.1: an empty body", IGNORE, METHOD_GET, "Content-Length: 0", FWD_NONE, DETAIL_NONE},
        {"RFC 9110 §9.3.1: a chunked body", IGNORE, METHOD_GET, "Transfer-Encoding: chunked", FWD_BYPASS, DETAIL_REQUEST_BODY},
        {"§5.2.1.5: no-store ignored", IGNORE, METHOD_GET, "Cache-Control: no-store", FWD_NONE, DETAIL_NONE},
        {"§5.2.1.5: no-store honoured", HONOUR, METHOD_GET, "Cache-Control: no-store", FWD_REQUEST, DETAIL_REQUEST_NO_STORE},
        {"§3.5: Authorization is looked up", IGNORE, METHOD_GET, "Authorization: x", FWD_NONE, DETAIL_NONE},
        {"Cookie is looked up", IGNORE, METHOD_GET, "Cookie: a=b", FWD_NONE, DETAIL_NONE},
        {"RFC 9110 §14.2: Range is looked up", IGNORE, METHOD_GET, "Range: bytes=0-1", FWD_NONE, DETAIL_NONE},
        {"§5.2.1.4: no-cache is looked up", HONOUR, METHOD_GET, "Cache-Control: no-cache", FWD_NONE, DETAIL_NONE},
        {"§5.2.1.7: only-if-cached is looked up", IGNORE, METHOD_GET, "Cache-Control: only-if-cached", FWD_NONE, DETAIL_NONE},
    };
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct headers fields = fields_from(&arena, cases[i].request);
        struct request_meta request;
        request_meta_from(&request, cases[i].method, &fields);
        enum fwd_reason fwd;
        enum cache_detail detail;
        enum request_disposition disposition = request_decide(&request, cases[i].rules, &fwd, &detail);
        cr_expect_eq(disposition, cases[i].detail == DETAIL_NONE ? REQUEST_LOOKUP : REQUEST_PASS, "%s", cases[i].clause);
        cr_expect_eq(fwd, cases[i].fwd, "%s", cases[i].clause);
        cr_expect_eq(detail, cases[i].detail, "%s: %s", cases[i].clause, detail_word(detail));
    }
    arena_free(&arena);
}
