/* See cells.h. */
#include "cache/cells.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_CELLS = 255 }; /* with the block's own line: 16 KiB */

struct cell_block {
    struct cell_block *next;
    char unused[CELL_BYTES - sizeof(struct cell_block *)]; /* cells start on a cache line */
    char cells[BLOCK_CELLS][CELL_BYTES];
};

_Static_assert(sizeof(struct cell_block) == 16384, "a block is a power of two");

static char *get_link(const char *cell)
{
    return __atomic_load_n((char *const *)(const void *)(cell + CELL_BYTES - sizeof(char *)), __ATOMIC_RELAXED);
}

static void set_link(char *cell, char *next)
{
    /* Atomic: a bucket that is given back may still be looked at (index.h). */
    __atomic_store_n((char **)(void *)(cell + CELL_BYTES - sizeof(char *)), next, __ATOMIC_RELEASE);
}

void cells_init(struct cells *cells)
{
    *cells = (struct cells){0};
    atomic_init(&cells->in_use_count, 0);
    pthread_mutex_init(&cells->lock, NULL);
}

void cells_free(struct cells *cells)
{
    while (cells->blocks != NULL) {
        struct cell_block *next = cells->blocks->next;
        free(cells->blocks);
        cells->blocks = next;
    }
    pthread_mutex_destroy(&cells->lock);
}

static struct cell_block *new_block(void)
{
    struct cell_block *block = aligned_alloc(CELL_BYTES, sizeof *block);
    if (block == NULL)
        abort(); /* as an arena does: 16 KiB are not to be had, the supervisor starts again */
    memset(block, 0, sizeof *block);
    for (unsigned i = 0; i + 1 < BLOCK_CELLS; i++)
        set_link(block->cells[i], block->cells[i + 1]);
    return block;
}

/* With the lock held. */
static void add_block(struct cells *cells, struct cell_block *block)
{
    block->next = cells->blocks;
    cells->blocks = block;
    set_link(block->cells[BLOCK_CELLS - 1], cells->free);
    cells->free = block->cells[0];
}

void *cells_take(struct cells *cells)
{
    pthread_mutex_lock(&cells->lock);
    if (cells->free == NULL) {
        pthread_mutex_unlock(&cells->lock);
        struct cell_block *block = new_block();
        pthread_mutex_lock(&cells->lock);
        add_block(cells, block);
    }
    char *cell = cells->free;
    cells->free = get_link(cell);
    atomic_fetch_add_explicit(&cells->in_use_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&cells->lock);
    set_link(cell, NULL);
    return cell;
}

void cells_give(struct cells *cells, void *cell)
{
    pthread_mutex_lock(&cells->lock);
    set_link(cell, cells->free);
    cells->free = cell;
    atomic_fetch_sub_explicit(&cells->in_use_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&cells->lock);
}

uint64_t cells_in_use(const struct cells *cells)
{
    return atomic_load_explicit(&cells->in_use_count, memory_order_relaxed);
}
