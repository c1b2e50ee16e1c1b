#include "base/error.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

Test(error, a_row_gives_status_text_and_word)
{
    cr_assert_eq(error_status(ERROR_OK), 0);
    cr_assert_str_eq(error_word(ERROR_OK), "ok");
    cr_assert_eq(error_status(ERROR_ORIGIN_FIRST_BYTE_TIMEOUT), 504);
    cr_assert_str_eq(error_word(ERROR_ORIGIN_FIRST_BYTE_TIMEOUT), "origin-first-byte-timeout");
    cr_assert_str_eq(error_text(ERROR_ORIGIN_FIRST_BYTE_TIMEOUT), "origin did not answer in time");
    cr_assert_eq(error_status(ERROR_CLIENT_CLOSED), 0, "no client is left to answer");
}

Test(error, every_row_can_be_shown)
{
    for (enum error error = ERROR_OK; error < ERROR_COUNT; error++) {
        unsigned status = error_status(error);
        const char *word = error_word(error), *text = error_text(error);
        cr_expect(status == 0 || (status >= 400 && status <= 599), "%s: status %u", word, status);
        cr_expect(strlen(text) > 0 && text[strlen(text) - 1] != '.', "%s: text", word);
        cr_expect(strlen(word) > 0);
        /* A token, so that Cache-Status and a metric's label can carry it as it is. */
        for (const char *at = word; *at; at++)
            cr_expect(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '-', "%s", word);
        for (enum error other = ERROR_OK; other < error; other++)
            cr_expect_str_neq(word, error_word(other));
    }
}
