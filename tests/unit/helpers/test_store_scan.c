#include "tests/unit/helpers/store_bench.h"

#include "helpers/store_record.h"

enum { SEGMENT = 16 * 1024 * 1024, ENTRIES = MEMORY_BYTES / 2, PER_PAGE = SLAB_PAGE_BYTES / 16 };

TestSuite(store_scan, .timeout = 60);

static struct store_footer_entry found[3 * PER_PAGE];
static unsigned found_count, scans;

/* The whole segment, message after message. */
static void scan_all(void)
{
    uint64_t next = PLACE;
    for (found_count = scans = 0; next < PLACE + SEGMENT; scans++) {
        struct message_store_scan message = {.request = 300,
                                             .segment_sequence = SEQUENCE,
                                             .offset = next,
                                             .end = PLACE + SEGMENT,
                                             .origin = PLACE,
                                             .entries_offset = ENTRIES,
                                             .directory = 1};
        const struct seen_answer *answer = ask(MESSAGE_STORE_SCAN, &message, NULL, 0);
        cr_assert_eq(answer->type, MESSAGE_STORE_SCAN_DONE);
        cr_assert_eq(answer->scan.status, STORE_OK);
        cr_assert_gt(answer->scan.next, next);
        cr_assert_leq(found_count + answer->scan.count, sizeof found / sizeof *found);
        memcpy(found + found_count, memory + ENTRIES, answer->scan.count * sizeof *found);
        found_count += answer->scan.count;
        next = answer->scan.next;
    }
    cr_assert_eq(next, PLACE + SEGMENT);
}

static void expect(unsigned count, const uint64_t *hashes)
{
    scan_all();
    cr_assert_eq(found_count, count);
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(found[i].hash, hashes[i], "%u", i);
}

BOTH(store_scan, an_empty_or_missing_segment_has_no_records, 0)
{
    expect(0, NULL);
    cr_assert_eq(truncate(store_path, PLACE + SEGMENT), 0);
    expect(0, NULL);
}

BOTH(store_scan, records_are_listed_in_the_order_in_which_they_lie, 0)
{
    static struct batch batch;
    struct store_piece piece = {0, 2000};
    static const uint8_t kinds[] = {STORE_SEGMENT, STORE_RESPONSE, STORE_SELECTOR, STORE_SLICED, STORE_TOMBSTONES,
                                    STORE_PURGES,  STORE_FOOTER,   STORE_RESPONSE, STORE_TRAILER};
    batch = (struct batch){0};
    for (unsigned i = 0; i < sizeof kinds; i++)
        add_record(&batch,
                   &(struct message_store_record){.hash = i, .front_bytes = 1000, .body_bytes = 1000, .kind = kinds[i], .piece_count = 1},
                   &piece);
    cr_assert_eq(write_batch(&batch, PLACE), STORE_OK);
    expect(7, (uint64_t[]){0, 1, 2, 3, 4, 5, 7});
    for (unsigned i = 0; i < found_count; i++) {
        cr_assert_eq(found[i].kind, kinds[found[i].hash]);
        cr_assert_eq(found[i].place, found[i].hash * store_record_bytes(1000, 1000) / STORE_UNIT_BYTES);
        cr_assert_eq(store_class_bytes(found[i].size_class), 2560);
    }
}

BOTH(store_scan, what_does_not_verify_and_what_is_older_is_passed_over, 0)
{
    char garbage[700];
    uint64_t step = store_record_bytes(200, 1000);
    for (unsigned i = 0; i < 8; i++)
        write_response(PLACE + i * step, i, 0, 200, 1000);
    flip(PLACE + 1 * step);                  /* a header */
    flip(PLACE + 3 * step + 64);             /* a front */
    flip(PLACE + 5 * step + 64 + 200 + 999); /* a body */
    memset(garbage, 'g', sizeof garbage);
    poke(PLACE + 6 * step, garbage, sizeof garbage);
    expect(4, (uint64_t[]){0, 2, 4, 7});
    static struct batch batch;
    batch = (struct batch){0};
    add_response(&batch, 77, 0, 200, 1000);
    struct message_store_write message = write_of(&batch, PLACE + 2 * step);
    message.segment_sequence = SEQUENCE - 1;
    ask(MESSAGE_STORE_WRITE, &message, batch.tail, batch.len);
    expect(3, (uint64_t[]){0, 4, 7});
}

BOTH(store_scan, a_record_inside_the_body_of_a_damaged_one_is_none, 0)
{
    struct store_header header = {.kind = STORE_RESPONSE, .segment_sequence = SEQUENCE, .hash = 666, .front_bytes = 100};
    enum { BODY = 100 * 512 };
    memset(memory, 0, BODY);
    for (unsigned at = STORE_UNIT_BYTES - 64; at + 512 <= BODY; at += STORE_UNIT_BYTES)
        store_record_seal(memory + at, &header);
    write_response(PLACE, 1, 0, 0, BODY);
    write_response(PLACE + store_record_bytes(0, BODY), 2, 0, 0, 100);
    flip(PLACE + 64 + 10);
    expect(1, (uint64_t[]){2});
}

BOTH(store_scan, records_longer_than_a_window_are_found_and_one_over_the_end_is_not, 0)
{
    enum { BODY = 5 * 1024 * 1024 };
    fill(memory, BODY, 1);
    write_response(PLACE + 512, 1, 0, 200, BODY);
    write_response(PLACE + 6 * 1024 * 1024, 2, 0, 200, BODY);
    write_response(PLACE + 12 * 1024 * 1024, 3, 0, 200, BODY);
    expect(2, (uint64_t[]){1, 2});
    cr_assert_gt(scans, 1, "one message looks at a bounded part");
}

BOTH(store_scan, more_records_than_a_page_of_entries_take_several_messages, 0)
{
    enum { RECORDS = 2 * PER_PAGE + 100, IN_BATCH = 100 };
    static struct batch batch;
    for (unsigned i = 0; i < RECORDS; i += IN_BATCH) {
        batch = (struct batch){0};
        for (unsigned j = i; j < i + IN_BATCH && j < RECORDS; j++)
            add_response(&batch, j, 0, 200, 100);
        cr_assert_eq(write_batch(&batch, PLACE + i * STORE_UNIT_BYTES), STORE_OK);
        answer_count = 0;
    }
    scan_all();
    cr_assert_eq(found_count, RECORDS);
    for (unsigned i = 0; i < RECORDS; i++)
        cr_assert(found[i].hash == i && found[i].place == i);
}

BOTH(store_scan, a_scan_that_starts_at_the_end_is_over, 0)
{
    struct message_store_scan message = {.origin = PLACE, .offset = PLACE + 512, .end = PLACE + 512, .directory = 1};
    const struct seen_answer *answer = ask(MESSAGE_STORE_SCAN, &message, NULL, 0);
    cr_assert_eq(answer->scan.status, STORE_OK);
    cr_assert_eq(answer->scan.next, PLACE + 512);
}
