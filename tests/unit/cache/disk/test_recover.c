#include "tests/unit/cache/disk/store_rig.h"

#include <time.h>

enum { MIB = 1 << 20 };

static struct disk_rig rig;

static void setup(void)
{
    disk_rig_init(&rig, 1, MIB, 16);
    disk_rig_recover(&rig);
}

static void teardown(void)
{
    disk_rig_free(&rig);
}

TestSuite(recover, .init = setup, .fini = teardown);

static void again(void)
{
    disk_rig_restart(&rig);
    disk_rig_recover(&rig);
}

static void fill(uint64_t from, uint64_t to, uint64_t version, size_t bytes)
{
    for (uint64_t i = from; i < to; i++) {
        disk_rig_offer(&rig, i, version, bytes);
        if (i % 8 == 7)
            disk_rig_turn(&rig, 20, UINT32_MAX);
    }
    disk_rig_settle(&rig);
}

Test(recover, finds_what_was_written_sealed_or_not)
{
    fill(0, 200, 1, 20000);
    cr_assert_gt(disk_rig_stats(&rig).directories[0].segments_used, 3);
    uint64_t scans = rig.disk.done[FAKE_SCAN];
    again();
    for (uint64_t i = 0; i < 200; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 1, "%lu", (unsigned long)i);
    struct store_stats stats = disk_rig_stats(&rig);
    cr_assert_eq(stats.records, 200);
    cr_assert_eq(stats.recovered_records, 200);
    cr_assert_eq(stats.directories[0].records, 200);
    cr_assert_not(stats.is_recovering);
    cr_assert_leq(rig.disk.done[FAKE_SCAN] - scans, 1, "the one that was open");
}

Test(recover, an_empty_store_is_open_at_once)
{
    again();
    cr_assert(atomic_load(&rig.store->is_open));
    cr_assert_eq(disk_rig_stats(&rig).records, 0);
    cr_assert_eq(disk_rig_stats(&rig).directories[0].state, DIRECTORY_WORKING);
}

Test(recover, the_latest_version_counts)
{
    for (uint64_t version = 1; version <= 5; version++)
        fill(0, 50, version, 20000);
    again();
    for (uint64_t i = 0; i < 50; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 5);
    cr_assert_eq(disk_rig_stats(&rig).records, 50);
}

Test(recover, what_was_forgotten_stays_so)
{
    fill(0, 200, 1, 20000);
    for (uint64_t i = 0; i < 200; i += 2)
        disk_rig_forget(&rig, i);
    disk_rig_settle(&rig);
    fill(200, 300, 1, 20000); /* so that those tombstones are in a sealed segment */
    for (uint64_t i = 1; i < 200; i += 4)
        disk_rig_forget(&rig, i);
    disk_rig_settle(&rig);
    for (unsigned times = 0; times < 3; times++) {
        again();
        for (uint64_t i = 0; i < 300; i++)
            cr_assert_eq(disk_rig_version(&rig, i), i >= 200 || i % 4 == 3, "%lu", (unsigned long)i);
    }
}

Test(recover, goes_on_where_the_last_run_was_and_older_segments_stay)
{
    for (unsigned run = 0; run < 4; run++) {
        fill(run * 50, run * 50 + 50, 1, 10000);
        again();
    }
    for (uint64_t i = 0; i < 200; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 1, "%lu", (unsigned long)i);
}

Test(recover, a_purge_holds_and_its_sequence_goes_on)
{
    uint64_t tag = 77, before;
    struct object *object = disk_rig_object(&rig, 1, 1, 1000, &tag, RIG_HEAD);
    store_offer(rig.store, object, 0);
    object_unref(rig.cache, &object);
    disk_rig_settle(&rig);
    for (unsigned sealed = 0; sealed < 2; sealed++) {
        before = purge_sequence(&rig.cache->purges);
        struct store_purge purge = {.name = tag + sealed, .kind = PURGE_HARD, .at_s = 5};
        purge.sequence = purge_add(&rig.cache->purges, tag + sealed, PURGE_HARD, rig.wall);
        store_log_purge(rig.store, &purge);
        disk_rig_settle(&rig);
        if (sealed)
            fill(100, 200, 1, 20000);
        again();
        uint64_t name = tag + sealed;
        cr_assert(purge_find(&rig.cache->purges, &name, 1, before).is_hard);
        cr_assert_not(purge_find(&rig.cache->purges, &name, 1, purge.sequence).is_hard);
        name = 12345;
        cr_assert_not(purge_find(&rig.cache->purges, &name, 1, 0).is_hard);
        cr_assert_gt(purge_sequence(&rig.cache->purges), purge.sequence);
    }
}

