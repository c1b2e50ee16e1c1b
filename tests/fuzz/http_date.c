#include "base/http_date.h"

#include "tests/fuzz/fuzz.h"

/* What is a date is written back and read again as the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t nows[] = {0, 1700000000, 4102444800};
    struct bytes text = bytes_from((const char *)data, size);
    for (unsigned i = 0; i < 3; i++) {
        struct wall_seconds now = {nows[i]}, date, again;
        char written[HTTP_DATE_LEN];
        if (!http_date_parse(text, now, &date))
            continue;
        http_date_format(date, written);
        REQUIRE(http_date_parse(bytes_from(written, sizeof(written)), now, &again));
        REQUIRE(again.s == date.s);
    }
    return 0;
}
