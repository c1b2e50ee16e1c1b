#include "tests/unit/helpers/store_bench.h"

enum { FRONT = 200, HALF = MEMORY_BYTES / 2, PAGE_UNITS = SLAB_PAGE_BYTES / SLAB_UNIT_BYTES };

TestSuite(store_engine, .timeout = 60);

/* ---- reading what was written -------------------------------------------------------------------------------------------------------------- */

BOTH(store_engine, a_small_record_comes_back_in_one_piece, 0)
{
    fill(memory, 1200, 1);
    write_response(PLACE, 42, 0, FRONT, 1000);
    struct message_store_read message = read_of(PLACE, 42, store_record_bytes(FRONT, 1000));
    const struct message_store_read_done *answer = read_record(&message, NULL, 0);
    struct store_header header;
    memcpy(&header, answer->header, sizeof header);
    cr_assert_eq(answer->status, STORE_OK);
    cr_assert_eq(answer->body_follows, 1);
    cr_assert_eq(header.serial, 5);
    cr_assert_eq(header.front_bytes, FRONT);
    cr_assert_eq(header.body_bytes, 1000);
    cr_assert_arr_eq(memory + HALF, memory, 1200);
}

BOTH(store_engine, a_body_that_does_not_fit_behind_its_front_goes_to_pages, 0)
{
    enum { BODY = 3 * SLAB_PAGE_BYTES - 100, FAR = HALF + 1024 * 1024 };
    uint32_t pages[] = {(FAR + 2 * SLAB_PAGE_BYTES) / SLAB_UNIT_BYTES, FAR / SLAB_UNIT_BYTES, (FAR + SLAB_PAGE_BYTES) / SLAB_UNIT_BYTES};
    fill(memory, FRONT + BODY, 2);
    write_response(PLACE, 42, 0, FRONT, BODY);
    struct message_store_read message = read_of(PLACE, 42, store_record_bytes(FRONT, BODY));
    message.front_capacity = FRONT;
    const struct message_store_read_done *answer = read_record(&message, pages, 3);
    cr_assert_eq(answer->status, STORE_OK);
    cr_assert_eq(answer->body_follows, 0);
    cr_assert_arr_eq(memory + HALF, memory, FRONT);
    cr_assert_arr_eq(memory + FAR + 2 * SLAB_PAGE_BYTES, memory + FRONT, SLAB_PAGE_BYTES);
    cr_assert_arr_eq(memory + FAR, memory + FRONT + SLAB_PAGE_BYTES, SLAB_PAGE_BYTES);
    cr_assert_arr_eq(memory + FAR + SLAB_PAGE_BYTES, memory + FRONT + 2 * SLAB_PAGE_BYTES, SLAB_PAGE_BYTES - 100);
}

BOTH(store_engine, the_largest_record_comes_back, 0)
{
    enum { BODY = STORE_RECORD_MAX_BYTES - 64 - FRONT, PAGES = BODY / SLAB_PAGE_BYTES + 1 };
    static uint32_t pages[PAGES];
    fill(memory, FRONT + BODY, 3);
    for (unsigned i = 0; i < PAGES; i++)
        pages[i] = (HALF + SLAB_PAGE_BYTES) / SLAB_UNIT_BYTES + i * PAGE_UNITS;
    write_response(PLACE, 42, 0, FRONT, BODY);
    struct message_store_read message = read_of(PLACE, 42, STORE_RECORD_MAX_BYTES);
    message.front_capacity = 256;
    cr_assert_eq(message.bytes, STORE_RECORD_MAX_BYTES);
    cr_assert_eq(read_record(&message, pages, PAGES)->status, STORE_OK);
    cr_assert_eq(memcmp(memory + HALF, memory, FRONT), 0);
    cr_assert_eq(memcmp(memory + HALF + SLAB_PAGE_BYTES, memory + FRONT, BODY), 0);
}

