#include "helpers/store_engine.h"

#include "base/log.h"
#include "helpers/store_job.h"
#include "helpers/store_ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    RUNNING_MAX = 256,
    RUNNING_MAX_BYTES = 16 * 1024 * 1024, /* of buffers; a single job may take more */
    DELAYED_MAX = 32,                     /* delayed reads at a time: as deep as a SATA disk's queue */
    JOBS_MAX = 64 * 1024,                 /* no proxy has so many under way: its calls are bounded by what its rings hold */
    RETRY_MS = 1,
};

/* waiting → running → answered and freed. Jobs are begun in the order in which they came. */
struct store_engine {
    struct store_ground ground;
    store_engine_answer *answer;
    void *context;
    bool is_chosen;
    struct store_ring *ring; /* NULL: blocking */
    struct store_file *files[STORE_DIRECTORIES];
    struct list waiting, running;
    unsigned jobs, running_count, delayed_count;
    bool is_stuck; /* the kernel had no memory for more */
};

#define JOB(node) LIST_OWNER(node, struct store_job, link)

struct store_engine *store_engine_new(char *memory, size_t size, store_engine_answer *answer, void *context)
{
    struct store_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        abort();
    engine->ground.memory = memory;
    engine->ground.memory_bytes = size;
    engine->answer = answer;
    engine->context = context;
    list_init(&engine->waiting);
    list_init(&engine->running);
    return engine;
}

static void let_go_of(struct store_file **file)
{
    if (*file && --(*file)->users == 0) {
        close((*file)->fd);
        free(*file);
    }
    *file = NULL;
}

void store_engine_free(struct store_engine **engine)
{
    if (!*engine)
        return;
    store_engine_finish(*engine);
    for (unsigned i = 0; i < STORE_DIRECTORIES; i++)
        let_go_of(&(*engine)->files[i]);
    store_ring_free(&(*engine)->ring);
    store_buffers_free(&(*engine)->ground.buffers);
    free(*engine);
    *engine = NULL;
}

/* ---- files -------------------------------------------------------------------------------------------------------------------------------- */

bool store_engine_may_ring(void)
{
    struct store_ring *ring = store_ring_new(RUNNING_MAX);
    bool may = ring != NULL;
    store_ring_free(&ring);
    return may;
}

static void choose_flavour(struct store_engine *engine, enum store_engine_kind kind)
{
    if (engine->is_chosen)
        return;
    engine->is_chosen = true;
    if (kind == STORE_ENGINE_BLOCKING)
        return;
    engine->ring = store_ring_new(RUNNING_MAX);
    if (!engine->ring && kind == STORE_ENGINE_IO_URING)
        log_warn("store", "io_uring cannot be had (%m): one request at a time");
}

bool store_engine_open(struct store_engine *engine, const struct message_store_directory *directory, int fd)
{
    if (directory->number >= STORE_DIRECTORIES || directory->engine > STORE_ENGINE_BLOCKING) {
        close(fd);
        return false;
    }
    choose_flavour(engine, directory->engine);
    struct store_file *file = malloc(sizeof *file);
    if (!file)
        abort();
    *file = (struct store_file){.fd = fd, .users = 1, .delay_us = directory->delay_us};
    let_go_of(&engine->files[directory->number]);
    engine->files[directory->number] = file;
    return true;
}

/* ---- jobs --------------------------------------------------------------------------------------------------------------------------------- */

static enum message_type answer_type(enum message_type type)
{
    switch (type) {
    case MESSAGE_STORE_READ:
        return MESSAGE_STORE_READ_DONE;
    case MESSAGE_STORE_SCAN:
        return MESSAGE_STORE_SCAN_DONE;
    default:
        return MESSAGE_STORE_DONE;
    }
}

static bool is_delayed(const struct store_job *job)
{
    return job->type == MESSAGE_STORE_READ && job->file->delay_us > 0;
}

static struct store_job *new_job(struct store_engine *engine, void *asker, const struct message *message, uint64_t buffer_bytes)
{
    struct store_job *job = calloc(1, sizeof *job + message->tail.len);
    if (!job)
        abort();
    list_init(&job->link);
    job->ground = &engine->ground;
    job->file = engine->files[store_job_directory(message->type, message->payload)];
    job->asker = asker;
    job->type = message->type;
    job->buffer_bytes = buffer_bytes;
    job->tail_bytes = message->tail.len;
    memcpy(&job->ask, message->payload, message_payload_size(message->type));
    if (message->tail.len)
        memcpy(job->tail, message->tail.at, message->tail.len);
    if (job->file)
        job->file->users++;
    engine->jobs++;
    return job;
}

