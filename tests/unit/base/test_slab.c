#include "base/slab.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGES = 16, BYTES_ALL = PAGES * SLAB_PAGE_BYTES };

static struct slab *slab;

static void setup(void)
{
    slab = slab_new(BYTES_ALL);
    cr_assert_not_null(slab);
}

static void teardown(void)
{
    slab_free(&slab);
    cr_assert_null(slab);
}

TestSuite(slab, .init = setup, .fini = teardown);

static struct slab_stats stats_now(void)
{
    struct slab_stats stats;
    slab_stats(slab, &stats);
    cr_assert_eq(stats.bytes, stats.allocated + stats.free_in_pages + stats.free_pages * SLAB_PAGE_BYTES, "used + free = size");
    return stats;
}

Test(slab, size_is_rounded_down_to_pages_and_has_a_minimum)
{
    struct slab *small = slab_new(1), *odd = slab_new(20 * SLAB_PAGE_BYTES + 1000);
    cr_assert_eq(slab_bytes(small), 16 * SLAB_PAGE_BYTES);
    cr_assert_eq(slab_bytes(odd), 20 * SLAB_PAGE_BYTES);
    slab_free(&small);
    slab_free(&odd);
}

Test(slab, memory_file_cannot_grow_or_shrink)
{
    cr_assert_neq(ftruncate(slab_fd(slab), BYTES_ALL * 2), 0);
    cr_assert_neq(ftruncate(slab_fd(slab), BYTES_ALL / 2), 0);
}

Test(slab, extent_is_large_enough_and_little_larger)
{
    for (size_t bytes = 1; bytes <= SLAB_CHUNK_MAX_BYTES; bytes += 37) {
        struct extent extent = slab_alloc(slab, bytes, 0);
        cr_assert_geq(extent.capacity, bytes);
        size_t units = (bytes + SLAB_UNIT_BYTES - 1) / SLAB_UNIT_BYTES; /* extents start at units: no more than this fit on a page */
        size_t most = SLAB_PAGE_BYTES / (units * SLAB_UNIT_BYTES), fit = SLAB_PAGE_BYTES / extent.capacity;
        cr_assert(extent.capacity <= bytes + bytes / 16 + 2 * SLAB_UNIT_BYTES || fit == most, "%zu got %u", bytes, extent.capacity);
        slab_release(slab, extent);
    }
    struct extent page = slab_alloc(slab, SLAB_CHUNK_MAX_BYTES + 1, 0);
    cr_assert_eq(page.capacity, SLAB_PAGE_BYTES);
    slab_release(slab, page);
    cr_assert_eq(stats_now().free_pages, PAGES);
}

Test(slab, a_large_one_rounds_to_units_and_to_parts_of_a_page)
{
    struct slab *large = slab_new(128 * 1024 * 1024);
    for (size_t bytes = 1; bytes <= SLAB_CHUNK_MAX_BYTES; bytes += 7) {
        struct extent extent = slab_alloc(large, bytes, 0);
        size_t units = (bytes + SLAB_UNIT_BYTES - 1) / SLAB_UNIT_BYTES, most = SLAB_PAGE_BYTES / (units * SLAB_UNIT_BYTES);
        cr_assert(extent.capacity >= bytes && extent.capacity % SLAB_UNIT_BYTES == 0);
        cr_assert(extent.capacity < bytes + SLAB_UNIT_BYTES || SLAB_PAGE_BYTES / extent.capacity == most, "%zu got %u", bytes,
                  extent.capacity);
        slab_release(large, extent);
    }
    slab_free(&large);
}

