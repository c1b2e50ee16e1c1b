/* See recover.h; the headers' phase is in recover_headers.c. */
#include "cache/disk/recover.h"

#include "base/log.h"
#include "cache/cache_state.h"
#include "cache/disk/dead.h"
#include "cache/disk/recover_state.h"

#include <assert.h>
#include <stdlib.h>

enum {
    ENTRIES_A_RUN = 16384, /* put into the index before the loop goes on with other things: some milliseconds */
    ENTRIES_A_LOCK = 64,
    ENTRIES_AHEAD = 12, /* whose place in the index is on its way from memory meanwhile */
    FAILURES_MAX = 5,   /* of a directory, before what cannot be read in it is given up */
};

void recover_init(struct store *store)
{
    struct recovery *recovery = calloc(1, sizeof *recovery);
    if (recovery == NULL)
        abort();
    recovery->store = store;
    store->recovery = recovery;
    store->dead = dead_new();
    for (unsigned i = 0; i < store->directory_count; i++)
        store->directories[i].is_latent = true;
}

void recover_free(struct store *store)
{
    struct recovery *recovery = store->recovery;
    recover_headers_free(recovery);
    for (uint32_t i = 0; i < recovery->jobs_count; i++)
        listing_free(&recovery->jobs[i].listing);
    free(recovery->jobs);
    free(recovery);
    store->recovery = NULL;
    dead_free(&store->dead);
}

bool recover_is_active(const struct store *store)
{
    return store->recovery->phase != RECOVER_IDLE;
}

/* ---- jobs: the segments in use, the youngest first -------------------------------------------------------------------------------------- */

static bool is_in_pass(const struct recovery *recovery, const struct directory *directory)
{
    return recovery->in_pass[directory->number] && directory->is_known && !directory->is_unreadable;
}

static int compare_jobs(const void *a, const void *b)
{
    uint64_t age_a = ((const struct recover_job *)a)->age, age_b = ((const struct recover_job *)b)->age;
    return age_a > age_b ? -1 : age_a < age_b;
}

static void make_jobs(struct recovery *recovery)
{
    struct store *store = recovery->store;
    uint32_t count = 0;
    for (unsigned i = 0; i < store->directory_count; i++)
        count += store->directories[i].settings.segment_count;
    recovery->jobs = calloc(count, sizeof *recovery->jobs);
    if (recovery->jobs == NULL)
        abort();
    for (unsigned i = 0; i < store->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        for (uint32_t j = 0; is_in_pass(recovery, directory) && j < directory->settings.segment_count; j++) {
            if (directory->segments[j].state == SEGMENT_USED && !directory->segments[j].is_condemned)
                recovery->jobs[recovery->jobs_count++] =
                    (struct recover_job){.directory = directory, .segment = j, .age = directory->segments[j].age};
        }
    }
    qsort(recovery->jobs, recovery->jobs_count, sizeof *recovery->jobs, compare_jobs);
}

static void drop_listing(struct recover_job *job)
{
    listing_free(&job->listing);
    job->state = JOB_NEW;
}

static void free_jobs(struct recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->jobs_count; i++)
        listing_free(&recovery->jobs[i].listing);
    free(recovery->jobs);
    recovery->jobs = NULL;
    recovery->jobs_count = recovery->next = 0;
}

static void job_listed(struct listing *listing)
{
    struct recover_job *job = listing->context;
    job->state = JOB_LISTED;
    store_wake(job->directory->store);
}

static void start_job(struct recover_job *job, bool wants_purges)
{
    job->state = JOB_LISTING;
    job->listing = (struct listing){
        .directory = job->directory, .segment = job->segment, .wants_purges = wants_purges, .done = job_listed, .context = job};
    listing_start(&job->listing);
}

static bool is_dropped(const struct recover_job *job)
{
    return !segment_is_used(job->directory, job->segment, job->age) || job->directory->is_unreadable;
}

