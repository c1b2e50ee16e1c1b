/* Memory that ends together: a bump allocator, one for each request, configuration or reload.
 *
 * Phases: arena_init → arena_alloc… (and arena_defer…) → arena_clear (reusable at once) → arena_free.
 * Invariants: 1. nothing from an arena outlives its arena_clear; 2. cleanups run in reverse order of arena_defer, before
 * any memory is given back; 3. an arena belongs to one thread at a time.
 * Allocation never returns NULL: running out of memory for a few kilobytes aborts the process (the supervisor restarts it).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/bytes.h"

#include <stddef.h>

struct arena_chunk;
struct arena_cleanup;

struct arena {
    struct arena_chunk   *chunks;   /* newest first */
    char                 *at;       /* next free byte of the newest chunk */
    char                 *end;
    struct arena_cleanup *cleanups; /* newest first */
    size_t                allocated_bytes; /* asked for since the last clear */
    bool                  starts_small;
};

/* The first chunk is allocated by the first arena_alloc, not here: an idle arena costs nothing. */
void arena_init(struct arena *arena);
/* Likewise; the first chunk is half as large as others: for arenas that are many, wait, and often need no more. */
void arena_init_small(struct arena *arena);

/* Runs the cleanups and forgets everything; keeps one chunk for the next use, of the default size if there is one, and frees the others. */
void arena_clear(struct arena *arena);
/* arena_clear, and the last chunk is freed as well. */
void arena_free(struct arena *arena);

/* `size` bytes aligned for any type, not zeroed. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull, malloc, alloc_size(2)));
void *arena_zalloc(struct arena *arena, size_t size) __attribute__((returns_nonnull, malloc, alloc_size(2)));
/* Copies; the copy is followed by a NUL that is not counted. */
struct bytes arena_copy(struct arena *arena, struct bytes text);
char        *arena_string(struct arena *arena, struct bytes text) __attribute__((returns_nonnull));
struct bytes arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Calls release(what) when the arena is cleared: how a request drops the references that it took. */
void arena_defer(struct arena *arena, void (*release)(void *), void *what);

#endif