BOTH(store_engine, records_of_a_batch_lie_one_after_the_other_wherever_their_pieces_are_cut, 0)
{
    static struct batch batch;
    static const uint32_t cuts[][3] = {{1, 98, 1101}, {100, 1000, 100}, {99, 1, 1100}};
    batch = (struct batch){0};
    for (unsigned i = 0; i < 3; i++) {
        struct store_piece pieces[3];
        struct message_store_record record = {
            .hash = i + 1, .front_bytes = 100, .body_bytes = 1100, .kind = STORE_RESPONSE, .piece_count = 3};
        for (unsigned j = 0; j < 3; j++) {
            pieces[j] = (struct store_piece){(i * 3 + j) * 100, cuts[i][j]};
            fill(memory + pieces[j].unit * SLAB_UNIT_BYTES, pieces[j].bytes, 10 * i + j);
        }
        add_record(&batch, &record, pieces);
    }
    cr_assert_eq(write_batch(&batch, PLACE), STORE_OK);
    for (unsigned i = 0; i < 3; i++) {
        struct message_store_read message = read_of(PLACE + i * store_record_bytes(100, 1100), i + 1, store_record_bytes(100, 1100));
        cr_assert_eq(read_record(&message, NULL, 0)->status, STORE_OK);
        for (unsigned j = 0, at = HALF; j < 3; at += cuts[i][j++])
            cr_assert_arr_eq(memory + at, memory + (i * 3 + j) * 100 * SLAB_UNIT_BYTES, cuts[i][j]);
    }
}

BOTH(store_engine, a_record_without_body_comes_back, 0)
{
    fill(memory, FRONT, 4);
    write_response(PLACE, 42, 0, FRONT, 0);
    struct message_store_read message = read_of(PLACE, 42, store_record_bytes(FRONT, 0));
    message.front_capacity = FRONT;
    cr_assert_eq(read_record(&message, NULL, 0)->status, STORE_OK);
    cr_assert_arr_eq(memory + HALF, memory, FRONT);
}

/* ---- what does not come back --------------------------------------------------------------------------------------------------------------- */

static void expect_untouched(const struct message_store_read *message, enum store_status status)
{
    memset(memory + HALF, 'u', SLAB_PAGE_BYTES);
    cr_assert_eq(read_record(message, NULL, 0)->status, status);
    for (unsigned i = 0; i < SLAB_PAGE_BYTES; i++)
        cr_assert_eq(memory[HALF + i], 'u', "byte %u", i);
}

BOTH(store_engine, another_name_or_another_use_of_the_segment_is_absent, 0)
{
    write_response(PLACE, 42, 0, FRONT, 1000);
    struct message_store_read message = read_of(PLACE, 43, 2048);
    expect_untouched(&message, STORE_ABSENT);
    message = read_of(PLACE, 42, 2048);
    message.segment_sequence = SEQUENCE + 1;
    expect_untouched(&message, STORE_ABSENT);
    message.segment_sequence = 0;
    cr_assert_eq(read_record(&message, NULL, 0)->status, STORE_OK, "0: any");
}

BOTH(store_engine, a_flipped_bit_makes_it_absent_wherever_it_is, 0)
{
    static const uint64_t places[] = {0, 5, 8, 63, 64, 64 + FRONT - 1, 64 + FRONT, 64 + FRONT + 999};
    fill(memory, FRONT + 1000, 5);
    struct message_store_read message = read_of(PLACE, 42, store_record_bytes(FRONT, 1000));
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        write_response(PLACE, 42, 0, FRONT, 1000);
        flip(PLACE + places[i]);
        expect_untouched(&message, STORE_ABSENT);
    }
}

BOTH(store_engine, what_lies_behind_the_end_of_the_file_is_absent, 0)
{
    struct message_store_read message = read_of(PLACE, 42, 4096);
    expect_untouched(&message, STORE_ABSENT);
    write_response(PLACE, 42, 0, FRONT, 3000);
    cr_assert_eq(truncate(store_path, PLACE + 1024), 0);
    expect_untouched(&message, STORE_ABSENT);
    cr_assert_eq(truncate(store_path, PLACE + 1100), 0);
    expect_untouched(&message, STORE_ABSENT);
}

BOTH(store_engine, a_record_at_the_end_of_the_file_is_read_by_a_class_that_is_longer, 0)
{
    write_response(PLACE, 42, 0, FRONT, 1000);
    struct message_store_read message = read_of(PLACE, 42, 64 * 1024);
    cr_assert_eq(read_record(&message, NULL, 0)->status, STORE_OK);
}

BOTH(store_engine, a_record_longer_than_what_is_read_is_absent, 0)
{
    write_response(PLACE, 42, 0, FRONT, 3000);
    struct message_store_read message = read_of(PLACE, 42, 2048);
    expect_untouched(&message, STORE_ABSENT);
}

