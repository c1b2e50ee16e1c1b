#include "helpers/store_buffers.h"

#include <assert.h>
#include <stdlib.h>

enum { ALIGNMENT = 4096 };

_Static_assert(STORE_BUFFER_MIN_BYTES << (STORE_BUFFER_CLASSES - 1) == STORE_RECORD_MAX_BYTES,
               "the largest buffer holds the largest record");

static unsigned class_of(uint64_t bytes)
{
    unsigned class = 0;
    while ((uint64_t)STORE_BUFFER_MIN_BYTES << class < bytes)
        class ++;
    assert(class < STORE_BUFFER_CLASSES);
    return class;
}

struct store_buffer store_buffers_take(struct store_buffers *buffers, uint64_t bytes)
{
    unsigned class = class_of(bytes);
    struct store_buffer taken = {(char *)buffers->idle[class], (uint64_t)STORE_BUFFER_MIN_BYTES << class};
    if (taken.at) {
        buffers->idle[class] = buffers->idle[class]->next;
        buffers->kept_bytes -= taken.bytes;
    } else if (!(taken.at = aligned_alloc(ALIGNMENT, taken.bytes))) {
        abort();
    }
    buffers->used_bytes += taken.bytes;
    return taken;
}

void store_buffers_give_back(struct store_buffers *buffers, struct store_buffer *buffer)
{
    if (!buffer->at)
        return;
    buffers->used_bytes -= buffer->bytes;
    if (buffers->kept_bytes + buffer->bytes <= STORE_BUFFERS_KEPT_BYTES) {
        struct store_idle_buffer *idle = (struct store_idle_buffer *)buffer->at;
        struct store_idle_buffer **list = &buffers->idle[class_of(buffer->bytes)];
        idle->next = *list;
        *list = idle;
        buffers->kept_bytes += buffer->bytes;
    } else {
        free(buffer->at);
    }
    *buffer = (struct store_buffer){0};
}

void store_buffers_free(struct store_buffers *buffers)
{
    assert(buffers->used_bytes == 0);
    for (unsigned i = 0; i < STORE_BUFFER_CLASSES; i++) {
        for (struct store_idle_buffer *idle; (idle = buffers->idle[i]);) {
            buffers->idle[i] = idle->next;
            free(idle);
        }
    }
    buffers->kept_bytes = 0;
}
