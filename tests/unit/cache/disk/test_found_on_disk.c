/* What is done with what was found on disk: judged, varied, purged, explained, read in slices. */
#include "disk_rig.h"

#include "cache/explain.h"

static struct rig rig;
static struct fake_disk disk;

static void setup(void)
{
    rig = rig_with_disk(16 * RIG_MIB, &disk, &rig);
}

static void teardown(void)
{
    disk_rig_free(&rig, &disk, 0);
}

TestSuite(found_on_disk, .init = setup, .fini = teardown);

/* ---- what is found is judged as ever ---- */

Test(found_on_disk, what_is_stale_is_validated)
{
    struct ask ask;
    validate_from_disk(&disk, "/a", 30000);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_HIT);
    assert_hit(&ask, 30000);
}

Test(found_on_disk, an_update_that_is_not_to_be_shared_ends_the_copy_on_disk_too)
{
    static const bool is_evicted[] = {false, true};
    for (unsigned i = 0; i < 2; i++) {
        struct ask ask, next;
        const char *path = i == 0 ? "/a" : "/b";
        store(&rig, path, "", "Cache-Control: max-age=60, stale-while-revalidate=100000\r\n", 3000);
        move_to_disk(&disk);
        rig.now.s += 100;
        ask_set(&disk, &ask, METHOD_GET, path, "");
        cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_STALE);
        reader_close(&ask.reader);
        if (is_evicted[i])
            evict_all(&rig);
        cr_assert_eq(answer_head(&rig, &ask, 200, "Cache-Control: private\r\n", 10), ERROR_OK);
        fill_fail(&ask.lookup.fill, ERROR_CLIENT_CLOSED);
        evict_all(&rig);
        ask_disk(&disk, &next, path);
        assert_fetched(&next, LOOKUP_FILL);
    }
}

Test(found_on_disk, head_and_only_if_cached_use_the_disk)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 3000);
    move_to_disk(&disk);
    ask_set(&disk, &ask, METHOD_HEAD, "/a", "");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    reader_close(&ask.reader);
    evict_all(&rig);
    rig.rules.honour_request_directives = true;
    ask_set(&disk, &ask, METHOD_GET, "/a", "Cache-Control: only-if-cached\r\n");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    assert_hit(&ask, 3000);
}

Test(found_on_disk, a_variant_is_found_by_its_selector)
{
    struct ask ask;
    store(&rig, "/a", "X-Want: 1\r\n", FRESH "Vary: X-Want\r\nX-Is: 1\r\n", 3000);
    store(&rig, "/a", "X-Want: 2\r\n", FRESH "Vary: X-Want\r\nX-Is: 2\r\n", 50000);
    uint64_t serial = object_serial(object_of(&rig, "/a"));
    cr_assert_gt(serial, UINT64_C(1) << 40, "numbers do not begin at 0 again");
    move_to_disk(&disk);
    ask_set(&disk, &ask, METHOD_GET, "/a", "X-Want: 2\r\n");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    cr_assert_eq(disk.reads_total, 2);
    cr_assert_eq(object_serial(object_of(&rig, "/a")), serial);
    assert_hit(&ask, 50000);
    cr_assert(view_has(&ask, "X-Is: 2"));
    ask_set(&disk, &ask, METHOD_GET, "/a", "X-Want: 1\r\n");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    cr_assert_eq(disk.reads_total, 3, "the selector is in memory");
    assert_hit(&ask, 3000);
    ask_set(&disk, &ask, METHOD_GET, "/a", "X-Want: 3\r\n");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_FILL);
    cr_assert_eq(ask.lookup.fwd, FWD_VARY_MISS);
    assert_fetched(&ask, LOOKUP_FILL);
}

Test(found_on_disk, the_loss_of_a_selector_while_a_variant_is_read_is_a_miss)
{
    struct ask ask;
    store(&rig, "/a", "X-Want: 1\r\n", FRESH "Vary: X-Want\r\n", 3000);
    move_to_disk(&disk);
    ask_set(&disk, &ask, METHOD_GET, "/a", "X-Want: 1\r\n");
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_WAIT);
    disk_answer(&disk);
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_WAIT);
    evict_all(&rig); /* which must leave the selector */
    cr_assert_not_null(object_of(&rig, "/a"));
    cr_assert(cache_purge(rig.cache, &ask.lookup.key, PURGE_HARD, rig.now));
    disk_answer(&disk);
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_FILL);
    assert_fetched(&ask, LOOKUP_FILL);
    cr_assert_eq(rig_stats(&rig).objects, 0);
}