BOTH(store_engine, a_front_without_room_says_how_much_it_needs, 0)
{
    write_response(PLACE, 42, 0, FRONT, 1000);
    struct message_store_read message = read_of(PLACE, 42, 2048);
    struct store_header header;
    message.front_capacity = FRONT - 1;
    expect_untouched(&message, STORE_FRONT_LARGE);
    memcpy(&header, answers[answer_count - 1].read.header, sizeof header);
    cr_assert_eq(header.front_bytes, FRONT);
}

BOTH(store_engine, a_body_without_enough_pages_is_absent, 0)
{
    write_response(PLACE, 42, 0, FRONT, 1000);
    struct message_store_read message = read_of(PLACE, 42, 2048);
    message.front_capacity = FRONT + 999;
    expect_untouched(&message, STORE_ABSENT);
}

BOTH(store_engine, a_directory_that_is_not_there_is_an_error, 0)
{
    struct message_store_read read = read_of(PLACE, 42, 2048);
    struct message_store_order order = {.order = STORE_SYNC, .directory = 3};
    struct message_store_scan scan = {.origin = PLACE, .offset = PLACE, .end = PLACE + 1024, .directory = 2};
    read.directory = 2;
    cr_assert_eq(read_record(&read, NULL, 0)->status, STORE_ERROR);
    cr_assert_eq(answers[answer_count - 1].read.error, ENODEV);
    cr_assert_eq(ask(MESSAGE_STORE_ORDER, &order, NULL, 0)->done.error, ENODEV);
    cr_assert_eq(ask(MESSAGE_STORE_SCAN, &scan, NULL, 0)->scan.error, ENODEV);
}

BOTH(store_engine, a_directory_is_replaced_by_another_file, 0)
{
    struct message_store_directory directory = {.number = 1};
    struct message_store_read message = read_of(PLACE, 42, 2048);
    write_response(PLACE, 42, 0, FRONT, 1000);
    cr_assert(store_engine_open(engine, &directory, open("/dev/null", O_RDWR)));
    cr_assert_eq(read_record(&message, NULL, 0)->status, STORE_ABSENT);
    cr_assert(store_engine_open(engine, &directory, dup(store_fd)));
    cr_assert_eq(read_record(&message, NULL, 0)->status, STORE_OK);
}

/* ---- orders -------------------------------------------------------------------------------------------------------------------------------- */

BOTH(store_engine, a_segment_gets_its_space_and_everything_is_made_safe, 0)
{
    enum { BYTES = 4 * 1024 * 1024 };
    struct message_store_order order = {.request = 1, .offset = PLACE, .bytes = BYTES, .directory = 1, .order = STORE_ALLOCATE};
    struct stat file;
    cr_assert_eq(ask(MESSAGE_STORE_ORDER, &order, NULL, 0)->done.status, STORE_OK);
    cr_assert_eq(fstat(store_fd, &file), 0);
    cr_assert_eq(file.st_size, PLACE + BYTES);
    cr_assert_geq(file.st_blocks * 512, BYTES);
    order.order = STORE_SYNC;
    cr_assert_eq(ask(MESSAGE_STORE_ORDER, &order, NULL, 0)->done.status, STORE_OK);
}

BOTH(store_engine, space_asked_for_twice_keeps_what_was_written, 0)
{
    struct message_store_order order = {.offset = PLACE, .bytes = 1024 * 1024, .directory = 1, .order = STORE_ALLOCATE};
    struct message_store_read message = read_of(PLACE, 42, 2048);
    cr_assert_eq(ask(MESSAGE_STORE_ORDER, &order, NULL, 0)->done.status, STORE_OK);
    write_response(PLACE, 42, 0, FRONT, 1000);
    cr_assert_eq(ask(MESSAGE_STORE_ORDER, &order, NULL, 0)->done.status, STORE_OK);
    cr_assert_eq(read_record(&message, NULL, 0)->status, STORE_OK);
}

/* ---- rules --------------------------------------------------------------------------------------------------------------------------------- */

