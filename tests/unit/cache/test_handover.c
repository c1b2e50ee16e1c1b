/* What is listed is taken over, as it was, and nothing else. */
#include "tests/unit/cache/handover_rig.h"

TestSuite(handover, .init = setup, .fini = teardown);

/* ---- what is taken over ------------------------------------------------------------------------------------------------------------------ */

Test(handover, bodies_of_all_sizes_are_the_same_bytes)
{
    static const uint64_t sizes[] = {0, 1, 15000, 16300, 16384, 16385, 40000, 65536, 65537, 200000, 600000, 1000000};
    char path[32];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(path, sizeof path, "/%zu", i);
        store(&old, path, "", FRESH "ETag: \"x\"\r\n", sizes[i]);
    }
    struct handover_report report = hand_over();
    cr_assert_eq(report.verdict, HANDOVER_TAKEN);
    cr_assert_eq(report.taken.responses, sizeof sizes / sizeof *sizes);
    cr_assert_eq(report.left_out, 0);
    cr_assert_not(report.is_full);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        snprintf(path, sizeof path, "/%zu", i);
        cr_assert_eq(found(path, ""), (int64_t)sizes[i], "%s: %ld", path, (long)found(path, ""));
    }
    struct cache_stats stats = rig_stats(&new);
    cr_assert_eq(stats.adopted, report.taken.responses);
    cr_assert_eq(stats.adopted_bytes, report.taken.bytes);
}

Test(handover, a_body_of_unknown_length_and_a_revalidated_one)
{
    struct ask ask;
    cr_assert_eq(ask_get(&old, &ask, "/chunked"), LOOKUP_FILL);
    cr_assert_eq(answer_head(&old, &ask, 200, FRESH, LENGTH_UNKNOWN), ERROR_OK);
    cr_assert_eq(answer_body(&ask, 0, 150000), 150000);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    store(&old, "/again", "", "Cache-Control: max-age=1\r\nETag: \"x\"\r\n", 100000);
    old.now.s += 5;
    new.now.s += 5;
    cr_assert_eq(ask_get(&old, &ask, "/again"), LOOKUP_FILL);
    cr_assert_eq(answer_head(&old, &ask, 304, FRESH, 0), ERROR_OK);
    reader_close(&ask.reader);
    cr_assert_eq(hand_over().taken.responses, 2);
    cr_assert_eq(found("/chunked", ""), 150000);
    cr_assert_eq(found("/again", ""), 100000);
}

Test(handover, age_goes_on)
{
    struct ask ask;
    store(&old, "/a", "", FRESH, 10);
    new.now.s += 20;
    hand_over();
    cr_assert_eq(ask_get(&new, &ask, "/a"), LOOKUP_HIT);
    cr_assert_eq(ask.lookup.age_s, 20);
    cr_assert_eq(ask.lookup.ttl_s, 40);
    reader_close(&ask.reader);
    new.now.s += 60;
    cr_assert_eq(found("/a", ""), -1, "stale by now");
}

#define VARY_A FRESH "Vary: X-A\r\n"

Test(handover, variants_are_found_under_their_selector)
{
    store(&old, "/v", "X-A: 1\r\n", VARY_A, 10);
    store(&old, "/v", "X-A: 2\r\n", VARY_A, 20000);
    store(&old, "/other", "", FRESH, 30);
    cr_assert_eq(hand_over().taken.responses, 3);
    cr_assert_eq(found("/v", "X-A: 1\r\n"), 10);
    cr_assert_eq(found("/v", "X-A: 2\r\n"), 20000);
    cr_assert_eq(found("/v", "X-A: 3\r\n"), -1);
    purge(&new, "/v", PURGE_HARD);
    cr_assert_eq(found("/v", "X-A: 1\r\n"), -1);
    cr_assert_eq(found("/other", ""), 30);
}

Test(handover, another_selector_that_is_there_by_now_stays)
{
    store(&old, "/v", "X-A: 1\r\n", VARY_A, 10);
    list_all();
    await_adoption();
    store(&new, "/v", "X-A: 2\r\n", VARY_A, 20);
    cr_assert_eq(adopt_all().taken.responses, 0);
    cr_assert_eq(found("/v", "X-A: 2\r\n"), 20);
    cr_assert_eq(found("/v", "X-A: 1\r\n"), -1);
}

enum { SLICE = 65536 };