Test(slab, extents_never_overlap)
{
    static const size_t sizes[] = {1, 64, 65, 500, 1000, 1024, 1025, 3000, 5000, 9000, 16384, 16385, 65536};
    static unsigned char owner[BYTES_ALL / SLAB_UNIT_BYTES];
    struct extent taken[4096];
    unsigned count = 0, at = 0;
    for (struct extent extent; count < 4096 && !extent_is_none(extent = slab_alloc(slab, sizes[at++ % 13], 0));) {
        for (uint32_t i = 0; i < extent.capacity / SLAB_UNIT_BYTES; i++)
            cr_assert_eq(owner[extent.unit + i]++, 0);
        memset(slab_at(slab, extent), (int)count, extent.capacity);
        taken[count++] = extent;
    }
    cr_assert_gt(count, 20);
    for (unsigned i = 0; i < count; i++) {
        cr_assert_eq(*(unsigned char *)slab_at(slab, taken[i]), (unsigned char)i);
        cr_assert_eq((unsigned char)slab_at(slab, taken[i])[taken[i].capacity - 1], (unsigned char)i);
        slab_release(slab, taken[i]);
    }
    cr_assert_eq(stats_now().allocated, 0);
}

Test(slab, full_slab_gives_nothing_until_something_is_released)
{
    struct extent pages[PAGES];
    for (unsigned i = 0; i < PAGES; i++)
        pages[i] = slab_alloc(slab, SLAB_PAGE_BYTES, 0);
    cr_assert_eq(stats_now().free_pages, 0);
    cr_assert(extent_is_none(slab_alloc(slab, SLAB_PAGE_BYTES, 0)));
    cr_assert(extent_is_none(slab_alloc(slab, 1, 0)));
    slab_release(slab, pages[5]);
    struct extent again = slab_alloc(slab, 1, 0);
    cr_assert_eq(extent_offset(again), extent_offset(pages[5]));
}

Test(slab, full_slab_may_have_room_in_chunks_that_are_larger)
{
    struct extent chunk = slab_alloc(slab, 3000, 0), large = slab_alloc(slab, SLAB_CHUNK_MAX_BYTES, 0), page;
    while (!extent_is_none(page = slab_alloc(slab, SLAB_PAGE_BYTES, 0))) {
    }
    cr_assert(extent_is_none(slab_alloc(slab, 100, 0)));
    for (unsigned left = SLAB_PAGE_BYTES / chunk.capacity - 1; left > 0; left--)
        cr_assert_eq(slab_alloc_larger(slab, 100, 0).capacity, chunk.capacity, "the smallest that there is");
    for (unsigned left = SLAB_PAGE_BYTES / large.capacity - 1; left > 0; left--)
        cr_assert_eq(slab_alloc_larger(slab, 100, 0).capacity, large.capacity);
    cr_assert(extent_is_none(slab_alloc_larger(slab, 100, 0)));
    slab_release(slab, chunk);
    cr_assert(extent_is_none(slab_alloc_larger(slab, chunk.capacity + 1, 0)), "it would not fit");
    cr_assert(extent_is_none(slab_alloc_larger(slab, SLAB_PAGE_BYTES, 0)));
    chunk = slab_alloc_larger(slab, chunk.capacity, 0);
    cr_assert_not(extent_is_none(chunk));
    stats_now();
}

Test(slab, page_is_free_again_when_its_last_chunk_goes)
{
    struct extent a = slab_alloc(slab, 5000, 0), b = slab_alloc(slab, 5000, 0);
    cr_assert_eq(stats_now().free_pages, PAGES - 1);
    cr_assert_eq(a.unit / (SLAB_PAGE_BYTES / SLAB_UNIT_BYTES), b.unit / (SLAB_PAGE_BYTES / SLAB_UNIT_BYTES), "chunks share a page");
    slab_release(slab, a);
    cr_assert_eq(stats_now().free_pages, PAGES - 1);
    slab_release(slab, b);
    cr_assert_eq(stats_now().free_pages, PAGES);
}

