#include "disk_rig.h"

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

TestSuite(load, .init = setup, .fini = teardown);

Test(load, what_was_evicted_is_a_hit_after_one_read)
{
    static const uint64_t lengths[] = {0,     1,     700,   4000,  9000,  15000, 15900,  16000,  16200,   16384,   16500,  17000,
                                       20000, 33000, 65536, 65537, 70000, 81920, 131072, 200000, 1000000, 3000000, 4194304};
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const char *path = arena_string(&rig.arena, arena_printf(&rig.arena, "/%lu", (unsigned long)lengths[i]));
        struct ask ask;
        store(&rig, path, "", STORED_FOR_LONG, lengths[i]);
        uint64_t footprint = object_footprint(object_of(&rig, path));
        move_to_disk(&disk);
        ask_set(&disk, &ask, METHOD_GET, path, "");
        cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT, "%lu", (unsigned long)lengths[i]);
        cr_expect_eq(disk.reads_total, i + 1);
        cr_expect(ask.lookup.was_loaded);
        cr_expect_eq(ask.lookup.detail, DETAIL_DISK);
        cr_expect_eq(ask.lookup.fwd, FWD_NONE);
        assert_hit(&ask, lengths[i]);
        cr_expect(view_has(&ask, "ETag: \"1\""));
        cr_expect_leq(object_footprint(object_of(&rig, path)), footprint + footprint / 8, "%lu: %lu, it was %lu", (unsigned long)lengths[i],
                      (unsigned long)object_footprint(object_of(&rig, path)), (unsigned long)footprint);
        cr_assert_eq(ask_disk(&disk, &ask, path), LOOKUP_HIT);
        cr_expect(!ask.lookup.was_loaded);
        cr_expect_eq(ask.lookup.detail, DETAIL_NONE);
        assert_hit(&ask, lengths[i]);
        evict_all(&rig);
    }
}

Test(load, nothing_is_looked_for_without_an_io)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 100);
    move_to_disk(&disk);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    fill_fail(&ask.lookup.fill, ERROR_CLIENT_CLOSED);
    reader_close(&ask.reader);
}

Test(load, those_who_ask_meanwhile_share_the_read)
{
    struct ask asks[5];
    store(&rig, "/a", "", FRESH, 3000);
    move_to_disk(&disk);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(ask_disk(&disk, &asks[i], "/a"), LOOKUP_WAIT);
    cr_assert_eq(disk.reads_total, 1);
    cr_assert_eq(ask_again(&rig, &asks[0]), LOOKUP_WAIT, "it is asked again before it is there");
    load_close(rig.cache, &asks[4].lookup.wait); /* gave up */
    disk_answer(&disk);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(asks[i].reader_waker.count, 1);
        evict_all(&rig); /* which cannot take it from those who have not looked yet */
        ask_again(&rig, &asks[i]);
        assert_hit(&asks[i], 3000);
    }
    cr_assert_eq(asks[4].reader_waker.count, 0);
    cr_assert_eq(disk.reads_total, 1);
}

Test(load, who_has_gone_away_does_not_stop_it)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 30000);
    move_to_disk(&disk);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
    load_close(rig.cache, &ask.lookup.wait);
    load_close(rig.cache, &ask.lookup.wait);
    disk_answer(&disk);
    cr_assert_eq(ask.reader_waker.count, 0);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_HIT);
    assert_hit(&ask, 30000);
}

Test(load, a_read_that_fails_is_one_fetch_for_all)
{
    static const enum disk_status failures[] = {DISK_ERROR, DISK_UNAVAILABLE, DISK_OVERLOADED, DISK_ABSENT};
    store(&rig, "/a", "", FRESH, 30000);
    move_to_disk(&disk);
    for (unsigned i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct ask first, second;
        cr_assert_eq(ask_disk(&disk, &first, "/a"), LOOKUP_WAIT);
        cr_assert_eq(ask_disk(&disk, &second, "/a"), LOOKUP_WAIT);
        disk_fail(&disk, failures[i]);
        cr_assert_eq(ask_again(&rig, &first), LOOKUP_FILL);
        cr_assert_eq(ask_again(&rig, &second), LOOKUP_JOIN);
        cr_assert_eq(first.lookup.fwd, FWD_URI_MISS);
        cr_assert(!first.lookup.was_loaded);
        reader_close(&second.reader);
        assert_fetched(&first, LOOKUP_FILL);
        cr_assert_eq(disk.reads_total, i + 1, "it was tried again");
    }
    cr_assert(!load_is_on_disk(rig.cache, rig_key(&rig, "/a").hash.low), "absent is absent for good");
}