Test(handover, slices_are_found_under_their_head)
{
    struct ask ask = {.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}}, slice = ask;
    struct headers fields;
    parse_fields(&old, &ask.fields, "");
    ask.lookup = (struct lookup){.key = rig_key(&old, "/large"),
                                 .method = METHOD_GET,
                                 .fields = &ask.fields,
                                 .rules = &old.rules,
                                 .now = old.now,
                                 .slice = {0, SLICE},
                                 .reader_waker = &ask.reader_waker.waker};
    cache_lookup(old.cache, &ask.lookup, &ask.reader);
    cr_assert_eq(ask.lookup.outcome, LOOKUP_FILL);
    fill_set_waker(ask.lookup.fill, &ask.fill_waker.waker);
    parse_fields(&old, &fields, FRESH "ETag: \"a\"\r\nContent-Range: bytes 0-65535/655360\r\n");
    const struct origin_head part = {.status = 206,
                                     .reason = BYTES("Part"),
                                     .fields = &fields,
                                     .length_known = true,
                                     .length = SLICE,
                                     .request_time = old.now,
                                     .response_time = old.now};
    cr_assert_eq(fill_set_slice(&ask.lookup.fill, &part), ERROR_OK);
    cr_assert_eq(answer_body(&ask, 0, SLICE), SLICE);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    cr_assert_eq(hand_over().taken.responses, 1, "the slice");
    cr_assert_eq(ask_get(&new, &ask, "/large"), LOOKUP_HIT);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert(ask.view.is_sliced);
    cr_assert_eq(ask.view.length, 10 * SLICE);
    struct slice_lookup lookup = {.slice = {0, SLICE}, .waker = &slice.reader_waker.waker};
    cr_assert(cache_has_slice(&ask.reader, lookup.slice));
    cr_assert_not(cache_has_slice(&ask.reader, ((struct span){SLICE, 2 * SLICE})));
    cache_open_slice(&ask.reader, &lookup, &slice.reader);
    cr_assert_eq(lookup.outcome, LOOKUP_HIT);
    cr_assert_eq(read_all(&slice), SLICE);
    reader_close(&slice.reader);
    reader_close(&ask.reader);
}

Test(handover, what_was_hit_most_comes_first_and_nothing_is_evicted_for_the_rest)
{
    static struct rig small;
    struct ask ask;
    char path[32];
    small = new;
    new = rig_new(RIG_MIB, RIG_MIB, 8);
    for (unsigned i = 0; i < 30; i++) {
        snprintf(path, sizeof path, "/%u", i);
        store(&old, path, "", FRESH, 100000);
    }
    for (unsigned i = 20; i < 25; i++) {
        for (unsigned hits = 0; hits < 3; hits++) {
            snprintf(path, sizeof path, "/%u", i);
            cr_assert_eq(ask_get(&old, &ask, path), LOOKUP_HIT);
            reader_close(&ask.reader);
        }
    }
    store(&new, "/own", "", FRESH, 100000);
    struct handover_report report = hand_over();
    cr_assert(report.is_full);
    cr_assert(report.taken.responses >= 5 && report.taken.responses < 10, "%lu", (unsigned long)report.taken.responses);
    cr_assert_eq(rig_stats(&new).evictions, 0);
    for (unsigned i = 20; i < 25; i++) {
        snprintf(path, sizeof path, "/%u", i);
        cr_assert_eq(found(path, ""), 100000);
    }
    cr_assert_eq(found("/own", ""), 100000);
    rig_free(&small);
}

Test(handover, frequency_and_queue_are_kept)
{
    struct ask ask;
    store(&old, "/a", "", FRESH, 10);
    for (unsigned hits = 0; hits < 2; hits++) {
        ask_get(&old, &ask, "/a");
        reader_close(&ask.reader);
    }
    struct cache_key key = rig_key(&old, "/a");
    struct object_name name = name_of_key(&key);
    evict_promote(&old.cache->evict, shard_find(old.cache, shard_of(old.cache, name.hash), &name));
    hand_over();
    struct object *object = shard_find(new.cache, shard_of(new.cache, name.hash), &name);
    cr_assert_neq(object, NULL);
    cr_assert_eq(object->queue, QUEUE_MAIN);
    cr_assert_eq(atomic_load(&object->frequency), 2);
}

/* ---- purges ------------------------------------------------------------------------------------------------------------------------------- */

