#include "cache/policy/explain.h"

#include "fields.h"

static struct arena arena;

static void setup(void)
{
    arena_init(&arena);
}

static void teardown(void)
{
    arena_free(&arena);
}

TestSuite(explain, .init = setup, .fini = teardown);

static void assert_text(struct bytes text, const char *expected)
{
    cr_expect(bytes_equal(text, bytes_from_string(expected)), "%.*s", BYTES_FMT(text));
}

static struct response_meta meta_of(int64_t initial, int64_t lifetime, uint8_t source, uint32_t flags)
{
    return (struct response_meta){.response_time_s = T0.s,
                                  .corrected_initial_age_s = initial,
                                  .lifetime_s = lifetime,
                                  .lifetime_source = source,
                                  .flags = flags,
                                  .stale_while_revalidate_s = META_ABSENT,
                                  .stale_if_error_s = META_ABSENT};
}

Test(explain, lifetime_and_what_gave_it)
{
    static const struct {
        enum lifetime_source source;
        const char *word, *text;
    } cases[] = {
        {LIFETIME_NONE, "none", "Freshness lifetime 7 s: nothing says how long it is fresh."},
        {LIFETIME_S_MAXAGE, "s-maxage", "Freshness lifetime 7 s: from s-maxage."},
        {LIFETIME_MAX_AGE, "max-age", "Freshness lifetime 7 s: from max-age."},
        {LIFETIME_EXPIRES, "Expires", "Freshness lifetime 7 s: Expires minus Date."},
        {LIFETIME_RULE, "site rule", "Freshness lifetime 7 s: the site's own rule for errors."},
        {LIFETIME_HEURISTIC, "heuristic", "Freshness lifetime 7 s: a guess, a tenth of the time since Last-Modified."},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct response_meta meta = meta_of(0, 7, (uint8_t)cases[i].source, 0);
        assert_text(explain_lifetime(&meta, &arena), cases[i].text);
        cr_expect_str_eq(lifetime_source_word(cases[i].source), cases[i].word);
    }
}

Test(explain, age_and_freshness)
{
    struct response_meta meta = meta_of(20, 60, LIFETIME_MAX_AGE, 0);
    assert_text(explain_age(&meta, after(15), &arena), "Age 35 s: 20 s old on arrival (Age, Date and the time it took), 15 s here since.");
    assert_text(explain_freshness(&meta, after(15), &arena), "Fresh for another 25 s.");
    assert_text(explain_freshness(&meta, after(40), &arena), "Stale for 0 s.");
    assert_text(explain_freshness(&meta, after(50), &arena), "Stale for 10 s.");
    meta.flags = RESPONSE_NO_CACHE;
    assert_text(explain_freshness(&meta, after(0), &arena), "It says no-cache: it is validated before each use, fresh or not.");
}

Test(explain, when_it_may_be_served_stale)
{
    struct response_meta meta = meta_of(0, 60, LIFETIME_MAX_AGE, 0);
    assert_text(explain_stale_windows(&meta, 0, &arena),
                "It is not served stale: neither stale-while-revalidate, stale-if-error nor the site's grace allows it.");
    assert_text(explain_stale_windows(&meta, 5, &arena),
                "Stale, it may be served for 0 s while it is validated, and for 5 s when the origin fails.");
    meta.stale_if_error_s = 3;
    meta.stale_while_revalidate_s = 4;
    assert_text(explain_stale_windows(&meta, 5, &arena),
                "Stale, it may be served for 4 s while it is validated, and for 4 s when the origin fails.");
    meta.flags = RESPONSE_MUST_REVALIDATE;
    assert_text(explain_stale_windows(&meta, 5, &arena),
                "It is never served stale (must-revalidate, proxy-revalidate, s-maxage or no-cache).");
}