Test(load, memory_that_may_still_be_written_to_is_not_used_again)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 100000);
    move_to_disk(&disk);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
    struct disk_read *read = take_read(&disk);
    struct slab_stats before, after;
    slab_stats(rig.slab, &before);
    read->destination_lost = true;
    read->status = DISK_UNAVAILABLE;
    read->done(read);
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_FILL);
    assert_fetched(&ask, LOOKUP_FILL);
    slab_stats(rig.slab, &after);
    cr_assert_eq(after.allocated, before.allocated);
    disk_rig_free(&rig, &disk, before.allocated);
    setup();
}

Test(load, without_memory_it_is_fetched)
{
    struct ask ask, reading[8];
    unsigned count = 0;
    store(&rig, "/a", "", FRESH, 2000000);
    move_to_disk(&disk);
    for (; count < 8; count++) { /* pinned by readers */
        const char *path = arena_string(&rig.arena, arena_printf(&rig.arena, "/pin%u", count));
        cr_assert_eq(ask_get(&rig, &reading[count], path), LOOKUP_FILL);
        cr_assert_eq(answer_head(&rig, &reading[count], 200, FRESH, 3000000), ERROR_OK);
        if (answer_body(&reading[count], 0, 3000000) < 3000000)
            break;
    }
    cr_assert_lt(count, 8);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_FILL);
    cr_assert_eq(disk.reads_total, 0);
    assert_fetched(&ask, LOOKUP_FILL);
    for (unsigned i = 0; i <= count; i++) {
        fill_fail(&reading[i].lookup.fill, ERROR_CLIENT_CLOSED);
        reader_close(&reading[i].reader);
    }
    ask_set(&disk, &ask, METHOD_GET, "/a", "");
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    assert_hit(&ask, 2000000);
}

Test(load, many_at_once_leave_memory_to_others)
{
    struct ask asks[12];
    unsigned waiting = 0;
    for (unsigned i = 0; i < 12; i++) {
        store(&rig, arena_string(&rig.arena, arena_printf(&rig.arena, "/%u", i)), "", FRESH, 1500000);
        save_all(&disk);
        evict_all(&rig);
    }
    for (unsigned i = 0; i < 12; i++)
        waiting += ask_disk(&disk, &asks[i], arena_string(&rig.arena, arena_printf(&rig.arena, "/%u", i))) == LOOKUP_WAIT;
    cr_assert_geq(waiting, 3);
    cr_assert_leq(waiting, 5);
    for (unsigned i = 0; i < 12; i++) {
        if (asks[i].lookup.outcome == LOOKUP_WAIT) {
            disk_answer(&disk);
            ask_again(&rig, &asks[i]);
            assert_hit(&asks[i], 1500000);
        } else {
            assert_fetched(&asks[i], LOOKUP_FILL);
        }
    }
}

Test(load, a_long_front_is_read_again_with_room_for_it)
{
    static const unsigned sizes[] = {5000, 20000, 50000};
    for (unsigned i = 0; i < 3; i++) {
        struct ask ask;
        char *fields = arena_alloc(&rig.arena, sizes[i] + 100);
        int at = sprintf(fields, "%sX-Long: ", FRESH);
        memset(fields + at, 'x', sizes[i]);
        strcpy(fields + at + sizes[i], "\r\n");
        store(&rig, "/long", "", fields, 40000);
        move_to_disk(&disk);
        ask_set(&disk, &ask, METHOD_GET, "/long", "");
        cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
        cr_assert_eq(disk.reads_total, 2 * (i + 1));
        assert_hit(&ask, 40000);
        evict_all(&rig);
        cache_purge(rig.cache, &ask.lookup.key, PURGE_HARD, rig.now);
    }
}