Test(handover, what_was_purged_before_is_not_listed)
{
    store(&old, "/url", "", FRESH, 10);
    store(&old, "/tag", "", FRESH "Surrogate-Key: t\r\n", 10);
    store(&old, "/v", "X-A: 1\r\n", VARY_A, 10);
    store(&old, "/kept", "", FRESH "Surrogate-Key: u\r\n", 10);
    cr_assert(purge(&old, "/url", PURGE_HARD) && purge(&old, "/v", PURGE_HARD));
    cache_purge_tag(old.cache, BYTES("t"), PURGE_HARD, old.now);
    cr_assert_eq(hand_over().taken.responses, 1);
    cr_assert_eq(found("/url", ""), -1);
    cr_assert_eq(found("/tag", ""), -1);
    cr_assert_eq(found("/v", "X-A: 1\r\n"), -1);
    cr_assert_eq(found("/kept", ""), 10);
}

Test(handover, what_was_softly_purged_before_is_stale)
{
    store(&old, "/url", "", FRESH, 10);
    store(&old, "/tag", "", FRESH "Surrogate-Key: t\r\n", 10);
    store(&old, "/v", "X-A: 1\r\n", VARY_A, 10);
    store(&old, "/kept", "", FRESH "Surrogate-Key: u\r\n", 10);
    cr_assert(purge(&old, "/url", PURGE_SOFT) && purge(&old, "/v", PURGE_SOFT));
    cache_purge_tag(old.cache, BYTES("t"), PURGE_SOFT, old.now);
    cr_assert_eq(hand_over().taken.responses, 4);
    struct ask ask;
    static const char *const paths[] = {"/url", "/tag", "/v"};
    for (unsigned i = 0; i < 3; i++) {
        ask_with(&new, &ask, METHOD_GET, paths[i], "X-A: 1\r\n", false);
        cr_assert_eq(ask.lookup.outcome, LOOKUP_FILL);
        cr_assert_eq(ask.lookup.detail, DETAIL_SOFT_PURGED, "%s", paths[i]);
        close_all(&ask);
    }
    cr_assert_eq(found("/kept", ""), 10);
}

Test(handover, purges_after_it_concern_what_was_taken_over)
{
    static const char *const paths[] = {"/tag", "/group", "/kept"};
    store(&old, "/tag", "", FRESH "Surrogate-Key: t\r\n", 10);
    store(&old, "/group", "", FRESH "Cache-Groups: \"g\"\r\n", 10);
    store(&old, "/kept", "", FRESH "Surrogate-Key: u\r\n", 10);
    hand_over();
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(found(paths[i], ""), 10);
    cache_purge_tag(new.cache, BYTES("t"), PURGE_HARD, new.now);
    cache_purge_group(new.cache, BYTES("http"), BYTES("example.com"), BYTES("g"), PURGE_HARD, new.now);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(found(paths[i], ""), i < 2 ? -1 : 10, "%s", paths[i]);
    cache_purge_host(new.cache, BYTES("example.com"), PURGE_HARD, new.now);
    cr_assert_eq(found("/kept", ""), -1);
}

Test(handover, a_purge_between_the_list_and_its_taking_holds)
{
    static const char *const paths[] = {"/url", "/tag", "/v"};
    for (enum purge_kind kind = PURGE_HARD; kind <= PURGE_SOFT; kind++) {
        teardown();
        setup();
        store(&old, "/url", "", FRESH, 10);
        store(&old, "/tag", "", FRESH "Surrogate-Key: t\r\n", 10);
        store(&old, "/v", "X-A: 1\r\n", VARY_A, 10);
        store(&old, "/kept", "", FRESH, 10);
        list_all();
        await_adoption();
        cr_assert(purge(&new, "/url", kind), "it may be there");
        cr_assert(purge(&new, "/v", kind));
        cache_purge_tag(new.cache, BYTES("t"), kind, new.now);
        adopt_all();
        for (unsigned i = 0; i < 3; i++)
            cr_assert_eq(found(paths[i], "X-A: 1\r\n"), -1, "%s", paths[i]);
        cr_assert_eq(found("/kept", ""), 10);
        cr_assert_not(purge(&new, "/nothing", kind), "nothing is awaited any more");
        store(&new, "/nothing", "", FRESH, 10);
        cr_assert_eq(found("/nothing", ""), 10);
    }
}

