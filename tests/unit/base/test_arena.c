#include "base/arena.h"

#include <criterion/criterion.h>
#include <stdint.h>

static char order[16];
static size_t order_len;

static void note(void *what)
{
    order[order_len++] = *(const char *)what;
}

Test(arena, allocations_are_aligned_and_do_not_overlap)
{
    static const size_t sizes[] = {1, 15, 16, 17, 100, 1000, 1021, 4000, 4064, 4065, 5000, 100000, 3, 0, 8};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    struct arena arena;
    unsigned char *at[20][COUNT];
    arena_init(&arena);
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            at[round][i] = arena_alloc(&arena, sizes[i]);
            cr_assert_eq((uintptr_t)at[round][i] % _Alignof(max_align_t), 0);
            memset(at[round][i], (int)(round * COUNT + i) & 0xff, sizes[i]);
        }
    }
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            for (size_t b = 0; b < sizes[i]; b++)
                cr_assert_eq(at[round][i][b], (round * COUNT + i) & 0xff, "round %u size %zu byte %zu", round, sizes[i], b);
        }
    }
    arena_free(&arena);
}

Test(arena, counts_bytes_asked_for_since_the_last_clear)
{
    struct arena arena;
    arena_init(&arena);
    arena_alloc(&arena, 10);
    arena_alloc(&arena, 5000);
    cr_assert_eq(arena.allocated_bytes, 5010);
    arena_clear(&arena);
    cr_assert_eq(arena.allocated_bytes, 0);
    arena_free(&arena);
}

Test(arena, an_unused_arena_holds_no_memory)
{
    struct arena arena;
    arena_init(&arena);
    arena_clear(&arena);
    cr_assert_null(arena.chunks);
    arena_free(&arena);
    cr_assert_null(arena.chunks);
}

Test(arena, clear_keeps_one_chunk_of_the_default_size)
{
    struct arena arena;
    arena_init(&arena);
    char *first = arena_alloc(&arena, 16);
    arena_clear(&arena);
    cr_assert_eq(arena_alloc(&arena, 16), first, "the chunk is used again");

    /* Clearing many chunks keeps one, and never a big one. */
    for (unsigned i = 0; i < 100; i++)
        arena_alloc(&arena, i % 2 ? 1000 : 50000);
    arena_clear(&arena);
    struct arena_chunk *kept = arena.chunks;
    cr_assert_not_null(kept);
    cr_assert_lt(arena.end - arena.at, 4096);
    arena_alloc(&arena, 16);
    cr_assert_eq(arena.chunks, kept);
    arena_free(&arena);
}

Test(arena, one_that_starts_small_has_half_a_chunk_until_it_needs_more)
{
    struct arena arena;
    arena_init_small(&arena);
    arena_alloc(&arena, 16);
    cr_assert_lt(arena.end - arena.at, 2048);
    struct arena_chunk *small = arena.chunks;
    arena_clear(&arena);
    cr_assert_eq(arena.chunks, small, "which is kept");
    for (unsigned i = 0; i < 3; i++)
        arena_alloc(&arena, 900);
    cr_assert_gt(arena.end - arena.at, 2048);
    struct arena_chunk *large = arena.chunks;
    arena_clear(&arena);
    cr_assert_eq(arena.chunks, large, "then a whole one is");
    arena_clear(&arena);
    cr_assert_eq(arena.chunks, large);
    arena_free(&arena);
    arena_alloc(&arena, 16);
    cr_assert_lt(arena.end - arena.at, 2048);
    arena_free(&arena);
}

Test(arena, clear_after_only_a_big_allocation_keeps_nothing)
{
    struct arena arena;
    arena_init(&arena);
    arena_alloc(&arena, 1 << 20);
    arena_clear(&arena);
    cr_assert_null(arena.chunks);
    cr_assert_not_null(arena_alloc(&arena, 1));
    arena_free(&arena);
}

Test(arena, cleanups_run_once_in_reverse_order)
{
    struct arena arena;
    static char names[] = "abc";
    arena_init(&arena);
    for (unsigned i = 0; i < 3; i++)
        arena_defer(&arena, note, &names[i]);
    cr_assert_eq(order_len, 0);
    arena_clear(&arena);
    cr_assert_eq(order_len, 3);
    cr_assert_arr_eq(order, "cba", 3);
    arena_clear(&arena);
    arena_free(&arena);
    cr_assert_eq(order_len, 3, "none runs twice");
}

static struct arena *nested;

static void note_and_defer(void *what)
{
    static char inner = 'i';
    note(what);
    arena_defer(nested, note, &inner);
}

Test(arena, a_cleanup_sees_its_memory_and_may_defer_another)
{
    struct arena arena;
    nested = &arena;
    arena_init(&arena);
    char *outer = arena_alloc(&arena, 1);
    *outer = 'o';
    arena_defer(&arena, note_and_defer, outer);
    arena_free(&arena);
    cr_assert_eq(order_len, 2);
    cr_assert_arr_eq(order, "oi", 2);
}

Test(arena, zalloc_zeroes_memory_that_was_used_before)
{
    struct arena arena;
    arena_init(&arena);
    memset(arena_alloc(&arena, 3000), 0xff, 3000);
    arena_clear(&arena);
    unsigned char *zeroed = arena_zalloc(&arena, 3000);
    for (unsigned i = 0; i < 3000; i++)
        cr_assert_eq(zeroed[i], 0);
    arena_free(&arena);
}

Test(arena, copy_keeps_absent_apart_from_empty)
{
    struct arena arena;
    arena_init(&arena);
    cr_assert_null(arena_copy(&arena, BYTES_NONE).at);
    struct bytes empty = arena_copy(&arena, BYTES(""));
    cr_assert_not_null(empty.at);
    cr_assert_eq(empty.len, 0);

    char text[] = "a\0b";
    struct bytes copy = arena_copy(&arena, bytes_from(text, 3));
    text[0] = 'x';
    cr_assert(bytes_equal(copy, bytes_from("a\0b", 3)));
    cr_assert_eq(copy.at[3], '\0');
    cr_assert_str_eq(arena_string(&arena, BYTES_NONE), "");
    cr_assert_str_eq(arena_string(&arena, bytes_from("hello", 4)), "hell");
    arena_free(&arena);
}

Test(arena, printf_writes_short_and_long_texts)
{
    struct arena arena;
    arena_init(&arena);
    cr_assert(bytes_equal(arena_printf(&arena, "%s", ""), BYTES("")));
    cr_assert(bytes_equal(arena_printf(&arena, "%d-%s", 42, "x"), BYTES("42-x")));
    for (int width = 250; width < 260; width++) {
        struct bytes text = arena_printf(&arena, "%*d", width, 7);
        cr_assert_eq(text.len, (size_t)width);
        cr_assert_eq(text.at[width - 1], '7');
        cr_assert_eq(text.at[width], '\0');
    }
    arena_free(&arena);
}
