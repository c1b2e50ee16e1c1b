#include "helpers/store_job.h"

#include "base/slab.h"
#include "helpers/store_record.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>
#include <time.h>

enum { FILL_BYTES = 1024 * 1024 }; /* zeroes written at once */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static uint32_t took_us(const struct store_job *job)
{
    int64_t us = (now_ns() - job->began_ns) / 1000;
    return us < UINT32_MAX ? us : UINT32_MAX;
}

enum store_status store_status_of(int error)
{
    return error == ENOSPC || error == EDQUOT ? STORE_FULL : STORE_ERROR;
}

/* ---- rules -------------------------------------------------------------------------------------------------------------------------------- */

static bool is_valid_read(const struct store_ground *ground, const struct message_store_read *read, struct bytes tail)
{
    if (!store_is_place(read->offset, read->bytes) || read->bytes == 0 || read->bytes % STORE_UNIT_BYTES ||
        read->bytes > STORE_RECORD_MAX_BYTES || tail.len % sizeof(uint32_t))
        return false;
    for (size_t i = 0; i < tail.len; i += sizeof(uint32_t)) {
        uint32_t unit;
        memcpy(&unit, tail.at + i, sizeof unit);
        if (!store_is_in_memory(ground, (uint64_t)unit * SLAB_UNIT_BYTES, SLAB_PAGE_BYTES))
            return false;
    }
    return store_is_in_memory(ground, read->front_offset, read->front_capacity);
}

static bool is_valid_order(const struct message_store_order *order)
{
    if (order->order == STORE_SYNC)
        return true;
    return order->order == STORE_ALLOCATE && store_is_place(order->offset, order->bytes) && order->bytes > 0 &&
           order->bytes % STORE_UNIT_BYTES == 0 && order->bytes <= STORE_SEGMENT_MAX_BYTES;
}

bool store_job_is_valid(const struct store_ground *ground, enum message_type type, const void *payload, struct bytes tail,
                        uint64_t *buffer_bytes)
{
    *buffer_bytes = 0;
    if (store_job_directory(type, payload) >= STORE_DIRECTORIES)
        return false;
    switch (type) {
    case MESSAGE_STORE_READ:
        *buffer_bytes = ((const struct message_store_read *)payload)->bytes;
        return is_valid_read(ground, payload, tail);
    case MESSAGE_STORE_WRITE:
        return store_batch_is_valid(ground, payload, tail, buffer_bytes);
    case MESSAGE_STORE_SCAN:
        *buffer_bytes = STORE_SCAN_WINDOW_BYTES;
        return store_scan_is_valid(ground, payload);
    default:
        return is_valid_order(payload);
    }
}

uint32_t store_job_directory(enum message_type type, const void *payload)
{
    switch (type) {
    case MESSAGE_STORE_READ:
        return ((const struct message_store_read *)payload)->directory;
    case MESSAGE_STORE_WRITE:
        return ((const struct message_store_write *)payload)->directory;
    case MESSAGE_STORE_SCAN:
        return ((const struct message_store_scan *)payload)->directory;
    default:
        return ((const struct message_store_order *)payload)->directory;
    }
}

/* ---- transfers ---------------------------------------------------------------------------------------------------------------------------- */

static void ask_for_rest(struct store_job *job)
{
    job->operation.at = job->buffer.at + job->done_bytes;
    job->operation.bytes = job->transfer_bytes - job->done_bytes;
}

void store_job_transfer(struct store_job *job, enum store_device kind, uint64_t offset, uint64_t bytes)
{
    assert(bytes <= job->buffer.bytes);
    job->operation.kind = kind;
    job->operation.offset = offset;
    job->transfer_bytes = bytes;
    job->done_bytes = 0;
    ask_for_rest(job);
}

