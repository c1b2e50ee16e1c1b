#include "proxy/admin/ctl_top_screen.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char then[] = "{\"requests\":{\"total\":100,\"by_result\":{\"HIT\":50,\"MISS\":50},\"by_status\":{\"200\":100}},"
                           "\"details\":{\"private\":9},\"counters\":{\"client_sent_bytes_total\":0}}";
static const char later[] = "{\"requests\":{\"total\":300,\"by_result\":{\"HIT\":200,\"MISS\":100},\"by_status\":{\"200\":290,\"404\":10}},"
                            "\"details\":{\"private\":9,\"a-new-one\":4},\"counters\":{\"client_sent_bytes_total\":4096}}";

static char *print(const char *now_text, const char *before_text, double seconds, enum top_order order, unsigned rows, unsigned columns)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    json_t *now = json_loads(now_text, 0, NULL), *before = before_text ? json_loads(before_text, 0, NULL) : NULL;
    cr_assert(now && (before || !before_text));
    ctl_top_print(
        &(struct ctl_top_look){.now = now, .before = before, .seconds = seconds, .order = order, .rows = rows, .columns = columns}, out);
    fclose(out);
    json_decref(now);
    json_decref(before);
    return text;
}

Test(ctl_top, rates_are_between_two_looks)
{
    char *text = print(later, then, 2, TOP_BY_RATE, 50, 200);
    cr_expect(strstr(text, "requests        100/s   hits 75.0 %   to clients 2.0 KiB/s"), "%s", text);
    cr_expect(strstr(text, "result   HIT                                  75.0            200\n"), "%s", text);
    cr_expect(strstr(text, "reason   a-new-one                             2.0              4\n"), "%s", text);
    cr_expect(strstr(text, "reason   private                               0.0              9\n"), "%s", text);
    free(text);
}

Test(ctl_top, the_first_look_and_one_at_a_server_started_anew_have_no_negative_rates)
{
    char *text = print(later, NULL, 0, TOP_BY_RATE, 50, 200);
    cr_expect(strstr(text, "requests          0/s   hits 66.7 %") && !strstr(text, "-1") && !strstr(text, "nan") && !strstr(text, "inf"),
              "%s", text);
    free(text);
    text = print(then, later, 1, TOP_BY_RATE, 50, 200);
    cr_expect(strstr(text, "requests        100/s   hits -   "), "%s", text);
    free(text);
    text = print("{}", NULL, 1, TOP_BY_RATE, 50, 200);
    cr_expect(strstr(text, "requests          0/s   hits -   "), "%s", text);
    free(text);
}

static void expect_order(enum top_order order, const char *first, const char *second)
{
    char *text = print(later, then, 1, order, 50, 200);
    const char *a = strstr(text, first), *b = strstr(text, second);
    cr_expect(a && b && a < b, "%s is not before %s in\n%s", first, second, text);
    free(text);
}

Test(ctl_top, rows_are_sorted_by_rate_count_or_name)
{
    expect_order(TOP_BY_RATE, "a-new-one", "private");
    expect_order(TOP_BY_COUNT, "private", "a-new-one");
    expect_order(TOP_BY_NAME, "reason   a-new-one", "result   HIT");
}

Test(ctl_top, a_screen_is_never_overrun)
{
    char *text = print(later, then, 1, TOP_BY_RATE, 6, 20);
    unsigned lines = 0;
    for (char *line = text, *end; *line; line = end + 1, lines++) {
        end = strchr(line, '\n');
        cr_assert(end && end - line <= 20, "%s", line);
    }
    cr_expect_eq(lines, 6);
    free(text);
}

static const char lists[] = "{\"urls\":{\"requests\":[{\"name\":\"http://a/\\u001b[2J\",\"count\":90,\"error\":0},{\"name\":\"http://a/"
                            "caf\xc3\xa9\",\"count\":10,\"error\":1}],"
                            "\"bytes\":[{\"name\":\"http://a/caf\xc3\xa9\",\"count\":2048,\"error\":0}],\"misses\":[]},"
                            "\"sites\":{\"requests\":[],\"bytes\":[],\"misses\":[]}}";

static char *print_view(enum top_view view, enum top_measure measure, bool is_terminal, unsigned columns)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    json_t *now = json_loads(later, 0, NULL), *top = json_loads(lists, 0, NULL);
    cr_assert(now && top);
    struct ctl_top_look look = {
        .now = now, .lists = top, .view = view, .measure = measure, .rows = 50, .columns = columns, .is_terminal = is_terminal};
    ctl_top_print(&look, out);
    fclose(out);
    json_decref(now);
    json_decref(top);
    return text;
}

Test(ctl_top, a_list_has_its_measures_side_by_side)
{
    char *text = print_view(TOP_VIEW_URLS, TOP_REQUESTS, false, 200);
    cr_expect(
        strstr(text,
               "          90            -            -  http://a/\\x1b[2J\n          10      2.0 KiB            -  http://a/caf\xc3\xa9\n"),
        "%s", text);
    cr_expect(strstr(text, "URLs of the last minutes, by requests") && !strchr(text, '\033'), "%s", text);
    free(text);
    text = print_view(TOP_VIEW_URLS, TOP_BYTES, false, 200);
    cr_expect(strstr(text, "by bytes") && strstr(text, "caf\xc3\xa9\n") && !strstr(text, "x1b"), "%s", text);
    free(text);
    text = print_view(TOP_VIEW_SITES, TOP_MISSES, false, 200);
    cr_expect(strstr(text, "none so far"), "%s", text);
    free(text);
    text = print_view(TOP_VIEW_TAGS, TOP_MISSES, false, 200);
    cr_expect(strstr(text, "none so far"), "%s", text);
    free(text);
}

Test(ctl_top, a_line_is_cut_at_a_character)
{
    char *text = print_view(TOP_VIEW_URLS, TOP_BYTES, false, 52);
    cr_expect(strstr(text, "http://a/caf\n"), "%s", text);
    free(text);
    text = print_view(TOP_VIEW_URLS, TOP_BYTES, false, 53);
    cr_expect(strstr(text, "http://a/caf\xc3\xa9\n"), "%s", text);
    free(text);
}

Test(ctl_top, reasons_are_explained)
{
    char *text = print_view(TOP_VIEW_REASONS, TOP_REQUESTS, false, 200);
    const char *line = strstr(text, "private  ");
    cr_expect(line && strlen(line) > 40, "%s", text);
    cr_expect(strstr(text, "a-new-one"), "%s", text);
    cr_expect_not(strstr(text, "HIT"), "%s", text);
    free(text);
}

Test(ctl_top, a_terminal_is_told_the_keys)
{
    char *text = print_view(TOP_VIEW_TAGS, TOP_REQUESTS, true, 100);
    cr_expect(strstr(text, " 1 overview   2 URLs   3 sites  [4 tags]  5 statuses   6 reasons    s: sort   q: quit"), "%s", text);
    cr_expect(strstr(text, "\033[7m") && strstr(text, "\033[0m\n"), "%s", text);
    free(text);
}
