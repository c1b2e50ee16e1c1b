#include "cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 4);
    store(&rig, "/small", "", FRESH, 1000);
    store(&rig, "/large", "", FRESH, 300000);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(reader, .init = setup, .fini = teardown);

static void open_at(struct ask *ask, const char *path)
{
    cr_assert_eq(ask_get(&rig, ask, path), LOOKUP_HIT);
    cr_assert_eq(ask_head(ask), READER_HEAD_READY);
}

Test(reader, range_is_all_that_is_delivered)
{
    static const struct {
        uint64_t first, end, delivered;
    } cases[] = {{0, 1, 1},           {65535, 65537, 2},        {65536, 65536, 0},  {299999, 300000, 1},
                 {0, 300000, 300000}, {299990, UINT64_MAX, 10}, {300000, 300010, 0}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ask ask;
        open_at(&ask, "/large");
        reader_set_range(&ask.reader, cases[i].first, cases[i].end);
        cr_assert_eq(read_all(&ask), cases[i].delivered, "case %u", i);
        reader_close(&ask.reader);
    }
}

Test(reader, peek_gives_no_more_than_asked_for_and_moves_nothing)
{
    struct ask ask;
    struct iovec iov[8];
    open_at(&ask, "/large");
    for (unsigned i = 0; i < 2; i++) {
        int count = 8;
        cr_assert_eq(reader_peek(&ask.reader, iov, &count, 65536 + 10), READER_DATA);
        cr_assert_eq(count, 2);
        cr_assert_eq(iov[0].iov_len, 65536);
        cr_assert_eq(iov[1].iov_len, 10);
        count = 1;
        cr_assert_eq(reader_peek(&ask.reader, iov, &count, SIZE_MAX), READER_DATA);
        cr_assert_eq(count, 1);
        cr_assert_eq(iov[0].iov_len, 65536);
    }
    reader_close(&ask.reader);
}

Test(reader, small_response_is_one_piece_behind_its_head)
{
    struct ask ask;
    struct iovec iov[2];
    int count = 2;
    open_at(&ask, "/small");
    cr_assert_eq(reader_peek(&ask.reader, iov, &count, SIZE_MAX), READER_DATA);
    cr_assert_eq(count, 1);
    cr_assert_eq(iov[0].iov_base, ask.view.fields.at + ask.view.fields.len);
    reader_close(&ask.reader);
}

Test(reader, what_it_holds_is_not_freed_by_a_purge)
{
    struct ask ask;
    open_at(&ask, "/large");
    uint64_t before = rig_stats(&rig).slab.allocated;
    cr_assert(cache_purge(rig.cache, &ask.lookup.key, PURGE_HARD, rig.now));
    cr_assert_eq(rig_stats(&rig).slab.allocated, before);
    cr_assert_eq(read_all(&ask), 300000);
    reader_close(&ask.reader);
    cr_assert_lt(rig_stats(&rig).slab.allocated, before - 300000 + 1);
}

Test(reader, what_it_holds_is_not_freed_by_eviction)
{
    struct ask ask;
    open_at(&ask, "/large");
    for (unsigned i = 0; i < 40; i++)
        store(&rig, arena_string(&rig.arena, arena_printf(&rig.arena, "/fill/%u", i)), "", FRESH, 500000);
    cr_assert_gt(rig_stats(&rig).evictions, 20);
    cr_assert_eq(read_all(&ask), 300000);
    reader_close(&ask.reader);
}

Test(reader, closing_what_was_never_opened_does_nothing)
{
    struct reader reader = {0};
    reader_close(&reader);
}

Test(reader, waiting_reader_is_woken_once_until_it_looks_again)
{
    static struct ask ask;
    ask_get(&rig, &ask, "/new");
    answer_head(&rig, &ask, 200, FRESH, 5000);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(ask.reader_waker.count, 0, "it was not waiting");
    enum reader_state state;
    read_body(&ask, 1, &state);
    cr_assert_eq(state, READER_WAIT);
    answer_body(&ask, 0, 1000);
    answer_body(&ask, 1000, 1000);
    cr_assert_eq(ask.reader_waker.count, 1);
    read_body(&ask, UINT64_MAX, &state);
    cr_assert_eq(state, READER_WAIT);
    answer_body(&ask, 2000, 3000);
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(ask.reader_waker.count, 2);
    cr_assert_eq(read_all(&ask), 3000);
    reader_close(&ask.reader);
}

Test(reader, range_ends_a_reader_while_the_rest_still_arrives)
{
    struct ask ask;
    ask_get(&rig, &ask, "/new");
    answer_head(&rig, &ask, 200, FRESH, 5000);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    reader_set_range(&ask.reader, 100, 200);
    answer_body(&ask, 0, 300);
    cr_assert_eq(read_all(&ask), 100);
    reader_close(&ask.reader);
    answer_body(&ask, 300, 4700);
    fill_finish(&ask.lookup.fill);
    open_at(&ask, "/new");
    reader_close(&ask.reader);
}