/* What a listing that has ended means for its directory. True: its entries can be used. */
static bool accept_listing(struct recover_job *job)
{
    struct directory *directory = job->directory;
    struct listing *listing = &job->listing;
    if (listing->status == DISK_OVERLOADED) {
        drop_listing(job);
        return false;
    }
    if (listing->status == DISK_OK && !listing->is_damaged)
        return true;
    if (listing->status != DISK_OK && ++directory->failures_count <= FAILURES_MAX) {
        directory_fail(directory, listing->status, listing->error, "reading what is stored failed");
        directory->is_unreadable = true;
        return false;
    }
    log_warn("store", "directory %u: a segment cannot be read: it and all that is older is given up", directory->number);
    directory_condemn(directory, job->age);
    return false;
}

/* ---- purges ------------------------------------------------------------------------------------------------------------------------------ */

static bool may_have_purges(const struct recover_job *job)
{
    const struct segment *segment = &job->directory->segments[job->segment];
    return segment->has_purges || !segment->is_sealed;
}

/* True: all were read. */
static bool read_purges(struct recovery *recovery)
{
    unsigned under_way = 0;
    bool is_done = true;
    for (uint32_t i = 0; i < recovery->jobs_count; i++) {
        struct recover_job *job = &recovery->jobs[i];
        if (job->has_purges_read || !may_have_purges(job) || (job->state != JOB_LISTING && is_dropped(job)))
            continue;
        if (job->state == JOB_NEW && under_way < JOBS_AT_ONCE)
            start_job(job, true);
        under_way += job->state == JOB_LISTING;
        is_done &= job->state == JOB_LISTED;
        if (job->state != JOB_LISTED)
            continue;
        job->has_purges_read = accept_listing(job);
        is_done &= job->has_purges_read || is_dropped(job);
        if (job->directory->segments[job->segment].is_sealed) /* its footer is read again; a scan is kept */
            drop_listing(job);
    }
    return is_done;
}

/* ---- entries ----------------------------------------------------------------------------------------------------------------------------- */

/* With the lock held. */
static void bury(struct store *store, const struct recover_job *job, const struct store_footer_entry *entry)
{
    struct disk_entry found;
    dead_add(store->dead, entry->hash, job->age);
    /* Found already only where it is younger; or in another directory, where a change of the configuration has left it. */
    if (disk_index_find(store->index, entry->hash, &found) && sequence_at(store, found.unit) < job->age &&
        disk_index_remove_at(store->index, entry->hash, found.unit))
        atomic_fetch_sub_explicit(&directory_at(store, found.unit)->records, 1, memory_order_relaxed);
}

/* With the lock held. */
static void put(struct store *store, const struct recover_job *job, const struct store_footer_entry *entry)
{
    struct directory *directory = job->directory;
    struct disk_entry there, made = {
                                 .unit = segment_unit(directory, job->segment) + entry->place,
                                 .size_class = entry->size_class,
                                 .is_lasting = entry->kind != STORE_RESPONSE,
                             };
    if (directory->has_overflowed) /* there is no telling what is out of date; it will be emptied */
        return;
    if (entry->place >= directory->units_per_segment || dead_find(store->dead, entry->hash) >= job->age)
        return;
    if (disk_index_put_new(store->index, entry->hash, &made, &there)) {
        count_add(&store->recovered_records, 1);
    } else if (sequence_at(store, there.unit) < job->age) {
        atomic_fetch_sub_explicit(&directory_at(store, there.unit)->records, 1, memory_order_relaxed);
        disk_index_put(store->index, entry->hash, &made);
    } else {
        return;
    }
    atomic_fetch_add_explicit(&directory->records, 1, memory_order_relaxed);
}

static void take_entry(struct store *store, const struct recover_job *job, const struct store_footer_entry *entry)
{
    if (entry->kind == STORE_TOMBSTONES)
        bury(store, job, entry);
    else if (entry->kind == STORE_RESPONSE || entry->kind == STORE_SELECTOR || entry->kind == STORE_SLICED)
        put(store, job, entry);
}

/* From the last to the first; true: all are done. */
static bool take_entries(struct recover_job *job, uint32_t *budget)
{
    struct store *store = job->directory->store;
    struct listing *listing = &job->listing;
    while (listing->count > 0 && *budget > 0) {
        pthread_mutex_lock(&store->lock);
        for (unsigned i = 0; i < ENTRIES_A_LOCK && listing->count > 0 && *budget > 0; i++, --*budget) {
            if (listing->count > ENTRIES_AHEAD)
                disk_index_prefetch(store->index, listing->entries[listing->count - 1 - ENTRIES_AHEAD].hash);
            take_entry(store, job, &listing->entries[--listing->count]);
        }
        pthread_mutex_unlock(&store->lock);
    }
    return listing->count == 0;
}

