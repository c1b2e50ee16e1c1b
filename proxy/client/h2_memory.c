/* The memory of nghttp2's sessions.
 *
 * DESIGN. A session has a buffer for the largest frame, and uses the beginning of it. From malloc it would often be memory that others have left, TLS
 * handshakes above all, and cost 16 KiB whole. So these buffers are slots of mappings of their own: a page of them is resident from when it is first
 * written, and all but the first are given back when the session ends. Slots are kept for the next sessions. Everything else is malloc's; small blocks, of
 * which each stream takes four, are kept for the next streams by size, since malloc keeps but seven of a size at hand, and a connection has many streams.
 */
#include "proxy/client/h2_client.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    PAGE_BYTES = 4096,
    LARGE_BYTES = 16 * 1024, /* what is larger is a buffer for frames */
    SLOT_BYTES = LARGE_BYTES + PAGE_BYTES,
    MAPPING_SLOTS = 64,
    BLOCK_UNIT_BYTES = 16, /* malloc's; of which 8 are its own */
    BLOCK_OWN_BYTES = 8,
    BLOCKS_KEPT_BYTES = 128 * 1024,
};

static void grow(void ***list, unsigned count)
{
    *list = realloc(*list, count * sizeof(**list));
    assert(*list);
}

static bool add_mapping(struct h2_slots *slots)
{
    void *memory = mmap(NULL, (size_t)MAPPING_SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    madvise(memory, (size_t)MAPPING_SLOTS * SLOT_BYTES, MADV_NOHUGEPAGE); /* which would be resident whole; fails where there are none */
    grow(&slots->mappings, slots->mapping_count + 1);
    slots->mappings[slots->mapping_count++] = memory;
    grow(&slots->spare, slots->mapping_count * MAPPING_SLOTS);
    for (unsigned i = MAPPING_SLOTS; i-- > 0;)
        slots->spare[slots->spare_count++] = (char *)memory + (size_t)i * SLOT_BYTES;
    return true;
}

static void *take_slot(struct h2_slots *slots)
{
    if (slots->spare_count == 0 && !add_mapping(slots))
        return NULL;
    return slots->spare[--slots->spare_count];
}

static void give_slot(struct h2_slots *slots, void *slot)
{
    madvise((char *)slot + PAGE_BYTES, SLOT_BYTES - PAGE_BYTES, MADV_DONTNEED);
    slots->spare[slots->spare_count++] = slot;
}

/* What malloc takes for a block; one of so many units has at least units * BLOCK_UNIT_BYTES - BLOCK_OWN_BYTES. */
static size_t units_for(size_t size)
{
    return (size + BLOCK_OWN_BYTES + BLOCK_UNIT_BYTES - 1) / BLOCK_UNIT_BYTES;
}

static void *take_block(struct h2_slots *slots, size_t size)
{
    size_t units = units_for(size);
    struct h2_block_link *block = units < H2_BLOCK_UNITS ? slots->blocks[units] : NULL;
    if (!block)
        return malloc(size);
    slots->blocks[units] = block->next;
    slots->blocks_bytes -= units * BLOCK_UNIT_BYTES;
    return block;
}

static void give_block(struct h2_slots *slots, void *at)
{
    size_t units = (malloc_usable_size(at) + BLOCK_OWN_BYTES) / BLOCK_UNIT_BYTES;
    struct h2_block_link *block = at;
    if (units >= H2_BLOCK_UNITS || units < units_for(sizeof(*block)) ||
        slots->blocks_bytes + units * BLOCK_UNIT_BYTES > BLOCKS_KEPT_BYTES) {
        free(at);
        return;
    }
    block->next = slots->blocks[units];
    slots->blocks[units] = block;
    slots->blocks_bytes += (uint32_t)(units * BLOCK_UNIT_BYTES);
}

static void free_blocks(struct h2_slots *slots)
{
    for (unsigned units = 0; units < H2_BLOCK_UNITS; units++) {
        for (struct h2_block_link *block = slots->blocks[units], *next; block; block = next) {
            next = block->next;
            free(block);
        }
    }
}

void h2_slots_free(struct h2_slots *slots)
{
    free_blocks(slots);
    for (unsigned i = 0; i < slots->mapping_count; i++)
        munmap(slots->mappings[i], (size_t)MAPPING_SLOTS * SLOT_BYTES);
    free(slots->mappings);
    free(slots->spare);
}

/* --- what nghttp2 calls --- */

static void *on_malloc(size_t size, void *context)
{
    struct h2_session *session = context;
    if (size < LARGE_BYTES || size > SLOT_BYTES || session->frame_buffer)
        return take_block(&session->worker->h2->slots, size);
    return session->frame_buffer = take_slot(&session->worker->h2->slots);
}

static void on_free(void *at, void *context)
{
    struct h2_session *session = context;
    if (!at)
        return;
    if (at != session->frame_buffer) {
        give_block(&session->worker->h2->slots, at);
        return;
    }
    give_slot(&session->worker->h2->slots, at);
    session->frame_buffer = NULL;
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
