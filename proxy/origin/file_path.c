/* See file_path.h. */
#include "proxy/origin/file_path.h"

static int hex_digit(char c)
{
    c = byte_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes one segment to `out`, which has room for it. An escaped slash would change what the segments are: no file has one in its name. */
static enum file_path_verdict decode(struct bytes segment, char *out, size_t *length)
{
    enum file_path_verdict verdict = FILE_PATH_OK;
    size_t used = 0;
    for (size_t i = 0; i < segment.len; i++) {
        char c = segment.at[i];
        if (c == '%') {
            int high = i + 2 < segment.len ? hex_digit(segment.at[i + 1]) : -1;
            int low = i + 2 < segment.len ? hex_digit(segment.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return FILE_PATH_BAD;
            c = (char)(high << 4 | low);
            i += 2;
            if (c == '/')
                verdict = FILE_PATH_MISSING;
        }
        if (c == '\0')
            return FILE_PATH_BAD;
        out[used++] = c;
    }
    *length = used;
    return verdict;
}

/* *has_slash: whether one ended it. */
static struct bytes next_segment(struct bytes *rest, bool *has_slash)
{
    size_t length = bytes_find(*rest, '/');
    struct bytes segment = bytes_from(rest->at, length);
    *has_slash = length < rest->len;
    *rest = bytes_from(rest->at + length + *has_slash, rest->len - length - *has_slash);
    return segment;
}

/* Without the last segment. */
static size_t parent(const char *path, size_t length)
{
    while (length > 0 && path[length - 1] != '/')
        length--;
    return length > 0 ? length - 1 : 0;
}

/* Appends a decoded segment to path[0…*length]. */
static enum file_path_verdict append(char *path, size_t *length, struct bytes segment)
{
    if (segment.len == 0 || bytes_equal(segment, BYTES(".")))
        return FILE_PATH_OK;
    if (bytes_equal(segment, BYTES(".."))) {
        if (*length == 0)
            return FILE_PATH_BAD;
        *length = parent(path, *length);
        return FILE_PATH_OK;
    }
    if (segment.at[0] == '.')
        return FILE_PATH_MISSING;
    if (*length > 0)
        path[(*length)++] = '/';
    memmove(path + *length, segment.at, segment.len);
    *length += segment.len;
    return FILE_PATH_OK;
}

enum file_path_verdict file_path_parse(struct bytes target, struct arena *arena, struct file_path *out)
{
    size_t end = bytes_find(target, '?');
    out->query = bytes_from(target.at + end, target.len - end);
    struct bytes rest = bytes_from(target.at, end);
    if (rest.len == 0 || rest.at[0] != '/')
        return FILE_PATH_BAD;
    if (rest.len > FILE_PATH_MAX_BYTES)
        return FILE_PATH_MISSING;

    /* Decoded and normalised, a path is never longer than it was; a segment is decoded behind the path and then moved to its end. */
    char *path = arena_alloc(arena, 2 * rest.len + 2), *scratch = path + rest.len + 1;
    size_t length = 0;
    enum file_path_verdict verdict = FILE_PATH_OK;
    while (rest.len > 0) {
        bool has_slash;
        struct bytes segment = next_segment(&rest, &has_slash);
        size_t decoded;
        enum file_path_verdict found = decode(segment, scratch, &decoded);
        if (found == FILE_PATH_OK)
            found = append(path, &length, bytes_from(scratch, decoded));
        if (found == FILE_PATH_BAD)
            return found;
        if (found != FILE_PATH_OK)
            verdict = found;
        bool is_dots = decoded <= 2 && memcmp(scratch, "..", decoded) == 0; /* also the empty one */
        out->is_directory = is_dots || (has_slash && rest.len == 0);
    }
    path[length] = '\0';
    out->path = path;
    return verdict;
}

/* RFC 3986 §3.3, less the characters that are special in some context. */
static bool needs_no_escape(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c != '\0' && strchr("-._~/!$&'()*+,;=:@", c));
}

struct bytes file_path_location(const struct file_path *path, struct arena *arena)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, strlen(path->path) * 3 + 2), *at = out;
    *at++ = '/';
    for (const char *from = path->path; *from; from++) {
        if (needs_no_escape(*from)) {
            *at++ = *from;
            continue;
        }
        *at++ = '%';
        *at++ = digits[(unsigned char)*from >> 4];
        *at++ = digits[(unsigned char)*from & 15];
    }
    if (at > out + 1)
        *at++ = '/';
    return bytes_from(out, (size_t)(at - out));
}
