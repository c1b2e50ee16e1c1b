/* From a request target to the path of a file below a root (RFC 3986 §2.1, §5.2.4). */
#ifndef ORIGIN_FILE_PATH_H
#define ORIGIN_FILE_PATH_H

#include "base/arena.h"

#include <stdbool.h>

enum { FILE_PATH_MAX_BYTES = 4000 };

enum file_path_verdict {
    FILE_PATH_OK,
    FILE_PATH_BAD,     /* 400: not a path, an invalid escape, NUL, or more `..` than there are segments */
    FILE_PATH_MISSING, /* 404: dot files do not exist, nor do names with a slash in them, nor paths of more than FILE_PATH_MAX_BYTES */
};

struct file_path {
    const char  *path;         /* decoded once; relative, no leading or trailing slash, no empty and no dot segments; "" = the root */
    bool         is_directory; /* it ends in a slash */
    struct bytes query;        /* with its "?", as received; may be empty */
};

enum file_path_verdict file_path_parse(struct bytes target, struct arena *arena, struct file_path *out);
/* "/path/": escaped again, for a Location. Made of the normalised path, so that it never leads to another host ("//host"). */
struct bytes file_path_location(const struct file_path *path, struct arena *arena);

#endif
