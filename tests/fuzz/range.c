#include "cache/policy/range.h"

#include "tests/fuzz/fuzz.h"

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
        if (range.kind == RANGE_SINGLE)
            REQUIRE(range.first < range.end && range.end <= length >> shift);
        else
            REQUIRE(range.first == 0 && range.end == 0);
    }
    return 0;
}
