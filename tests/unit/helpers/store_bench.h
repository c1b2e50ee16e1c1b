/* An engine over a file of its own, in either flavour, and messages for it by hand. */
#ifndef TESTS_STORE_BENCH_H
#define TESTS_STORE_BENCH_H

#include "base/slab.h"
#include "base/store_format.h"
#include "helpers/store_engine.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MEMORY_BYTES = 24 * 1024 * 1024, ANSWERS_MAX = 4096, SEQUENCE = 7, PLACE = STORE_FIRST_SEGMENT };

static _Alignas(4096) char memory[MEMORY_BYTES];
static struct store_engine *engine;
static char store_directory[64], store_path[96];
static int store_fd;
static int somebody; /* an asker */

static struct seen_answer {
    void *asker;
    enum message_type type;
    union {
        uint64_t request;
        struct message_store_read_done read;
        struct message_store_scan_done scan;
        struct message_store_done done;
    };
} answers[ANSWERS_MAX];
static unsigned answer_count;

static void note_answer(void *context, void *asker, enum message_type type, const void *payload)
{
    (void)context;
    cr_assert_lt(answer_count, ANSWERS_MAX);
    struct seen_answer *seen = &answers[answer_count++];
    seen->asker = asker;
    seen->type = type;
    memcpy(&seen->request, payload, message_payload_size(type));
}

static inline bool has_ring(void)
{
    if (store_engine_may_ring())
        return true;
    cr_skip_test("io_uring cannot be had here");
    return false;
}

static inline void set_up_engine(enum store_engine_kind kind, uint32_t delay_us)
{
    struct message_store_directory directory = {.number = 1, .engine = kind, .delay_us = delay_us};
    strcpy(store_directory, "/tmp/outrigger-test-XXXXXX");
    cr_assert_not_null(mkdtemp(store_directory));
    snprintf(store_path, sizeof store_path, "%s/" STORE_FILE, store_directory);
    store_fd = open(store_path, O_RDWR | O_CREAT | O_DIRECT, 0600);
    directory.is_direct = store_fd >= 0;
    if (store_fd < 0)
        store_fd = open(store_path, O_RDWR | O_CREAT, 0600);
    engine = store_engine_new(memory, sizeof memory, note_answer, NULL);
    cr_assert(store_engine_open(engine, &directory, dup(store_fd)));
    answer_count = 0;
}

static inline void tear_down_engine(void)
{
    store_engine_free(&engine);
    close(store_fd);
    unlink(store_path);
    rmdir(store_directory);
}

