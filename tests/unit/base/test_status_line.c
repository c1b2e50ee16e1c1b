#include "base/status_line.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(status_line, version_status_phrase_and_end)
{
    cr_expect(bytes_equal(status_line_usual(200), BYTES("HTTP/1.1 200 OK\r\n")));
    cr_expect(bytes_equal(status_phrase(200), BYTES("OK")));
    cr_expect(bytes_equal(status_line_usual(304), BYTES("HTTP/1.1 304 Not Modified\r\n")));
    cr_expect(bytes_equal(status_line_usual(100), BYTES("HTTP/1.1 100 Continue\r\n")));
    cr_expect(bytes_equal(status_line_usual(511), BYTES("HTTP/1.1 511 Network Authentication Required\r\n")));
}

Test(status_line, every_row_is_of_its_status)
{
    unsigned rows = 0;
    for (unsigned status = 0; status < 2000; status++) {
        char line[128];
        struct bytes phrase = status_phrase(status);
        if (status_line_usual(status).len == 0) {
            cr_expect_eq(phrase.len, 0);
            continue;
        }
        rows++;
        cr_expect_gt(phrase.len, 0);
        snprintf(line, sizeof line, "HTTP/1.1 %u %.*s\r\n", status, BYTES_FMT(phrase));
        cr_expect(bytes_equal(status_line_usual(status), bytes_from_string(line)), "%u", status);
    }
    cr_expect_eq(rows, 60);
}

Test(status_line, what_has_no_row_has_no_line)
{
    static const unsigned statuses[] = {0, 1, 99, 299, 306, 418, 499, 512, 599, 600, 999, 1023, 65536 + 200, -1u};
    for (unsigned i = 0; i < sizeof statuses / sizeof *statuses; i++)
        cr_expect_eq(status_line_usual(statuses[i]).len, 0, "%u", statuses[i]);
}
