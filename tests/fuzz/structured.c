#include "cache/policy/structured.h"

#include "tests/fuzz/fuzz.h"

static enum structured_result walk(struct bytes text, unsigned *count)
{
    struct structured_member member;
    const char *start = text.at, *end = text.at + text.len;
    for (*count = 0;; ++*count) {
        enum structured_result result = structured_next_member(&text, &member);
        REQUIRE(text.at >= start && text.at + text.len == end);
        if (result != STRUCTURED_MEMBER)
            return result;
        REQUIRE(member.key.len > 0 && member.key.at >= start && member.key.at + member.key.len <= end);
        REQUIRE(member.value.text.at == NULL || (member.value.text.at >= start && member.value.text.at + member.value.text.len <= end));
        REQUIRE(member.value.integer > -1000000000000000 && member.value.integer < 1000000000000000);
        REQUIRE(member.value.type != STRUCTURED_BOOLEAN || member.value.integer == 0 || member.value.integer == 1);
    }
}

/* As a List: every item lies in the text, and so do those of an inner list, which can be walked to its end. */
static void walk_list(struct bytes text)
{
    struct structured_value item, inner;
    const char *start = text.at, *end = text.at + text.len;
    while (structured_next_item(&text, &item) == STRUCTURED_MEMBER) {
        REQUIRE(text.at >= start && text.at + text.len == end);
        REQUIRE(item.text.at == NULL || (item.text.at >= start && item.text.at + item.text.len <= end));
        struct bytes rest = item.text;
        while (item.type == STRUCTURED_INNER_LIST && structured_next_inner_item(&rest, &inner))
            REQUIRE(inner.text.at == NULL || (inner.text.at >= item.text.at && inner.text.at + inner.text.len <= rest.at));
        REQUIRE(item.type != STRUCTURED_INNER_LIST || rest.len == 0);
    }
}

/* A valid Dictionary stays one with a member behind it, and an invalid one is not mended by one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char more[] = ", more=(1 \"a\";b);c=?0";
    struct bytes text = bytes_from((const char *)data, size);
    unsigned count, longer_count;
    walk_list(text);
    enum structured_result result = walk(text, &count);
    if (count == 0 && result == STRUCTURED_END)
        return 0;

    char *longer = malloc(size + sizeof(more) - 1);
    memcpy(longer, data, size);
    memcpy(longer + size, more, sizeof(more) - 1);
    bool is_valid = walk(bytes_from(longer, size + sizeof(more) - 1), &longer_count) == STRUCTURED_END;
    REQUIRE(result != STRUCTURED_END || (is_valid && longer_count == count + 1));
    free(longer);
    return 0;
}