/* Before format 4 every response had its status line, the usual one too. */
Test(load, status_line_of_an_older_store_is_read)
{
    static const char usual[] = "HTTP/1.1 200 OK\r\n";
    struct ask ask;
    store(&rig, "/a", "", FRESH, 3000);
    struct saved *saved = disk_save(&disk, object_of(&rig, "/a"));
    struct record *record = (struct record *)(void *)saved->front;
    evict_all(&rig);
    char *head = saved->front + saved->header.front_bytes - record->head_bytes;
    uint16_t less = (uint16_t)(record->status_line_bytes - strlen(usual));
    memcpy(head, usual, strlen(usual));
    memmove(head + strlen(usual), head + record->status_line_bytes, (size_t)record->head_bytes - record->status_line_bytes);
    record->status_line_bytes = (uint16_t)strlen(usual);
    record->head_bytes = (uint16_t)(record->head_bytes - less);
    saved->header.front_bytes -= less;
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
    disk_answer(&disk);
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_HIT);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert(bytes_equal(ask.view.status_line, bytes_from_string(usual)));
    cr_assert(bytes_starts_with(ask.view.fields, BYTES(FRESH)));
    cr_assert_eq(read_all(&ask), 3000);
    reader_close(&ask.reader);
}

Test(load, another_url_with_the_same_hash_is_a_miss)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 3000);
    struct saved *saved = disk_save(&disk, object_of(&rig, "/a"));
    evict_all(&rig);
    uint64_t other = rig_key(&rig, "/b").hash.low;
    const struct disk_entry entry = {.unit = saved->unit,
                                     .size_class = store_size_class(store_record_bytes(saved->header.front_bytes, 3000))};
    disk_index_put(rig.cache->store->index, other, &entry);
    saved->header.hash = other; /* and the record verifies */
    cr_assert_eq(ask_disk(&disk, &ask, "/b"), LOOKUP_WAIT);
    disk_answer(&disk);
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_FILL);
    assert_fetched(&ask, LOOKUP_FILL);
    cr_assert_eq(rig_stats(&rig).objects, 0);
}

Test(load, a_front_that_makes_no_sense_is_a_miss)
{
    enum { PLAIN_CASES = 10, CASES = 15 };
    for (unsigned i = 0; i < CASES; i++) {
        struct ask ask;
        store(&rig, "/a", "", i < PLAIN_CASES ? FRESH : FRESH "Cache-Control: stale-if-error=9\r\n", 30000);
        struct saved *saved = disk_save(&disk, object_of(&rig, "/a"));
        struct record *record = (struct record *)(void *)saved->front;
        struct record_more *more = (struct record_more *)(void *)(record + 1);
        cr_assert_eq(record->has_more, i >= PLAIN_CASES);
        evict_all(&rig);
        switch (i) {
        case 0:
            record->key_bytes++;
            break;
        case 1:
            record->head_bytes = UINT16_MAX;
            break;
        case 2:
            record->tags_count = TAGS_MAX + 1;
            break;
        case 3:
            record->status_line_bytes = record->head_bytes + 1;
            break;
        case 4:
            record->has_more = 1;
            break;
        case 5:
            record->plain_body_bytes++;
            break;
        case 6:
            saved->header.front_bytes = sizeof *record - 1;
            break;
        case 7:
            saved->header.kind = STORE_PURGES;
            break;
        case 8:
            saved->header.kind = STORE_SELECTOR;
            break; /* which has no body */
        case 9:    /* which none is usual for */
            record->meta[0] = (record->meta[0] & ~(UINT64_C(0x3ff) << 40)) | UINT64_C(299) << 40;
            record->status_line_bytes = 0;
            break;
        case 10:
            record->has_more = 0;
            break;
        case 11:
            more->hidden_bytes = record->head_bytes;
            break;
        case 12:
            more->length_unknown = 1;
            break;
        case 13:
            more->body_bytes += UINT64_C(1) << 32;
            break;
        case 14:
            more->vary_values_bytes++;
            break;
        default:
            break;
        }
        cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
        disk_answer(&disk);
        cr_assert_eq(ask_again(&rig, &ask), LOOKUP_FILL, "case %u", i);
        assert_fetched(&ask, LOOKUP_FILL);
        cr_assert(!load_is_on_disk(rig.cache, ask.lookup.key.hash.low));
    }
}

/* ---- what changes while it is read ---- */