Test(store_engine, reads_that_break_a_rule)
{
    set_up_engine(STORE_ENGINE_BLOCKING, 0);
    struct message_store_read good = read_of(PLACE, 42, 2048), bad[11];
    uint32_t last = (MEMORY_BYTES - SLAB_PAGE_BYTES) / SLAB_UNIT_BYTES;
    for (unsigned i = 0; i < 11; i++)
        bad[i] = good;
    bad[0].offset++;
    bad[1].offset = STORE_FIRST_SEGMENT - 512;
    bad[2].offset = (uint64_t)INT64_MAX / 512 * 512;
    bad[3].offset = UINT64_MAX / 512 * 512;
    bad[4].bytes = 0;
    bad[5].bytes = 513;
    bad[6].bytes = STORE_RECORD_MAX_BYTES + 512;
    bad[7].front_offset = MEMORY_BYTES - SLAB_PAGE_BYTES + 1;
    bad[8].front_offset = UINT64_MAX;
    bad[9].front_capacity = UINT32_MAX;
    bad[10].directory = STORE_DIRECTORIES;
    for (unsigned i = 0; i < 11; i++)
        cr_assert_not(take_message(MESSAGE_STORE_READ, &bad[i], NULL, 0), "%u", i);
    cr_assert(take_message(MESSAGE_STORE_READ, &good, &last, sizeof last));
    last++;
    cr_assert_not(take_message(MESSAGE_STORE_READ, &good, &last, sizeof last));
    last = UINT32_MAX;
    cr_assert_not(take_message(MESSAGE_STORE_READ, &good, &last, sizeof last));
    cr_assert_not(take_message(MESSAGE_STORE_READ, &good, &last, 3));
    cr_assert_eq(answer_count, 1);
    tear_down_engine();
}

static bool takes_write(const struct batch *batch, struct message_store_write message, size_t len)
{
    return take_message(MESSAGE_STORE_WRITE, &message, batch->tail, len);
}

static bool takes_record(struct message_store_record record, struct store_piece piece)
{
    static struct batch batch;
    batch = (struct batch){0};
    add_record(&batch, &record, &piece);
    return takes_write(&batch, write_of(&batch, PLACE), batch.len);
}

Test(store_engine, writes_that_break_a_rule)
{
    set_up_engine(STORE_ENGINE_BLOCKING, 0);
    struct batch batch = {0};
    add_response(&batch, 1, 0, 100, 1000);
    add_response(&batch, 2, 0, 100, 1000);
    struct message_store_write message = write_of(&batch, PLACE);
    cr_assert(takes_write(&batch, message, batch.len));
    for (size_t len = 0; len < batch.len; len++)
        cr_assert_not(takes_write(&batch, message, len), "cut at %zu", len);
    cr_assert_not(takes_write(&batch, message, batch.len + 1), "more than the records");
    for (uint32_t count = 0; count < 200; count++) {
        message.count = count;
        cr_assert_eq(takes_write(&batch, message, batch.len), count == 2);
    }
    message = write_of(&batch, PLACE + 1);
    cr_assert_not(takes_write(&batch, message, batch.len));
    message = write_of(&batch, 0);
    cr_assert_not(takes_write(&batch, message, batch.len), "the superblock is not to be written over");
    message = write_of(&batch, (uint64_t)INT64_MAX / 512 * 512);
    cr_assert_not(takes_write(&batch, message, batch.len));
    message = write_of(&batch, PLACE);
    message.directory = STORE_DIRECTORIES;
    cr_assert_not(takes_write(&batch, message, batch.len));
    tear_down_engine();
}

