/* The fault twin of test_store_engine.c and test_store_scan.c: the same calls, on a disk that fails. */
#include "tests/fault/diskfault.c"
#include "tests/unit/helpers/store_bench.h"

enum { FRONT = 200, BODY = 20000, HALF = MEMORY_BYTES / 2, RECORD = 20480, SEGMENT = 1024 * 1024 };

TestSuite(store_faults, .timeout = 60);

static char fault_path[96];

static void let_fail(const char *rules)
{
    snprintf(fault_path, sizeof fault_path, "%s/faults", store_directory);
    setenv("OUTRIGGER_DISKFAULT", fault_path, 1);
    FILE *file = fopen(fault_path, "w");
    fputs(rules, file);
    fclose(file);
    state.hits = 0;
}

static void heal(void)
{
    unlink(fault_path);
}

static enum store_status write_one(uint64_t offset, uint64_t hash)
{
    struct batch batch = {0};
    fill(memory, FRONT + BODY, hash);
    add_response(&batch, hash, 0, FRONT, BODY);
    return write_batch(&batch, offset);
}

/* What comes back as OK is what was written. */
static enum store_status read_one(uint64_t offset, uint64_t hash)
{
    struct message_store_read message = read_of(offset, hash, RECORD);
    memset(memory + HALF, 'u', FRONT + BODY);
    enum store_status status = read_record(&message, NULL, 0)->status;
    fill(memory, FRONT + BODY, hash);
    if (status == STORE_OK)
        cr_assert_eq(memcmp(memory + HALF, memory, FRONT + BODY), 0);
    else
        cr_assert_eq(memory[HALF], 'u');
    return status;
}

static const struct seen_answer *order(enum store_order what)
{
    struct message_store_order message = {.offset = PLACE, .bytes = SEGMENT, .directory = 1, .order = what};
    return ask(MESSAGE_STORE_ORDER, &message, NULL, 0);
}

BOTH(store_faults, what_the_disk_says_is_answered_and_the_next_call_is_tried_again, 0)
{
    static const struct {
        const char *fault;
        int error;
        enum store_status status;
    } rows[] = {{"EIO", EIO, STORE_ERROR}, {"ENOSPC", ENOSPC, STORE_FULL}, {"EDQUOT", EDQUOT, STORE_FULL}, {"EROFS", EROFS, STORE_ERROR}};
    char rules[128];
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(rules, sizeof rules, "read 1 %s 1\nwrite 1 %s 1\nallocate 1 %s 1\nsync 1 %s 1\n", rows[i].fault, rows[i].fault,
                 rows[i].fault, rows[i].fault);
        let_fail(rules);
        cr_assert_eq(order(STORE_ALLOCATE)->done.status, rows[i].status);
        cr_assert_eq(answers[answer_count - 1].done.error, rows[i].error);
        cr_assert_eq(write_one(PLACE, 42), rows[i].status);
        cr_assert_eq(answers[answer_count - 1].done.error, rows[i].error);
        cr_assert_eq(order(STORE_SYNC)->done.status, rows[i].status);
        cr_assert_eq(answers[answer_count - 1].done.error, rows[i].error);
        cr_assert_eq(read_one(PLACE, 42), rows[i].status);
        cr_assert_eq(answers[answer_count - 1].read.error, rows[i].error);
        cr_assert_eq(state.hits, 4);
        cr_assert_eq(order(STORE_ALLOCATE)->done.status, STORE_OK);
        cr_assert_eq(write_one(PLACE, 42), STORE_OK);
        cr_assert_eq(order(STORE_SYNC)->done.status, STORE_OK);
        cr_assert_eq(read_one(PLACE, 42), STORE_OK);
        heal();
    }
}

BOTH(store_faults, what_is_done_in_parts_is_done, 0)
{
    let_fail("read 1 short\nwrite 1 short\n");
    cr_assert_eq(write_one(PLACE, 42), STORE_OK);
    cr_assert_gt(state.hits, 3);
    state.hits = 0;
    cr_assert_eq(read_one(PLACE, 42), STORE_OK);
    cr_assert_gt(state.hits, 3);
    heal();
}

BOTH(store_faults, what_is_interrupted_is_tried_again, 0)
{
    let_fail("read 2 EINTR\nwrite 2 EINTR\nallocate 1 EINTR 1\nsync 1 EINTR 1\n");
    cr_assert_eq(order(STORE_ALLOCATE)->done.status, STORE_OK);
    cr_assert_eq(order(STORE_SYNC)->done.status, STORE_OK);
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(write_one(PLACE, i), STORE_OK);
        cr_assert_eq(read_one(PLACE, i), STORE_OK);
    }
    cr_assert_gt(state.hits, 4);
    heal();
}