enum store_transfer store_job_transferred(struct store_job *job, int64_t result, int *error)
{
    bool is_read = job->operation.kind == STORE_DEVICE_READ;
    *error = result < 0 ? (int)-result : 0;
    if (*error == EINTR)
        return TRANSFER_GOES_ON;
    if (*error)
        return TRANSFER_FAILED;
    /* Only the end of a file cuts a read within a unit. What else is short goes on at the last whole unit: O_DIRECT knows no other places. */
    bool is_end = is_read && (result == 0 || result % STORE_UNIT_BYTES);
    int64_t whole = is_read ? result : result / STORE_UNIT_BYTES * STORE_UNIT_BYTES;
    if (whole == 0 && !is_end) {
        *error = EIO;
        return TRANSFER_FAILED;
    }
    job->done_bytes += whole;
    job->operation.offset += whole;
    if (is_end || job->done_bytes == job->transfer_bytes)
        return TRANSFER_ENDED;
    ask_for_rest(job);
    return TRANSFER_GOES_ON;
}

/* ---- a read ------------------------------------------------------------------------------------------------------------------------------- */

static bool begin_read(struct store_job *job)
{
    if (job->file->delay_us > 0) {
        job->operation.kind = STORE_DEVICE_PAUSE;
        job->operation.pause.tv_sec = job->file->delay_us / 1000000;
        job->operation.pause.tv_nsec = (long long)job->file->delay_us % 1000000 * 1000;
    } else {
        store_job_transfer(job, STORE_DEVICE_READ, job->ask.read.offset, job->ask.read.bytes);
    }
    return true;
}

/* The body, over the pages of the tail. */
static void scatter(struct store_job *job, const char *body, uint64_t bytes)
{
    for (size_t i = 0; bytes > 0; i++) {
        uint32_t unit;
        uint64_t part = bytes < SLAB_PAGE_BYTES ? bytes : SLAB_PAGE_BYTES;
        memcpy(&unit, job->tail + i * sizeof unit, sizeof unit);
        memcpy(job->ground->memory + (uint64_t)unit * SLAB_UNIT_BYTES, body, part);
        body += part;
        bytes -= part;
    }
}

/* All or nothing goes to the slab. */
static enum store_status take_apart(struct store_job *job)
{
    const struct message_store_read *read = &job->ask.read;
    struct message_store_read_done *answer = &job->answer.read;
    struct store_header header;
    if (store_record_verify(job->buffer.at, job->done_bytes, read->segment_sequence, &header) != RECORD_GOOD || header.hash != read->hash)
        return STORE_ABSENT;
    memcpy(answer->header, &header, sizeof header);
    if (header.front_bytes > read->front_capacity)
        return STORE_FRONT_LARGE;
    const char *front = job->buffer.at + sizeof header;
    answer->body_follows = header.body_bytes <= read->front_capacity - header.front_bytes;
    if (!answer->body_follows && header.body_bytes > job->tail_bytes / sizeof(uint32_t) * SLAB_PAGE_BYTES)
        return STORE_ABSENT;
    memcpy(job->ground->memory + read->front_offset, front, header.front_bytes + (answer->body_follows ? header.body_bytes : 0));
    if (!answer->body_follows)
        scatter(job, front + header.front_bytes, header.body_bytes);
    return STORE_OK;
}

static bool step_read(struct store_job *job, int64_t result)
{
    struct message_store_read_done *answer = &job->answer.read;
    if (job->operation.kind == STORE_DEVICE_PAUSE) {
        store_job_transfer(job, STORE_DEVICE_READ, job->ask.read.offset, job->ask.read.bytes);
        return true;
    }
    switch (store_job_transferred(job, result, &answer->error)) {
    case TRANSFER_GOES_ON:
        return true;
    case TRANSFER_FAILED:
        answer->status = store_status_of(answer->error);
        break;
    case TRANSFER_ENDED:
        answer->took_us = took_us(job);
        if (job->asker)
            answer->status = take_apart(job);
        return false;
    }
    answer->took_us = took_us(job);
    return false;
}

/* ---- writes and orders -------------------------------------------------------------------------------------------------------------------- */

static bool finish(struct store_job *job, int error)
{
    job->answer.done.error = error;
    job->answer.done.status = error ? store_status_of(error) : STORE_OK;
    job->answer.done.took_us = took_us(job);
    return false;
}

static bool begin_write(struct store_job *job)
{
    store_batch_gather(job, job->buffer.at);
    store_job_transfer(job, STORE_DEVICE_WRITE, job->ask.write.offset, job->buffer_bytes);
    return true;
}

