/* A disk in memory for programs with several loops: each has an io of its own, whose calls are done when it is polled, in any order, after a while, and
 * sometimes not at all. Records are made and verified as the store helpers do it (cache/disk/disk_io.h). */
#ifndef TESTS_MEMORY_DISK_H
#define TESTS_MEMORY_DISK_H

#include "base/slab.h"
#include "cache/disk/disk_io.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_DIRECTORIES = 2, MEMORY_CALLS_MAX = 256, MEMORY_LOSSES_MAX = 4 };

struct memory_disk {
    struct slab     *slab;
    pthread_mutex_t  lock; /* of the bytes */
    char            *bytes[MEMORY_DIRECTORIES];
    uint64_t         size; /* of each */
    _Atomic unsigned losses;
    _Atomic uint64_t lost_bytes;
};

enum memory_call_kind { MEMORY_READ, MEMORY_WRITE, MEMORY_SCAN, MEMORY_ORDER };

struct memory_io {
    struct disk_io      io;
    struct memory_disk *disk;
    uint64_t            random;
    unsigned            failures_in; /* one call in so many fails; 0: none */
    struct memory_call {
        enum memory_call_kind kind;
        void                 *call;
        unsigned              delay;
    } calls[MEMORY_CALLS_MAX];
    unsigned count;
};

static inline unsigned memory_random(struct memory_io *io, unsigned limit)
{
    io->random = io->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(io->random >> 33) % limit;
}

static inline void memory_submit(struct disk_io *port, enum memory_call_kind kind, void *call)
{
    struct memory_io *io = (struct memory_io *)(void *)port;
    if (io->count == MEMORY_CALLS_MAX)
        abort();
    io->calls[io->count++] = (struct memory_call){kind, call, memory_random(io, 12)};
}

static inline void memory_read(struct disk_io *io, struct disk_read *read)
{
    memory_submit(io, MEMORY_READ, read);
}

static inline void memory_write(struct disk_io *io, struct disk_write *write)
{
    memory_submit(io, MEMORY_WRITE, write);
}

static inline void memory_scan(struct disk_io *io, struct disk_scan *scan)
{
    memory_submit(io, MEMORY_SCAN, scan);
}

static inline void memory_give_order(struct disk_io *io, struct disk_order *order)
{
    memory_submit(io, MEMORY_ORDER, order);
}

static inline void memory_io_init(struct memory_io *io, struct memory_disk *disk, uint64_t seed, unsigned failures_in)
{
    *io = (struct memory_io){
        .io = {memory_read, memory_write, memory_scan, memory_give_order}, .disk = disk, .random = seed, .failures_in = failures_in};
}

static inline void memory_disk_init(struct memory_disk *disk, struct slab *slab, uint64_t size)
{
    *disk = (struct memory_disk){.slab = slab, .size = size};
    pthread_mutex_init(&disk->lock, NULL);
    for (unsigned i = 0; i < MEMORY_DIRECTORIES; i++)
        disk->bytes[i] = calloc(1, size);
}

static inline void memory_disk_free(struct memory_disk *disk)
{
    for (unsigned i = 0; i < MEMORY_DIRECTORIES; i++)
        free(disk->bytes[i]);
    pthread_mutex_destroy(&disk->lock);
}

/* With the lock held, these. */

/* The record at `offset`, verified as a whole; NULL: none. */
static inline const char *memory_record(const struct memory_disk *disk, struct disk_place place, uint64_t end, uint64_t sequence,
                                        struct store_header *header)
{
    const char *at = disk->bytes[place.directory] + place.offset;
    if (place.offset + sizeof *header > end || end > disk->size)
        return NULL;
    memcpy(header, at, sizeof *header);
    if (!store_header_is_valid(header) || (sequence != 0 && header->segment_sequence != sequence) ||
        place.offset + store_record_bytes(header->front_bytes, header->body_bytes) > end)
        return NULL;
    at += sizeof *header;
    bool is_good = store_checksum(at, header->front_bytes) == header->front_checksum &&
                   store_checksum(at + header->front_bytes, header->body_bytes) == header->body_checksum;
    return is_good ? at : NULL;
}

