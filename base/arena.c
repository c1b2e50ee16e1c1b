/* See arena.h.
 *
 * DESIGN. Chunks of ARENA_CHUNK_BYTES are carved from the front. A request too large for a chunk's remainder and over a quarter of a
 * chunk gets a chunk of its own, put behind the newest one, so that the newest goes on being carved. A thread keeps the last few chunks that its arenas gave
 * back: a miss has three arenas, and for malloc they are too large to be fast. Under AddressSanitizer what is not
 * handed out is poisoned, a gap is left after each allocation, and no chunk is kept: reading past one, or after arena_clear, is reported as on the heap.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISONS 1
#endif
#endif

#ifdef ARENA_POISONS
#include <sanitizer/asan_interface.h>
enum { ARENA_GAP_BYTES = 16, ARENA_SPARES_MAX = 0 };
#define ARENA_POISON(at, size)   ASAN_POISON_MEMORY_REGION(at, size)
#define ARENA_UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION(at, size)
#else
enum { ARENA_GAP_BYTES = 0, ARENA_SPARES_MAX = 16 };
#define ARENA_POISON(at, size)   ((void)(at), (void)(size))
#define ARENA_UNPOISON(at, size) ((void)(at), (void)(size))
#endif

enum {
    ARENA_ALIGN = alignof(max_align_t),
    ARENA_CHUNK_BYTES = 4096 - 16, /* with malloc's own header one page: most requests need no second */
    ARENA_SMALL_BYTES = 2048 - 16,
    ARENA_ALONE_BYTES = ARENA_CHUNK_BYTES / 4,
};

struct arena_chunk {
    struct arena_chunk *next;
    size_t size; /* of data */
    alignas(max_align_t) char data[];
};

struct arena_cleanup {
    struct arena_cleanup *next;
    void (*release)(void *);
    void *what;
};

enum {
    ARENA_CHUNK_DATA_BYTES = ARENA_CHUNK_BYTES - (int)sizeof(struct arena_chunk),
    ARENA_SMALL_DATA_BYTES = ARENA_SMALL_BYTES - (int)sizeof(struct arena_chunk),
};
_Static_assert(ARENA_CHUNK_DATA_BYTES % ARENA_ALIGN == 0 && ARENA_SMALL_DATA_BYTES % ARENA_ALIGN == 0,
               "allocations stay aligned up to the end of a chunk");

static _Noreturn void arena_out_of_memory(size_t size)
{
    fprintf(stderr, "arena: out of memory (%zu bytes asked for)\n", size);
    abort();
}

/* Of this thread; each of the default size. */
static _Thread_local struct arena_chunk *spares;
static _Thread_local int spares_count;

static struct arena_chunk *chunk_new(size_t data_bytes)
{
    struct arena_chunk *chunk = spares;
    if (data_bytes == ARENA_CHUNK_DATA_BYTES && chunk) {
        spares = chunk->next;
        spares_count--;
        return chunk;
    }
    chunk = malloc(sizeof(*chunk) + data_bytes);
    if (!chunk)
        arena_out_of_memory(data_bytes);
    chunk->size = data_bytes;
    ARENA_POISON(chunk->data, data_bytes);
    return chunk;
}

static void chunk_free(struct arena_chunk *chunk)
{
    if (chunk->size == ARENA_CHUNK_DATA_BYTES && spares_count < ARENA_SPARES_MAX) {
        chunk->next = spares;
        spares = chunk;
        spares_count++;
        return;
    }
    ARENA_UNPOISON(chunk->data, chunk->size);
    free(chunk);
}

static void arena_carve_from(struct arena *arena, struct arena_chunk *chunk)
{
    arena->at = chunk->data;
    arena->end = chunk->data + chunk->size;
}

void arena_init(struct arena *arena)
{
    *arena = (struct arena){0};
}

void arena_init_small(struct arena *arena)
{
    *arena = (struct arena){.starts_small = true};
}

static void arena_run_cleanups(struct arena *arena)
{
    struct arena_cleanup *cleanup;
    while ((cleanup = arena->cleanups)) {
        arena->cleanups = cleanup->next;
        cleanup->release(cleanup->what);
    }
}

static bool can_be_kept(const struct arena_chunk *chunk)
{
    return chunk->size == ARENA_CHUNK_DATA_BYTES || chunk->size == ARENA_SMALL_DATA_BYTES;
}

void arena_clear(struct arena *arena)
{
    arena_run_cleanups(arena);
    struct arena_chunk *kept = NULL, *chunk, *next;
    for (chunk = arena->chunks; chunk; chunk = next) {
        next = chunk->next;
        bool is_better = can_be_kept(chunk) && (!kept || chunk->size > kept->size);
        struct arena_chunk *worse = is_better ? kept : chunk;
        if (is_better)
            kept = chunk;
        if (worse)
            chunk_free(worse);
    }
    *arena = (struct arena){.starts_small = arena->starts_small};
    if (kept) {
        kept->next = NULL;
        ARENA_POISON(kept->data, kept->size);
        arena->chunks = kept;
        arena_carve_from(arena, kept);
    }
}

void arena_free(struct arena *arena)
{
    arena_clear(arena);
    if (arena->chunks)
        chunk_free(arena->chunks);
    *arena = (struct arena){.starts_small = arena->starts_small};
}

/* The slow way of arena_alloc: `size` bytes do not fit into what is left of the newest chunk. */
static __attribute__((noinline)) void *arena_alloc_elsewhere(struct arena *arena, size_t size)
{
    if (size > ARENA_ALONE_BYTES && arena->chunks) {
        struct arena_chunk *alone = chunk_new(size);
        alone->next = arena->chunks->next;
        arena->chunks->next = alone;
        return alone->data;
    }
    size_t least = arena->starts_small && !arena->chunks ? ARENA_SMALL_DATA_BYTES : ARENA_CHUNK_DATA_BYTES;
    struct arena_chunk *chunk = chunk_new(size > least ? size : least);
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    arena_carve_from(arena, chunk);
    arena->at += size;
    return chunk->data;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        arena_out_of_memory(size);
    size_t rounded = (size + ARENA_GAP_BYTES + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    char *at = arena->at;
    if (rounded <= (size_t)(arena->end - at))
        arena->at += rounded;
    else
        at = arena_alloc_elsewhere(arena, rounded);
    arena->allocated_bytes += size;
    ARENA_UNPOISON(at, size);
    return at;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    return memset(arena_alloc(arena, size), 0, size);
}

char *arena_string(struct arena *arena, struct bytes text)
{
    char *copy = arena_alloc(arena, text.len + 1);
    if (text.len)
        memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    return copy;
}

struct bytes arena_copy(struct arena *arena, struct bytes text)
{
    if (!text.at)
        return BYTES_NONE;
    return (struct bytes){arena_string(arena, text), text.len};
}

struct bytes arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    char small[256];
    int length = vsnprintf(small, sizeof(small), format, arguments);
    char *text = arena_alloc(arena, length < 0 ? 1 : (size_t)length + 1);
    if (length < 0) {
        length = 0;
        text[0] = '\0';
    } else if ((size_t)length < sizeof(small)) {
        memcpy(text, small, (size_t)length + 1);
    } else {
        vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    va_end(arguments);
    return (struct bytes){text, (size_t)length};
}

void arena_defer(struct arena *arena, void (*release)(void *), void *what)
{
    struct arena_cleanup *cleanup = arena_alloc(arena, sizeof(*cleanup));
    *cleanup = (struct arena_cleanup){arena->cleanups, release, what};
    arena->cleanups = cleanup;
}
