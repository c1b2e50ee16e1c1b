#include "cache/policy/slice.h"

#include "tests/fuzz/fuzz.h"

/* A line with Range, then Content-Range. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_from((const char *)data, size), line = fuzz_take_line(&input);
    struct content_range range;
    struct span slice;
    for (uint64_t bytes = 1; bytes <= UINT64_C(1) << 30; bytes <<= 15)
        if (slice_for_range(line, bytes, &slice))
            REQUIRE(slice.first % bytes == 0 && slice.end - slice.first == bytes);
    if (content_range_parse(input, &range))
        REQUIRE(range.part.first < range.part.end && range.part.end <= range.length);
    return 0;
}
