/* Fills in trouble with memory: space that a helper may still write to, and a slab of which everything is in use. */
#include "cache_rig.h"

static void close_all(struct ask *ask)
{
    if (ask->lookup.fill != NULL)
        fill_fail(&ask->lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask->reader);
}

/* ---- space that a helper may still write to ---- */

Test(fill_memory, lost_space_in_a_body_is_replaced_and_never_used_again)
{
    struct rig own = rig_new(RIG_MIB, RIG_MIB, 4);
    struct ask ask;
    struct fill_space space;
    ask_get(&own, &ask, "/a");
    answer_head(&own, &ask, 200, FRESH, 200000);
    answer_body(&ask, 0, 70000);
    cr_assert_eq(fill_reserve(ask.lookup.fill, &space), FILL_ROOM);
    fill_lose_space(ask.lookup.fill);
    cr_assert_eq(answer_body(&ask, 70000, 130000), 130000);
    memset(space.at, 'X', space.capacity); /* it writes after all */
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_all(&ask), 200000);
    reader_close(&ask.reader);
    rig_free_but(&own, SLAB_PAGE_BYTES);
}

Test(fill_memory, lost_space_in_a_record_is_replaced_under_its_readers)
{
    struct rig own = rig_new(RIG_MIB, RIG_MIB, 4);
    struct ask ask;
    struct fill_space space;
    ask_get(&own, &ask, "/a");
    answer_head(&own, &ask, 200, FRESH, 2000);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    uint64_t record = rig_stats(&own).slab.allocated;
    answer_body(&ask, 0, 500);
    cr_assert_eq(fill_reserve(ask.lookup.fill, &space), FILL_ROOM);
    fill_lose_space(ask.lookup.fill);
    cr_assert_eq(answer_body(&ask, 500, 1500), 1500);
    memset(space.at, 'X', space.capacity);
    fill_finish(&ask.lookup.fill);
    cr_assert(view_has(&ask, FRESH), "a head that was shown stays");
    cr_assert_eq(read_all(&ask), 2000);
    reader_close(&ask.reader);
    rig_free_but(&own, record);
}

Test(fill_memory, failing_after_lost_space_keeps_it_out_of_use)
{
    struct rig own = rig_new(RIG_MIB, RIG_MIB, 4);
    struct ask ask;
    struct fill_space space;
    ask_get(&own, &ask, "/a");
    answer_head(&own, &ask, 200, FRESH, 200000);
    cr_assert_eq(fill_reserve(ask.lookup.fill, &space), FILL_ROOM);
    fill_lose_space(ask.lookup.fill);
    close_all(&ask);
    rig_free_but(&own, SLAB_PAGE_BYTES);
}

/* ---- memory is exhausted: everything is in use ---- */

Test(fill_memory, without_memory_a_stored_fill_becomes_private_and_waits_to_be_woken)
{
    static struct ask hold, ask;
    enum reader_state state;
    struct rig small = rig_new(RIG_MIB, RIG_MIB, 4);
    cr_assert_eq(ask_with(&small, &hold, METHOD_GET, "/hold", "", false), LOOKUP_FILL);
    answer(&small, &hold, FRESH, 880 * 1024);
    cr_assert_eq(ask_head(&hold), READER_HEAD_READY);

    ask_with(&small, &ask, METHOD_GET, "/a", "", false);
    cr_assert_eq(answer_head(&small, &ask, 200, FRESH, 600 * 1024), ERROR_OK);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    uint64_t written = answer_body(&ask, 0, 600 * 1024);
    cr_assert_lt(written, 300 * 1024);
    cr_assert_eq(fill_disposition(ask.lookup.fill), FILL_PRIVATE);
    ask_head(&ask);
    cr_assert_eq(ask.view.detail, DETAIL_NO_MEMORY);
    cr_assert_gt(rig_stats(&small).admission_failures, 0);

    ask.fill_waker.count = 0;
    read_body(&ask, written, &state); /* its own reader frees what it needs */
    cr_assert_gt(ask.fill_waker.count, 0);
    uint64_t more = answer_body(&ask, written, 600 * 1024 - written);
    cr_assert_gt(more, 0);
    written += more;

    cr_assert_lt(written, 600 * 1024);
    ask.fill_waker.count = 0;
    cr_assert_eq(answer_body(&ask, written, 1), 0);
    cr_assert_eq(ask.fill_waker.count, 0, "its own attempts do not wake it");
    cr_assert_eq(read_body(&hold, UINT64_MAX, &state), 880 * 1024);
    reader_close(&hold.reader); /* now it can be evicted */
    cr_assert_gt(ask.fill_waker.count, 0, "woken by memory that others gave up");
    while (written < 600 * 1024) {
        read_body(&ask, UINT64_MAX, &state);
        more = answer_body(&ask, written, 600 * 1024 - written);
        cr_assert_gt(more, 0);
        written += more;
    }
    fill_finish(&ask.lookup.fill);
    read_all(&ask);
    reader_close(&ask.reader);
    rig_free(&small);
}