Test(store_engine, records_that_break_a_rule)
{
    set_up_engine(STORE_ENGINE_BLOCKING, 0);
    struct message_store_record good = {.hash = 1, .front_bytes = 100, .body_bytes = 1000, .kind = STORE_RESPONSE, .piece_count = 1}, bad;
    struct store_piece piece = {0, 1100};
    cr_assert(takes_record(good, piece));
    cr_assert(takes_record(good, (struct store_piece){MEMORY_BYTES / SLAB_UNIT_BYTES - 35, 1100}));
    cr_assert_not(takes_record(good, (struct store_piece){MEMORY_BYTES / SLAB_UNIT_BYTES - 34, 1100}));
    cr_assert_not(takes_record(good, (struct store_piece){UINT32_MAX, 1100}));
    cr_assert_not(takes_record(good, (struct store_piece){0, 1099}));
    cr_assert_not(takes_record(good, (struct store_piece){0, 1101}));
    bad = good;
    bad.kind = STORE_NONE;
    cr_assert_not(takes_record(bad, piece));
    bad.kind = STORE_KIND_COUNT;
    cr_assert_not(takes_record(bad, piece));
    bad.kind = STORE_RESPONSE + 256;
    cr_assert_not(takes_record(bad, piece));
    bad = good;
    bad.body_bytes = UINT32_MAX - 99; /* the sum wraps in 32 bits */
    cr_assert_not(takes_record(bad, (struct store_piece){0, 0}));
    bad.front_bytes = 100;
    bad.body_bytes = STORE_RECORD_MAX_BYTES - 163;
    cr_assert_not(takes_record(bad, (struct store_piece){0, STORE_RECORD_MAX_BYTES - 63}));
    bad.body_bytes--;
    cr_assert(takes_record(bad, (struct store_piece){0, STORE_RECORD_MAX_BYTES - 64}));
    struct batch batch = {0};
    add_response(&batch, 1, 0, 100, STORE_BATCH_BYTES - 164 - 512);
    add_response(&batch, 2, 0, 100, 100);
    cr_assert(takes_write(&batch, write_of(&batch, PLACE), batch.len), "a full batch");
    batch = (struct batch){0};
    add_response(&batch, 1, 0, 100, STORE_BATCH_BYTES - 164 - 511);
    add_response(&batch, 2, 0, 100, 100);
    cr_assert_not(takes_write(&batch, write_of(&batch, PLACE), batch.len), "too large for a batch of two");
    tear_down_engine();
}

Test(store_engine, scans_and_orders_that_break_a_rule)
{
    set_up_engine(STORE_ENGINE_BLOCKING, 0);
    struct message_store_scan scan = {.origin = PLACE, .offset = PLACE, .end = PLACE + 4096, .directory = 1}, bad_scan[8];
    for (unsigned i = 0; i < 8; i++)
        bad_scan[i] = scan;
    bad_scan[0].origin = 0;
    bad_scan[1].offset = PLACE + 1;
    bad_scan[2].offset = PLACE + 8192;
    bad_scan[3].end = PLACE + 4095;
    bad_scan[4].origin = PLACE + 512;
    bad_scan[5].end = PLACE + STORE_SEGMENT_MAX_BYTES + 512;
    bad_scan[6].entries_offset = MEMORY_BYTES - SLAB_PAGE_BYTES + 1;
    bad_scan[7].directory = STORE_DIRECTORIES;
    cr_assert(take_message(MESSAGE_STORE_SCAN, &scan, NULL, 0));
    for (unsigned i = 0; i < 8; i++)
        cr_assert_not(take_message(MESSAGE_STORE_SCAN, &bad_scan[i], NULL, 0), "%u", i);
    struct message_store_order order = {.offset = PLACE, .bytes = 512, .directory = 1, .order = STORE_ALLOCATE}, bad[6];
    for (unsigned i = 0; i < 6; i++)
        bad[i] = order;
    bad[0].order = 2;
    bad[1].offset = 512;
    bad[2].bytes = 0;
    bad[3].bytes = 1000;
    bad[4].bytes = (uint64_t)STORE_SEGMENT_MAX_BYTES + 512;
    bad[5].directory = UINT32_MAX;
    cr_assert(take_message(MESSAGE_STORE_ORDER, &order, NULL, 0));
    for (unsigned i = 0; i < 6; i++)
        cr_assert_not(take_message(MESSAGE_STORE_ORDER, &bad[i], NULL, 0), "%u", i);
    struct message_store_directory directory = {.number = STORE_DIRECTORIES};
    cr_assert_not(store_engine_open(engine, &directory, dup(store_fd)));
    directory = (struct message_store_directory){.engine = STORE_ENGINE_BLOCKING + 1};
    cr_assert_not(store_engine_open(engine, &directory, dup(store_fd)));
    tear_down_engine();
}

/* ---- many at once -------------------------------------------------------------------------------------------------------------------------- */

enum { MANY = 1000, BODY = 5000, STRIDE = 8192 };