BOTH(store_faults, a_bit_that_the_disk_flips_makes_the_record_absent, 0)
{
    cr_assert_eq(write_one(PLACE, 42), STORE_OK);
    let_fail("read 2 flip\n");
    cr_assert_eq(read_one(PLACE, 42), STORE_OK);
    cr_assert_eq(read_one(PLACE, 42), STORE_ABSENT);
    cr_assert_eq(read_one(PLACE, 42), STORE_OK);
    heal();
}

static uint64_t file_size(void)
{
    struct stat file;
    cr_assert_eq(fstat(store_fd, &file), 0);
    return file.st_size;
}

BOTH(store_faults, a_filesystem_that_cannot_allocate_gets_zeroes_behind_the_end_of_the_file, 0)
{
    struct stat file;
    cr_assert_eq(write_one(PLACE, 42), STORE_OK);
    let_fail("allocate 1 EOPNOTSUPP\n");
    cr_assert_eq(order(STORE_ALLOCATE)->done.status, STORE_OK);
    cr_assert_eq(file_size(), PLACE + SEGMENT);
    cr_assert_eq(fstat(store_fd, &file), 0);
    cr_assert_geq(file.st_blocks * 512, SEGMENT);
    cr_assert_eq(read_one(PLACE, 42), STORE_OK, "what was there is still there");
    let_fail("allocate 1 EOPNOTSUPP\nwrite 1 EIO\n");
    cr_assert_eq(order(STORE_ALLOCATE)->done.status, STORE_OK, "nothing is left to be written");
    heal();
}

BOTH(store_faults, zeroes_that_find_no_space_say_so, 0)
{
    let_fail("allocate 1 EOPNOTSUPP\nwrite 1 ENOSPC\n");
    cr_assert_eq(order(STORE_ALLOCATE)->done.status, STORE_FULL);
    heal();
}

BOTH(store_faults, a_scan_says_where_it_could_not_read_and_goes_on_behind_it, 0)
{
    struct message_store_scan message = {
        .segment_sequence = SEQUENCE, .offset = PLACE, .end = PLACE + 4 * SEGMENT, .origin = PLACE, .entries_offset = HALF, .directory = 1};
    cr_assert_eq(write_one(PLACE, 1), STORE_OK);
    cr_assert_eq(write_one(PLACE + 3 * SEGMENT, 2), STORE_OK);
    let_fail("read 2 EIO\n");
    const struct seen_answer *answer = ask(MESSAGE_STORE_SCAN, &message, NULL, 0);
    cr_assert(answer->scan.status == STORE_OK && answer->scan.count == 1 && answer->scan.next == PLACE + SEGMENT);
    let_fail("read 1 EIO 1\n");
    message.offset = answer->scan.next;
    answer = ask(MESSAGE_STORE_SCAN, &message, NULL, 0);
    cr_assert(answer->scan.status == STORE_ERROR && answer->scan.error == EIO && answer->scan.count == 0);
    cr_assert_eq(answer->scan.next, PLACE + 2 * SEGMENT);
    message.offset = answer->scan.next;
    answer = ask(MESSAGE_STORE_SCAN, &message, NULL, 0);
    cr_assert(answer->scan.status == STORE_OK && answer->scan.count == 1 && answer->scan.next == message.end);
    heal();
}

/* Whatever call fails, in whatever way: answers are honest, and once the disk is well again so is everything. */
BOTH(store_faults, each_nth_call_fails_in_every_way, 0)
{
    static const char *const faults[] = {"EIO", "ENOSPC", "short", "flip", "EINTR"};
    char rules[128];
    for (unsigned fault = 0; fault < 5; fault++) {
        unsigned hits = 1;
        for (unsigned nth = 1; hits > 0; nth++) {
            enum store_status written[6];
            if (fault == 4 && nth == 1)
                continue; /* it would be interrupted for ever */
            snprintf(rules, sizeof rules, "read %u %s\nwrite %u %s\nallocate %u %s\nsync %u %s\n", nth, faults[fault], nth, faults[fault],
                     nth, faults[fault], nth, faults[fault]);
            answer_count = 0;
            let_fail(rules);
            order(STORE_ALLOCATE);
            for (unsigned i = 0; i < 6; i++)
                written[i] = write_one(PLACE + (uint64_t)i * RECORD, 100 * nth + i);
            order(STORE_SYNC);
            for (unsigned i = 0; i < 6; i++) {
                enum store_status status = read_one(PLACE + (uint64_t)i * RECORD, 100 * nth + i);
                cr_assert(status != STORE_OK || written[i] == STORE_OK);
            }
            hits = state.hits;
            heal();
            for (unsigned i = 0; i < 6; i++) {
                enum store_status status = read_one(PLACE + (uint64_t)i * RECORD, 100 * nth + i);
                cr_assert_eq(status, written[i] == STORE_OK ? STORE_OK : STORE_ABSENT);
            }
        }
    }
}
