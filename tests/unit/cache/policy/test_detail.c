#include "cache/policy/detail.h"

#include "base/bytes.h"

#include <criterion/criterion.h>

Test(detail, every_reason_has_a_word_of_its_own_that_is_a_token_and_a_sentence)
{
    for (unsigned detail = 0; detail < DETAIL_COUNT; detail++) {
        const char *word = detail_word(detail), *sentence = detail_sentence(detail);
        cr_expect(detail == DETAIL_NONE || bytes_is_token(bytes_from_string(word)), "RFC 9211 §2.8: %s", word);
        cr_expect_eq(sentence[strlen(sentence) - 1], '.', "%s", word);
        for (unsigned other = 0; other < detail; other++)
            cr_expect_str_neq(word, detail_word(other));
    }
}

Test(detail, fwd_words_are_those_of_rfc_9211)
{
    static const struct {
        enum fwd_reason fwd;
        const char *word;
    } cases[] = {
        {FWD_BYPASS, "bypass"}, {FWD_METHOD, "method"},   {FWD_URI_MISS, "uri-miss"}, {FWD_VARY_MISS, "vary-miss"},
        {FWD_MISS, "miss"},     {FWD_REQUEST, "request"}, {FWD_STALE, "stale"},       {FWD_PARTIAL, "partial"},
    };
    cr_expect_null(fwd_word(FWD_NONE));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_str_eq(fwd_word(cases[i].fwd), cases[i].word);
}