static void free_job(struct store_engine *engine, struct store_job *job)
{
    list_remove(&job->link);
    let_go_of(&job->file);
    engine->jobs--;
    free(job);
}

static void end_job(struct store_engine *engine, struct store_job *job)
{
    engine->running_count--;
    engine->delayed_count -= is_delayed(job);
    if (job->asker)
        engine->answer(engine->context, job->asker, answer_type(job->type), &job->answer);
    free_job(engine, job);
}

static void run_blocking(struct store_job *job)
{
    while (store_job_step(job, store_device_run(&job->operation)))
        ;
}

static void start_job(struct store_engine *engine, struct store_job *job)
{
    list_remove(&job->link);
    list_push_back(&engine->running, &job->link);
    engine->running_count++;
    engine->delayed_count += is_delayed(job);
    bool goes_on = store_job_begin(job);
    if (goes_on && engine->ring) {
        store_ring_push(engine->ring, &job->operation);
        return;
    }
    if (goes_on)
        run_blocking(job);
    end_job(engine, job);
}

static bool may_start(const struct store_engine *engine, const struct store_job *job)
{
    if (engine->running_count == 0)
        return true;
    return engine->running_count < RUNNING_MAX && engine->ground.buffers.used_bytes + job->buffer_bytes <= RUNNING_MAX_BYTES &&
           !(is_delayed(job) && engine->delayed_count >= DELAYED_MAX);
}

static void start_waiting(struct store_engine *engine)
{
    while (!list_is_empty(&engine->waiting) && may_start(engine, JOB(engine->waiting.next)))
        start_job(engine, JOB(engine->waiting.next));
}

/* No descriptor: the supervisor could not open that directory. */
static void answer_absent_file(struct store_engine *engine, struct store_job *job)
{
    memcpy(&job->answer, &job->ask, sizeof(uint64_t));
    if (job->type == MESSAGE_STORE_READ) {
        job->answer.read.status = STORE_ERROR;
        job->answer.read.error = ENODEV;
    } else if (job->type == MESSAGE_STORE_SCAN) {
        job->answer.scan.status = STORE_ERROR;
        job->answer.scan.error = ENODEV;
        job->answer.scan.next = job->ask.scan.end;
    } else {
        job->answer.done.status = STORE_ERROR;
        job->answer.done.error = ENODEV;
    }
    engine->answer(engine->context, job->asker, answer_type(job->type), &job->answer);
    free_job(engine, job);
}

bool store_engine_take(struct store_engine *engine, void *asker, const struct message *message)
{
    uint64_t buffer_bytes;
    if (engine->jobs == JOBS_MAX || !store_job_is_valid(&engine->ground, message->type, message->payload, message->tail, &buffer_bytes))
        return false;
    struct store_job *job = new_job(engine, asker, message, buffer_bytes);
    if (!job->file) {
        answer_absent_file(engine, job);
        return true;
    }
    list_push_back(&engine->waiting, &job->link);
    start_waiting(engine);
    return true;
}

void store_engine_forget(struct store_engine *engine, const void *asker)
{
    LIST_FOR_EACH_SAFE(node, &engine->waiting)
    {
        if (JOB(node)->asker == asker)
            free_job(engine, JOB(node));
    }
    LIST_FOR_EACH(node, &engine->running)
    {
        if (JOB(node)->asker == asker)
            JOB(node)->asker = NULL;
    }
}

/* ---- turns -------------------------------------------------------------------------------------------------------------------------------- */

static void take_result(void *context, struct store_operation *operation, int64_t result)
{
    struct store_engine *engine = context;
    struct store_job *job = (struct store_job *)((char *)operation - offsetof(struct store_job, operation));
    if (store_job_step(job, result)) {
        store_ring_push(engine->ring, &job->operation);
        return;
    }
    end_job(engine, job);
    start_waiting(engine);
}

static void turn(struct store_engine *engine, bool wait)
{
    if (engine->ring)
        engine->is_stuck = !store_ring_turn(engine->ring, wait, take_result, engine);
}

void store_engine_turn(struct store_engine *engine)
{
    turn(engine, false);
}

void store_engine_finish(struct store_engine *engine)
{
    while (engine->running_count > 0)
        turn(engine, true);
}

int store_engine_fd(const struct store_engine *engine)
{
    return engine->ring ? store_ring_fd(engine->ring) : -1;
}

int store_engine_timeout_ms(const struct store_engine *engine)
{
    return engine->is_stuck ? RETRY_MS : -1;
}
