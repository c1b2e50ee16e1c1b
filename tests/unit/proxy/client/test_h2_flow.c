/* Windows (RFC 9113 §6.9). */
#include "proxy/client/h2_flow.h"

#include <criterion/criterion.h>

Test(h2_flow, no_more_comes_than_the_window_has)
{
    struct h2_inflow flow = h2_inflow_open(100);
    cr_assert(h2_inflow_receive(&flow, 60));
    cr_assert_not(h2_inflow_receive(&flow, 41));
    cr_assert(h2_inflow_receive(&flow, 40));
    cr_assert(h2_inflow_receive(&flow, 0));
    cr_assert_not(h2_inflow_receive(&flow, 1));
}

Test(h2_flow, a_window_is_opened_by_halves_and_by_nothing_more_than_came)
{
    struct h2_inflow flow = h2_inflow_open(100);
    cr_assert(h2_inflow_receive(&flow, 100));
    cr_assert_eq(h2_inflow_take(&flow, 0), 0);
    cr_assert_eq(h2_inflow_take(&flow, 49), 0);
    cr_assert_eq(h2_inflow_take(&flow, 1), 50);
    cr_assert_eq(flow.left, 50);
    cr_assert_eq(h2_inflow_take(&flow, 50), 50);
    cr_assert_eq(flow.left, 100);
}

Test(h2_flow, a_window_that_is_made_smaller_may_be_less_than_nothing)
{
    struct h2_inflow flow = h2_inflow_open(H2_WINDOW_DEFAULT);
    cr_assert(h2_inflow_receive(&flow, 60000));
    h2_inflow_resize(&flow, 1024);
    cr_assert_eq(flow.left, 1024 - 60000);
    cr_assert_not(h2_inflow_receive(&flow, 1));
    cr_assert_not(h2_inflow_receive(&flow, 0));
    cr_assert_eq(h2_inflow_take(&flow, 60000), 60000);
    cr_assert_eq(flow.left, 1024);
    h2_inflow_resize(&flow, 1 << 20);
    cr_assert(h2_inflow_receive(&flow, 1 << 20));
}

Test(h2_flow, no_window_is_opened_beyond_the_maximum)
{
    int32_t window = 1;
    cr_assert_not(h2_outflow_open(&window, H2_WINDOW_MAX));
    cr_assert_eq(window, 1);
    cr_assert(h2_outflow_open(&window, H2_WINDOW_MAX - 1));
    cr_assert_eq(window, H2_WINDOW_MAX);
    cr_assert(h2_outflow_open(&window, -(int64_t)H2_WINDOW_MAX - 10));
    cr_assert_eq(window, -10);
}

Test(h2_wire, what_is_put_is_got)
{
    char bytes[H2_FRAME_HEADER_BYTES];
    const struct h2_frame frame = {0x123456, H2_FRAME_HEADERS, H2_FLAG_END_HEADERS, 0x7abcdef1};
    cr_assert_eq(h2_put_frame(bytes, frame), bytes + sizeof(bytes));
    cr_assert_arr_eq(bytes, "\x12\x34\x56\x01\x04\x7a\xbc\xde\xf1", sizeof(bytes));
    bytes[5] |= (char)0x80; /* RFC 9113 §4.1: reserved */
    struct h2_frame got = h2_get_frame((const uint8_t *)bytes);
    cr_assert(got.length == frame.length && got.type == frame.type && got.flags == frame.flags && got.stream == frame.stream);
}
