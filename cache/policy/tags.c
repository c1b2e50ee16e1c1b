#include "cache/policy/tags.h"

#include "cache/policy/structured.h"

enum { FIRST_CAPACITY = 16 };

struct tag_list {
    struct arena *arena;
    struct tag *at;
    unsigned count, capacity;
};

static void add(struct tag_list *list, struct bytes name, bool is_group)
{
    if (name.len == 0)
        return;
    if (list->count == list->capacity) {
        unsigned capacity = list->capacity == 0 ? FIRST_CAPACITY : list->capacity * 2;
        struct tag *at = arena_alloc(list->arena, capacity * sizeof *at);
        if (list->count > 0)
            memcpy(at, list->at, list->count * sizeof *at);
        list->at = at;
        list->capacity = capacity;
    }
    list->at[list->count++] = (struct tag){name, is_group};
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_space_or_comma(char c)
{
    return is_space(c) || c == ',';
}

static bool is_comma(char c)
{
    return c == ',';
}

static void split(struct tag_list *list, struct bytes value, bool (*separates)(char))
{
    size_t start = 0;
    for (size_t i = 0; i <= value.len; i++) {
        if (i < value.len && !separates(value.at[i]))
            continue;
        add(list, bytes_trim(bytes_from(value.at + start, i - start)), false);
        start = i + 1;
    }
}

/* A list of strings; their parameters, of which RFC 9875 defines none, are ignored. False when it is anything else. */
static bool add_strings(struct tag_list *list, struct bytes text)
{
    struct structured_value item;
    enum structured_result result;
    while ((result = structured_next_item(&text, &item)) == STRUCTURED_MEMBER) {
        if (item.type != STRUCTURED_STRING)
            return false;
        add(list, structured_unescape(item.text, list->arena), true);
    }
    return result == STRUCTURED_END;
}

static void add_groups(struct tag_list *list, const struct headers *fields, enum header_id id)
{
    struct bytes text = headers_combined(fields, header_spelling(id), list->arena);
    unsigned before = list->count;
    if (text.at != NULL && !add_strings(list, text))
        list->count = before;
}

static void add_tags(struct tag_list *list, const struct headers *fields)
{
    static const struct {
        enum header_id id;
        bool (*separates)(char);
    } kinds[] = {{HEADER_SURROGATE_KEY, is_space}, {HEADER_CACHE_TAG, is_comma}, {HEADER_XKEY, is_space_or_comma}};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct header *line = headers_find(fields, kinds[i].id);
        for (; line != NULL; line = headers_next(fields, line))
            split(list, line->value, kinds[i].separates);
    }
}

unsigned tags_collect(const struct headers *response, struct arena *arena, struct tag **tags)
{
    struct tag_list list = {.arena = arena};
    add_tags(&list, response);
    add_groups(&list, response, HEADER_CACHE_GROUPS);
    *tags = list.at;
    return list.count;
}

unsigned tags_requested(const struct headers *request, struct arena *arena, struct tag **tags)
{
    struct tag_list list = {.arena = arena};
    add_tags(&list, request);
    *tags = list.at;
    return list.count;
}

unsigned groups_collect(const struct headers *fields, enum header_id id, struct arena *arena, struct tag **groups)
{
    struct tag_list list = {.arena = arena};
    add_groups(&list, fields, id);
    *groups = list.at;
    return list.count;
}

bool header_is_tag_field(enum header_id id)
{
    return id == HEADER_SURROGATE_KEY || id == HEADER_CACHE_TAG || id == HEADER_XKEY;
}
