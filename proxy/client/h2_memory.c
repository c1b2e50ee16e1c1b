/* The memory of nghttp2's sessions.
 *
 * DESIGN. A session has a buffer for the largest frame, and uses the beginning of it. From malloc it would often be memory that others have left, TLS
 * handshakes above all, and cost 16 KiB whole. So these buffers are slots of mappings of their own: a page of them is resident from when it is first
 * written, and all but the first are given back when the session ends. Slots are kept for the next sessions. Everything else is malloc's.
 */
#include "proxy/client/h2_client.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    PAGE_BYTES = 4096,
    LARGE_BYTES = 16 * 1024, /* what is larger is a buffer for frames */
    SLOT_BYTES = LARGE_BYTES + PAGE_BYTES,
    MAPPING_SLOTS = 64,
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

void h2_slots_free(struct h2_slots *slots)
{
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
        return malloc(size);
    return session->frame_buffer = take_slot(&session->worker->h2->slots);
}

static void on_free(void *at, void *context)
{
    struct h2_session *session = context;
    if (!at || at != session->frame_buffer) {
        free(at);
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
