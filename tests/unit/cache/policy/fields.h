/* Header sections for tables of cases: "Name: value\nName: value", where @, @+60 or @-3000 stands for the HTTP-date so many seconds
 * from T0; @3 is itself. */
#ifndef TESTS_UNIT_CACHE_POLICY_FIELDS_H
#define TESTS_UNIT_CACHE_POLICY_FIELDS_H

#include "base/headers.h"
#include "base/http_date.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct wall_seconds T0 = {1700000000}; /* Tue, 14 Nov 2023 22:13:20 GMT */

static inline struct wall_seconds after(int64_t seconds)
{
    return (struct wall_seconds){T0.s + seconds};
}

static inline struct bytes expand_dates(struct arena *arena, struct bytes value)
{
    char *out = arena_alloc(arena, value.len * HTTP_DATE_LEN + 1);
    size_t len = 0;
    for (size_t i = 0; i < value.len; i++) {
        bool is_digit_next = i + 1 < value.len && value.at[i + 1] >= '0' && value.at[i + 1] <= '9';
        if (value.at[i] != '@' || is_digit_next) {
            out[len++] = value.at[i];
            continue;
        }
        char *end;
        int64_t seconds = strtoll(value.at + i + 1, &end, 10);
        http_date_format(after(seconds), out + len);
        len += HTTP_DATE_LEN;
        i = (size_t)(end - value.at) - 1;
    }
    return bytes_from(out, len);
}

static inline struct headers fields_from(struct arena *arena, const char *lines)
{
    struct headers headers;
    headers_init(&headers, arena);
    struct bytes rest = arena_copy(arena, bytes_from_string(lines));
    while (rest.len > 0) {
        size_t end = bytes_find(rest, '\n');
        struct bytes line = bytes_from(rest.at, end);
        size_t colon = bytes_find(line, ':');
        cr_assert_lt(colon, line.len, "a line without a colon: %.*s", BYTES_FMT(line));
        struct bytes value = bytes_from(line.at + colon + 1, line.len - colon - 1);
        headers_add_named(&headers, bytes_from(line.at, colon), expand_dates(arena, bytes_trim(value)));
        size_t taken = end < rest.len ? end + 1 : end;
        rest = bytes_from(rest.at + taken, rest.len - taken);
    }
    return headers;
}

#endif
