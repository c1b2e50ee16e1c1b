#include "helpers/store_check.h"
#include "helpers/store_directory.h"
#include "helpers/store_record.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, SEGMENTS = 15, RECORDS = 10, SEQUENCE = 100 };

static char directory[64], store_path[96], said[8192];
static struct store_directory_file store;

static void set_up(void)
{
    char trouble[STORE_TROUBLE_MAX];
    strcpy(directory, "/tmp/outrigger-test-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(store_path, sizeof store_path, "%s/" STORE_FILE, directory);
    cr_assert(store_directory_open(directory, 16 * MIB, NULL, -1, -1, false, &store, trouble), "%s", trouble);
    cr_assert_eq(store.segment_count, SEGMENTS);
}

static void tear_down(void)
{
    store_directory_close(&store);
    unlink(store_path);
    rmdir(directory);
}

TestSuite(store_check, .init = set_up, .fini = tear_down, .timeout = 30);

static void poke(uint64_t offset, const void *bytes, size_t count)
{
    int fd = open(store_path, O_RDWR);
    cr_assert_eq(pwrite(fd, bytes, count, (off_t)offset), (ssize_t)count);
    cr_assert_eq(fdatasync(fd), 0);
    close(fd);
}

static void flip(uint64_t offset)
{
    char byte;
    int fd = open(store_path, O_RDONLY);
    cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
    byte ^= 1;
    poke(offset, &byte, 1);
}

static uint64_t offset_of(unsigned segment)
{
    return STORE_FIRST_SEGMENT + (uint64_t)segment * MIB;
}

/* Returns the offset behind it. */
static uint64_t put_record(uint64_t offset, unsigned segment, enum store_kind kind, uint64_t hash, const void *front, uint32_t front_bytes,
                           const void *body, uint32_t body_bytes)
{
    static char record[64 * 1024];
    struct store_header header = {
        .kind = kind, .segment_sequence = SEQUENCE + segment, .hash = hash, .front_bytes = front_bytes, .body_bytes = body_bytes};
    memcpy(record + sizeof header, front, front_bytes);
    memcpy(record + sizeof header + front_bytes, body, body_bytes);
    uint64_t bytes = store_record_seal(record, &header);
    poke(offset, record, bytes);
    return offset + bytes;
}

static uint64_t response_at(unsigned segment, unsigned i)
{
    return offset_of(segment) + (1 + 3 * i) * STORE_UNIT_BYTES;
}

/* A head and RECORDS responses of three units each. Returns the offset behind them. */
static uint64_t fill_segment(unsigned segment)
{
    static char body[1200];
    struct store_segment_front front = {.opened_s = 1};
    memcpy(front.identity, store.superblock.identity, sizeof front.identity);
    uint64_t offset = put_record(offset_of(segment), segment, STORE_SEGMENT, 0, &front, sizeof front, "", 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        cr_assert_eq(offset, response_at(segment, i));
        offset = put_record(offset, segment, STORE_RESPONSE, i, "front", 5, body, sizeof body);
    }
    return offset;
}

static void seal_segment(unsigned segment)
{
    struct store_footer_entry entries[RECORDS];
    uint64_t offset = fill_segment(segment);
    struct store_trailer trailer = {.footer_place = (offset - offset_of(segment)) / STORE_UNIT_BYTES, .count = RECORDS};
    for (unsigned i = 0; i < RECORDS; i++)
        entries[i] = (struct store_footer_entry){
            .hash = i, .place = (response_at(segment, i) - offset_of(segment)) / STORE_UNIT_BYTES, .kind = STORE_RESPONSE};
    put_record(offset, segment, STORE_FOOTER, 0, "", 0, entries, sizeof entries);
    put_record(offset_of(segment + 1) - STORE_UNIT_BYTES, segment, STORE_TRAILER, 0, &trailer, sizeof trailer, "", 0);
}

static bool is_well(void)
{
    FILE *out = fmemopen(said, sizeof said, "w");
    bool well = store_check(directory, out);
    fclose(out);
    return well;
}

static void expect(bool well, const char *words)
{
    cr_assert_eq(is_well(), well, "%s", said);
    cr_assert_not_null(strstr(said, words), "\"%s\" is missing in:\n%s", words, said);
}

/* What is said of this offset. */
static void expect_bad(uint64_t offset)
{
    char words[64];
    snprintf(words, sizeof words, "offset %llu: ", (unsigned long long)offset);
    expect(false, words);
    expect(false, "1 places do not verify");
}

Test(store_check, an_empty_store_is_well)
{
    expect(true, "all is well");
    expect(true, "0 sealed, 0 open, 0 unused");
}

Test(store_check, segments_and_records_are_counted)
{
    seal_segment(0);
    seal_segment(1);
    fill_segment(2);
    poke(offset_of(6), "x", 1);
    expect(true, "2 sealed, 1 open, 4 unused");
    expect(true, "30 responses and slices");
    expect(true, "all is well");
}

Test(store_check, a_flipped_bit_is_found_wherever_it_is)
{
    seal_segment(0);
    static const uint64_t in_record[] = {0, 8, 63, 64, 68, 69, 1268};
    for (unsigned i = 0; i < sizeof in_record / sizeof *in_record; i++) {
        flip(response_at(0, 3) + in_record[i]);
        expect_bad(response_at(0, 3));
        flip(response_at(0, 3) + in_record[i]);
        cr_assert(is_well());
    }
    flip(offset_of(0) + 70);
    expect_bad(offset_of(0));
    flip(offset_of(0) + 70);
    flip(response_at(0, RECORDS) + 80);
    expect_bad(response_at(0, RECORDS));
}

Test(store_check, a_footer_that_lists_another_record_is_found)
{
    seal_segment(0);
    put_record(response_at(0, 5), 0, STORE_RESPONSE, 77, "front", 5, "", 0);
    expect_bad(response_at(0, 5));
}

Test(store_check, damage_in_an_open_segment_is_told_from_its_torn_end)
{
    fill_segment(0);
    flip(response_at(0, 4) + 100);
    expect_bad(response_at(0, 4));
    flip(response_at(0, 4) + 100);
    flip(response_at(0, 4) + 9);
    expect_bad(response_at(0, 4));
    flip(response_at(0, 4) + 9);
    flip(response_at(0, RECORDS - 1) + 100);
    expect(true, "torn here");
    flip(response_at(0, RECORDS - 1) + 100);
    cr_assert_eq(truncate(store_path, response_at(0, RECORDS - 1) + 512), 0);
    expect(true, "torn here");
}

Test(store_check, what_an_earlier_use_left_behind_is_nothing)
{
    seal_segment(0);
    struct store_segment_front front = {.opened_s = 1};
    memcpy(front.identity, store.superblock.identity, sizeof front.identity);
    put_record(offset_of(0), 50, STORE_SEGMENT, 0, &front, sizeof front, "", 0);
    expect(true, "0 sealed, 1 open, 0 unused");
    expect(true, "0 responses");
    front.identity[0] ^= 1;
    put_record(offset_of(0), 50, STORE_SEGMENT, 0, &front, sizeof front, "", 0);
    expect(true, "0 sealed, 0 open, 1 unused");
}

Test(store_check, an_emptied_segment_is_unused)
{
    uint64_t hash = 0;
    seal_segment(0);
    put_record(offset_of(0), 50, STORE_TOMBSTONES, 0, &hash, sizeof hash, "", 0);
    expect(true, "0 sealed, 0 open, 1 unused");
}

Test(store_check, a_store_in_use_is_checked_with_a_warning_and_a_missing_one_is_not_well)
{
    char words[64];
    snprintf(words, sizeof words, "in use by process %d", getpid());
    expect(true, words);
    store_directory_close(&store);
    cr_assert(is_well());
    cr_assert_null(strstr(said, "in use"));
    unlink(store_path);
    expect(false, "there is no store");
}