Test(recover, a_purge_before_recovery_began_concerns_what_is_found_then)
{
    uint64_t tag = 77;
    struct store_purge other = {.name = 5, .kind = PURGE_HARD, .sequence = purge_add(&rig.cache->purges, 5, PURGE_HARD, rig.wall)};
    store_log_purge(rig.store, &other);
    disk_rig_settle(&rig);
    struct object *object = disk_rig_object(&rig, 1, 1, 1000, &tag, RIG_HEAD);
    uint64_t checked = atomic_load(&object_record(rig.cache, object)->purge_checked);
    store_offer(rig.store, object, 0);
    object_unref(rig.cache, &object);
    disk_rig_settle(&rig);
    disk_rig_restart(&rig);
    struct store_purge purge = {.name = tag, .kind = PURGE_HARD, .sequence = purge_add(&rig.cache->purges, tag, PURGE_HARD, rig.wall)};
    store_log_purge(rig.store, &purge);
    for (unsigned times = 0; times < 2; times++) { /* now, and after the next restart */
        disk_rig_recover(&rig);
        disk_rig_settle(&rig);
        cr_assert(purge_find(&rig.cache->purges, &tag, 1, checked).is_hard);
        disk_rig_restart(&rig);
    }
}

Test(recover, what_is_forgotten_or_offered_meanwhile_is_not_overwritten_by_what_is_found)
{
    fill(0, 100, 1, 20000);
    disk_rig_restart(&rig);
    disk_rig_forget(&rig, 1);
    disk_rig_offer(&rig, 2, 2, 1000);
    disk_rig_turn(&rig, 100, 3);
    disk_rig_forget(&rig, 3);
    disk_rig_offer(&rig, 4, 2, 1000);
    disk_rig_recover(&rig);
    disk_rig_settle(&rig);
    for (unsigned times = 0; times < 2; times++) {
        cr_assert_eq(disk_rig_version(&rig, 1), 0);
        cr_assert_eq(disk_rig_version(&rig, 2), 2);
        cr_assert_eq(disk_rig_version(&rig, 3), 0);
        cr_assert_eq(disk_rig_version(&rig, 4), 2);
        cr_assert_eq(disk_rig_version(&rig, 5), 1);
        again();
    }
}

static bool is_purged_softly(const struct cache_key *key)
{
    uint64_t url = key->hash.high;
    return purge_find(&rig.cache->purges, &url, 1, 0).is_soft;
}

Test(recover, a_url_may_be_purged_softly_before_it_is_found)
{
    char text[32];
    struct cache_key key = {.encoded = disk_rig_key(1, text)};
    key.hash = hash_bytes(&rig.cache->hash_key, key.encoded);
    fill(0, 3, 1, 1000);
    disk_rig_restart(&rig);
    rig.cache->store = rig.store;
    cr_assert_not(cache_purge(rig.cache, &key, PURGE_SOFT, rig.wall), "as far as is known");
    rig.cache->store = NULL; /* the rig frees it */
    cr_assert(is_purged_softly(&key));
    disk_rig_recover(&rig);
    disk_rig_settle(&rig);
    cr_assert(is_purged_softly(&key));
    again();
    cr_assert(is_purged_softly(&key));
}

Test(recover, nothing_is_found_before_all_purges_are_known_and_something_before_the_end)
{
    struct store_purge purge = {.name = 77, .kind = PURGE_HARD, .sequence = 1};
    purge.sequence = purge_add(&rig.cache->purges, 77, PURGE_HARD, rig.wall);
    store_log_purge(rig.store, &purge);
    fill(0, 400, 1, 20000);
    uint64_t name = 77;
    bool was_found_early = false;
    disk_rig_restart(&rig);
    while (rig.store->dead != NULL) {
        disk_rig_turn(&rig, 1, 1);
        bool is_known = purge_find(&rig.cache->purges, &name, 1, 0).is_hard, is_found = false;
        struct store_where where;
        for (uint64_t i = 0; i < 400; i += 20)
            is_found |= store_find(rig.store, disk_rig_hash(&rig, i), &where);
        cr_assert(is_known || !is_found);
        was_found_early |= is_found && rig.store->dead != NULL;
    }
    cr_assert(was_found_early);
}