/* A slab in which `free_pages` pages are left, and nothing can be evicted while `hold` is open. */
static struct rig exhausted_rig(struct ask *hold, unsigned free_pages)
{
    struct rig small = rig_new(RIG_MIB, RIG_MIB, 4);
    ask_with(&small, hold, METHOD_GET, "/hold", "", false);
    answer(&small, hold, FRESH, (15 - free_pages) * (uint64_t)SLAB_PAGE_BYTES); /* and a page for heads, which are equally long */
    reader_close(&hold->reader);
    cr_assert_eq(ask_with(&small, hold, METHOD_GET, "/hold", "", false), LOOKUP_HIT);
    cr_assert_eq(rig_stats(&small).slab.free_pages, free_pages);
    return small;
}

/* Its writer waits for memory. */
static void start_starving(struct rig *small, struct ask *ask)
{
    ask_with(small, ask, METHOD_GET, "/want", "", false);
    cr_assert_eq(answer_head(small, ask, 200, FRESH, 200000), ERROR_OK);
    cr_assert_eq(ask_head(ask), READER_HEAD_READY);
    cr_assert_eq(answer_body(ask, 0, 200000), 0);
    ask->fill_waker.count = 0;
}

static void end_starving(struct ask *ask)
{
    cr_assert_gt(ask->fill_waker.count, 0, "woken");
    cr_assert_gt(answer_body(ask, 0, 200000), 0);
    close_all(ask);
}

Test(fill_memory, memory_waiter_is_woken_when_a_reader_closes)
{
    static struct ask hold, ask;
    struct rig small = exhausted_rig(&hold, 0);
    start_starving(&small, &ask);
    reader_close(&hold.reader);
    end_starving(&ask);
    rig_free(&small);
}

Test(fill_memory, memory_waiter_that_gave_up_is_not_woken)
{
    static struct ask hold, ask;
    struct rig small = exhausted_rig(&hold, 0);
    start_starving(&small, &ask);
    fill_fail(&ask.lookup.fill, ERROR_CLIENT_CLOSED);
    reader_close(&hold.reader);
    cr_assert_eq(ask.fill_waker.count, 0);
    reader_close(&ask.reader);
    rig_free(&small);
}

Test(fill_memory, memory_waiter_is_woken_when_another_fill_ends)
{
    static struct ask hold, other, ask;
    struct rig small = exhausted_rig(&hold, 2);
    ask_with(&small, &other, METHOD_GET, "/other", "", false);
    answer_head(&small, &other, 200, FRESH, 130000);
    answer_body(&other, 0, 130000);
    reader_close(&other.reader);
    start_starving(&small, &ask);
    fill_finish(&other.lookup.fill); /* it can be evicted now */
    end_starving(&ask);
    reader_close(&hold.reader);
    rig_free(&small);
}