Test(slab, accounting_is_exact)
{
    struct extent a = slab_alloc(slab, 1000, 0), b = slab_alloc(slab, 20000, 0);
    struct slab_stats stats = stats_now();
    cr_assert_eq(stats.bytes, BYTES_ALL);
    cr_assert_eq(stats.allocated, a.capacity + SLAB_PAGE_BYTES);
    cr_assert_eq(stats.free_in_pages, SLAB_PAGE_BYTES - a.capacity);
    cr_assert_eq(stats.free_pages, PAGES - 2);
    slab_release(slab, a);
    slab_release(slab, b);
}

static size_t owners_of_a_page(uint32_t *owners, size_t capacity)
{
    return slab_page_owners(slab, 0, owners, capacity);
}

Test(slab, page_owners_are_those_of_the_emptiest_page)
{
    for (unsigned i = 0; i < 4; i++)
        slab_alloc(slab, 16000, i);
    struct extent lone = slab_alloc(slab, 100, 30);
    slab_alloc(slab, 100, SLAB_OWNER_MAX);
    uint32_t owners[8];
    cr_assert_eq(owners_of_a_page(owners, 8), 2);
    cr_assert_eq(owners[0], 30);
    cr_assert_eq(owners[1], SLAB_OWNER_MAX);
    slab_set_owner(slab, lone, 32);
    cr_assert_eq(owners_of_a_page(owners, 1), 1);
    cr_assert_eq(owners[0], 32);
}

Test(slab, owner_that_cannot_be_told_from_a_free_chunk_is_refused, .signal = SIGABRT)
{
    slab_alloc(slab, 100, (uint32_t)SLAB_OWNER_MAX + 1);
}

Test(slab, without_divided_pages_nobody_stands_in_the_way)
{
    uint32_t owners[8];
    cr_assert_eq(owners_of_a_page(owners, 8), 0);
    slab_alloc(slab, SLAB_PAGE_BYTES, 0);
    cr_assert_eq(owners_of_a_page(owners, 8), 0);
}

Test(slab, attached_slab_shares_the_bytes)
{
    struct extent extent = slab_alloc(slab, 100, 0);
    struct slab *other = slab_attach(dup(slab_fd(slab)));
    cr_assert_eq(slab_bytes(other), BYTES_ALL);
    strcpy(slab_at(slab, extent), "seen");
    cr_assert_str_eq(slab_at(other, extent), "seen");
    slab_free(&other);
    cr_assert_str_eq(slab_at(slab, extent), "seen");
}

Test(slab, adopted_slab_is_all_free_and_allocates)
{
    slab_alloc(slab, 100, 0);
    struct slab *other = slab_adopt(dup(slab_fd(slab)));
    struct slab_stats stats;
    slab_stats(other, &stats);
    cr_assert_eq(stats.free_pages, PAGES);
    struct extent extent = slab_alloc(other, 100, 0);
    cr_assert_not(extent_is_none(extent));
    slab_release(other, extent);
    slab_free(&other);
}

Test(slab, what_is_released_is_marked_by_its_first_unit_and_nothing_else)
{
    static _Atomic uint64_t marks[BYTES_ALL / SLAB_UNIT_BYTES / 64];
    struct extent early = slab_alloc(slab, 100, 0), chunk = slab_alloc(slab, 100, 0), page = slab_alloc(slab, SLAB_PAGE_BYTES, 0);
    struct extent kept = slab_alloc(slab, 100, 0);
    slab_release(slab, early);
    slab_mark_released(slab, marks);
    slab_release(slab, chunk);
    slab_release(slab, page);
    for (uint32_t unit = 0; unit < BYTES_ALL / SLAB_UNIT_BYTES; unit++)
        cr_assert_eq(marks[unit / 64] >> unit % 64 & 1, unit == chunk.unit || unit == page.unit, "unit %u", unit);
    slab_mark_released(slab, NULL);
    slab_release(slab, kept);
    cr_assert_eq(marks[kept.unit / 64] >> kept.unit % 64 & 1, 0);
}