static uint64_t version_at(const struct store_where *where)
{
    struct store_header header;
    uint64_t version;
    const char *at = rig.disk.bytes[where->place.directory] + where->place.offset;
    memcpy(&header, at, sizeof header);
    memcpy(&version, at + sizeof header + header.front_bytes, sizeof version);
    return version;
}

/* What may be found while only some of it is known: the latest of every name or nothing, after each single answer of the disk. */
Test(recover, at_no_moment_is_anything_found_that_is_out_of_date)
{
    enum { NAMES = 60, VERSIONS = 8 };
    for (uint64_t version = 1; version <= VERSIONS; version++) {
        fill(0, NAMES, version, 20000);
        for (uint64_t i = version; i < NAMES; i += 9) /* but for 0, of each nine one is forgotten then; what follows is another */
            disk_rig_forget(&rig, i);
        disk_rig_settle(&rig);
    }
    uint64_t latest[NAMES], early = 0;
    for (uint64_t i = 0; i < NAMES; i++)
        latest[i] = disk_rig_version(&rig, i);
    cr_assert(latest[0] == VERSIONS && latest[VERSIONS] == 0);
    cr_assert_gt(disk_rig_stats(&rig).directories[0].segments_used, 8);
    disk_rig_restart(&rig);
    rig.disk.random = 88172645463325252u; /* answers come in any order */
    while (rig.store->dead != NULL) {
        disk_rig_turn(&rig, 1, 1);
        for (uint64_t i = 0; i < NAMES; i++) {
            struct store_where where;
            bool is_found = store_find(rig.store, disk_rig_hash(&rig, i), &where) && rig.store->dead != NULL;
            uint64_t version = is_found ? version_at(&where) : 0;
            cr_assert(version == 0 || version == latest[i], "%lu of %lu", (unsigned long)version, (unsigned long)i);
            early += version != 0;
        }
    }
    cr_assert_gt(early, 0);
    for (uint64_t i = 0; i < NAMES; i++)
        cr_assert_eq(disk_rig_version(&rig, i), latest[i]);
}

static unsigned wakes;

static void count_wake(struct waker *waker)
{
    (void)waker;
    wakes++;
}

Test(recover, sleeps_while_the_disk_is_reading)
{
    fill(0, 200, 1, 20000);
    disk_rig_restart(&rig);
    rig.waker.post = count_wake;
    unsigned slept = 0;
    for (; rig.store->dead != NULL; fake_pump(&rig.disk, 1)) {
        for (wakes = 1; wakes > 0 && rig.store->dead != NULL;) { /* as a loop that is woken */
            static unsigned runs;
            cr_assert_lt(runs++, 10000, "it spins");
            wakes = 0;
            store_run(rig.store, rig.now, rig.wall);
        }
        slept++;
    }
    cr_assert_gt(slept, 10);
}

/* Where a record lies in the buffer. */
static char *bytes_of(uint64_t number)
{
    struct store_where where;
    cr_assert(store_find(rig.store, disk_rig_hash(&rig, number), &where));
    return rig.disk.bytes[where.place.directory] + where.place.offset;
}

Test(recover, a_flipped_bit_costs_its_record_alone)
{
    fill(0, 100, 1, 20000);
    bytes_of(5)[70] ^= 1;
    bytes_of(99)[70] ^= 1; /* in the segment that is not sealed */
    again();
    for (uint64_t i = 0; i < 100; i++)
        cr_assert_eq(disk_rig_version(&rig, i), i != 5 && i != 99, "%lu", (unsigned long)i);
    cr_assert_eq(disk_rig_stats(&rig).misses, 1, "a footer does not know");
    again();
    cr_assert_eq(disk_rig_version(&rig, 5), 0);
}

Test(recover, damaged_ends_of_segments_are_made_up_for)
{
    fill(0, 200, 1, 20000);
    char *start = rig.disk.bytes[0] + STORE_FIRST_SEGMENT;
    start[0] ^= 1;                          /* SEGMENT of the first */
    start[2 * MIB - STORE_UNIT_BYTES] ^= 1; /* trailer of the second */
    struct segment *third = &rig.store->directories[0].segments[2];
    cr_assert(third->is_sealed);
    start[2 * MIB + (uint64_t)third->footer_place * STORE_UNIT_BYTES + 100] ^= 1; /* footer of the third */
    again();
    for (uint64_t i = 0; i < 200; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 1, "%lu", (unsigned long)i);
}

