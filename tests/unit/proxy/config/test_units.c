#include "proxy/config/units.h"

#include <criterion/criterion.h>

Test(units, sizes)
{
    static const struct {
        const char *text;
        enum unit_error error;
        uint64_t bytes;
    } cases[] = {
        {"0", UNIT_OK, 0},
        {"0MiB", UNIT_OK, 0},
        {"1B", UNIT_OK, 1},
        {"10KiB", UNIT_OK, 10240},
        {"10KB", UNIT_OK, 10000},
        {"256MiB", UNIT_OK, 268435456},
        {"256 MiB", UNIT_OK, 268435456},
        {"256mib", UNIT_OK, 268435456},
        {"1GiB", UNIT_OK, 1073741824},
        {"1GB", UNIT_OK, 1000000000},
        {"2TiB", UNIT_OK, UINT64_C(2) << 40},
        {"3TB", UNIT_OK, UINT64_C(3000000000000)},
        {"8388607TiB", UNIT_OK, UINT64_C(8388607) << 40},
        {"8388608TiB", UNIT_TOO_LARGE, 0},
        {"18446744073709551616B", UNIT_TOO_LARGE, 0},
        {"256", UNIT_MISSING, 0},
        {"00256", UNIT_MISSING, 0},
        {"256 ", UNIT_MISSING, 0},
        {"256M", UNIT_UNKNOWN, 0},
        {"256k", UNIT_UNKNOWN, 0},
        {"256MiBs", UNIT_UNKNOWN, 0},
        {"10s", UNIT_UNKNOWN, 0},
        {"1.5GiB", UNIT_FRACTION, 0},
        {"1,5GiB", UNIT_FRACTION, 0},
        {"-1MiB", UNIT_NEGATIVE, 0},
        {"-0", UNIT_NEGATIVE, 0},
        {"", UNIT_NOT_A_NUMBER, 0},
        {"-", UNIT_NOT_A_NUMBER, 0},
        {"MiB", UNIT_NOT_A_NUMBER, 0},
        {"+1MiB", UNIT_NOT_A_NUMBER, 0},
        {" 1MiB", UNIT_NOT_A_NUMBER, 0},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t bytes = 0;
        cr_expect_eq(size_parse(bytes_from_string(cases[i].text), &bytes), cases[i].error, "%s", cases[i].text);
        if (cases[i].error == UNIT_OK)
            cr_expect_eq(bytes, cases[i].bytes, "%s", cases[i].text);
    }
}

Test(units, durations)
{
    static const struct {
        const char *text;
        enum unit_error error;
        int64_t ms;
    } cases[] = {
        {"0", UNIT_OK, 0},
        {"500ms", UNIT_OK, 500},
        {"30s", UNIT_OK, 30000},
        {"5m", UNIT_OK, 300000},
        {"2h", UNIT_OK, 7200000},
        {"1d", UNIT_OK, 86400000},
        {"106751991167d", UNIT_OK, 106751991167 * 86400000},
        {"106751991168d", UNIT_TOO_LARGE, 0},
        {"30", UNIT_MISSING, 0},
        {"30S", UNIT_UNKNOWN, 0},
        {"5M", UNIT_UNKNOWN, 0},
        {"1h30m", UNIT_UNKNOWN, 0},
        {"1w", UNIT_UNKNOWN, 0},
        {"-5s", UNIT_NEGATIVE, 0},
        {"0.5s", UNIT_FRACTION, 0},
        {"soon", UNIT_NOT_A_NUMBER, 0},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 0;
        cr_expect_eq(duration_parse(bytes_from_string(cases[i].text), &ms), cases[i].error, "%s", cases[i].text);
        if (cases[i].error == UNIT_OK)
            cr_expect_eq(ms, cases[i].ms, "%s", cases[i].text);
    }
}

Test(units, a_value_is_written_in_the_largest_unit_that_divides_it)
{
    static const struct {
        uint64_t value;
        const char *size, *duration;
    } cases[] = {
        {0, "0", "0"},
        {1, "1B", "1ms"},
        {1000, "1KB", "1s"},
        {1024, "1KiB", "1024ms"},
        {1536, "1536B", "1536ms"},
        {60000, "60KB", "1m"},
        {65000, "65KB", "65s"},
        {86400000, "84375KiB", "1d"},
        {UINT64_C(5) << 30, "5GiB", "5368709120ms"},
        {INT64_MAX, "9223372036854775807B", "9223372036854775807ms"},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char size[UNIT_TEXT_MAX], duration[UNIT_TEXT_MAX];
        uint64_t bytes = 1;
        int64_t ms = 1;
        size_format(cases[i].value, size);
        duration_format((int64_t)cases[i].value, duration);
        cr_expect_str_eq(size, cases[i].size);
        cr_expect_str_eq(duration, cases[i].duration);
        cr_expect_eq(size_parse(bytes_from_string(size), &bytes), UNIT_OK);
        cr_expect_eq(duration_parse(bytes_from_string(duration), &ms), UNIT_OK);
        cr_expect_eq(bytes, cases[i].value);
        cr_expect_eq(ms, (int64_t)cases[i].value);
    }
}