static uint64_t bytes_in_memory(void)
{
    struct stat status;
    cr_assert_eq(fstat(slab_fd(slab), &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

static struct extent filled_page(void)
{
    struct extent page = slab_alloc(slab, SLAB_PAGE_BYTES, 0);
    if (!extent_is_none(page))
        memset(slab_at(slab, page), 'x', SLAB_PAGE_BYTES);
    return page;
}

Test(slab, a_page_given_back_leaves_no_memory_behind_and_can_be_used_again)
{
    struct extent kept = filled_page(), page = filled_page();
    cr_assert_eq(slab_held_pages(slab), 2);
    cr_assert_eq(bytes_in_memory(), 2 * SLAB_PAGE_BYTES);
    slab_give_back(slab, page);
    cr_assert_eq(slab_held_pages(slab), 1);
    cr_assert_eq(bytes_in_memory(), SLAB_PAGE_BYTES);
    cr_assert_eq(stats_now().free_pages, PAGES - 1);
    cr_assert_eq(*slab_at(slab, kept), 'x');
    struct extent again = slab_alloc(slab, SLAB_PAGE_BYTES, 0);
    cr_assert_eq(again.unit, page.unit, "the page used last");
    cr_assert_eq(*slab_at(slab, again), '\0', "the kernel has what was there");
    cr_assert_eq(slab_held_pages(slab), 2);
}

Test(slab, a_page_given_back_is_marked_as_released)
{
    static _Atomic uint64_t marks[BYTES_ALL / SLAB_UNIT_BYTES / 64];
    struct extent page = filled_page();
    slab_mark_released(slab, marks);
    slab_give_back(slab, page);
    cr_assert_eq(marks[page.unit / 64] >> page.unit % 64 & 1, 1);
}

Test(slab, within_its_limit_no_further_page_gets_memory_but_those_that_have_it_are_used)
{
    struct extent first = filled_page(), second = filled_page();
    slab_limit_pages(slab, 2);
    cr_assert(extent_is_none(slab_alloc(slab, SLAB_PAGE_BYTES, 0)));
    cr_assert(extent_is_none(slab_alloc(slab, 100, 0)));
    slab_release(slab, first);
    cr_assert_eq(slab_alloc(slab, 100, 0).unit, first.unit, "a free page with memory");
    slab_limit_pages(slab, 1);
    cr_assert_eq(slab_held_pages(slab), 2, "what is there stays until it is given back");
    slab_give_back(slab, second);
    cr_assert(extent_is_none(slab_alloc(slab, SLAB_PAGE_BYTES, 0)));
    slab_limit_pages(slab, 2);
    cr_assert_not(extent_is_none(slab_alloc(slab, SLAB_PAGE_BYTES, 0)));
}

Test(slab, what_the_kernel_does_not_take_back_is_released)
{
    struct extent page = filled_page();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    cr_assert(null >= 0 && dup2(null, slab_fd(slab)) >= 0);
    slab_give_back(slab, page);
    cr_assert_eq(slab_held_pages(slab), 1);
    cr_assert_eq(stats_now().free_pages, PAGES);
    cr_assert_eq(slab_alloc(slab, SLAB_PAGE_BYTES, 0).unit, page.unit);
    close(null);
}

Test(slab, giving_back_a_part_of_a_page_aborts, .signal = SIGABRT)
{
    slab_give_back(slab, slab_alloc(slab, 100, 0));
}

Test(slab, attaching_what_is_no_slab_fails)
{
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    cr_assert_null(slab_attach(pipes[0]));
    cr_assert_null(slab_attach(-1));
}

Test(slab, allocating_from_an_attached_slab_aborts, .signal = SIGABRT)
{
    struct slab *other = slab_attach(dup(slab_fd(slab)));
    slab_alloc(other, 100, 0);
}

Test(slab, releasing_twice_aborts, .signal = SIGABRT)
{
    struct extent extent = slab_alloc(slab, 100, 0);
    slab_alloc(slab, 100, 0);
    slab_release(slab, extent);
    slab_release(slab, extent);
}
