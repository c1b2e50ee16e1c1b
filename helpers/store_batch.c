/* STORE_WRITE: records made of pieces of the slab, one after the other in one buffer. */
#include "helpers/store_job.h"

#include "base/slab.h"
#include "helpers/store_record.h"

#include <assert.h>

/* The record and its pieces at the front of *tail. False: nothing is left of it, or it ends too early. */
static bool next_record(struct bytes *tail, struct message_store_record *record, struct bytes *pieces)
{
    if (tail->len < sizeof *record)
        return false;
    memcpy(record, tail->at, sizeof *record);
    *tail = bytes_from(tail->at + sizeof *record, tail->len - sizeof *record);
    if (record->piece_count > tail->len / sizeof(struct store_piece))
        return false;
    *pieces = bytes_from(tail->at, record->piece_count * sizeof(struct store_piece));
    *tail = bytes_from(tail->at + pieces->len, tail->len - pieces->len);
    return true;
}

static bool next_piece(struct bytes *pieces, struct store_piece *piece)
{
    if (pieces->len == 0)
        return false;
    memcpy(piece, pieces->at, sizeof *piece);
    *pieces = bytes_from(pieces->at + sizeof *piece, pieces->len - sizeof *piece);
    return true;
}

static bool is_valid_record(const struct store_ground *ground, const struct message_store_record *record, struct bytes pieces)
{
    uint64_t bytes = (uint64_t)record->front_bytes + record->body_bytes, found = 0;
    for (struct store_piece piece; next_piece(&pieces, &piece); found += piece.bytes) {
        if (!store_is_in_memory(ground, (uint64_t)piece.unit * SLAB_UNIT_BYTES, piece.bytes))
            return false;
    }
    return record->kind > STORE_NONE && record->kind < STORE_KIND_COUNT && found == bytes &&
           store_record_bytes(record->front_bytes, record->body_bytes) <= STORE_RECORD_MAX_BYTES;
}

bool store_batch_is_valid(const struct store_ground *ground, const struct message_store_write *write, struct bytes tail, uint64_t *bytes)
{
    struct message_store_record record;
    struct bytes pieces;
    *bytes = 0;
    if (write->count == 0 || write->count > STORE_RECORDS_MAX)
        return false;
    for (uint32_t i = 0; i < write->count; i++) {
        if (!next_record(&tail, &record, &pieces) || !is_valid_record(ground, &record, pieces))
            return false;
        *bytes += store_record_bytes(record.front_bytes, record.body_bytes);
    }
    return tail.len == 0 && store_is_place(write->offset, *bytes) && (write->count == 1 || *bytes <= STORE_BATCH_BYTES);
}

void store_batch_gather(const struct store_job *job, char *out)
{
    struct bytes tail = bytes_from(job->tail, job->tail_bytes), pieces;
    struct message_store_record record;
    while (next_record(&tail, &record, &pieces)) {
        struct store_header header = {
            .kind = record.kind,
            .segment_sequence = job->ask.write.segment_sequence,
            .hash = record.hash,
            .serial = record.serial,
            .front_bytes = record.front_bytes,
            .body_bytes = record.body_bytes,
        };
        char *at = out + sizeof header;
        for (struct store_piece piece; next_piece(&pieces, &piece); at += piece.bytes)
            memcpy(at, job->ground->memory + (uint64_t)piece.unit * SLAB_UNIT_BYTES, piece.bytes);
        /* Over the copy: what changes in the slab meanwhile is written as it was before or after, and verifies. */
        out += store_record_seal(out, &header);
    }
}
