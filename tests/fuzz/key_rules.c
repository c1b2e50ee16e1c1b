#include "cache/policy/key_rules.h"

#include "tests/fuzz/fuzz.h"

static size_t count_parameters(struct bytes query)
{
    size_t count = query.at != NULL;
    for (size_t i = 0; i < query.len; i++)
        count += query.at[i] == '&';
    return count;
}

static void check(struct bytes query, const struct query_rules *rules, struct arena *arena)
{
    struct bytes once = query_apply_rules(query, rules, arena), again = query_apply_rules(once, rules, arena);
    REQUIRE(again.at == once.at && again.len == once.len);
    REQUIRE(once.len <= query.len && count_parameters(once) <= count_parameters(query));
    if (rules->ignore.count == 0 && !rules->keeps_only)
        REQUIRE(once.len == query.len);
}

/* First line: names, separated by spaces; its first byte also tells which rules there are. Then the query. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct bytes input = bytes_from((const char *)data, size), line = fuzz_take_line(&input), names[8];
    struct rule_names list = {.at = names};
    arena_init(&arena);
    while (line.len > 0 && list.count < 8) {
        size_t end = bytes_find(line, ' ');
        if (end > 0)
            names[list.count++] = bytes_from(line.at, end);
        line = end < line.len ? bytes_from(line.at + end + 1, line.len - end - 1) : BYTES("");
    }
    unsigned choice = size > 0 ? data[0] : 0;
    const struct query_rules rules = {
        .ignore = choice & 1 ? list : (struct rule_names){0}, .keep = list, .keeps_only = (choice & 2) != 0, .sort = (choice & 4) != 0};
    check(input, &rules, &arena);
    arena_free(&arena);
    return 0;
}
