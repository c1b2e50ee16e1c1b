/* Cells: memory for the millions of small things that the index is made of, one cache line each, without an allocator's overhead.
 *
 * Invariants: 1. a cell's memory is of one kind for the life of the cache: it is never returned to the system, nor used for anything else, so that a
 * pointer to a cell given back may still be looked at (object_try_ref rests on it, and whoever looks without a lock: index.h); 2. giving a cell back changes only its last 8 bytes.
 * Locks: its own, a leaf.
 */
#ifndef CACHE_CELLS_H
#define CACHE_CELLS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum { CELL_BYTES = 64 };

struct cell_block;

struct cells {
    pthread_mutex_t    lock;
    char              *free;   /* linked by their last 8 bytes */
    struct cell_block *blocks; /* newest first */
    _Atomic uint64_t   in_use_count;
};

void cells_init(struct cells *cells);
/* Every cell at once. */
void cells_free(struct cells *cells);

/* Aligned to CELL_BYTES; new ones are zero, used ones as they were left. */
void    *cells_take(struct cells *cells) __attribute__((returns_nonnull));
void     cells_give(struct cells *cells, void *cell);
uint64_t cells_in_use(const struct cells *cells);

#endif