static inline void memory_spread(const struct memory_disk *disk, struct disk_read *read, const char *body)
{
    for (uint64_t done = 0; done < read->header.body_bytes; done += SLAB_PAGE_BYTES) {
        uint64_t left = read->header.body_bytes - done;
        memcpy(slab_at(disk->slab, (struct extent){read->pages[done / SLAB_PAGE_BYTES], SLAB_PAGE_BYTES}), body + done,
               left < SLAB_PAGE_BYTES ? left : SLAB_PAGE_BYTES);
    }
}

static inline enum disk_status memory_do_read(struct memory_disk *disk, struct disk_read *read)
{
    struct store_header *header = &read->header;
    const char *front = memory_record(disk, read->place, read->place.offset + read->read_bytes, read->segment_sequence, header);
    if (front == NULL || header->hash != read->hash)
        return DISK_ABSENT;
    if (header->front_bytes > read->front.capacity)
        return DISK_FRONT_LARGE;
    read->body_follows = header->front_bytes + header->body_bytes <= read->front.capacity;
    if (!read->body_follows && header->body_bytes > (uint64_t)read->page_count * SLAB_PAGE_BYTES)
        return DISK_ABSENT;
    memcpy(slab_at(disk->slab, read->front), front, header->front_bytes + (read->body_follows ? header->body_bytes : 0));
    if (!read->body_follows)
        memory_spread(disk, read, front + header->front_bytes);
    return DISK_OK;
}

/* As another process would: two members of a front may change meanwhile (disk_io.h), of which TSan is not to hear. */
__attribute__((noinline, no_sanitize("thread"))) static void memory_copy(char *to, const volatile uint64_t *from, uint64_t bytes)
{
    uint64_t word = 0;
    for (uint64_t done = 0; done < bytes; done += sizeof word) {
        word = from[done / sizeof word];
        for (unsigned i = 0; i < sizeof word && done + i < bytes; i++)
            to[done + i] = (char)(word >> 8 * i);
    }
}

static inline uint64_t memory_put(struct memory_disk *disk, const struct disk_write *write, const struct disk_record *record, uint64_t offset)
{
    struct store_header header = {.kind = record->kind,
                                  .segment_sequence = write->segment_sequence,
                                  .hash = record->hash,
                                  .serial = record->serial,
                                  .front_bytes = record->front_bytes,
                                  .body_bytes = record->body_bytes};
    char *start = disk->bytes[write->place.directory] + offset, *at = start + sizeof header;
    if (offset + store_record_bytes(record->front_bytes, record->body_bytes) > disk->size)
        abort();
    for (uint32_t i = 0; i < record->piece_count; i++) {
        struct extent piece = {record->pieces[i].unit, record->pieces[i].bytes};
        memory_copy(at, (const volatile uint64_t *)(const void *)slab_at(disk->slab, piece), piece.capacity);
        at += piece.capacity;
    }
    if ((uint64_t)(at - start) != sizeof header + record->front_bytes + record->body_bytes)
        abort();
    header.front_checksum = store_checksum(start + sizeof header, record->front_bytes);
    header.body_checksum = store_checksum(start + sizeof header + record->front_bytes, record->body_bytes);
    store_header_seal(&header);
    memcpy(start, &header, sizeof header);
    return store_record_bytes(record->front_bytes, record->body_bytes);
}

static inline void memory_do_write(struct memory_disk *disk, struct disk_write *write)
{
    uint64_t offset = write->place.offset;
    for (uint32_t i = 0; i < write->record_count; i++)
        offset += memory_put(disk, write, &write->records[i], offset);
}

