#include "proxy/admin/query.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = byte_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %XX and + decoded, in `arena`. */
static struct bytes decode(struct arena *arena, struct bytes text)
{
    char *out = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        int high = c == '%' && i + 2 < text.len ? hex_digit(text.at[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text.at[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        out[len++] = c;
    }
    return bytes_from(out, len);
}

bool query_next(struct arena *arena, struct bytes *query, struct bytes *name, struct bytes *value)
{
    if (query->len == 0)
        return false;
    struct bytes parameter = bytes_take_until(query, '&'), text = parameter;
    *name = bytes_take_until(&text, '=');
    *value = name->len < parameter.len ? decode(arena, text) : BYTES_NONE;
    return true;
}
