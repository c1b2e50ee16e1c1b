/* STORE_SCAN: the records of a segment that verify, without help of its footer.
 *
 * DESIGN. The segment is read in windows. A header that verifies spans its record, whether the rest of that verifies or not: what somebody put into a body
 * to look like a record is never looked at. Where there is no header the next unit is looked at. A record that the window cuts begins the next one.
 * Lists do not list themselves: footers and trailers are passed over.
 * One message looks at SCAN_BYTES, or fills a page of entries, so that its answer does not look like a hung helper. */
#include "helpers/store_job.h"

#include "base/slab.h"
#include "helpers/store_record.h"

enum {
    SCAN_BYTES = 8 * 1024 * 1024,
    ENTRIES_MAX = SLAB_PAGE_BYTES / sizeof(struct store_footer_entry),
};

bool store_scan_is_valid(const struct store_ground *ground, const struct message_store_scan *scan)
{
    return store_is_place(scan->origin, 0) && store_is_place(scan->offset, 0) && scan->end % STORE_UNIT_BYTES == 0 &&
           scan->origin <= scan->offset && scan->offset <= scan->end && scan->end - scan->origin <= STORE_SEGMENT_MAX_BYTES &&
           store_is_in_memory(ground, scan->entries_offset, SLAB_PAGE_BYTES);
}

static bool finish(struct store_job *job, uint64_t next)
{
    job->answer.scan.next = next;
    return false;
}

/* The next window, from job->at on, of no less than `bytes`. */
static bool look_on(struct store_job *job, uint64_t bytes)
{
    uint64_t left = job->ask.scan.end - job->at, wanted = bytes > STORE_SCAN_WINDOW_BYTES ? bytes : STORE_SCAN_WINDOW_BYTES;
    if (job->buffer.bytes < bytes) {
        store_buffers_give_back(&job->ground->buffers, &job->buffer);
        job->buffer = store_buffers_take(&job->ground->buffers, bytes);
    }
    store_job_transfer(job, STORE_DEVICE_READ, job->at, wanted < left ? wanted : left);
    return true;
}

bool store_scan_begin(struct store_job *job)
{
    job->at = job->ask.scan.offset;
    return job->at == job->ask.scan.end ? finish(job, job->at) : look_on(job, STORE_SCAN_WINDOW_BYTES);
}

/* False: there is no room for it. */
static bool note_record(struct store_job *job, const struct store_header *header, uint64_t bytes)
{
    const struct message_store_scan *scan = &job->ask.scan;
    struct store_footer_entry entry = {
        .hash = header->hash,
        .place = (job->at - scan->origin) / STORE_UNIT_BYTES,
        .kind = header->kind,
        .size_class = store_size_class(bytes),
    };
    if (header->kind == STORE_FOOTER || header->kind == STORE_TRAILER)
        return true;
    if (job->answer.scan.count == ENTRIES_MAX)
        return false;
    memcpy(job->ground->memory + scan->entries_offset + job->answer.scan.count++ * sizeof entry, &entry, sizeof entry);
    return true;
}

/* Over the window, which begins at `start`. What stopped it: the window's end, a record of *needed bytes that is cut by it, or a full page. */
static bool walk(struct store_job *job, uint64_t start, uint64_t *needed)
{
    uint64_t window_end = start + job->done_bytes;
    struct store_header header;
    for (*needed = 0; job->at < window_end;) {
        uint64_t left = window_end - job->at, bytes = STORE_UNIT_BYTES;
        enum store_verdict verdict = store_record_verify(job->buffer.at + (job->at - start), left, job->ask.scan.segment_sequence, &header);
        if (verdict != RECORD_NONE && store_record_bytes(header.front_bytes, header.body_bytes) <= job->ask.scan.end - job->at)
            bytes = store_record_bytes(header.front_bytes, header.body_bytes);
        if (bytes > left) {
            *needed = bytes;
            return true;
        }
        if (verdict == RECORD_GOOD && !note_record(job, &header, bytes))
            return false;
        job->at += bytes;
    }
    return true;
}

static bool give_up(struct store_job *job, int error)
{
    struct message_store_scan_done *answer = &job->answer.scan;
    if (answer->count > 0)
        return finish(job, job->at); /* the next message will meet it */
    answer->error = error;
    answer->status = store_status_of(error);
    return finish(job, job->at + job->transfer_bytes);
}

bool store_scan_step(struct store_job *job, int64_t result)
{
    const struct message_store_scan *scan = &job->ask.scan;
    uint64_t start = job->at, needed;
    int error;
    switch (store_job_transferred(job, result, &error)) {
    case TRANSFER_GOES_ON:
        return true;
    case TRANSFER_FAILED:
        return give_up(job, error);
    case TRANSFER_ENDED:
        break;
    }
    if (!job->asker || !walk(job, start, &needed))
        return finish(job, job->at);
    if (job->at >= scan->end || job->done_bytes < job->transfer_bytes)
        return finish(job, scan->end);
    return job->at - scan->offset < SCAN_BYTES ? look_on(job, needed) : finish(job, job->at);
}
