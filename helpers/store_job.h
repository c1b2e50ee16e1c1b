/* What a store helper does for one message, cut into operations at the disk; who performs these, and how many jobs overlap, is the engine's business.
 *
 * DESIGN. A job is begun, and then stepped with the result of each operation it asked for, until it asks for no more: its answer is ready then.
 *
 *     STORE_READ    [pause] read, again while short     → verified, taken apart into the slab
 *     STORE_WRITE   gathered from the slab, sealed; write, again while short
 *     STORE_SCAN    a window after the other            → verified records as entries in the slab
 *     STORE_ORDER   sync; or allocate, and where the filesystem cannot, zeroes written behind the end of the file
 *
 * The disk reads into, and writes from, the job's own aligned buffer, and never the slab: a checksum that was verified stays true, and a process that was
 * killed leaves no transfer behind that still changes the slab. */
#ifndef HELPERS_STORE_JOB_H
#define HELPERS_STORE_JOB_H

#include "base/list.h"
#include "helpers/store_buffers.h"
#include "helpers/store_device.h"
#include "helpers/wire.h"

/* A store file; open as long as a job or the engine's table uses it. */
struct store_file {
    int      fd;
    unsigned users;
    uint32_t delay_us; /* of each read, for tests */
};

/* What jobs share. */
struct store_ground {
    char  *memory; /* the slab */
    size_t memory_bytes;
    struct store_buffers buffers;
};

union store_ask {
    struct message_store_read  read;
    struct message_store_write write;
    struct message_store_scan  scan;
    struct message_store_order order;
};

union store_answer {
    struct message_store_read_done read;
    struct message_store_scan_done scan;
    struct message_store_done      done;
};

struct store_job {
    struct store_operation operation; /* what it asks for */
    struct list            link;
    struct store_ground   *ground;
    struct store_file     *file;
    void                  *asker; /* NULL: nobody waits any more, and the slab is not touched */
    enum message_type      type;
    union store_ask        ask;
    union store_answer     answer;
    struct store_buffer    buffer;
    uint64_t               buffer_bytes;               /* that it begins with */
    uint64_t               done_bytes, transfer_bytes; /* of the transfer under way */
    uint64_t               at;                         /* STORE_SCAN: offset that is looked at; STORE_ORDER: that is filled */
    int64_t                began_ns;
    size_t                 tail_bytes;
    _Alignas(8) char       tail[];
};

/* Whether the message keeps every rule: places, sizes, counts, memory within the slab. `buffer_bytes`: what the job will need. */
bool store_job_is_valid(const struct store_ground *ground, enum message_type type, const void *payload, struct bytes tail,
                        uint64_t *buffer_bytes);
uint32_t store_job_directory(enum message_type type, const void *payload);

/* True: it asks for job->operation. False: job->answer is ready, the buffer is given back. */
bool store_job_begin(struct store_job *job);
bool store_job_step(struct store_job *job, int64_t result);

/* ---- among the kinds of jobs -------------------------------------------------------------------------------------------------------------- */

/* Asks for a transfer of `bytes` between the buffer's start and `offset`. */
void store_job_transfer(struct store_job *job, enum store_device kind, uint64_t offset, uint64_t bytes);
enum store_transfer { TRANSFER_GOES_ON, TRANSFER_ENDED, TRANSFER_FAILED };
/* ENDED: job->done_bytes are there; fewer than asked for only at the end of the file. FAILED: `error` is an errno. */
enum store_transfer store_job_transferred(struct store_job *job, int64_t result, int *error);
enum store_status   store_status_of(int error);

/* `bytes`: of the whole batch, as written. */
bool store_batch_is_valid(const struct store_ground *ground, const struct message_store_write *write, struct bytes tail, uint64_t *bytes);
void store_batch_gather(const struct store_job *job, char *out);

enum { STORE_SCAN_WINDOW_BYTES = 1024 * 1024 };
bool store_scan_is_valid(const struct store_ground *ground, const struct message_store_scan *scan);
bool store_scan_begin(struct store_job *job);
bool store_scan_step(struct store_job *job, int64_t result);

static inline bool store_is_in_memory(const struct store_ground *ground, uint64_t offset, uint64_t bytes)
{
    return bytes <= ground->memory_bytes && offset <= ground->memory_bytes - bytes;
}

/* A place where records, and not the superblock, can be. */
static inline bool store_is_place(uint64_t offset, uint64_t bytes)
{
    return offset % STORE_UNIT_BYTES == 0 && offset >= STORE_FIRST_SEGMENT && offset <= (uint64_t)INT64_MAX - bytes;
}

#endif