Test(fill_memory, memory_waiter_is_woken_when_another_window_moves)
{
    static struct ask hold, other, ask;
    struct rig small = exhausted_rig(&hold, 2);
    ask_with(&small, &other, METHOD_POST, "/other", "", false);
    answer_head(&small, &other, 200, FRESH, LENGTH_UNKNOWN);
    cr_assert_eq(ask_head(&other), READER_HEAD_READY);
    cr_assert_eq(answer_body(&other, 0, RIG_MIB), 2 * SLAB_PAGE_BYTES, "it waits as well");
    start_starving(&small, &ask);
    reader_consume(&other.reader, 2 * SLAB_PAGE_BYTES); /* its writer need not run for that */
    end_starving(&ask);
    close_all(&other);
    reader_close(&hold.reader);
    rig_free(&small);
}

Test(fill_memory, a_head_takes_whatever_chunk_is_left)
{
    struct ask hold, ask;
    struct rig small = rig_new(RIG_MIB, RIG_MIB, 4);
    ask_with(&small, &hold, METHOD_GET, "/hold", "", false);
    answer(&small, &hold, FRESH, 14 * SLAB_PAGE_BYTES);
    struct extent large = slab_alloc(small.slab, SLAB_CHUNK_MAX_BYTES, 0);
    cr_assert_not(extent_is_none(large));
    while (!extent_is_none(slab_alloc(small.slab, 64, 0)) || !extent_is_none(slab_alloc(small.slab, 300, 0))) {
    }
    ask_with(&small, &ask, METHOD_GET, "/a", "", false);
    answer(&small, &ask, FRESH, 100);
    enum reader_state state;
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(read_body(&ask, UINT64_MAX, &state), 100);
    cr_assert_eq(state, READER_END);
    reader_close(&ask.reader);
    reader_close(&hold.reader);
    cache_purge(small.cache, &hold.lookup.key, PURGE_HARD, small.now);
    cache_purge(small.cache, &ask.lookup.key, PURGE_HARD, small.now);
    rig_free_but(&small, rig_stats(&small).slab.allocated);
}

Test(fill_memory, without_memory_for_a_head_it_says_overloaded)
{
    struct ask hold, ask;
    struct rig small = rig_new(RIG_MIB, RIG_MIB, 4);
    ask_with(&small, &hold, METHOD_GET, "/hold", "", false);
    answer(&small, &hold, FRESH, 15 * SLAB_PAGE_BYTES);
    struct extent last = slab_alloc(small.slab, SLAB_PAGE_BYTES, 0); /* the page of its head has room for many */
    while (!extent_is_none(last))
        last = slab_alloc(small.slab, 64, 0);
    while (!extent_is_none(last = slab_alloc(small.slab, 1024, 0))) {
    }
    ask_with(&small, &ask, METHOD_GET, "/a", "", false);
    enum error error = answer_head(&small, &ask, 200, FRESH, 100);
    cr_assert_eq(error, ERROR_OVERLOADED);
    fill_fail(&ask.lookup.fill, error);
    cr_assert_eq(ask_head(&ask), READER_HEAD_FAILED);
    reader_close(&ask.reader);
    reader_close(&hold.reader);
    cache_purge(small.cache, &hold.lookup.key, PURGE_HARD, small.now);
    rig_free_but(&small, rig_stats(&small).slab.allocated);
}

Test(fill_memory, body_of_a_known_length_takes_little_more_than_its_bytes)
{
    struct rig own = rig_new(8 * RIG_MIB, RIG_MIB, 4);
    for (uint64_t bytes = 17000; bytes < 300000; bytes += 1111) {
        struct ask ask;
        uint64_t before = rig_stats(&own).slab.allocated;
        ask_get(&own, &ask, "/a");
        answer_head(&own, &ask, 200, FRESH, bytes);
        answer_body(&ask, 0, bytes);
        fill_finish(&ask.lookup.fill);
        cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
        cr_assert_eq(read_all(&ask), bytes);
        reader_close(&ask.reader);
        uint64_t taken = rig_stats(&own).slab.allocated - before;
        cr_assert_leq(taken, bytes + bytes / 9 + 512, "%lu for %lu", (unsigned long)taken, (unsigned long)bytes);
        cr_assert_gt(evict_one(own.cache), 0);
    }
    rig_free(&own);
}