Test(found_on_disk, what_answers_for_another_url_may_be_on_disk)
{
    struct ask ask;
    struct cache_key plain;
    ask_set(&disk, &ask, METHOD_GET, "/a", "");
    ask.lookup.key = plain = cache_key_build(&rig.hash_key, &rig.arena, BYTES("http"), BYTES("example.com"), BYTES("/a"), BYTES("x=1"));
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_FILL);
    answer(&rig, &ask, FRESH "No-Vary-Search: params=(\"utm\")\r\n", 3000);
    reader_close(&ask.reader);
    move_to_disk(&disk);
    ask_set(&disk, &ask, METHOD_GET, "/a", "");
    ask.lookup.key = cache_key_build(&rig.hash_key, &rig.arena, BYTES("http"), BYTES("example.com"), BYTES("/a"), BYTES("x=1&utm=2"));
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    cr_assert_eq(disk.reads_total, 1);
    assert_hit(&ask, 3000);
    evict_all(&rig);
    cr_assert(cache_purge(rig.cache, &ask.lookup.key, PURGE_HARD, rig.now));
    cr_assert(!load_is_on_disk(rig.cache, plain.hash.low));
}

/* ---- purges of what is only on disk ---- */

Test(found_on_disk, a_purge_by_url_finds_what_is_on_disk)
{
    struct ask ask;
    store(&rig, "/a", "X-Want: 1\r\n", FRESH "Vary: X-Want\r\n", 3000);
    move_to_disk(&disk);
    struct cache_key key = rig_key(&rig, "/a");
    cr_assert(cache_purge(rig.cache, &key, PURGE_HARD, rig.now));
    cr_assert(!cache_purge(rig.cache, &key, PURGE_HARD, rig.now));
    ask_set(&disk, &ask, METHOD_GET, "/a", "X-Want: 1\r\n");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_FILL);
    assert_fetched(&ask, LOOKUP_FILL);
    cr_assert_eq(disk.reads_total, 0);
}

Test(found_on_disk, a_soft_purge_by_url_makes_what_is_on_disk_stale)
{
    static const char *const vary[] = {"", "Vary: X-Want\r\n"};
    for (unsigned i = 0; i < 2; i++) {
        const char *path = i == 0 ? "/one" : "/varies";
        struct ask ask;
        store(&rig, path, "", arena_string(&rig.arena, arena_printf(&rig.arena, STORED_FOR_LONG "%s", vary[i])), 3000);
        store(&rig, "/other", "", FRESH, 10);
        move_to_disk(&disk);
        struct cache_key key = rig_key(&rig, path);
        cr_assert(cache_purge(rig.cache, &key, PURGE_SOFT, rig.now));
        cr_assert(cache_purge(rig.cache, &key, PURGE_SOFT, rig.now), "it still is there");
        ask_set(&disk, &ask, METHOD_GET, path, "");
        cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_FILL);
        cr_assert_eq(ask.lookup.fwd, FWD_STALE);
        cr_assert_eq(ask.lookup.detail, DETAIL_SOFT_PURGED);
        cr_assert_eq(answer_head(&rig, &ask, 304, STORED_FOR_LONG, LENGTH_UNKNOWN), ERROR_OK);
        reader_close(&ask.reader);
        cr_assert_eq(ask_disk(&disk, &ask, path), LOOKUP_HIT);
        assert_hit(&ask, 3000);
        ask_set(&disk, &ask, METHOD_GET, "/other", "");
        cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
        assert_hit(&ask, 10);
        evict_all(&rig);
    }
}

Test(found_on_disk, a_soft_purge_holds_for_the_copy_that_was_written_before)
{
    struct ask ask;
    store(&rig, "/a", "", STORED_FOR_LONG, 3000);
    save_all(&disk);
    struct cache_key key = rig_key(&rig, "/a");
    cr_assert(cache_purge(rig.cache, &key, PURGE_SOFT, rig.now));
    evict_all(&rig);
    ask_set(&disk, &ask, METHOD_GET, "/a", "");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_FILL);
    cr_assert_eq(ask.lookup.detail, DETAIL_SOFT_PURGED);
    assert_fetched(&ask, LOOKUP_FILL);
}

Test(found_on_disk, what_a_head_takes_away_is_gone_from_the_disk)
{
    struct ask ask;
    store(&rig, "/a", "", "Cache-Control: max-age=1\r\nETag: \"1\"\r\n", 3000);
    move_to_disk(&disk);
    rig.now.s += 10;
    ask_set(&disk, &ask, METHOD_HEAD, "/a", "");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_PASS);
    cr_assert_eq(answer_head(&rig, &ask, 200, "ETag: \"2\"\r\nContent-Length: 9\r\n", 0), ERROR_OK);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    cr_assert_eq(rig_stats(&rig).objects, 0);
    cr_assert(!load_is_on_disk(rig.cache, ask.lookup.key.hash.low));
}

