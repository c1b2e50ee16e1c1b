/* See cells.h. */
#include "cache/cells.h"

#include "base/slab.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__ /* what objects point at is no leak */
#include <sanitizer/lsan_interface.h>
#define SEEN_BY_LSAN(base, bytes)   __lsan_register_root_region(base, bytes)
#define UNSEEN_BY_LSAN(base, bytes) __lsan_unregister_root_region(base, bytes)
#else
#define SEEN_BY_LSAN(base, bytes)   ((void)0)
#define UNSEEN_BY_LSAN(base, bytes) ((void)0)
#endif

enum { BLOCK_UNITS = CELL_BLOCK_BYTES / CELL_UNIT_BYTES };

_Static_assert(CELL_SPACE_MAX_BYTES / CELL_UNIT_BYTES <= SLAB_OWNER_MAX, "a slab knows its owners by these numbers");

/* ---- a space ------------------------------------------------------------------------------------------------------------------------------- */

bool cell_space_init(struct cell_space *space, uint64_t bytes)
{
    bytes = (bytes + CELL_BLOCK_BYTES - 1) / CELL_BLOCK_BYTES * CELL_BLOCK_BYTES;
    *space = (struct cell_space){0};
    if (bytes > CELL_SPACE_MAX_BYTES) {
        errno = EOVERFLOW;
        return false;
    }
    /* What cannot be written is no memory that the kernel has promised, whatever its policy (vm.overcommit_memory). */
    void *base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    SEEN_BY_LSAN(base, bytes);
    space->base = base;
    space->bytes = bytes;
    space->origin = (uintptr_t)base - CELL_UNIT_BYTES;
    pthread_mutex_init(&space->lock, NULL);
    return true;
}

void cell_space_free(struct cell_space *space)
{
    if (space->base == NULL)
        return;
    UNSEEN_BY_LSAN(space->base, space->bytes);
    munmap(space->base, space->bytes);
    pthread_mutex_destroy(&space->lock);
    *space = (struct cell_space){0};
}

/* With the space's lock held. The number of its first unit; 0: none is to be had. */
static uint32_t make_block(struct cell_space *space)
{
    char *block = space->base + space->used_bytes;
    if (space->bytes - space->used_bytes < CELL_BLOCK_BYTES || mprotect(block, CELL_BLOCK_BYTES, PROT_READ | PROT_WRITE) != 0)
        return 0;
    space->used_bytes += CELL_BLOCK_BYTES;
    return cell_number(space, block);
}

/* ---- cells of one kind ---------------------------------------------------------------------------------------------------------------------- */

static _Atomic uint32_t *link_of(const struct cells *cells, uint32_t number)
{
    char *end = cell_at(cells->space, number + cells->units);
    return (_Atomic uint32_t *)(void *)(end - sizeof(uint32_t));
}

static uint32_t get_link(const struct cells *cells, uint32_t number)
{
    return atomic_load_explicit(link_of(cells, number), memory_order_relaxed);
}

static void set_link(const struct cells *cells, uint32_t number, uint32_t next)
{
    /* Atomic: a bucket that is given back may still be looked at (index.h). */
    atomic_store_explicit(link_of(cells, number), next, memory_order_release);
}

void cells_init(struct cells *cells, struct cell_space *space, uint32_t cell_bytes)
{
    assert(cell_bytes == CELL_UNIT_BYTES || cell_bytes == CELL_LINE_BYTES);
    *cells = (struct cells){.space = space, .units = cell_bytes / CELL_UNIT_BYTES};
    pthread_mutex_init(&cells->lock, NULL);
}

void cells_free(struct cells *cells)
{
    pthread_mutex_destroy(&cells->lock);
}

/* With the lock held, these two. */

static bool has_cell(const struct cells *cells)
{
    return cells->free != 0 || cells->fresh < cells->fresh_end;
}

static uint32_t take_number(struct cells *cells)
{
    uint32_t number = cells->free;
    if (number != 0) {
        cells->free = get_link(cells, number);
        set_link(cells, number, 0);
        return number;
    }
    number = cells->fresh;
    cells->fresh += cells->units;
    return number;
}

/* Unless another thread was faster. False: there is no block to be had. */
static bool add_block(struct cells *cells)
{
    struct cell_space *space = cells->space;
    pthread_mutex_lock(&space->lock);
    pthread_mutex_lock(&cells->lock);
    bool has_one = has_cell(cells);
    pthread_mutex_unlock(&cells->lock);
    uint32_t first = has_one ? 0 : make_block(space);
    if (first != 0) {
        pthread_mutex_lock(&cells->lock);
        assert(cells->fresh == cells->fresh_end); /* with the space's lock held nobody else adds one */
        cells->fresh = first;
        cells->fresh_end = first + BLOCK_UNITS;
        pthread_mutex_unlock(&cells->lock);
    }
    pthread_mutex_unlock(&space->lock);
    return has_one || first != 0;
}

void *cells_take(struct cells *cells)
{
    pthread_mutex_lock(&cells->lock);
    while (!has_cell(cells)) {
        pthread_mutex_unlock(&cells->lock);
        if (!add_block(cells))
            return NULL;
        pthread_mutex_lock(&cells->lock);
    }
    uint32_t number = take_number(cells);
    atomic_fetch_add_explicit(&cells->in_use_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&cells->lock);
    return cell_at(cells->space, number);
}

void cells_give(struct cells *cells, void *cell)
{
    uint32_t number = cell_number(cells->space, cell);
    pthread_mutex_lock(&cells->lock);
    set_link(cells, number, cells->free);
    cells->free = number;
    atomic_fetch_sub_explicit(&cells->in_use_count, 1, memory_order_relaxed);
    pthread_mutex_unlock(&cells->lock);
}

uint64_t cells_in_use(const struct cells *cells)
{
    return atomic_load_explicit(&cells->in_use_count, memory_order_relaxed);
}
