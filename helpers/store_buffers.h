/* Memory for disk operations, aligned for O_DIRECT; kept for reuse up to a bound. */
#ifndef HELPERS_STORE_BUFFERS_H
#define HELPERS_STORE_BUFFERS_H

#include "base/store_format.h"

enum {
    STORE_BUFFER_MIN_BYTES = 16 * 1024,
    STORE_BUFFER_CLASSES = 10, /* powers of two, up to STORE_RECORD_MAX_BYTES */
    STORE_BUFFERS_KEPT_BYTES = 8 * 1024 * 1024,
};

struct store_buffer {
    char    *at; /* NULL: none */
    uint64_t bytes;
};

struct store_buffers {
    struct store_idle_buffer { struct store_idle_buffer *next; } *idle[STORE_BUFFER_CLASSES];
    uint64_t kept_bytes, used_bytes;
};

/* At least `bytes`, at most STORE_RECORD_MAX_BYTES. The contents are anything. */
struct store_buffer store_buffers_take(struct store_buffers *buffers, uint64_t bytes);
void                store_buffers_give_back(struct store_buffers *buffers, struct store_buffer *buffer);
void                store_buffers_free(struct store_buffers *buffers); /* all were given back */

#endif
