/* See top.h. */
#include "proxy/admin/top.h"

#include <stdio.h>

/* What is no UTF-8 (or was cut within a character) is shown with \xNN for its bytes beyond ASCII. */
static json_t *name_json(struct bytes name, struct arena *arena)
{
    json_t *text = json_stringn(name.len > 0 ? name.at : "", name.len);
    if (text != NULL)
        return text;
    char *escaped = arena_alloc(arena, 4 * name.len + 1), *at = escaped;
    for (size_t i = 0; i < name.len; i++)
        at += sprintf(at, (unsigned char)name.at[i] < 0x80 ? "%c" : "\\x%02x", (unsigned char)name.at[i]);
    return json_stringn(escaped, (size_t)(at - escaped));
}

static json_t *rows_json(const struct top_list *list, struct arena *arena)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < list->count; i++)
        json_array_append_new(rows, json_pack("{s:o, s:I, s:I}", "name", name_json(list->rows[i].name, arena), "count",
                                              (json_int_t)list->rows[i].count, "error", (json_int_t)list->rows[i].error));
    return rows;
}

json_t *top_json(const struct top_lists *lists, struct arena *arena)
{
    json_t *object = json_object();
    for (unsigned kind = 0; kind < TOP_KINDS; kind++) {
        json_t *measures = json_object();
        for (unsigned measure = 0; measure < TOP_MEASURES; measure++)
            json_object_set_new(measures, top_measure_words[measure], rows_json(&lists->by[kind][measure], arena));
        json_object_set_new(object, top_kind_words[kind], measures);
    }
    return object;
}