Test(handover, what_is_fetched_after_a_purge_in_between_stays)
{
    store(&old, "/a", "", FRESH, 10);
    list_all();
    await_adoption();
    purge(&new, "/a", PURGE_HARD);
    store(&new, "/a", "", FRESH, 20);
    adopt_all();
    cr_assert_eq(found("/a", ""), 20);
}

Test(handover, purges_of_everything_before_and_after)
{
    store(&old, "/a", "", FRESH, 10);
    cache_purge_all(old.cache, PURGE_HARD, old.now);
    store(&old, "/b", "", FRESH, 10);
    cr_assert_eq(hand_over().taken.responses, 1);
    cr_assert_eq(found("/b", ""), 10);
    cache_purge_all(new.cache, PURGE_HARD, new.now);
    cr_assert_eq(found("/b", ""), -1);
}

Test(handover, a_purge_here_counts_even_if_the_other_gave_greater_numbers)
{
    purge_raise(&old.cache->purges, UINT64_C(1) << 60); /* its clock was ahead */
    store(&old, "/a", "", FRESH "Surrogate-Key: t\r\n", 10);
    hand_over();
    cr_assert_eq(found("/a", ""), 10);
    cache_purge_tag(new.cache, BYTES("t"), PURGE_HARD, new.now);
    cr_assert_eq(found("/a", ""), -1);
}

/* ---- what changes meanwhile --------------------------------------------------------------------------------------------------------------- */

Test(handover, what_was_fetched_meanwhile_stays)
{
    store(&old, "/a", "", FRESH, 10);
    list_all();
    await_adoption();
    store(&new, "/a", "", FRESH, 20);
    struct handover_report report = adopt_all();
    cr_assert_eq(report.taken.responses, 0);
    cr_assert_eq(report.left_out, 1);
    cr_assert_eq(found("/a", ""), 20);
}

Test(handover, what_the_old_one_gives_back_meanwhile_is_left_out)
{
    char path[32];
    store(&old, "/gone", "", FRESH, 100);
    store(&old, "/large", "", FRESH, 300000);
    store(&old, "/kept", "", FRESH, 100);
    list_all();
    purge(&old, "/gone", PURGE_HARD);
    purge(&old, "/large", PURGE_HARD);
    for (unsigned i = 0; i < 20; i++) { /* in their places */
        snprintf(path, sizeof path, "/%u", i);
        store(&old, path, "", FRESH, i < 10 ? 100 : 60000);
    }
    await_adoption();
    struct handover_report report = adopt_all();
    cr_assert_eq(report.taken.responses, 1);
    cr_assert_eq(report.left_out, 2);
    cr_assert_eq(found("/gone", ""), -1);
    cr_assert_eq(found("/large", ""), -1);
    cr_assert_eq(found("/kept", ""), 100);
}

Test(handover, what_is_stored_after_it_left_is_not_listed_until_it_leaves_again)
{
    store(&old, "/a", "", FRESH, 10);
    cache_leave(old.cache, true);
    store(&old, "/late", "", FRESH, 10);
    struct handover_counts counts;
    cr_assert(cache_list(old.cache, list, list_bytes, &goes_on, &counts));
    cr_assert_eq(counts.responses, 1);
    cache_end_list(old.cache);
    cache_leave(old.cache, false);
    store(&old, "/b", "", FRESH, 10);
    cr_assert_eq(list_all().responses, 3);
}

Test(handover, the_old_one_goes_on_as_before_when_it_is_not_wanted)
{
    char path[32];
    list_all();
    cache_end_list(old.cache);
    memset(list, 0, list_bytes);
    for (unsigned i = 0; i < 200; i++) {
        snprintf(path, sizeof path, "/%u", i);
        store(&old, path, "", FRESH, 100000);
    }
    cr_assert_gt(rig_stats(&old).evictions, 0);
    for (uint64_t i = 0; i < list_bytes; i++)
        cr_assert_eq(list[i], 0, "%lu", (unsigned long)i);
}

/* ---- what does not fit -------------------------------------------------------------------------------------------------------------------- */

static void store_some(void)
{
    store(&old, "/a", "", FRESH "Surrogate-Key: t\r\n", 10);
    store(&old, "/b", "", FRESH, 20000);
    store(&old, "/c", "", FRESH, 150000);
    store(&old, "/v", "X-A: 1\r\n", VARY_A, 10);
}

