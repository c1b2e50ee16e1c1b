/* See error.h; the rows are in error.tbl. */
#include "base/error.h"
#include "base/bytes.h"

#include <assert.h>

static const struct {
    unsigned status;
    const char *text;
    const char *name;
} errors[ERROR_COUNT] = {
#define ERROR(name, status, text) [ERROR_##name] = {status, text, #name},
#include "base/error.tbl"
#undef ERROR
};

enum { ERROR_WORD_MAX_BYTES = 32 };

#define ERROR(name, status, text) _Static_assert(sizeof(#name) <= ERROR_WORD_MAX_BYTES, "word fits");
#include "base/error.tbl"
#undef ERROR

static char words[ERROR_COUNT][ERROR_WORD_MAX_BYTES];

/* The preprocessor cannot lower a name's case; done before main, so that threads only ever read. */
static __attribute__((constructor)) void error_spell_words(void)
{
    for (unsigned error = 0; error < ERROR_COUNT; error++) {
        const char *name = errors[error].name;
        for (unsigned i = 0; name[i]; i++)
            words[error][i] = name[i] == '_' ? '-' : byte_lower(name[i]);
    }
}

unsigned error_status(enum error error)
{
    assert(error < ERROR_COUNT);
    return errors[error].status;
}

const char *error_text(enum error error)
{
    assert(error < ERROR_COUNT);
    return errors[error].text;
}

const char *error_word(enum error error)
{
    assert(error < ERROR_COUNT);
    return words[error];
}