static inline void memory_do_scan(struct memory_disk *disk, struct disk_scan *scan)
{
    struct store_footer_entry *entries = (struct store_footer_entry *)(void *)slab_at(disk->slab, scan->entries);
    struct disk_place place = scan->place;
    scan->count = 0;
    while (place.offset < scan->end && scan->count < scan->entries.capacity / sizeof *entries) {
        struct store_header header;
        uint64_t bytes = STORE_UNIT_BYTES;
        if (memory_record(disk, place, scan->end, scan->segment_sequence, &header) != NULL) {
            bytes = store_record_bytes(header.front_bytes, header.body_bytes);
            if (header.kind != STORE_FOOTER && header.kind != STORE_TRAILER)
                entries[scan->count++] = (struct store_footer_entry){
                    header.hash, (uint32_t)((place.offset - scan->origin) / STORE_UNIT_BYTES), header.kind, store_size_class(bytes), 0};
        }
        place.offset += bytes;
    }
    scan->next = place.offset < scan->end ? place.offset : scan->end;
}

/* Without it. */

static inline enum disk_status memory_failure(struct memory_io *io, enum memory_call_kind kind, bool *is_lost)
{
    static const enum disk_status failures[] = {DISK_ERROR, DISK_OVERLOADED, DISK_UNAVAILABLE, DISK_UNAVAILABLE};
    if (io->failures_in == 0 || memory_random(io, io->failures_in) != 0)
        return DISK_OK;
    enum disk_status failure = failures[memory_random(io, 4)];
    if (kind == MEMORY_READ && failure == DISK_UNAVAILABLE)
        *is_lost = atomic_fetch_add(&io->disk->losses, 1) < MEMORY_LOSSES_MAX;
    return failure;
}

/* What a helper that cannot be stopped may do. */
static inline void memory_lose(struct memory_io *io, struct disk_read *read)
{
    struct slab *slab = io->disk->slab;
    read->destination_lost = true;
    memset(slab_at(slab, read->front), 'X', read->front.capacity);
    for (uint32_t i = 0; i < read->page_count; i++)
        memset(slab_at(slab, (struct extent){read->pages[i], SLAB_PAGE_BYTES}), 'X', SLAB_PAGE_BYTES);
    atomic_fetch_add(&io->disk->lost_bytes, SLAB_PAGE_BYTES * (uint64_t)(1 + read->page_count)); /* at most */
}

static inline void memory_do(struct memory_io *io, const struct memory_call *call)
{
    bool is_lost = false;
    enum disk_status status = memory_failure(io, call->kind, &is_lost);
    struct disk_read *read = call->call;
    struct disk_write *write = call->call;
    struct disk_scan *scan = call->call;
    struct disk_order *order = call->call;
    int error = status == DISK_ERROR ? EIO : 0;
    if (is_lost)
        memory_lose(io, read);
    pthread_mutex_lock(&io->disk->lock);
    switch (call->kind) {
    case MEMORY_READ:
        read->error = error;
        read->status = status == DISK_OK ? memory_do_read(io->disk, read) : status;
        break;
    case MEMORY_WRITE:
        if (status == DISK_OK || status == DISK_UNAVAILABLE) /* it may have been done nevertheless */
            memory_do_write(io->disk, write);
        write->error = error;
        write->status = status;
        break;
    case MEMORY_SCAN:
        if (status == DISK_OK)
            memory_do_scan(io->disk, scan);
        scan->error = error;
        scan->status = status;
        break;
    case MEMORY_ORDER:
        order->error = error;
        order->status = status;
        break;
    }
    pthread_mutex_unlock(&io->disk->lock);
    switch (call->kind) {
    case MEMORY_READ:
        read->done(read);
        break;
    case MEMORY_WRITE:
        write->done(write);
        break;
    case MEMORY_SCAN:
        scan->done(scan);
        break;
    case MEMORY_ORDER:
        order->done(order);
        break;
    }
}

/* Does what is due. Returns whether anything was. */
static inline bool memory_io_poll(struct memory_io *io)
{
    bool moved = false;
    for (unsigned i = 0; i < io->count;) {
        if (io->calls[i].delay > 0) {
            io->calls[i++].delay--;
            continue;
        }
        struct memory_call call = io->calls[i];
        io->calls[i] = io->calls[--io->count];
        memory_do(io, &call);
        moved = true;
    }
    return moved || io->count > 0;
}

#endif
