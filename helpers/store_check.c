/* DESIGN. One segment after the other is read as a whole. A sealed one is known by its trailer: each record that its footer lists must verify. One without a
 * trailer is open: it is walked from its start, and what does not verify is damage where a good record follows, else where writing ended. Records of an
 * earlier use of the segment are told by their sequence number, and are nothing. */
#include "helpers/store_check.h"

#include "helpers/store_directory.h"
#include "helpers/store_record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const kind_names[STORE_KIND_COUNT] = {
    [STORE_SEGMENT] = "segment heads",
    [STORE_RESPONSE] = "responses and slices",
    [STORE_SELECTOR] = "selectors",
    [STORE_SLICED] = "heads of slices",
    [STORE_TOMBSTONES] = "lists of the outdated",
    [STORE_PURGES] = "lists of purges",
    [STORE_FOOTER] = "footers",
    [STORE_TRAILER] = "trailers",
};

struct check {
    FILE *out;
    struct store_directory_file store;
    char *bytes; /* of one segment */
    uint64_t available;
    uint32_t segment; /* which */
    uint64_t sequence;
    uint32_t sealed, open, unused;
    uint64_t records[STORE_KIND_COUNT], record_bytes;
    uint64_t bad; /* places that do not verify */
};

static uint64_t segment_offset(const struct check *check)
{
    return STORE_FIRST_SEGMENT + check->segment * check->store.superblock.segment_bytes;
}

static void __attribute__((format(printf, 3, 4))) complain(struct check *check, uint64_t place, const char *format, ...)
{
    va_list arguments;
    unsigned long long offset = segment_offset(check) + place;
    check->bad++;
    fprintf(check->out, "segment %u, offset %llu: ", check->segment, offset);
    va_start(arguments, format);
    vfprintf(check->out, format, arguments);
    va_end(arguments);
    fputc('\n', check->out);
}

static enum store_verdict verify_at(const struct check *check, uint64_t place, struct store_header *header)
{
    return place < check->available ? store_record_verify(check->bytes + place, check->available - place, check->sequence, header)
                                    : RECORD_NONE;
}

static uint64_t bytes_of(const struct store_header *header)
{
    return store_record_bytes(header->front_bytes, header->body_bytes);
}

static void count_record(struct check *check, const struct store_header *header)
{
    check->records[header->kind]++;
    check->record_bytes += bytes_of(header);
}

/* ---- sealed -------------------------------------------------------------------------------------------------------------------------------- */

static bool find_trailer(struct check *check, struct store_trailer *trailer)
{
    uint64_t place = check->store.superblock.segment_bytes - STORE_UNIT_BYTES;
    struct store_header header;
    if (verify_at(check, place, &header) != RECORD_GOOD || header.kind != STORE_TRAILER || header.front_bytes != sizeof *trailer)
        return false;
    memcpy(trailer, check->bytes + place + sizeof header, sizeof *trailer);
    count_record(check, &header);
    return true;
}

/* False: it does not verify. */
static bool check_listed(struct check *check, const struct store_trailer *trailer)
{
    uint64_t place = (uint64_t)trailer->footer_place * STORE_UNIT_BYTES;
    struct store_header footer, header;
    if (verify_at(check, place, &footer) != RECORD_GOOD || footer.kind != STORE_FOOTER ||
        footer.body_bytes != (uint64_t)trailer->count * sizeof(struct store_footer_entry)) {
        complain(check, place, "the footer does not verify");
        check->available = place < check->available ? place : check->available; /* records are before it */
        return false;
    }
    const char *entries = check->bytes + place + sizeof footer + footer.front_bytes;
    count_record(check, &footer);
    for (uint32_t i = 0; i < trailer->count; i++) {
        struct store_footer_entry entry;
        memcpy(&entry, entries + i * sizeof entry, sizeof entry);
        place = (uint64_t)entry.place * STORE_UNIT_BYTES;
        if (verify_at(check, place, &header) == RECORD_GOOD && header.kind == entry.kind && header.hash == entry.hash)
            count_record(check, &header);
        else
            complain(check, place, "a record that the footer lists does not verify");
    }
    return true;
}

/* ---- open ---------------------------------------------------------------------------------------------------------------------------------- */

/* Whether a header was meant to be there, in this use of the segment or an unknown one. */
static bool looks_like_record(const struct check *check, uint64_t place)
{
    uint32_t magic;
    struct store_header header;
    if (check->available - place < sizeof header)
        return false;
    memcpy(&magic, check->bytes + place, sizeof magic);
    memcpy(&header, check->bytes + place, sizeof header);
    return magic == STORE_RECORD_MAGIC && !store_header_is_valid(&header);
}