/* ---- explanations ---- */

static struct explanation explain(const char *path, const char *fields)
{
    struct ask ask;
    struct explanation explanation;
    ask_set(&disk, &ask, METHOD_GET, path, fields);
    cache_explain(rig.cache, &ask.lookup, &rig.arena, &explanation);
    return explanation;
}

Test(found_on_disk, why_tells_what_is_on_disk_without_reading_it)
{
    store(&rig, "/a", "X-Want: 1\r\n", FRESH "Vary: X-Want\r\n", 3000);
    store(&rig, "/b", "", FRESH, 3000);
    save_all(&disk);
    struct explanation told = explain("/b", "");
    cr_assert_eq(told.outcome, EXPLAINED_HIT);
    cr_assert(told.responses[0].is_on_disk && !told.disk.is_there);
    evict_all(&rig);
    told = explain("/b", "");
    cr_assert_eq(told.outcome, EXPLAINED_LOAD);
    cr_assert_eq(told.response_count, 0);
    cr_assert(told.disk.is_there && !told.disk.is_lasting && !told.disk.was_hit);
    cr_assert(told.disk.bytes >= 3000 && told.disk.bytes < 6000);
    disk_index_touch(rig.cache->store->index, rig_key(&rig, "/b").hash.low);
    cr_assert(explain("/b", "").disk.was_hit);
    cr_assert(explain("/a", "X-Want: 1\r\n").disk.is_lasting);
    cr_assert_eq(explain("/c", "").outcome, EXPLAINED_FETCH);
    cr_assert_eq(disk.reads_total, 0);

    struct ask ask;
    ask_set(&disk, &ask, METHOD_GET, "/a", "X-Want: 2\r\n");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_FILL);
    assert_fetched(&ask, LOOKUP_FILL);
    told = explain("/a", "X-Want: 1\r\n");
    cr_assert_eq(told.outcome, EXPLAINED_LOAD);
    cr_assert(told.disk.is_there && !told.disk.is_lasting, "of the selector that is in memory, the variant");
    cr_assert_eq(told.vary_count, 1);
    cr_assert_eq(explain("/a", "X-Want: 2\r\n").outcome, EXPLAINED_FETCH);
}

/* ---- slices ---- */

enum { SLICE = 65536, SLICES = 4 };

static enum error answer_part(struct fill **fill, uint64_t first)
{
    struct headers headers;
    parse_fields(&rig, &headers,
                 arena_string(&rig.arena, arena_printf(&rig.arena, FRESH "ETag: \"a\"\r\nContent-Range: bytes %lu-%lu/%u\r\n",
                                                       (unsigned long)first, (unsigned long)first + SLICE - 1, SLICES * SLICE)));
    const struct origin_head head = {.status = 206,
                                     .reason = BYTES("Partial"),
                                     .fields = &headers,
                                     .length_known = true,
                                     .length = SLICE,
                                     .request_time = rig.now,
                                     .response_time = rig.now};
    return fill_set_slice(fill, &head);
}

static enum lookup_outcome open_slice(const struct ask *head, struct slice_lookup *lookup, struct ask *slice)
{
    cache_open_slice(&head->reader, lookup, &slice->reader);
    slice->lookup.fill = lookup->fill;
    return lookup->outcome;
}

static struct slice_lookup slice_lookup(struct ask *slice, uint64_t first)
{
    *slice = (struct ask){.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}};
    return (struct slice_lookup){.slice = {first, first + SLICE}, .waker = &slice->reader_waker.waker, .io = &disk.io};
}

static void store_slices(const char *path)
{
    struct ask head, slice;
    ask_set(&disk, &head, METHOD_GET, path, "");
    head.lookup.slice = (struct span){0, SLICE};
    cr_assert_eq(ask_again(&rig, &head), LOOKUP_FILL);
    cr_assert_eq(answer_part(&head.lookup.fill, 0), ERROR_OK);
    cr_assert_eq(answer_body(&head, 0, SLICE), SLICE);
    fill_finish(&head.lookup.fill);
    cr_assert_eq(ask_head(&head), READER_HEAD_READY);
    for (uint64_t first = SLICE; first < SLICES * SLICE; first += SLICE) {
        struct slice_lookup lookup = slice_lookup(&slice, first);
        cr_assert_eq(open_slice(&head, &lookup, &slice), LOOKUP_FILL);
        fill_set_waker(slice.lookup.fill, &slice.fill_waker.waker);
        cr_assert_eq(answer_part(&slice.lookup.fill, first), ERROR_OK);
        cr_assert_eq(answer_body(&slice, 0, SLICE), SLICE);
        fill_finish(&slice.lookup.fill);
        reader_close(&slice.reader);
    }
    reader_close(&head.reader);
}

