/* JSON objects as text. */
#ifndef OBSERVE_JSON_TEXT_H
#define OBSERVE_JSON_TEXT_H

#include "base/arena.h"

#include <jansson.h>

/* Takes the object. `flags`: of json_dumps. In `arena`. */
struct bytes json_text(json_t *object, size_t flags, struct arena *arena);

#endif
