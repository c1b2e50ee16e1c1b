/* The memory of nghttp2's sessions.
 *
 * DESIGN. A session has a buffer for the largest frame, of which what nghttp2_session_mem_send returns is part. It means nothing any more when that is called
 * again, and h2_produce has copied it by then; so the sessions of a worker have one such buffer together. Everything else is malloc's; small blocks, of
 * which each stream takes four, are kept for the next streams by size, since malloc keeps but seven of a size at hand, and a connection has many streams.
 */
#include "proxy/client/h2_client.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

enum {
    LARGE_BYTES = 16 * 1024, /* what is larger is a buffer for frames */
    BLOCK_UNIT_BYTES = 16,   /* malloc's; of which 8 are its own */
    BLOCK_OWN_BYTES = 8,
    BLOCKS_KEPT_BYTES = 128 * 1024,
};

/* What malloc takes for a block; one of so many units has at least units * BLOCK_UNIT_BYTES - BLOCK_OWN_BYTES. */
static size_t units_for(size_t size)
{
    return (size + BLOCK_OWN_BYTES + BLOCK_UNIT_BYTES - 1) / BLOCK_UNIT_BYTES;
}

static void *take_block(struct h2_memory *memory, size_t size)
{
    size_t units = units_for(size);
    struct h2_block_link *block = units < H2_BLOCK_UNITS ? memory->blocks[units] : NULL;
    if (!block)
        return malloc(size);
    memory->blocks[units] = block->next;
    memory->blocks_bytes -= units * BLOCK_UNIT_BYTES;
    return block;
}

static void give_block(struct h2_memory *memory, void *at)
{
    size_t units = (malloc_usable_size(at) + BLOCK_OWN_BYTES) / BLOCK_UNIT_BYTES;
    struct h2_block_link *block = at;
    if (units >= H2_BLOCK_UNITS || units < units_for(sizeof(*block)) ||
        memory->blocks_bytes + units * BLOCK_UNIT_BYTES > BLOCKS_KEPT_BYTES) {
        free(at);
        return;
    }
    block->next = memory->blocks[units];
    memory->blocks[units] = block;
    memory->blocks_bytes += (uint32_t)(units * BLOCK_UNIT_BYTES);
}

static void free_blocks(struct h2_memory *memory)
{
    for (unsigned units = 0; units < H2_BLOCK_UNITS; units++) {
        for (struct h2_block_link *block = memory->blocks[units], *next; block; block = next) {
            next = block->next;
            free(block);
        }
    }
}

void h2_memory_free(struct h2_memory *memory)
{
    free_blocks(memory);
    free(memory->frame_buffer);
}

/* --- what nghttp2 calls --- */

/* As large as every session's, which are made alike. NULL: no memory. */
static void *share_frame_buffer(struct h2_session *session, size_t size)
{
    struct h2_memory *memory = &session->worker->h2->memory;
    if (!memory->frame_buffer)
        memory->frame_buffer = malloc(memory->frame_buffer_bytes = size);
    if (size > memory->frame_buffer_bytes)
        return malloc(size);
    return session->frame_buffer = memory->frame_buffer;
}

static void *on_malloc(size_t size, void *context)
{
    struct h2_session *session = context;
    if (size < LARGE_BYTES || session->frame_buffer)
        return take_block(&session->worker->h2->memory, size);
    return share_frame_buffer(session, size);
}

static void on_free(void *at, void *context)
{
    struct h2_session *session = context;
    if (at && at != session->frame_buffer)
        give_block(&session->worker->h2->memory, at);
}

static void *on_calloc(size_t count, size_t size, void *context)
{
    (void)context;
    return calloc(count, size);
}

static void *on_realloc(void *at, size_t size, void *context)
{
    const struct h2_session *session = context;
    if (!at)
        return on_malloc(size, context);
    assert(at != session->frame_buffer); /* it is as large as can be */
    return realloc(at, size);
}

nghttp2_mem h2_memory_of(struct h2_session *session)
{
    return (nghttp2_mem){session, on_malloc, on_free, on_calloc, on_realloc};
}