Test(handover, another_layout_is_refused)
{
    static const size_t members[] = {offsetof(struct handover_head, magic),        offsetof(struct handover_head, layout),
                                     offsetof(struct handover_head, head_bytes),   offsetof(struct handover_head, entry_bytes),
                                     offsetof(struct handover_head, record_bytes), offsetof(struct handover_head, unit_bytes)};
    store_some();
    list_all();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        list[members[i]] ^= 4;
        await_adoption();
        cr_assert_eq(adopt_all().verdict, HANDOVER_OTHER_LAYOUT);
        list[members[i]] ^= 4;
    }
    cr_assert_eq(rig_stats(&new).objects, 0);
    await_adoption();
    cr_assert_eq(adopt_all().taken.responses, 4);
}

/* Its records have their status lines: those here have an unusual one. */
Test(handover, layout_before_this_one_is_taken_over)
{
    struct ask ask;
    store_some();
    list_all();
    list[offsetof(struct handover_head, layout)] = HANDOVER_LAYOUT_OLDEST - 1;
    await_adoption();
    cr_assert_eq(adopt_all().verdict, HANDOVER_OTHER_LAYOUT);
    list[offsetof(struct handover_head, layout)] = HANDOVER_LAYOUT_OLDEST;
    await_adoption();
    cr_assert_eq(adopt_all().taken.responses, 4);
    cr_assert_eq(ask_get(&new, &ask, "/b"), LOOKUP_HIT);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert(bytes_equal(ask.view.status_line, BYTES("HTTP/1.1 200 Reason\r\n")));
    close_all(&ask);
}

Test(handover, another_hash_key_is_refused)
{
    store_some();
    list_all();
    hash_key_derive(&new.cache->hash_key, (const unsigned char[HASH_KEY_BYTES]){2});
    await_adoption();
    cr_assert_eq(adopt_all().verdict, HANDOVER_OTHER_KEY);
    cr_assert_eq(rig_stats(&new).objects, 0);
}

Test(handover, a_list_that_was_not_finished_is_none)
{
    store_some();
    await_adoption();
    cr_assert_eq(adopt_all().verdict, HANDOVER_NOTHING);
    struct handover_counts counts;
    const _Atomic bool is_off = true;
    cr_assert_not(cache_list(old.cache, list, list_bytes, &is_off, &counts));
    cr_assert_eq(adopt_all().verdict, HANDOVER_NOTHING);
}

Test(handover, a_list_without_room_for_a_head_is_not_written)
{
    struct handover_counts counts;
    cr_assert_not(cache_list(old.cache, list, 4096, &goes_on, &counts));
    cr_assert_eq(list[0], 0);
}

Test(handover, a_list_that_is_too_short_ends_early)
{
    struct handover_counts counts;
    store_some();
    cache_leave(old.cache, true);
    cr_assert(cache_list(old.cache, list, 64 + 128 + slab_bytes(old.slab) / 256 + 200, &goes_on, &counts));
    cr_assert_lt(counts.responses, 4);
    await_adoption();
    cr_assert_leq(adopt_all().taken.responses, counts.responses);
}

