#include "proxy/observe/counters.h"

#include <criterion/criterion.h>

Test(counters, are_zero_when_new_and_aligned_to_a_cache_line)
{
    struct counters *counters = counters_new();

    cr_assert_eq((uintptr_t)counters % 64, 0);
    for (unsigned i = 0; i < COUNTER_COUNT; i++)
        cr_assert_eq(counters->value[i], 0);
    counters_free(&counters);
    cr_assert_null(counters);
}

Test(counters, a_request_counts_by_status_result_and_detail)
{
    struct counters *counters = counters_new();

    counters_count_request(counters, 200, RESULT_HIT, 3);
    counters_count_request(counters, 0, RESULT_MISS, DETAIL_SLOTS);
    counters_count_request(counters, 599, RESULT_NONE, 0);
    counters_count_request(counters, 600, RESULT_NONE, 0);
    counters_count_request(counters, 999, RESULT_NONE, 0);
    cr_assert_eq(counters->requests[200][RESULT_HIT], 1);
    cr_assert_eq(counters->requests[0][RESULT_MISS], 1);
    cr_assert_eq(counters->requests[599][RESULT_NONE], 3);
    cr_assert_eq(counters->details[3], 1);
    cr_assert_eq(counters->details[0], 3);
    counters_free(&counters);
}

Test(counters, a_histogram_puts_a_value_into_the_bucket_whose_bound_it_does_not_exceed)
{
    struct histogram histogram = {.sum_us = 0};

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        cr_assert(i == 0 || histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
        histogram_add(&histogram, histogram_bounds_us[i]);
        cr_assert_eq(histogram.buckets[i], i == 0 ? 1 : 2);
        histogram_add(&histogram, histogram_bounds_us[i] + 1);
        cr_assert_eq(histogram.buckets[i + 1], 1);
    }
    cr_assert_eq(histogram_bounds_us[0], 100);
    cr_assert_eq(histogram_bounds_us[HISTOGRAM_BUCKETS - 1], 30000000);
}

Test(counters, a_sum_adds_every_part)
{
    struct counters *one = counters_new(), *sum = counters_new();

    counter_add(one, COUNTER_CLIENT_BYTES_SENT, 5);
    counter_add(one, COUNTER_LOG_LINES_DROPPED, 7);
    counters_count_request(one, 404, RESULT_BYPASS, 63);
    histogram_add(&one->origin_first_byte, 1);
    histogram_add(&one->hit_duration, 200);
    histogram_add(&one->miss_duration, UINT64_C(1) << 40);
    counters_sum(sum, one);
    counters_sum(sum, one);
    cr_assert_eq(sum->value[COUNTER_CLIENT_BYTES_SENT], 10);
    cr_assert_eq(sum->value[COUNTER_LOG_LINES_DROPPED], 14);
    cr_assert_eq(sum->requests[404][RESULT_BYPASS], 2);
    cr_assert_eq(sum->details[63], 2);
    cr_assert_eq(sum->origin_first_byte.buckets[0], 2);
    cr_assert_eq(sum->hit_duration.buckets[1], 2);
    cr_assert_eq(sum->miss_duration.buckets[HISTOGRAM_BUCKETS], 2);
    cr_assert_eq(sum->miss_duration.sum_us, UINT64_C(1) << 41);
    counters_free(&one);
    counters_free(&sum);
}

Test(counters, every_result_has_its_word)
{
    static const char *const words[] = {"-", "HIT", "MISS", "EXPIRED", "STALE", "UPDATING", "REVALIDATED", "BYPASS"};

    for (unsigned i = 0; i < RESULT_COUNT; i++)
        cr_assert_str_eq(cache_result_word(i), words[i]);
}
