#include "base/slab.h"
#include "cache/cells.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { BLOCKS = 6, SMALL_A_BLOCK = CELL_BLOCK_BYTES / CELL_UNIT_BYTES, LARGE_A_BLOCK = CELL_BLOCK_BYTES / CELL_LINE_BYTES };

static struct cell_space space;
static struct cells small, large;

static void setup(void)
{
    cr_assert(cell_space_init(&space, BLOCKS * CELL_BLOCK_BYTES));
    cells_init(&small, &space, CELL_UNIT_BYTES);
    cells_init(&large, &space, CELL_LINE_BYTES);
}

static void teardown(void)
{
    cells_free(&small);
    cells_free(&large);
    cell_space_free(&space);
}

TestSuite(cells, .init = setup, .fini = teardown);

Test(cells, number_leads_back_to_the_cell)
{
    for (unsigned i = 0; i < 3 * SMALL_A_BLOCK / 2; i++) {
        struct cells *of = i % 3 == 0 ? &large : &small;
        void *cell = cells_take(of);
        cr_assert_gt(cell_number(&space, cell), 0);
        cr_assert_eq(cell_at(&space, cell_number(&space, cell)), cell);
    }
}

Test(cells, none_lies_on_two_cache_lines)
{
    for (unsigned i = 0; i < SMALL_A_BLOCK + 1; i++) {
        cr_assert_eq((uintptr_t)cells_take(&small) % CELL_UNIT_BYTES, 0);
        cr_assert_eq((uintptr_t)cells_take(&large) % CELL_LINE_BYTES, 0);
    }
}

Test(cells, new_ones_are_zero_and_do_not_overlap)
{
    enum { COUNT = SMALL_A_BLOCK };
    static char *cells[2 * COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        cells[2 * i] = cells_take(&small);
        cells[2 * i + 1] = cells_take(&large);
        for (unsigned j = 0; j < 2; j++) {
            size_t bytes = j == 0 ? CELL_UNIT_BYTES : CELL_LINE_BYTES;
            for (unsigned at = 0; at < bytes; at++)
                cr_assert_eq(cells[2 * i + j][at], 0);
            memset(cells[2 * i + j], 0x55, bytes);
        }
    }
    cr_assert_eq(cells_in_use(&small), COUNT);
    cr_assert_eq(cells_in_use(&large), COUNT);
}

Test(cells, memory_is_of_one_kind_for_good)
{
    enum { COUNT = 2 * SMALL_A_BLOCK };
    static void *cells[COUNT];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < COUNT; i++)
            cells[i] = cells_take(&small);
        for (unsigned i = 0; i < COUNT; i++)
            cells_give(&small, cells[i]);
    }
    cr_assert_eq(space.used_bytes, 2 * CELL_BLOCK_BYTES, "those given back are used first");
    for (unsigned i = 0; i < LARGE_A_BLOCK; i++) {
        uint32_t number = cell_number(&space, cells_take(&large));
        for (unsigned j = 0; j < COUNT; j += SMALL_A_BLOCK)
            cr_assert((number - 1) / SMALL_A_BLOCK != (cell_number(&space, cells[j]) - 1) / SMALL_A_BLOCK);
    }
}

Test(cells, one_given_back_can_be_looked_at_but_for_its_last_4_bytes)
{
    struct cells *kinds[] = {&small, &large};
    for (unsigned i = 0; i < 2; i++) {
        size_t bytes = i == 0 ? CELL_UNIT_BYTES : CELL_LINE_BYTES;
        char *first = cells_take(kinds[i]), *second = cells_take(kinds[i]);
        memset(first, 'x', bytes);
        memset(second, 'x', bytes);
        cells_give(kinds[i], first);
        cells_give(kinds[i], second);
        for (unsigned at = 0; at < bytes - 4; at++)
            cr_assert(first[at] == 'x' && second[at] == 'x');
        cr_assert_eq(cells_take(kinds[i]), second);
        for (unsigned at = 0; at < bytes - 4; at++)
            cr_assert(first[at] == 'x' && second[at] == 'x');
    }
}

Test(cells, space_that_is_used_up_has_none)
{
    for (unsigned i = 0; i < (BLOCKS - 1) * SMALL_A_BLOCK; i++)
        cr_assert_not_null(cells_take(&small));
    void *last = cells_take(&large);
    cr_assert_not_null(last);
    cr_assert_null(cells_take(&small));
    for (unsigned i = 1; i < LARGE_A_BLOCK; i++)
        cr_assert_not_null(cells_take(&large));
    cr_assert_null(cells_take(&large));
    cells_give(&large, last);
    cr_assert_null(cells_take(&small), "it is of the other kind");
    cr_assert_eq(cells_take(&large), last);
    cr_assert_eq(cells_in_use(&small), (BLOCKS - 1) * SMALL_A_BLOCK);
}

Test(cells, space_is_no_memory_until_it_is_used)
{
    struct cell_space wide;
    unsigned char resident;
    cr_assert(cell_space_init(&wide, UINT64_C(1) << 32));
    struct cells cells;
    cells_init(&cells, &wide, CELL_UNIT_BYTES);
    cells_take(&cells);
    cr_assert_eq(mincore(wide.base, 1, &resident), 0);
    cr_assert_eq(resident & 1, 0, "a cell takes memory when it is written");
    cr_assert_eq(wide.used_bytes, CELL_BLOCK_BYTES);
    cells_free(&cells);
    cell_space_free(&wide);
}

Test(cells, more_than_can_be_numbered_is_refused)
{
    struct cell_space wide;
    cr_assert_not(cell_space_init(&wide, CELL_SPACE_MAX_BYTES + 1));
    cell_space_free(&wide);
    cr_assert(cell_space_init(&wide, CELL_SPACE_MAX_BYTES));
    uint32_t last = cell_number(&wide, wide.base + wide.bytes - CELL_UNIT_BYTES);
    cr_assert_leq(last, SLAB_OWNER_MAX);
    cr_assert_eq(cell_at(&wide, last), wide.base + wide.bytes - CELL_UNIT_BYTES);
    cell_space_free(&wide);
}

Test(cells, addresses_that_are_not_to_be_had_are_reported)
{
#ifdef __SANITIZE_ADDRESS__
    cr_skip_test("AddressSanitizer has reserved more for itself");
#else
    struct cell_space wide;
    const struct rlimit limit = {UINT64_C(1) << 32, UINT64_C(1) << 32};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
    cr_assert_not(cell_space_init(&wide, UINT64_C(1) << 33));
    cr_assert(cell_space_init(&wide, UINT64_C(1) << 20));
    cell_space_free(&wide);
#endif
}

/* ---- many threads --------------------------------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 200, HELD = 256 };

static void *take_and_give(void *argument)
{
    const unsigned char mark = (unsigned char)(uintptr_t)argument;
    static _Thread_local unsigned char *held[HELD];
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < HELD; i++) {
            held[i] = cells_take(i % 2 == 0 ? &small : &large);
            memset(held[i], mark, CELL_UNIT_BYTES);
        }
        for (unsigned i = 0; i < HELD; i++) {
            for (unsigned at = 0; at < CELL_UNIT_BYTES; at++)
                cr_assert_eq(held[i][at], mark);
            cells_give(i % 2 == 0 ? &small : &large, held[i]);
        }
    }
    return NULL;
}

Test(cells, threads_never_have_the_same)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(cells_in_use(&small) + cells_in_use(&large), 0);
    cr_assert_leq(space.used_bytes, 2 * CELL_BLOCK_BYTES);
}