Test(handover, bounds_that_lie_are_refused)
{
    store_some();
    list_all();
    struct handover_head good = *head(), *written = (struct handover_head *)(void *)list;
    const struct handover_head lies[] = {
        {.entries_end = list_bytes + 1},
        {.entries_end = UINT64_MAX},
        {.entries_at = UINT64_MAX},
        {.marks_at = UINT64_MAX - 7},
        {.marks_at = 65},
        {.slab_bytes = 1},
        {.is_complete = 2},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        *written = good;
        for (size_t at = 0; at < sizeof good; at++) {
            if (((const char *)&lies[i])[at] != 0)
                ((char *)written)[at] = ((const char *)&lies[i])[at];
        }
        await_adoption();
        cr_assert_eq(adopt_all().verdict, HANDOVER_DAMAGED, "lie %zu", i);
    }
    cr_assert_eq(rig_stats(&new).objects, 0);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

/* As far as the list goes: whatever is found is what was stored. */
Test(handover, a_list_or_slab_that_was_damaged_costs_no_more_than_what_was_damaged)
{
    uint64_t state = 88172645463325252u;
    store_some();
    list_all();
    uint64_t end = head()->entries_end, first = head()->entries_at;
    char *slab = slab_at(seen, (struct extent){0, 1}), *kept_list = malloc(end), *kept_slab = malloc(4 * RIG_MIB);
    memcpy(kept_list, list, end);
    memcpy(kept_slab, slab, 4 * RIG_MIB);
    for (unsigned round = 0; round < 3000; round++) {
        unsigned flips = 1 + (unsigned)(next_random(&state) % 4);
        for (unsigned i = 0; i < flips; i++) {
            uint64_t at = next_random(&state), kind = at % 3;
            char bits = (char)next_random(&state);
            if (kind == 0)
                list[next_random(&state) % sizeof(struct handover_head)] ^= bits;
            else if (kind == 1)
                list[first + next_random(&state) % (end - first)] ^= bits;
            else /* a record's head, mostly */
                slab[(uint64_t)((const struct handover_entry *)(const void *)(kept_list + first))->unit * SLAB_UNIT_BYTES +
                     next_random(&state) % 300] ^= bits;
        }
        await_adoption();
        adopt_all();
        int64_t sizes[] = {found("/a", ""), found("/b", ""), found("/c", ""), found("/v", "X-A: 1\r\n")};
        static const int64_t stored[] = {10, 20000, 150000, 10};
        for (unsigned i = 0; i < 4; i++)
            cr_assert(sizes[i] == -1 || sizes[i] == stored[i]);
        cache_purge_all(new.cache, PURGE_HARD, new.now);
        while (evict_one(new.cache) > 0)
            ;
        memcpy(list, kept_list, end);
        memcpy(slab, kept_slab, 65536 * 8);
    }
    free(kept_list);
    free(kept_slab);
}

/* The entry's check, where it leads to something that has one. Returns where the next one is. */
static uint64_t sign(uint64_t at)
{
    struct handover_entry *entry = (struct handover_entry *)(void *)(list + at);
    const struct handover_piece *pieces = (const struct handover_piece *)(const void *)(entry + 1);
    uint64_t next = at + sizeof *entry + entry->piece_count * sizeof *pieces, place = (uint64_t)entry->unit * SLAB_UNIT_BYTES;
    if (next <= head()->entries_end && entry->front_bytes >= sizeof(struct record) && place < slab_bytes(old.slab) &&
        entry->front_bytes <= slab_bytes(old.slab) - place)
        entry->check = handover_check(&old.hash_key, entry, pieces,
                                      (const struct record *)(const void *)(slab_at(seen, (struct extent){0, 1}) + place));
    return next;
}

static void read_whatever(const char *path, const char *fields)
{
    struct ask ask;
    if (ask_with(&new, &ask, METHOD_GET, path, fields, false) == LOOKUP_HIT && ask_head(&ask) == READER_HEAD_READY && !ask.view.is_sliced) {
        struct iovec iov[3];
        int count = 3;
        while (reader_peek(&ask.reader, iov, &count, UINT64_MAX) == READER_DATA) {
            for (int i = 0; i < count; i++)
                reader_consume(&ask.reader, iov[i].iov_len);
            count = 3;
        }
    }
    close_all(&ask);
}

Test(handover, places_and_lengths_that_lie_with_the_right_key_read_nothing_that_is_not_there)
{
    static const uint32_t values[] = {0, 1, 31, 79, 80, 81, 16384, 65535, 65536, 65537, 131071, 131072, UINT32_MAX - 1, UINT32_MAX};
    uint64_t state = 88172645463325252u;
    store_some();
    list_all();
    uint64_t first = head()->entries_at, end = head()->entries_end;
    char *kept = malloc(end - first);
    memcpy(kept, list + first, end - first);
    for (unsigned round = 0; round < 3000; round++) {
        uint64_t words = (end - first) / sizeof(uint32_t), at = first + next_random(&state) % words * sizeof(uint32_t);
        uint32_t value = values[next_random(&state) % (sizeof values / sizeof *values)];
        memcpy(list + at, &value, sizeof value);
        list[first + next_random(&state) % (end - first)] ^= (char)(next_random(&state) % 3 == 0 ? next_random(&state) : 0);
        for (uint64_t entry = first; entry < end && end - entry >= sizeof(struct handover_entry);)
            entry = sign(entry);
        await_adoption();
        adopt_all();
        read_whatever("/a", "");
        read_whatever("/b", "");
        read_whatever("/c", "");
        read_whatever("/v", "X-A: 1\r\n");
        cache_purge_all(new.cache, PURGE_HARD, new.now);
        while (evict_one(new.cache) > 0)
            ;
        memcpy(list + first, kept, end - first);
    }
    free(kept);
}
