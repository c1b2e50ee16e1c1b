/* See tags.h. Of structured fields (RFC 9651) only what a list of strings may contain is read here: strings, and parameters to be skipped. */
#include "cache/policy/tags.h"

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

/* ---- structured fields ------------------------------------------------------------------------------------------------------------------ */

static bool take(struct bytes *rest, char c)
{
    if (rest->len == 0 || rest->at[0] != c)
        return false;
    *rest = bytes_from(rest->at + 1, rest->len - 1);
    return true;
}

static void skip_spaces(struct bytes *rest, bool tabs_too)
{
    while (rest->len > 0 && (rest->at[0] == ' ' || (tabs_too && rest->at[0] == '\t')))
        *rest = bytes_from(rest->at + 1, rest->len - 1);
}

/* RFC 9651 §4.2.5: printable ASCII, of which `"` and `\` are escaped. */
static bool take_string(struct bytes *rest, struct arena *arena, struct bytes *string)
{
    if (!take(rest, '"'))
        return false;
    char *text = arena_alloc(arena, rest->len + 1);
    for (size_t i = 0, len = 0; i < rest->len; i++) {
        char c = rest->at[i];
        if (c == '"') {
            *string = bytes_from(text, len);
            *rest = bytes_from(rest->at + i + 1, rest->len - i - 1);
            return true;
        }
        if (c == '\\' && (++i == rest->len || ((c = rest->at[i]) != '"' && c != '\\')))
            return false;
        if (c < 0x20 || c > 0x7e)
            return false;
        text[len++] = c;
    }
    return false;
}

static bool is_key_byte(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || c == '*' || (!first && ((c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'));
}

/* A bare item other than a string: a number, date, token, boolean or byte sequence. It is nobody's concern what it says: its bytes are those of
 * one of these kinds, and it ends where they do. */
static bool skip_bare_item(struct bytes *rest)
{
    if (rest->len == 0)
        return false;
    if (take(rest, ':')) { /* a byte sequence: base64 between colons */
        size_t end = bytes_find(*rest, ':');
        if (end == rest->len)
            return false;
        *rest = bytes_from(rest->at + end + 1, rest->len - end - 1);
        return true;
    }
    if (!take(rest, '?'))
        take(rest, '@');
    size_t len = 0;
    while (len < rest->len && (byte_is_tchar((unsigned char)rest->at[len]) || rest->at[len] == ':' || rest->at[len] == '/'))
        len++;
    *rest = bytes_from(rest->at + len, rest->len - len);
    return len > 0;
}

/* RFC 9651 §4.2.3.2. RFC 9875 defines none: they are ignored. */
static bool skip_parameters(struct bytes *rest, struct arena *arena)
{
    while (take(rest, ';')) {
        skip_spaces(rest, false);
        size_t len = 0;
        while (len < rest->len && is_key_byte(rest->at[len], len == 0))
            len++;
        *rest = bytes_from(rest->at + len, rest->len - len);
        if (len == 0)
            return false;
        struct bytes ignored;
        if (take(rest, '=') && !(rest->len > 0 && rest->at[0] == '"' ? take_string(rest, arena, &ignored) : skip_bare_item(rest)))
            return false;
    }
    return true;
}

/* RFC 9651 §4.2.1; false when it is anything but a list of strings. */
static bool parse_string_list(struct bytes text, struct tag_list *list)
{
    skip_spaces(&text, false);
    if (text.len == 0)
        return true;
    for (;;) {
        struct bytes string;
        if (!take_string(&text, list->arena, &string) || !skip_parameters(&text, list->arena))
            return false;
        add(list, string, true);
        skip_spaces(&text, true);
        if (text.len == 0)
            return true;
        if (!take(&text, ','))
            return false;
        skip_spaces(&text, true);
        if (text.len == 0)
            return false; /* a trailing comma */
    }
}

static void add_groups(struct tag_list *list, const struct headers *fields, enum header_id id)
{
    struct bytes text = headers_combined(fields, header_spelling(id), list->arena);
    unsigned before = list->count;
    if (text.at != NULL && !parse_string_list(text, list))
        list->count = before;
}

/* ---- fields ----------------------------------------------------------------------------------------------------------------------------- */

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