BOTH(store_engine, a_thousand_reads_at_once_all_get_their_own, 0)
{
    for (unsigned i = 0; i < MANY; i++) {
        fill(memory, FRONT + BODY, i);
        write_response(PLACE + (uint64_t)i * STRIDE, i, 0, FRONT, BODY);
    }
    answer_count = 0;
    for (unsigned i = 0; i < MANY; i++) {
        struct message_store_read message = read_of(PLACE + (uint64_t)i * STRIDE, i, store_record_bytes(FRONT, BODY));
        message.request = i;
        message.front_offset = HALF + i * STRIDE;
        message.front_capacity = STRIDE;
        cr_assert(take_message(MESSAGE_STORE_READ, &message, NULL, 0));
    }
    run_engine(MANY);
    static bool seen[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        uint64_t request = answers[i].request;
        cr_assert(request < MANY && !seen[request]);
        seen[request] = true;
        cr_assert_eq(answers[i].read.status, STORE_OK);
        fill(memory, FRONT + BODY, request);
        cr_assert_eq(memcmp(memory + HALF + request * STRIDE, memory, FRONT + BODY), 0);
    }
}

BOTH(store_engine, large_ones_wait_for_buffers_and_small_ones_behind_them_come_through, 0)
{
    enum { LARGE = STORE_RECORD_MAX_BYTES - 512, COUNT = 12 };
    static uint32_t pages[LARGE / SLAB_PAGE_BYTES + 1];
    for (unsigned i = 0; i < sizeof pages / sizeof *pages; i++)
        pages[i] = (HALF + SLAB_PAGE_BYTES) / SLAB_UNIT_BYTES + i * PAGE_UNITS;
    write_response(PLACE, 1, 0, FRONT, LARGE - FRONT);
    write_response(PLACE + STORE_RECORD_MAX_BYTES, 2, 0, FRONT, 100);
    answer_count = 0;
    for (unsigned i = 0; i < 2 * COUNT; i++) {
        struct message_store_read message =
            i % 2 ? read_of(PLACE + STORE_RECORD_MAX_BYTES, 2, 512) : read_of(PLACE, 1, STORE_RECORD_MAX_BYTES);
        message.front_capacity = 512;
        cr_assert(take_message(MESSAGE_STORE_READ, &message, pages, i % 2 ? 0 : sizeof pages));
    }
    run_engine(2 * COUNT);
    for (unsigned i = 0; i < 2 * COUNT; i++)
        cr_assert_eq(answers[i].read.status, STORE_OK);
}

Test(store_engine, who_is_forgotten_gets_no_answer_and_nothing_into_the_slab)
{
    if (!has_ring())
        return;
    set_up_engine(STORE_ENGINE_IO_URING, 0);
    write_response(PLACE, 42, 0, FRONT, 1000);
    answer_count = 0;
    memset(memory + HALF, 'u', SLAB_PAGE_BYTES);
    for (unsigned i = 0; i < 300; i++) {
        struct message_store_read message = read_of(PLACE, 42, 2048);
        cr_assert(take_message(MESSAGE_STORE_READ, &message, NULL, 0));
    }
    store_engine_forget(engine, &somebody);
    store_engine_finish(engine);
    cr_assert_eq(answer_count, 0);
    cr_assert_eq(memory[HALF], 'u');
    tear_down_engine();
}

Test(store_engine, reads_may_be_delayed_and_still_overlap)
{
    enum { READS = 64 };
    if (!has_ring())
        return;
    set_up_engine(STORE_ENGINE_IO_URING, 20000);
    write_response(PLACE, 42, 0, FRONT, 1000);
    answer_count = 0;
    for (unsigned i = 0; i < READS; i++) {
        struct message_store_read message = read_of(PLACE, 42, 2048);
        cr_assert(take_message(MESSAGE_STORE_READ, &message, NULL, 0));
    }
    run_engine(READS);
    for (unsigned i = 0; i < READS; i++) {
        cr_assert_eq(answers[i].read.status, STORE_OK);
        cr_assert_geq(answers[i].read.took_us, 20000);
    }
    tear_down_engine();
}

Test(store_engine, a_blocking_read_may_be_delayed)
{
    set_up_engine(STORE_ENGINE_BLOCKING, 5000);
    write_response(PLACE, 42, 0, FRONT, 1000);
    struct message_store_read message = read_of(PLACE, 42, 2048);
    const struct message_store_read_done *answer = read_record(&message, NULL, 0);
    cr_assert_eq(answer->status, STORE_OK);
    cr_assert_geq(answer->took_us, 5000);
    tear_down_engine();
}