/* A test under both flavours. */
#define BOTH(suite, name, delay_us)                       \
    static void suite##_##name(void);                     \
    Test(suite, name##_blocking)                          \
    {                                                     \
        set_up_engine(STORE_ENGINE_BLOCKING, (delay_us)); \
        suite##_##name();                                 \
        tear_down_engine();                               \
    }                                                     \
    Test(suite, name##_io_uring)                          \
    {                                                     \
        if (!has_ring())                                  \
            return;                                       \
        set_up_engine(STORE_ENGINE_IO_URING, (delay_us)); \
        suite##_##name();                                 \
        tear_down_engine();                               \
    }                                                     \
    static void suite##_##name(void)

static inline bool take_message(enum message_type type, const void *payload, const void *tail, size_t tail_len)
{
    struct message message = {type, payload, bytes_from(tail, tail_len)};
    return store_engine_take(engine, &somebody, &message);
}

/* Until `count` answers are there. */
static inline void run_engine(unsigned count)
{
    store_engine_turn(engine);
    while (answer_count < count) {
        struct pollfd ready = {.fd = store_engine_fd(engine), .events = POLLIN};
        cr_assert_geq(ready.fd, 0, "a blocking engine has answered");
        cr_assert_eq(poll(&ready, 1, 10000), 1, "the disk does not answer");
        store_engine_turn(engine);
    }
    cr_assert_eq(answer_count, count);
}

/* Takes one message and returns its answer. */
static inline const struct seen_answer *ask(enum message_type type, const void *payload, const void *tail, size_t tail_len)
{
    unsigned before = answer_count;
    cr_assert(take_message(type, payload, tail, tail_len));
    run_engine(before + 1);
    return &answers[before];
}

/* ---- writes -------------------------------------------------------------------------------------------------------------------------------- */

struct batch {
    char tail[16384];
    size_t len;
    uint32_t count;
};

static inline void add_record(struct batch *batch, const struct message_store_record *record, const struct store_piece *pieces)
{
    cr_assert_leq(batch->len + sizeof *record + record->piece_count * sizeof *pieces, sizeof batch->tail);
    memcpy(batch->tail + batch->len, record, sizeof *record);
    memcpy(batch->tail + batch->len + sizeof *record, pieces, record->piece_count * sizeof *pieces);
    batch->len += sizeof *record + record->piece_count * sizeof *pieces;
    batch->count++;
}

/* One response: front and body as in memory, one behind the other from `unit` on. */
static inline void add_response(struct batch *batch, uint64_t hash, uint32_t unit, uint32_t front_bytes, uint32_t body_bytes)
{
    struct store_piece piece = {unit, front_bytes + body_bytes};
    struct message_store_record record = {
        .hash = hash, .serial = 5, .front_bytes = front_bytes, .body_bytes = body_bytes, .kind = STORE_RESPONSE, .piece_count = 1};
    add_record(batch, &record, &piece);
}

static inline struct message_store_write write_of(const struct batch *batch, uint64_t offset)
{
    return (struct message_store_write){.request = 100, .segment_sequence = SEQUENCE, .offset = offset, .directory = 1, .count = batch->count};
}

static inline enum store_status write_batch(const struct batch *batch, uint64_t offset)
{
    struct message_store_write message = write_of(batch, offset);
    const struct seen_answer *answer = ask(MESSAGE_STORE_WRITE, &message, batch->tail, batch->len);
    cr_assert_eq(answer->type, MESSAGE_STORE_DONE);
    cr_assert_eq(answer->request, 100);
    return answer->done.status;
}

static inline void write_response(uint64_t offset, uint64_t hash, uint32_t unit, uint32_t front_bytes, uint32_t body_bytes)
{
    static struct batch batch;
    batch = (struct batch){0};
    add_response(&batch, hash, unit, front_bytes, body_bytes);
    cr_assert_eq(write_batch(&batch, offset), STORE_OK);
}

static inline void fill(char *at, size_t count, unsigned seed)
{
    for (size_t i = 0; i < count; i++)
        at[i] = (char)((i * 2654435761u + seed) >> 13);
}

/* ---- reads --------------------------------------------------------------------------------------------------------------------------------- */

static inline struct message_store_read read_of(uint64_t offset, uint64_t hash, uint64_t record_bytes)
{
    return (struct message_store_read){
        .request = 200,
        .segment_sequence = SEQUENCE,
        .hash = hash,
        .offset = offset,
        .bytes = store_class_bytes(store_size_class(record_bytes)),
        .front_offset = MEMORY_BYTES / 2,
        .front_capacity = SLAB_PAGE_BYTES,
        .directory = 1,
    };
}

static inline const struct message_store_read_done *read_record(const struct message_store_read *message, const uint32_t *pages, size_t count)
{
    const struct seen_answer *answer = ask(MESSAGE_STORE_READ, message, pages, count * sizeof *pages);
    cr_assert_eq(answer->type, MESSAGE_STORE_READ_DONE);
    cr_assert_eq(answer->request, 200);
    return &answer->read;
}

/* Bytes at `offset` of the file, whatever its mode. */
static inline void poke(uint64_t offset, const void *bytes, size_t count)
{
    int fd = open(store_path, O_RDWR);
    cr_assert_eq(pwrite(fd, bytes, count, (off_t)offset), (ssize_t)count);
    cr_assert_eq(fdatasync(fd), 0);
    close(fd);
}

static inline void flip(uint64_t offset)
{
    char byte;
    int fd = open(store_path, O_RDONLY);
    cr_assert_eq(pread(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
    byte ^= 1;
    poke(offset, &byte, 1);
}

#endif
