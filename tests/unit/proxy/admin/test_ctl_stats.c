#include "proxy/admin/ctl_stats.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static char *print(const char *json)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    json_t *stats = json_loads(json, 0, NULL);
    cr_assert_not_null(stats);
    ctl_print_stats(stats, out);
    json_decref(stats);
    fclose(out);
    return text;
}

Test(ctl_stats, table_has_the_figures)
{
    char *text = print("{\"requests\":{\"total\":12,\"by_status\":{\"200\":12},\"by_result\":{\"HIT\":9,\"NONE\":3}},\"hit_ratio\":0.755,"
                       "\"details\":{\"expired\":4},\"gauges\":{\"cache_objects\":5,\"helpers{role=\\\"disk\\\"}\":2},"
                       "\"latency\":{\"hit\":{\"count\":9,\"p50_seconds\":0.0001,\"p99_seconds\":0.25}}}");
    cr_assert(strstr(text, "hit ratio                            75.5 %\n"), "%s", text);
    cr_assert(strstr(text, "  HIT                                       9\n"), "%s", text);
    cr_assert(strstr(text, "  without the cache                         3\n"), "%s", text);
    cr_assert(strstr(text, "0.10 / 250.00 ms\n"), "%s", text);
    cr_assert(strstr(text, "  expired                                   4\n"), "%s", text);
    cr_assert(strstr(text, "2 / 0 / 0\n"), "%s", text);
    free(text);
}

Test(ctl_stats, an_empty_answer_is_a_table_of_nothing)
{
    char *text = print("{}");
    cr_assert(strstr(text, "stored responses"));
    free(text);
}