static void check_walked(struct check *check)
{
    enum { TORN_MAX = 64 };
    uint64_t torn[TORN_MAX] = {0}, torn_count = 0;
    struct store_header header;
    for (uint64_t place = 0; place < check->available;) {
        enum store_verdict verdict = verify_at(check, place, &header);
        if (verdict == RECORD_GOOD) {
            for (uint64_t i = 0; i < torn_count; i++)
                complain(check, torn[i], "a record does not verify");
            torn_count = 0;
            count_record(check, &header);
        } else if ((verdict != RECORD_NONE || looks_like_record(check, place)) && torn_count < TORN_MAX) {
            torn[torn_count++] = place;
        }
        place += verdict == RECORD_GOOD || verdict == RECORD_DAMAGED ? bytes_of(&header) : STORE_UNIT_BYTES;
    }
    unsigned long long end = segment_offset(check) + torn[0];
    if (torn_count > 0)
        fprintf(check->out, "segment %u, offset %llu: torn here, where writing ended when its writer was killed; nothing is wrong\n",
                check->segment, end);
}

/* ---- all ----------------------------------------------------------------------------------------------------------------------------------- */

static bool read_segment(struct check *check)
{
    for (check->available = 0; check->available < check->store.superblock.segment_bytes;) {
        ssize_t got = pread(check->store.fd, check->bytes + check->available, check->store.superblock.segment_bytes - check->available,
                            (off_t)(segment_offset(check) + check->available));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            complain(check, check->available, "cannot be read: %s", strerror(errno));
        if (got <= 0)
            break;
        check->available += got;
    }
    posix_fadvise(check->store.fd, (off_t)segment_offset(check), (off_t)check->available, POSIX_FADV_DONTNEED);
    return check->available > 0;
}

/* What the segment begins with; the sequence number of its use. */
static enum head { HEAD_OURS, HEAD_NONE, HEAD_DAMAGED } find_head(struct check *check)
{
    struct store_header header;
    struct store_segment_front front;
    check->sequence = 0;
    enum store_verdict verdict = verify_at(check, 0, &header);
    if (verdict == RECORD_NONE)
        return looks_like_record(check, 0) ? HEAD_DAMAGED : HEAD_NONE;
    if (verdict == RECORD_GOOD && header.kind != STORE_SEGMENT)
        return HEAD_NONE; /* emptied, to be used again: another record was written over its head */
    if (verdict != RECORD_GOOD || header.front_bytes != sizeof front)
        return HEAD_DAMAGED;
    memcpy(&front, check->bytes + sizeof header, sizeof front);
    check->sequence = header.segment_sequence;
    bool is_ours = memcmp(front.identity, check->store.superblock.identity, sizeof front.identity) == 0;
    return is_ours ? HEAD_OURS : HEAD_NONE;
}

static void check_segment(struct check *check)
{
    struct store_trailer trailer;
    enum head head = read_segment(check) ? find_head(check) : HEAD_NONE;
    if (head == HEAD_DAMAGED)
        complain(check, 0, "the segment's head does not verify, so that nothing in it is found");
    if (head != HEAD_OURS) {
        check->unused++;
    } else if (find_trailer(check, &trailer) && check_listed(check, &trailer)) {
        check->sealed++;
    } else {
        check->open++;
        check_walked(check);
    }
}

static void summarise(const struct check *check)
{
    char made[32] = "";
    struct tm broken_down;
    time_t created = check->store.superblock.created_s;
    if (gmtime_r(&created, &broken_down))
        strftime(made, sizeof made, "%Y-%m-%dT%H:%M:%SZ", &broken_down);
    fprintf(check->out, "format %u, made %s, segments of %llu MiB: %u sealed, %u open, %u unused\n", check->store.superblock.version, made,
            (unsigned long long)check->store.superblock.segment_bytes >> 20, check->sealed, check->open, check->unused);
    for (unsigned kind = STORE_NONE + 1; kind < STORE_KIND_COUNT; kind++)
        fprintf(check->out, "%12llu %s\n", (unsigned long long)check->records[kind], kind_names[kind]);
    fprintf(check->out, "%12llu bytes in them\n", (unsigned long long)check->record_bytes);
    if (check->bad == 0)
        fprintf(check->out, "all is well\n");
    else
        fprintf(check->out, "%llu places do not verify: what was there is fetched anew when it is asked for\n",
                (unsigned long long)check->bad);
}

bool store_check(const char *directory, FILE *out)
{
    struct check check = {.out = out};
    char trouble[STORE_TROUBLE_MAX];
    long owner;
    if (!store_directory_look(directory, &check.store, trouble)) {
        fprintf(out, "%s: %s\n", directory, trouble);
        return false;
    }
    if (store_directory_is_in_use(&check.store, &owner))
        fprintf(out, "%s: in use by process %ld: what it is writing may not verify\n", directory, owner);
    check.bytes = malloc(check.store.superblock.segment_bytes);
    if (!check.bytes)
        abort();
    for (; check.segment < check.store.segment_count; check.segment++)
        check_segment(&check);
    summarise(&check);
    free(check.bytes);
    store_directory_close(&check.store);
    return check.bad == 0;
}