Test(load, what_is_purged_while_it_is_read_stays_purged)
{
    for (unsigned i = 0; i < 4; i++) {
        struct ask ask;
        store(&rig, "/a", "", FRESH "Cache-Tag: t\r\n", 3000);
        move_to_disk(&disk);
        cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
        if (i == 0)
            cr_assert(cache_purge(rig.cache, &ask.lookup.key, PURGE_HARD, rig.now));
        else if (i == 1)
            cache_purge_tag(rig.cache, BYTES("t"), PURGE_HARD, rig.now);
        else if (i == 2)
            cache_purge_host(rig.cache, BYTES("example.com"), PURGE_HARD, rig.now);
        else
            cache_purge_all(rig.cache, PURGE_HARD, rig.now);
        disk_answer(&disk);
        cr_assert_eq(ask_again(&rig, &ask), LOOKUP_FILL, "case %u", i);
        assert_fetched(&ask, LOOKUP_FILL);
        cr_assert_eq(rig_stats(&rig).objects, 0);
        cr_assert(!load_is_on_disk(rig.cache, ask.lookup.key.hash.low), "case %u", i);
    }
}

Test(load, what_was_stored_meanwhile_wins)
{
    struct ask ask, other;
    store(&rig, "/a", "", FRESH "X-Gen: 1\r\n", 3000);
    move_to_disk(&disk);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
    store(&rig, "/a", "", FRESH "X-Gen: 2\r\n", 500); /* by somebody who does not look at the disk */
    disk_answer(&disk);
    ask_again(&rig, &ask);
    assert_hit(&ask, 500);
    cr_assert(view_has(&ask, "X-Gen: 2"));
    cr_assert_eq(ask_disk(&disk, &other, "/a"), LOOKUP_HIT);
    assert_hit(&other, 500);
}

Test(load, a_fill_under_way_wins)
{
    struct ask fetching, ask;
    store(&rig, "/a", "", FRESH, 3000);
    move_to_disk(&disk);
    cr_assert_eq(ask_get(&rig, &fetching, "/a"), LOOKUP_FILL);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_JOIN);
    cr_assert_eq(disk.reads_total, 0);
    reader_close(&ask.reader);
    assert_fetched(&fetching, LOOKUP_FILL);
}

Test(load, what_moved_on_the_disk_meanwhile_is_read_from_there)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 3000);
    struct saved *saved = disk_save(&disk, object_of(&rig, "/a"));
    evict_all(&rig);
    cr_assert_eq(ask_disk(&disk, &ask, "/a"), LOOKUP_WAIT);
    struct saved *moved = &disk.saved[disk.saved_count++];
    *moved = *saved;
    moved->unit = disk.next_unit;
    struct disk_entry to = {.unit = moved->unit, .size_class = store_size_class(store_record_bytes(saved->header.front_bytes, 3000))};
    cr_assert(disk_index_move(rig.cache->store->index, saved->header.hash, saved->unit, &to));
    disk_answer(&disk);
    cr_assert_eq(ask_until_loaded(&disk, &ask), LOOKUP_HIT);
    assert_hit(&ask, 3000);
    cr_assert_eq(disk.reads_total, 2);
    saved->front = saved->body = NULL;
}

Test(load, a_lookup_does_not_load_for_ever)
{
    struct ask ask;
    store(&rig, "/a", "", FRESH, 3000);
    struct saved *saved = disk_save(&disk, object_of(&rig, "/a"));
    struct disk_entry entry = {.unit = saved->unit, .size_class = store_size_class(store_record_bytes(saved->header.front_bytes, 3000))};
    evict_all(&rig);
    ask_set(&disk, &ask, METHOD_GET, "/a", "");
    unsigned rounds = 0;
    while (ask_again(&rig, &ask) == LOOKUP_WAIT) {
        cr_assert_lt(rounds++, 20);
        uint64_t elsewhere = saved->unit + 64;
        disk_index_put(rig.cache->store->index, ask.lookup.key.hash.low,
                       &(struct disk_entry){.unit = elsewhere, .size_class = entry.size_class});
        disk_answer(&disk);
        disk_index_put(rig.cache->store->index, ask.lookup.key.hash.low, &entry);
    }
    cr_assert_eq(rounds, LOADS_PER_WAIT_MAX);
    assert_fetched(&ask, LOOKUP_FILL);
}

Test(load, a_cache_is_freed_with_reads_under_way)
{
    struct ask ask;
    store(&rig, "/a", "X-Want: 1\r\n", FRESH "Vary: X-Want\r\n", 3000);
    move_to_disk(&disk);
    ask_set(&disk, &ask, METHOD_GET, "/a", "X-Want: 1\r\n");
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_WAIT);
    disk_answer(&disk);
    cr_assert_eq(ask_again(&rig, &ask), LOOKUP_WAIT);
    load_close(rig.cache, &ask.lookup.wait);
    take_read(&disk);
}
