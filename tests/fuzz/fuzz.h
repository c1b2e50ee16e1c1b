/* What the fuzz targets share. Each target reads hostile bytes the way its parser gets them and checks what must hold of any answer;
 * tests/fuzz/seeds/<target> has where to begin, tests/fuzz/dictionaries/<target>, if there is one, the words of its language. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/headers.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* AddressSanitizer's own, at its start: less is kept of what was freed, and of who did, than it likes to; executions are many and small. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=8:malloc_context_size=8";
}

/* Stays in builds without assertions. */
#define REQUIRE(condition) \
    do { \
        if (!(condition)) \
            abort(); \
    } while (0)

/* Takes the bytes up to the first newline. */
static inline struct bytes fuzz_take_line(struct bytes *input)
{
    size_t end = bytes_find(*input, '\n');
    struct bytes line = bytes_from(input->at, end);
    size_t taken = end < input->len ? end + 1 : end;
    *input = bytes_from(input->at + taken, input->len - taken);
    return line;
}

/* Adds the value as the codecs would: trimmed, and never with control bytes, which they refuse. */
static inline void fuzz_add_field(struct headers *headers, enum header_id id, struct bytes value)
{
    if (header_value_is_valid(value))
        headers_add_known(headers, id, bytes_trim(value));
}

#endif
