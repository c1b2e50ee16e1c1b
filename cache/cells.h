/* Cells: memory for the millions of small things that the index is made of, without an allocator's overhead.
 *
 * DESIGN. A *space* is a stretch of addresses, reserved at once and made memory a block at a time, as it is needed. A block is cut into cells of one size, for one
 * kind of things (struct cells). So a cell has a number of 32 bits beside its address: its place in the space, counted in units from 1 on; 0 is none. One is made
 * of the other by a shift and an addition.
 * Invariants: 1. a cell's memory is of one kind for the life of the cache: it is never returned to the system, nor used for anything else, so that a
 * pointer to a cell given back may still be looked at (object_try_ref rests on it, and whoever looks without a lock: index.h); 2. giving a cell back changes only
 * its last 4 bytes; 3. a cell starts at a multiple of its size, a power of two: none lies on two cache lines.
 * Locks: a space's, to make a block; then that of the cells, a leaf. No system call is made with the latter.
 */
#ifndef CACHE_CELLS_H
#define CACHE_CELLS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    CELL_UNIT_BYTES = 32, /* of numbers, and the smallest cell */
    CELL_LINE_BYTES = 64, /* a cache line, and the largest */
    CELL_BLOCK_BYTES = 64 * 1024, /* a multiple of every page size */
};

/* As many cells as a slab can have owners: 64 GiB, but for a block. */
#define CELL_SPACE_MAX_BYTES ((UINT64_C(1) << 36) - CELL_BLOCK_BYTES)

struct cell_space {
    /* immutable */
    uintptr_t origin; /* where number 0 would be */
    char     *base;
    uint64_t  bytes;
    /* under lock */
    pthread_mutex_t lock;
    uint64_t        used_bytes; /* of blocks */
};

struct cells {
    /* immutable */
    struct cell_space *space;
    uint32_t           units; /* of a cell */
    /* under lock */
    pthread_mutex_t lock;
    uint32_t        free;             /* number of one given back, linked by their last 4 bytes */
    uint32_t        fresh, fresh_end; /* numbers of those of the newest block that were never given out: they have no memory yet */
    /* atomic */
    _Atomic uint64_t in_use_count;
};

/* Reserves addresses, no memory; `bytes` is rounded up to whole blocks. False with errno: there are none, or it is more than CELL_SPACE_MAX_BYTES. */
bool cell_space_init(struct cell_space *space, uint64_t bytes);
/* Every cell at once. One that is all zeros may be freed as well. */
void cell_space_free(struct cell_space *space);

void cells_init(struct cells *cells, struct cell_space *space, uint32_t cell_bytes);
/* Its memory stays the space's. */
void cells_free(struct cells *cells);

/* New ones are zero, used ones as they were left. NULL: the space is used up, or the kernel has no memory. */
void    *cells_take(struct cells *cells);
void     cells_give(struct cells *cells, void *cell);
uint64_t cells_in_use(const struct cells *cells);

static inline uint32_t cell_number(const struct cell_space *space, const void *cell)
{
    return (uint32_t)(((uintptr_t)cell - space->origin) / CELL_UNIT_BYTES);
}

/* It is of a cell of this space. */
static inline void *cell_at(const struct cell_space *space, uint32_t number)
{
    return (void *)(space->origin + (uintptr_t)number * CELL_UNIT_BYTES);
}

#endif
