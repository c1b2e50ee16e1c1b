#include "cache/policy/range.h"

#include "tests/fuzz/fuzz.h"

static void check(const struct range *range, uint64_t length, bool is_sorted)
{
    REQUIRE((range->kind == RANGE_PARTIAL) == (range->count > 0) && range->count <= RANGE_PARTS_MAX);
    for (unsigned i = 0; i < range->count; i++) {
        REQUIRE(range->parts[i].first < range->parts[i].end && range->parts[i].end <= length);
        for (unsigned j = 0; j < i; j++)
            REQUIRE(range->parts[j].end < range->parts[i].first || (!is_sorted && range->parts[i].end < range->parts[j].first));
    }
}

/* Eight bytes of length, then the field. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t length;
    if (size < sizeof(length))
        return 0;
    memcpy(&length, data, sizeof(length));
    struct bytes field = bytes_from((const char *)data + sizeof(length), size - sizeof(length));
    for (unsigned shift = 0; shift < 64; shift += 13) {
        struct range range = range_parse(field, length >> shift);
        check(&range, length >> shift, false);
        range_sort(&range);
        check(&range, length >> shift, true);
    }
    return 0;
}