Test(recover, where_purges_are_lost_what_is_older_is_given_up)
{
    fill(0, 100, 1, 20000);
    struct store_purge purge = {.name = 77, .kind = PURGE_HARD, .sequence = purge_add(&rig.cache->purges, 77, PURGE_HARD, rig.wall)};
    store_log_purge(rig.store, &purge);
    uint32_t segment = append_open_segment(&rig.store->directories[0]);
    disk_rig_settle(&rig);
    fill(100, 200, 1, 20000);
    char *at = rig.disk.bytes[0] + STORE_FIRST_SEGMENT + segment * MIB;
    for (struct store_header header; memcpy(&header, at, sizeof header), header.kind != STORE_PURGES;)
        at += store_record_bytes(header.front_bytes, header.body_bytes);
    at[70] ^= 1;
    again();
    uint64_t found = 0;
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t version = disk_rig_version(&rig, i);
        cr_assert(i >= 100 || version == 0, "%lu", (unsigned long)i);
        found += version;
    }
    cr_assert_gt(found, 20);
    disk_rig_settle(&rig);
    again();
    for (uint64_t i = 0; i < 200; i++)
        found -= disk_rig_version(&rig, i);
    cr_assert_eq(found, 0, "the same after the next start");
}

Test(recover, a_disk_that_cannot_be_read_is_tried_again)
{
    fill(0, 100, 1, 20000);
    disk_rig_restart(&rig);
    rig.disk.fail[FAKE_READ] = DISK_ERROR;
    for (unsigned i = 0; i < 20; i++)
        disk_rig_turn(&rig, 10, UINT32_MAX);
    cr_assert_eq(disk_rig_stats(&rig).directories[0].state, DIRECTORY_BYPASSED);
    cr_assert_eq(disk_rig_stats(&rig).directories[0].error, EIO);
    disk_rig_forget(&rig, 7); /* it is not known that it is there */
    disk_rig_offer(&rig, 8, 2, 1000);
    cr_assert_eq(disk_rig_stats(&rig).dropped, 1);
    rig.disk.fail[FAKE_READ] = DISK_OK;
    for (unsigned i = 0; i < 100; i++)
        disk_rig_turn(&rig, 50, UINT32_MAX);
    cr_assert_eq(disk_rig_stats(&rig).directories[0].state, DIRECTORY_WORKING);
    for (unsigned times = 0; times < 2; times++) {
        for (uint64_t i = 0; i < 100; i++)
            cr_assert_eq(disk_rig_version(&rig, i), i != 7 && i != 8, "%lu", (unsigned long)i);
        again();
    }
}

Test(recover, each_read_failing_in_turn_loses_nothing)
{
    fill(0, 100, 1, 20000);
    for (int64_t nth = 0; nth < 60; nth++) {
        disk_rig_restart(&rig);
        rig.disk.fail[FAKE_READ] = nth % 2 == 0 ? DISK_ERROR : DISK_UNAVAILABLE;
        rig.disk.fail_in = nth;
        for (unsigned i = 0; i < 100 || rig.store->dead != NULL; i++)
            disk_rig_turn(&rig, 50, UINT32_MAX);
        rig.disk.fail[FAKE_READ] = DISK_OK;
        for (uint64_t i = 0; i < 100; i++)
            cr_assert_eq(disk_rig_version(&rig, i), 1, "%lu after %lu", (unsigned long)i, (unsigned long)nth);
    }
}

Test(recover, a_segment_that_cannot_be_read_for_good_is_given_up_in_the_end)
{
    fill(0, 20, 1, 20000); /* one segment, not sealed: it is scanned */
    disk_rig_restart(&rig);
    rig.disk.fail[FAKE_SCAN] = DISK_ERROR;
    for (unsigned i = 0; i < 1000; i++)
        disk_rig_turn(&rig, 50, UINT32_MAX);
    rig.disk.fail[FAKE_SCAN] = DISK_OK;
    disk_rig_recover(&rig);
    disk_rig_settle(&rig);
    cr_assert_eq(disk_rig_stats(&rig).records, 0);
    again();
    cr_assert_eq(disk_rig_stats(&rig).records, 0, "not half of it now and the other half then");
    fill(0, 20, 2, 20000);
    cr_assert_eq(disk_rig_stats(&rig).records, 20);
}