static bool finish_job(struct recover_job *job)
{
    listing_free(&job->listing);
    job->state = JOB_DONE;
    return true;
}

/* True: the job is behind us. */
static bool run_job(struct recover_job *job, uint32_t *budget)
{
    if (job->state == JOB_LISTING)
        return false;
    if (is_dropped(job))
        return finish_job(job);
    if (job->state != JOB_LISTED)
        return false;
    if (!job->is_accepted && !accept_listing(job))
        return false;
    job->is_accepted = true;
    return take_entries(job, budget) && finish_job(job);
}

/* True: all were put. */
static bool read_entries(struct recovery *recovery)
{
    uint32_t budget = ENTRIES_A_RUN;
    for (uint32_t i = recovery->next; i < recovery->jobs_count && i < recovery->next + JOBS_AT_ONCE; i++) {
        if (recovery->jobs[i].state == JOB_NEW && !is_dropped(&recovery->jobs[i]))
            start_job(&recovery->jobs[i], false);
    }
    while (recovery->next < recovery->jobs_count && run_job(&recovery->jobs[recovery->next], &budget))
        recovery->next++;
    if (budget == 0)
        store_wake(recovery->store);
    return recovery->next == recovery->jobs_count;
}

/* ---- passes ------------------------------------------------------------------------------------------------------------------------------ */

/* Those that are not recovered and may be tried now. */
static bool begin_pass(struct recovery *recovery)
{
    struct store *store = recovery->store;
    bool any = false;
    for (unsigned i = 0; i < store->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        recovery->in_pass[i] = !directory->is_recovered && (!directory->is_unreadable || directory_is_due(directory));
        if (!recovery->in_pass[i])
            continue;
        any = true;
        if (directory->is_unreadable)
            directory_restore(directory);
        directory->is_unreadable = false;
    }
    if (any && !recovery->has_begun)
        recovery->began_at = store->now;
    recovery->has_begun |= any;
    return any;
}

static void finish_directory(struct directory *directory)
{
    directory->is_recovered = true;
    directory->failures_count = 0;
    if (!directory_is_bypassed(directory)) /* else a write failed, which is another matter */
        directory_restore(directory);
    directory_note_latent(directory);
}

static void end_pass(struct recovery *recovery)
{
    struct store *store = recovery->store;
    bool all = true;
    for (unsigned i = 0; i < store->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        if (is_in_pass(recovery, directory))
            finish_directory(directory);
        all &= directory->is_recovered;
    }
    free_jobs(recovery);
    atomic_store_explicit(&store->recovery_ms, (uint64_t)monotonic_since(store->now, recovery->began_at), memory_order_relaxed);
    if (!all)
        return;
    pthread_mutex_lock(&store->lock);
    dead_free(&store->dead);
    pthread_mutex_unlock(&store->lock);
    atomic_store_explicit(&store->is_recovered, true, memory_order_relaxed);
    log_info("store", "%lu stored responses were found again in %lu ms", (unsigned long)count_get(&store->recovered_records),
             (unsigned long)count_get(&store->recovery_ms));
}

void recover_run(struct store *store)
{
    struct recovery *recovery = store->recovery;
    if (recovery->phase == RECOVER_IDLE && store->dead != NULL && begin_pass(recovery)) {
        recovery->phase = RECOVER_HEADERS;
        recover_headers_begin(recovery);
    }
    if (recovery->phase == RECOVER_HEADERS && recover_headers_run(recovery)) {
        recovery->phase = RECOVER_PURGES;
        make_jobs(recovery);
    }
    if (recovery->phase == RECOVER_PURGES && read_purges(recovery)) {
        recovery->phase = RECOVER_ENTRIES;
        atomic_store_explicit(&store->is_open, true, memory_order_release);
    }
    if (recovery->phase == RECOVER_ENTRIES && read_entries(recovery)) {
        recovery->phase = RECOVER_IDLE;
        end_pass(recovery);
    }
}
