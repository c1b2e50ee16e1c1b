/* See mime.h. The table is sorted once and searched by halves. */
#include "proxy/origin/mime.h"

#include "base/arena.h"
#include "base/headers.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { EXTENSION_MAX_BYTES = 32 };

struct mime_entry {
    struct bytes extension, type;
    unsigned order; /* of an extension that is named twice the first counts */
};

static struct {
    struct arena arena;
    struct mime_entry *at;
    unsigned count, capacity;
} table;

/* For systems without the file. */
static const char common[] = "text/html html htm\n"
                             "text/css css\n"
                             "text/plain txt\n"
                             "text/javascript js mjs\n"
                             "application/json json\n"
                             "application/xml xml\n"
                             "application/pdf pdf\n"
                             "application/wasm wasm\n"
                             "application/gzip gz\n"
                             "application/zip zip\n"
                             "image/png png\n"
                             "image/jpeg jpg jpeg\n"
                             "image/gif gif\n"
                             "image/svg+xml svg\n"
                             "image/webp webp\n"
                             "image/vnd.microsoft.icon ico\n"
                             "font/woff woff\n"
                             "font/woff2 woff2\n"
                             "audio/mpeg mp3\n"
                             "video/mp4 mp4\n"
                             "video/webm webm\n";

static struct bytes lower(struct bytes text, char *out)
{
    for (size_t i = 0; i < text.len; i++)
        out[i] = byte_lower(text.at[i]);
    return bytes_from(out, text.len);
}

static void add(struct bytes extension, struct bytes type)
{
    if (extension.len > EXTENSION_MAX_BYTES)
        return;
    if (table.count == table.capacity) {
        table.capacity = table.capacity ? table.capacity * 2 : 1024;
        table.at = realloc(table.at, table.capacity * sizeof(*table.at));
        if (!table.at)
            abort();
    }
    char *text = arena_alloc(&table.arena, extension.len);
    table.at[table.count] = (struct mime_entry){lower(extension, text), type, table.count};
    table.count++;
}

static bool next_word(struct bytes *line, struct bytes *word)
{
    *line = bytes_trim(*line);
    size_t length = 0;
    while (length < line->len && line->at[length] != ' ' && line->at[length] != '\t')
        length++;
    *word = bytes_from(line->at, length);
    *line = bytes_from(line->at + length, line->len - length);
    return length > 0;
}

/* `type extension…`, comments from # on. */
static void parse_line(struct bytes line)
{
    struct bytes type, extension;
    line.len = bytes_find(line, '#');
    if (!next_word(&line, &type) || bytes_find(type, '/') == type.len || !header_value_is_valid(type))
        return;
    type = arena_copy(&table.arena, type);
    while (next_word(&line, &extension))
        add(extension, type);
}

static int compare(struct bytes a, struct bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = memcmp(a.at, b.at, shorter);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_entries(const void *a, const void *b)
{
    const struct mime_entry *left = a, *right = b;
    int order = compare(left->extension, right->extension);
    return order ? order : (left->order > right->order) - (left->order < right->order);
}

void mime_load(const char *path)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    table.count = 0;
    arena_free(&table.arena);
    arena_init(&table.arena);
    FILE *file = fopen(path, "re");
    if (!file)
        log_info("origin", "%s cannot be read: only the common media types are known", path);
    while (file && (length = getline(&line, &size, file)) > 0)
        parse_line(bytes_from(line, (size_t)length - (line[length - 1] == '\n')));
    free(line);
    if (file)
        fclose(file);
    for (const char *at = common; *at; at += strcspn(at, "\n") + 1)
        parse_line(bytes_from(at, strcspn(at, "\n")));
    qsort(table.at, table.count, sizeof(*table.at), compare_entries);
}

struct bytes mime_type(struct bytes path)
{
    struct bytes unknown = BYTES("application/octet-stream");
    size_t dot = path.len;
    while (dot > 0 && path.at[dot - 1] != '.' && path.at[dot - 1] != '/')
        dot--;
    struct bytes extension = bytes_from(path.at + dot, path.len - dot);
    char text[EXTENSION_MAX_BYTES];
    if (dot == 0 || path.at[dot - 1] == '/' || extension.len == 0 || extension.len > sizeof(text))
        return unknown;
    extension = lower(extension, text);
    unsigned low = 0, high = table.count; /* the first entry that is not before it */
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (compare(table.at[middle].extension, extension) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table.count && bytes_equal(table.at[low].extension, extension) ? table.at[low].type : unknown;
}
