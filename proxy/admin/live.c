#include "proxy/admin/live.h"

#include "base/error.h"
#include "cache/policy/detail.h"
#include "proxy/admin/query.h"
#include "proxy/config/units.h"

#include <string.h>

/* Three digits, the last two of which may be x; the range that they stand for. */
static bool read_status(struct bytes text, unsigned *first, unsigned *last)
{
    uint64_t number;
    bool is_class =
        text.len == 3 && text.at[0] >= '1' && text.at[0] <= '5' && byte_lower(text.at[1]) == 'x' && byte_lower(text.at[2]) == 'x';
    if (!is_class && (text.len != 3 || !bytes_parse_u64(text, &number) || number < 100 || number > 599))
        return false;
    *first = is_class ? (unsigned)(text.at[0] - '0') * 100 : (unsigned)number;
    *last = is_class ? *first + 99 : *first;
    return true;
}

static const char *read_statuses(struct bytes list, struct live_filter *filter)
{
    do {
        struct bytes one = bytes_take_until(&list, ',');
        unsigned from, to, unused;
        size_t dash = bytes_find(one, '-');
        bool is_good = read_status(bytes_from(one.at, dash), &from, &to);
        if (is_good && dash < one.len)
            is_good = read_status(bytes_from(one.at + dash + 1, one.len - dash - 1), &unused, &to) && from <= to;
        if (!is_good)
            return "status: 404, 4xx and 500-503 are some, several with commas between them";
        for (unsigned status = from; status <= to; status++)
            live_filter_add_status(filter, status);
    } while (list.len > 0);
    return NULL;
}

static const char *read_results(struct bytes list, struct arena *arena, struct live_filter *filter)
{
    do {
        struct bytes one = bytes_take_until(&list, ','), known = BYTES_NONE;
        unsigned result = 0;
        while (result < RESULT_COUNT && !bytes_equal_nocase(one, bytes_from_string(cache_result_word((enum cache_result)result))))
            result++;
        if (result < RESULT_COUNT) {
            filter->results |= 1u << result;
            continue;
        }
        for (result = RESULT_HIT; result < RESULT_COUNT; result++)
            known = arena_printf(arena, "%.*s%s%s", BYTES_FMT(known), known.at ? ", " : "", cache_result_word((enum cache_result)result));
        return arena_printf(arena, "result: one of %.*s, and - for what has nothing to do with the cache", BYTES_FMT(known)).at;
    } while (list.len > 0);
    return NULL;
}

static bool is_reason(struct bytes word)
{
    for (unsigned detail = 0; detail < DETAIL_COUNT; detail++)
        if (bytes_equal(word, bytes_from_string(detail_word((enum cache_detail)detail))))
            return true;
    for (unsigned error = 0; error < ERROR_COUNT; error++)
        if (bytes_equal(word, bytes_from_string(error_word((enum error)error))))
            return true;
    return false;
}

static const char *read_parameter(struct bytes name, struct bytes value, struct arena *arena, struct live_query *asked)
{
    struct live_filter *filter = &asked->filter;
    int64_t ms;
    if (bytes_equal(name, BYTES("status")))
        return read_statuses(value, filter);
    if (bytes_equal(name, BYTES("result")))
        return read_results(value, arena, filter);
    if (bytes_equal(name, BYTES("slower-than"))) {
        if (duration_parse(value, &ms) != UNIT_OK)
            return "slower-than: a duration such as 100ms or 2s";
        filter->slower_than_us = (uint64_t)ms * 1000;
        return NULL;
    }
    if (bytes_equal(name, BYTES("reason"))) {
        filter->reason = value;
        return is_reason(value) ? NULL : "reason: no such word; GET /stats and `outriggerctl stats` show those there are";
    }
    if (bytes_equal(name, BYTES("site")))
        asked->host = value;
    else if (bytes_equal(name, BYTES("url")))
        filter->url = value;
    else
        return "say what: status, result, reason, site, url and slower-than";
    return NULL;
}

const char *live_read_query(struct bytes query, struct arena *arena, struct live_query *asked)
{
    struct bytes name, value;
    *asked = (struct live_query){.host = BYTES_NONE};
    while (query_next(arena, &query, &name, &value)) {
        const char *error = value.len == 0 ? "a parameter without a value" : read_parameter(name, value, arena, asked);
        if (error != NULL)
            return error;
    }
    return NULL;
}