Test(recover_all, directories_share_the_names_and_one_that_fails_harms_no_other)
{
    disk_rig_init(&rig, 3, MIB, 12);
    disk_rig_recover(&rig);
    fill(0, 300, 1, 10000);
    struct store_stats stats = disk_rig_stats(&rig);
    for (unsigned i = 0; i < 3; i++)
        cr_assert(stats.directories[i].records > 60 && stats.directories[i].records < 140, "%lu",
                  (unsigned long)stats.directories[i].records);
    disk_rig_restart(&rig);
    rig.disk.fail[FAKE_READ] = DISK_ERROR;
    rig.disk.fail_directory = 1;
    for (unsigned i = 0; i < 50; i++)
        disk_rig_turn(&rig, 10, UINT32_MAX);
    uint64_t found = 0;
    for (uint64_t i = 0; i < 300; i++)
        found += disk_rig_version(&rig, i);
    cr_assert_eq(found, 300 - stats.directories[1].records);
    rig.disk.fail[FAKE_READ] = DISK_OK;
    for (unsigned i = 0; i < 100; i++)
        disk_rig_turn(&rig, 50, UINT32_MAX);
    for (uint64_t i = 0; i < 300; i++)
        cr_assert_eq(disk_rig_version(&rig, i), 1);
    disk_rig_free(&rig);
}

/* A store that was written by somebody faster: footers only, which is all that recovery looks at. */
static void forge_segment(char *segment, uint64_t sequence, uint32_t count, uint64_t first)
{
    struct store_segment_front front = {.identity = {1, 7}};
    struct store_header header = {.kind = STORE_SEGMENT, .segment_sequence = sequence, .front_bytes = sizeof front};
    header.front_checksum = store_checksum(&front, sizeof front);
    header.body_checksum = store_checksum(NULL, 0);
    store_header_seal(&header);
    memcpy(segment, &header, sizeof header);
    memcpy(segment + sizeof header, &front, sizeof front);

    uint32_t footer_place = 1 + count;
    char *footer = segment + (uint64_t)footer_place * STORE_UNIT_BYTES;
    struct store_footer_entry *entries = (struct store_footer_entry *)(void *)(footer + sizeof header);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = (first + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
        entries[i] =
            (struct store_footer_entry){.hash = (hash ^ hash >> 29) * UINT64_C(0xbf58476d1ce4e5b9), .place = 1 + i, .kind = STORE_RESPONSE};
    }
    header = (struct store_header){.kind = STORE_FOOTER, .segment_sequence = sequence, .body_bytes = count * (uint32_t)sizeof *entries};
    header.front_checksum = store_checksum(NULL, 0);
    header.body_checksum = store_checksum(entries, header.body_bytes);
    store_header_seal(&header);
    memcpy(footer, &header, sizeof header);

    struct store_trailer trailer = {.footer_place = footer_place, .count = count};
    char *end = segment + 16 * MIB - STORE_UNIT_BYTES;
    header = (struct store_header){.kind = STORE_TRAILER, .segment_sequence = sequence, .front_bytes = sizeof trailer};
    header.front_checksum = store_checksum(&trailer, sizeof trailer);
    header.body_checksum = store_checksum(NULL, 0);
    store_header_seal(&header);
    memcpy(end, &header, sizeof header);
    memcpy(end + sizeof header, &trailer, sizeof trailer);
}

Test(recover_all, a_million_records)
{
    enum { SEGMENTS = 50, EACH = 20000 };
    disk_rig_init(&rig, 1, 16 * MIB, SEGMENTS);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        forge_segment(rig.disk.bytes[0] + STORE_FIRST_SEGMENT + (uint64_t)i * 16 * MIB, i + 1, EACH, (uint64_t)i * EACH);
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    uint64_t runs = 0;
    for (; rig.store->dead != NULL; runs++) {
        store_run(rig.store, rig.now, rig.wall);
        fake_pump(&rig.disk, UINT32_MAX);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    struct store_stats stats = disk_rig_stats(&rig);
    printf("recover: %lu records in %.0f ms of CPU, %lu runs, %lu reads, %.2f bytes each\n", (unsigned long)stats.records, ms,
           (unsigned long)runs, (unsigned long)rig.disk.done[FAKE_READ], (double)stats.index_bytes / (double)stats.records);
    cr_assert_geq(stats.records, SEGMENTS * EACH - 2);
    cr_assert_leq(stats.index_bytes, 12 * stats.records);
    cr_assert_leq(rig.disk.done[FAKE_READ], 3 * SEGMENTS + 1);
    cr_assert_geq(runs, 50, "in slices");
    disk_rig_free(&rig);
}