static bool step_write(struct store_job *job, int64_t result)
{
    int error;
    return store_job_transferred(job, result, &error) == TRANSFER_GOES_ON || finish(job, error);
}

static bool begin_order(struct store_job *job)
{
    const struct message_store_order *order = &job->ask.order;
    job->operation.kind = order->order == STORE_SYNC ? STORE_DEVICE_SYNC : STORE_DEVICE_ALLOCATE;
    job->operation.offset = order->offset;
    job->operation.bytes = order->bytes;
    return true;
}

/* Zeroes, up to the order's end. */
static bool fill_on(struct store_job *job)
{
    const struct message_store_order *order = &job->ask.order;
    uint64_t left = job->at < order->offset + order->bytes ? order->offset + order->bytes - job->at : 0;
    if (left == 0)
        return finish(job, 0);
    store_job_transfer(job, STORE_DEVICE_WRITE, job->at, left < FILL_BYTES ? left : FILL_BYTES);
    return true;
}

/* Behind the end of the file only: what is before it has space. */
static bool begin_fill(struct store_job *job)
{
    struct stat file;
    if (fstat(job->file->fd, &file) < 0)
        return finish(job, errno);
    uint64_t size = (uint64_t)file.st_size / STORE_UNIT_BYTES * STORE_UNIT_BYTES;
    job->at = size > job->ask.order.offset ? size : job->ask.order.offset;
    job->buffer = store_buffers_take(&job->ground->buffers, FILL_BYTES);
    memset(job->buffer.at, 0, FILL_BYTES);
    return fill_on(job);
}

static bool step_order(struct store_job *job, int64_t result)
{
    int error;
    if (job->operation.kind != STORE_DEVICE_WRITE) {
        if (result == -EINTR)
            return true;
        if (job->operation.kind == STORE_DEVICE_ALLOCATE && result == -EOPNOTSUPP)
            return begin_fill(job);
        return finish(job, result < 0 ? (int)-result : 0);
    }
    switch (store_job_transferred(job, result, &error)) {
    case TRANSFER_GOES_ON:
        return true;
    case TRANSFER_FAILED:
        return finish(job, error);
    case TRANSFER_ENDED:
        break;
    }
    job->at += job->done_bytes;
    return fill_on(job);
}

/* ------------------------------------------------------------------------------------------------------------------------------------------- */

/* In every message, and every answer, the first member. */
_Static_assert(offsetof(struct message_store_read, request) == 0 && offsetof(struct message_store_write, request) == 0 &&
                   offsetof(struct message_store_scan, request) == 0 && offsetof(struct message_store_order, request) == 0,
               "the request");

static bool is_over(struct store_job *job, bool goes_on)
{
    if (!goes_on)
        store_buffers_give_back(&job->ground->buffers, &job->buffer);
    return !goes_on;
}

bool store_job_begin(struct store_job *job)
{
    memset(&job->answer, 0, sizeof job->answer);
    memcpy(&job->answer, &job->ask, sizeof(uint64_t));
    job->operation.fd = job->file->fd;
    job->began_ns = now_ns();
    if (job->buffer_bytes > 0)
        job->buffer = store_buffers_take(&job->ground->buffers, job->buffer_bytes);
    switch (job->type) {
    case MESSAGE_STORE_READ:
        return !is_over(job, begin_read(job));
    case MESSAGE_STORE_WRITE:
        return !is_over(job, begin_write(job));
    case MESSAGE_STORE_SCAN:
        return !is_over(job, store_scan_begin(job));
    default:
        return !is_over(job, begin_order(job));
    }
}

bool store_job_step(struct store_job *job, int64_t result)
{
    switch (job->type) {
    case MESSAGE_STORE_READ:
        return !is_over(job, step_read(job, result));
    case MESSAGE_STORE_WRITE:
        return !is_over(job, step_write(job, result));
    case MESSAGE_STORE_SCAN:
        return !is_over(job, store_scan_step(job, result));
    default:
        return !is_over(job, step_order(job, result));
    }
}