static void assert_slice(struct ask *slice, enum lookup_outcome outcome)
{
    cr_assert_eq(outcome, LOOKUP_HIT);
    cr_assert_eq(ask_head(slice), READER_HEAD_READY);
    cr_assert_eq(read_all(slice), SLICE);
    reader_close(&slice->reader);
}

Test(found_on_disk, slices_are_found_by_their_head)
{
    struct ask head, slice, ahead;
    store_slices("/large");
    move_to_disk(&disk);
    ask_set(&disk, &head, METHOD_GET, "/large", "");
    cr_assert_eq(ask_until_loaded(&disk, &head), LOOKUP_HIT);
    cr_assert_eq(ask_head(&head), READER_HEAD_READY);
    cr_assert(head.view.is_sliced);
    cr_assert_eq(head.view.length, SLICES * SLICE);
    for (uint64_t first = 0; first < SLICES * SLICE; first += SLICE)
        cr_assert(cache_has_slice(&head.reader, (struct span){first, first + SLICE}));
    cr_assert(!cache_has_slice(&head.reader, (struct span){0, SLICE / 2}));
    struct explanation told = explain("/large", "");
    cr_assert_eq(told.responses[0].slices_count, 0, "slices of another size are of no use");
    rig.rules.slice_bytes = SLICE;
    told = explain("/large", "");
    cr_assert_eq(told.responses[0].slices_count, SLICES);
    cr_assert_eq(told.outcome, EXPLAINED_HIT);

    struct slice_lookup now = slice_lookup(&slice, SLICE);
    cr_assert_eq(open_slice(&head, &now, &slice), LOOKUP_WAIT);
    cr_assert_eq(open_slice(&head, &now, &slice), LOOKUP_WAIT);
    struct slice_lookup later = slice_lookup(&ahead, 2 * SLICE);
    cr_assert_null(cache_begin_slice(&head.reader, &later));
    cr_assert_eq(later.outcome, LOOKUP_WAIT);
    disk_answer(&disk);
    cr_assert_eq(slice.reader_waker.count, 1);
    assert_slice(&slice, open_slice(&head, &now, &slice));
    disk_answer(&disk);
    evict_all(&rig); /* what was read ahead stays until it is read */
    assert_slice(&ahead, open_slice(&head, &later, &ahead));
    cr_assert_eq(disk.reads_total, 3);
    reader_close(&head.reader);
}

Test(found_on_disk, a_slice_that_cannot_be_read_is_fetched)
{
    struct ask head, slice;
    store_slices("/large");
    move_to_disk(&disk);
    ask_set(&disk, &head, METHOD_GET, "/large", "");
    cr_assert_eq(ask_until_loaded(&disk, &head), LOOKUP_HIT);
    struct slice_lookup lookup = slice_lookup(&slice, SLICE);
    cr_assert_eq(open_slice(&head, &lookup, &slice), LOOKUP_WAIT);
    disk_fail(&disk, DISK_ERROR);
    cr_assert_eq(open_slice(&head, &lookup, &slice), LOOKUP_FILL);
    cr_assert_eq(disk.reads_total, 2);
    cr_assert_eq(answer_part(&slice.lookup.fill, SLICE), ERROR_OK);
    cr_assert_eq(answer_body(&slice, 0, SLICE), SLICE);
    fill_finish(&slice.lookup.fill);
    assert_slice(&slice, LOOKUP_HIT);
    reader_close(&head.reader);
}

Test(found_on_disk, slices_of_a_head_that_was_purged_are_not_found_again)
{
    struct ask head, slice;
    store_slices("/large");
    move_to_disk(&disk);
    ask_set(&disk, &head, METHOD_GET, "/large", "");
    cr_assert_eq(ask_until_loaded(&disk, &head), LOOKUP_HIT);
    struct slice_lookup lookup = slice_lookup(&slice, SLICE);
    cr_assert_eq(open_slice(&head, &lookup, &slice), LOOKUP_WAIT);
    cr_assert(cache_purge(rig.cache, &head.lookup.key, PURGE_HARD, rig.now));
    disk_answer(&disk);
    reader_close(&head.reader);
    load_close(rig.cache, &lookup.wait);
    cr_assert_eq(rig_stats(&rig).objects, 0);
    ask_set(&disk, &head, METHOD_GET, "/large", "");
    cr_assert_eq(ask_again(&rig, &head), LOOKUP_FILL);
    assert_fetched(&head, LOOKUP_FILL);
}
