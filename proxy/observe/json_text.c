#include "proxy/observe/json_text.h"

#include <stdlib.h>

struct bytes json_text(json_t *object, size_t flags, struct arena *arena)
{
    char *text = json_dumps(object, flags);
    json_decref(object);
    if (!text)
        abort();
    struct bytes copy = arena_copy(arena, bytes_from_string(text));
    free(text);
    return copy;
}
