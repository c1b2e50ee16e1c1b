/* What the tests of cache/disk share: a disk in memory behind the port, that does what it is told when it is told, and a store on it. One thread. */
#ifndef TESTS_STORE_RIG_H
#define TESTS_STORE_RIG_H

#include "base/log.h"
#include "cache/disk/append.h"
#include "cache/disk/queue.h"
#include "cache/disk/reclaim.h"
#include "cache/disk/store_state.h"
#include "cache/fill_state.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAKE_DIRECTORIES = 3, FAKE_OPS = 256, RIG_WALL = 1700000000 };

enum fake_kind { FAKE_READ, FAKE_WRITE, FAKE_SCAN, FAKE_ORDER, FAKE_KINDS };

struct fake_op {
    enum fake_kind kind;
    void          *call;
};

/* What a write replaced, since the last sync. */
struct fake_undo {
    unsigned directory;
    uint64_t offset, bytes;
    char    *before;
};

struct fake_disk {
    struct disk_io io;
    struct slab   *slab;
    char          *bytes[FAKE_DIRECTORIES];
    uint64_t       size[FAKE_DIRECTORIES];
    uint64_t       allocated_max[FAKE_DIRECTORIES]; /* DISK_ALLOCATE beyond it: DISK_FULL */
    struct fake_op ops[FAKE_OPS];
    unsigned       ops_count;
    uint64_t       done[FAKE_KINDS];
    uint64_t       written_bytes;
    /* what goes wrong */
    enum disk_status fail[FAKE_KINDS]; /* not DISK_OK: those of that kind fail so */
    int              fail_directory;   /* in this one only; −1: in all */
    int64_t          fail_in;          /* −1: at once; else after so many more calls, once */
    uint64_t         random;           /* 0: in order */
    struct fake_undo *undo;
    unsigned          undo_count;
};

static inline uint64_t rig_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline struct fake_disk *fake_of(struct disk_io *io)
{
    return (struct fake_disk *)(void *)io;
}

static inline void fake_queue(struct fake_disk *disk, enum fake_kind kind, void *call)
{
    cr_assert_lt(disk->ops_count, FAKE_OPS);
    disk->ops[disk->ops_count++] = (struct fake_op){kind, call};
}

static void fake_read(struct disk_io *io, struct disk_read *read)
{
    fake_queue(fake_of(io), FAKE_READ, read);
}

static void fake_write(struct disk_io *io, struct disk_write *write)
{
    fake_queue(fake_of(io), FAKE_WRITE, write);
}

static void fake_scan(struct disk_io *io, struct disk_scan *scan)
{
    fake_queue(fake_of(io), FAKE_SCAN, scan);
}

static void fake_order(struct disk_io *io, struct disk_order *order)
{
    fake_queue(fake_of(io), FAKE_ORDER, order);
}

static inline char *fake_slab(struct fake_disk *disk, uint64_t unit)
{
    return slab_at(disk->slab, (struct extent){0, 1}) + unit * SLAB_UNIT_BYTES;
}

/* The record at `offset`, if it is good; its bytes. NULL: it is not. */
static inline const char *fake_record(struct fake_disk *disk, struct disk_place place, uint64_t most, struct store_header *header)
{
    if (place.offset + sizeof *header > disk->size[place.directory])
        return NULL;
    const char *at = disk->bytes[place.directory] + place.offset;
    memcpy(header, at, sizeof *header);
    uint64_t bytes = sizeof *header + header->front_bytes + (uint64_t)header->body_bytes;
    if (!store_header_is_valid(header) || bytes > most || place.offset + bytes > disk->size[place.directory])
        return NULL;
    const char *front = at + sizeof *header;
    bool is_good = store_checksum(front, header->front_bytes) == header->front_checksum &&
                   store_checksum(front + header->front_bytes, header->body_bytes) == header->body_checksum;
    return is_good ? front : NULL;
}

static inline void fake_do_read(struct fake_disk *disk, struct disk_read *read)
{
    struct store_header *header = &read->header;
    const char *front = fake_record(disk, read->place, read->read_bytes, header);
    read->status = DISK_ABSENT;
    if (front == NULL || header->hash != read->hash ||
        (read->segment_sequence != 0 && header->segment_sequence != read->segment_sequence))
        return;
    read->status = DISK_FRONT_LARGE;
    if (header->front_bytes > read->front.capacity)
        return;
    const char *body = front + header->front_bytes;
    read->body_follows = (uint64_t)header->front_bytes + header->body_bytes <= read->front.capacity;
    read->status = DISK_ABSENT;
    if (!read->body_follows && header->body_bytes > (uint64_t)read->page_count * SLAB_PAGE_BYTES)
        return;
    memcpy(fake_slab(disk, read->front.unit), front, header->front_bytes);
    if (read->body_follows)
        memcpy(fake_slab(disk, read->front.unit) + header->front_bytes, body, header->body_bytes);
    for (uint64_t done = 0; !read->body_follows && done < header->body_bytes; done += SLAB_PAGE_BYTES) {
        uint64_t here = header->body_bytes - done < SLAB_PAGE_BYTES ? header->body_bytes - done : SLAB_PAGE_BYTES;
        memcpy(fake_slab(disk, read->pages[done / SLAB_PAGE_BYTES]), body + done, here);
    }
    read->status = DISK_OK;
}

/* One record in the place where it goes; the bytes it takes. */
static inline uint64_t fake_make(struct fake_disk *disk, const struct disk_record *record, uint64_t sequence, char *to)
{
    uint64_t bytes = store_record_bytes(record->front_bytes, record->body_bytes), at = sizeof(struct store_header);
    memset(to, 0, bytes);
    for (uint32_t i = 0; i < record->piece_count; i++) {
        cr_assert_leq(at + record->pieces[i].bytes, bytes);
        memcpy(to + at, fake_slab(disk, record->pieces[i].unit), record->pieces[i].bytes);
        at += record->pieces[i].bytes;
    }
    cr_assert_eq(at, sizeof(struct store_header) + record->front_bytes + record->body_bytes, "pieces are the whole");
    struct store_header header = {
        .kind = record->kind,
        .segment_sequence = sequence,
        .hash = record->hash,
        .serial = record->serial,
        .front_bytes = record->front_bytes,
        .body_bytes = record->body_bytes,
        .front_checksum = store_checksum(to + sizeof header, record->front_bytes),
        .body_checksum = store_checksum(to + sizeof header + record->front_bytes, record->body_bytes),
    };
    store_header_seal(&header);
    memcpy(to, &header, sizeof header);
    return bytes;
}

static inline void fake_remember(struct fake_disk *disk, struct disk_place place, uint64_t bytes)
{
    disk->undo = realloc(disk->undo, (disk->undo_count + 1) * sizeof *disk->undo);
    struct fake_undo *undo = &disk->undo[disk->undo_count++];
    *undo = (struct fake_undo){place.directory, place.offset, bytes, malloc(bytes)};
    memcpy(undo->before, disk->bytes[place.directory] + place.offset, bytes);
}

static inline void fake_forget_undo(struct fake_disk *disk, int directory)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < disk->undo_count; i++) {
        if (directory >= 0 && disk->undo[i].directory != (unsigned)directory)
            disk->undo[kept++] = disk->undo[i];
        else
            free(disk->undo[i].before);
    }
    disk->undo_count = kept;
}

/* `units`: as many of what is written get there. */
static inline void fake_do_write(struct fake_disk *disk, struct disk_write *write, uint64_t units)
{
    uint64_t bytes = 0, done = 0;
    for (uint32_t i = 0; i < write->record_count; i++)
        bytes += store_record_bytes(write->records[i].front_bytes, write->records[i].body_bytes);
    cr_assert_gt(write->record_count, 0);
    cr_assert_leq(write->record_count, DISK_BATCH_RECORDS);
    cr_assert(write->record_count == 1 || bytes <= DISK_BATCH_BYTES, "%lu", (unsigned long)bytes);
    cr_assert_eq(write->place.offset % STORE_UNIT_BYTES, 0);
    cr_assert_leq(write->place.offset + bytes, disk->size[write->place.directory], "nothing is written behind the last segment");
    char *all = malloc(bytes);
    for (uint32_t i = 0; i < write->record_count; i++)
        done += fake_make(disk, &write->records[i], write->segment_sequence, all + done);
    uint64_t written = bytes < units * STORE_UNIT_BYTES ? bytes : units * STORE_UNIT_BYTES;
    fake_remember(disk, write->place, written);
    memcpy(disk->bytes[write->place.directory] + write->place.offset, all, written);
    disk->written_bytes += written;
    free(all);
    write->status = DISK_OK;
}

static inline void fake_do_scan(struct fake_disk *disk, struct disk_scan *scan)
{
    struct store_footer_entry *entries = (struct store_footer_entry *)(void *)fake_slab(disk, scan->entries.unit);
    uint32_t most = SLAB_PAGE_BYTES / sizeof *entries;
    struct disk_place place = scan->place;
    scan->count = 0;
    while (place.offset < scan->end && scan->count < most) {
        struct store_header header;
        bool is_one = fake_record(disk, place, scan->end - place.offset, &header) != NULL &&
                      header.segment_sequence == scan->segment_sequence;
        uint64_t bytes = is_one ? store_record_bytes(header.front_bytes, header.body_bytes) : STORE_UNIT_BYTES;
        if (is_one && header.kind != STORE_FOOTER && header.kind != STORE_TRAILER)
            entries[scan->count++] = (struct store_footer_entry){
                .hash = header.hash,
                .place = (uint32_t)((place.offset - scan->origin) / STORE_UNIT_BYTES),
                .kind = header.kind,
                .size_class = store_size_class(bytes),
            };
        place.offset += bytes;
    }
    scan->next = place.offset;
    scan->status = DISK_OK;
}

static inline void fake_do_order(struct fake_disk *disk, struct disk_order *order)
{
    unsigned directory = order->place.directory;
    order->status = DISK_OK;
    if (order->kind == DISK_ALLOCATE && order->place.offset + order->bytes > disk->allocated_max[directory]) {
        order->status = DISK_FULL;
        order->error = ENOSPC;
    }
    if (order->kind == DISK_SYNC)
        fake_forget_undo(disk, (int)directory);
}

static inline enum disk_status fake_fault(struct fake_disk *disk, enum fake_kind kind, unsigned directory)
{
    enum disk_status status = disk->fail[kind];
    if (status == DISK_OK || (disk->fail_directory >= 0 && disk->fail_directory != (int)directory))
        return DISK_OK;
    if (disk->fail_in < 0)
        return status;
    if (disk->fail_in-- > 0)
        return DISK_OK;
    disk->fail[kind] = DISK_OK;
    disk->fail_in = -1;
    return status;
}

static inline void fake_finish_read(struct fake_disk *disk, struct disk_read *read)
{
    read->status = fake_fault(disk, FAKE_READ, read->place.directory);
    read->error = EIO;
    if (read->status == DISK_OK)
        fake_do_read(disk, read);
    read->done(read);
}

static inline void fake_finish_write(struct fake_disk *disk, struct disk_write *write)
{
    enum disk_status status = fake_fault(disk, FAKE_WRITE, write->place.directory);
    write->error = status == DISK_FULL ? ENOSPC : EIO;
    /* What failed may be there nevertheless, all of it or some. */
    if (status == DISK_OK || (disk->random != 0 && status != DISK_OVERLOADED))
        fake_do_write(disk, write, status == DISK_OK ? UINT64_MAX / STORE_UNIT_BYTES : rig_random(&disk->random) % 64);
    write->status = status;
    write->done(write);
}

static inline void fake_finish(struct fake_disk *disk, struct fake_op op)
{
    disk->done[op.kind]++;
    if (op.kind == FAKE_READ) {
        fake_finish_read(disk, op.call);
    } else if (op.kind == FAKE_WRITE) {
        fake_finish_write(disk, op.call);
    } else if (op.kind == FAKE_SCAN) {
        struct disk_scan *scan = op.call;
        scan->status = fake_fault(disk, FAKE_SCAN, scan->place.directory);
        scan->error = EIO;
        if (scan->status == DISK_OK)
            fake_do_scan(disk, scan);
        scan->done(scan);
    } else {
        struct disk_order *order = op.call;
        order->status = fake_fault(disk, FAKE_ORDER, order->place.directory);
        order->error = EIO;
        if (order->status == DISK_OK)
            fake_do_order(disk, order);
        order->done(order);
    }
}

/* Finishes at most `count` calls; returns how many. */
static inline unsigned fake_pump(struct fake_disk *disk, unsigned count)
{
    unsigned done = 0;
    for (; done < count && disk->ops_count > 0; done++) {
        unsigned number = disk->random != 0 ? (unsigned)(rig_random(&disk->random) % disk->ops_count) : 0;
        struct fake_op op = disk->ops[number];
        disk->ops_count--;
        memmove(&disk->ops[number], &disk->ops[number + 1], (disk->ops_count - number) * sizeof op);
        fake_finish(disk, op);
    }
    return done;
}

static inline void fake_init(struct fake_disk *disk, unsigned count, uint64_t segment_bytes, uint32_t segments)
{
    *disk = (struct fake_disk){.io = {fake_read, fake_write, fake_scan, fake_order}, .fail_directory = -1, .fail_in = -1};
    for (unsigned i = 0; i < count; i++) {
        disk->size[i] = disk->allocated_max[i] = STORE_FIRST_SEGMENT + segment_bytes * segments;
        disk->bytes[i] = calloc(1, disk->size[i]);
    }
}

static inline void fake_free(struct fake_disk *disk)
{
    fake_forget_undo(disk, -1);
    free(disk->undo);
    for (unsigned i = 0; i < FAKE_DIRECTORIES; i++)
        free(disk->bytes[i]);
}

/* The process ends here and now: what is under way gets to the disk, or not, or in part. `power`: and what was not synced may be lost. */
static inline void fake_crash(struct fake_disk *disk, bool power)
{
    uint64_t random = disk->random != 0 ? disk->random : 88172645463325252u;
    for (unsigned i = 0; i < disk->ops_count; i++) {
        if (disk->ops[i].kind == FAKE_WRITE)
            fake_do_write(disk, disk->ops[i].call, rig_random(&random) % 3 == 0 ? UINT64_MAX / STORE_UNIT_BYTES : rig_random(&random) % 40);
    }
    disk->ops_count = 0;
    for (unsigned i = disk->undo_count; power && i-- > 0;) {
        struct fake_undo *undo = &disk->undo[i];
        if (rig_random(&random) % 2 == 0)
            memcpy(disk->bytes[undo->directory] + undo->offset, undo->before, undo->bytes);
    }
    fake_forget_undo(disk, -1);
    disk->random = disk->random != 0 ? random : 0;
}

/* ---- a store on it ----------------------------------------------------------------------------------------------------------------------- */

struct disk_rig {
    struct fake_disk      disk;
    struct store_settings settings;
    struct slab          *slab;
    struct cache         *cache;
    struct store         *store;
    struct monotonic_ms   now;
    struct wall_seconds   wall;
    struct waker          waker;
    size_t                slab_bytes;
};

static void swallow(void *context, struct bytes line)
{
    (void)context, (void)line;
}

static void ignore_wake(struct waker *waker)
{
    (void)waker;
}

static inline void disk_rig_boot(struct disk_rig *rig)
{
    struct hash_key key;
    hash_key_derive(&key, (const unsigned char[HASH_KEY_BYTES]){1});
    rig->slab = slab_new(rig->slab_bytes);
    struct cache_settings settings = {.slab = rig->slab, .object_max_bytes = 64 << 20, .variants_max = 16};
    rig->cache = cache_new(&settings, &key);
    rig->disk.slab = rig->slab;
    rig->store = store_new(rig->cache, &rig->settings);
    store_start(rig->store, &rig->disk.io, &rig->waker);
}

static inline void disk_rig_init(struct disk_rig *rig, unsigned directories, uint64_t segment_bytes, uint32_t segments)
{
    log_set_thread_sink(swallow, NULL);
    *rig = (struct disk_rig){
        .settings = {.directory_count = directories, .admission = STORE_ADMIT_ALWAYS, .queue_max_bytes = 64 << 20},
        .now = {1000},
        .wall = {RIG_WALL},
        .waker = {ignore_wake},
        .slab_bytes = 32 << 20,
    };
    for (unsigned i = 0; i < directories; i++)
        rig->settings.directories[i] =
            (struct store_directory){.segment_bytes = segment_bytes, .segment_count = segments, .identity = {(unsigned char)(i + 1), 7}};
    fake_init(&rig->disk, directories, segment_bytes, segments);
    disk_rig_boot(rig);
}

/* Nothing of the slab may be left but `lost`. */
static inline void disk_rig_halt(struct disk_rig *rig)
{
    struct slab_stats stats;
    rig->disk.ops_count = 0;
    store_free(&rig->store);
    cache_free(&rig->cache);
    slab_stats(rig->slab, &stats);
    cr_assert_eq(stats.allocated, 0, "%lu bytes are left", (unsigned long)stats.allocated);
    slab_free(&rig->slab);
}

static inline void disk_rig_free(struct disk_rig *rig)
{
    disk_rig_halt(rig);
    fake_free(&rig->disk);
}

static inline void disk_rig_turn(struct disk_rig *rig, int64_t ms, unsigned pump)
{
    rig->now.ms += ms;
    store_run(rig->store, rig->now, rig->wall);
    fake_pump(&rig->disk, pump);
}

/* As many turns as it takes until nothing is under way. */
static inline void disk_rig_settle(struct disk_rig *rig)
{
    for (unsigned quiet = 0; quiet < 5;) {
        disk_rig_turn(rig, STORE_TICK_MS, 0);
        quiet = fake_pump(&rig->disk, UINT32_MAX) > 0 ? 0 : quiet + 1;
    }
}

static inline bool disk_rig_drain(struct disk_rig *rig)
{
    bool is_done = false;
    for (unsigned i = 0; i < 10000 && !is_done; i++) {
        rig->now.ms += STORE_TICK_MS;
        is_done = store_drain(rig->store, rig->now, rig->wall, true);
        fake_pump(&rig->disk, UINT32_MAX);
    }
    rig->store->is_draining = false;
    return is_done;
}

/* The end of the process, in an orderly way or not, and a new one. */
static inline void disk_rig_restart(struct disk_rig *rig)
{
    disk_rig_halt(rig);
    rig->wall.s++;
    disk_rig_boot(rig);
}

/* Runs until recovery is over. */
static inline void disk_rig_recover(struct disk_rig *rig)
{
    for (unsigned i = 0; i < 100000 && rig->store->dead != NULL; i++)
        disk_rig_turn(rig, 1, UINT32_MAX);
    cr_assert_null(rig->store->dead, "recovery ends");
}

/* ---- responses ---------------------------------------------------------------------------------------------------------------------------- */

static inline struct bytes disk_rig_key(uint64_t number, char text[32])
{
    return bytes_from(text, (size_t)snprintf(text, 32, "name-%lu", (unsigned long)number));
}

static inline uint64_t disk_rig_hash(const struct disk_rig *rig, uint64_t number)
{
    char text[32];
    return hash_bytes(&rig->cache->hash_key, disk_rig_key(number, text)).low;
}

static inline char disk_rig_byte(uint64_t number, uint64_t version, uint64_t at)
{
    return (char)(number * 31 + version * 7 + at * 13 + at / 509);
}

/* The body starts with its version. */
static inline struct object *disk_rig_object(struct disk_rig *rig, uint64_t number, uint64_t version, size_t body_bytes, const uint64_t *tag,
                                             const char *head)
{
    char text[32];
    bool is_apart = body_bytes > 4096;
    struct record_parts parts = {
        .meta = {.response_time_s = rig->wall.s, .lifetime_s = 3600, .status = 200,
                 .stale_while_revalidate_s = META_ABSENT, .stale_if_error_s = META_ABSENT},
        .tags = tag,
        .tags_count = tag != NULL,
        .purge_sequence = purge_sequence(&rig->cache->purges),
        .stale_since_s = META_ABSENT,
        .key = disk_rig_key(number, text),
        .head = bytes_from_string(head),
        .status_line_bytes = (uint32_t)strcspn(head, "\n") + 1,
        .length_known = true,
        .body_bytes = body_bytes,
        .body_is_apart = is_apart,
    };
    struct object *object = object_new(rig->cache, OBJECT_RESPONSE, &parts);
    cr_assert_not_null(object);
    object->hash = disk_rig_hash(rig, number);
    if (is_apart) {
        object_set_body(object, body_new_sized(body_bytes));
        for (uint64_t at = 0, here; at < body_bytes; at += here) {
            uint64_t stop = body_extent_start(object_body(object), object_body(object)->count + 1);
            here = (stop < body_bytes ? stop : body_bytes) - at;
            struct extent extent = room_alloc(rig->cache, here, object);
            cr_assert_not(extent_is_none(extent));
            object_append(rig->cache, object, extent);
        }
    }
    for (uint64_t at = 0; at < body_bytes;) {
        struct iovec iov;
        int count = 1;
        object_body_iov(rig->cache, object, at, body_bytes, &iov, &count);
        for (size_t i = 0; i < iov.iov_len; i++, at++)
            ((char *)iov.iov_base)[i] = at < sizeof version ? ((const char *)&version)[at] : disk_rig_byte(number, version, at);
    }
    return object;
}

#define RIG_HEAD "HTTP/1.1 200 OK\r\nETag: \"x\"\r\n"

static inline void disk_rig_offer(struct disk_rig *rig, uint64_t number, uint64_t version, size_t body_bytes)
{
    struct object *object = disk_rig_object(rig, number, version, body_bytes, NULL, RIG_HEAD);
    store_offer(rig->store, object, 0);
    object_unref(rig->cache, &object);
}

static inline bool disk_rig_forget(struct disk_rig *rig, uint64_t number)
{
    return store_forget(rig->store, disk_rig_hash(rig, number));
}

struct rig_read {
    struct disk_read read;
    bool             is_done;
    struct extent    pages[DISK_PAGES_MAX];
    uint32_t         pages_count;
};

static void rig_read_done(struct disk_read *read)
{
    ((struct rig_read *)read->context)->is_done = true;
}

/* What the store finds under a hash, as load.c would read it. The status; with DISK_OK the memory is the caller's: rig_read_free. */
static inline enum disk_status disk_rig_read(struct disk_rig *rig, uint64_t hash, struct rig_read *out)
{
    struct store_where where;
    *out = (struct rig_read){0};
    if (!store_find(rig->store, hash, &where))
        return DISK_ABSENT;
    struct disk_read *read = &out->read;
    *read = (struct disk_read){.place = where.place, .segment_sequence = where.segment_sequence, .hash = hash,
                               .read_bytes = where.read_bytes, .done = rig_read_done, .context = out};
    while (out->pages_count <= where.read_bytes / SLAB_PAGE_BYTES + 1) {
        out->pages[out->pages_count] = room_alloc(rig->cache, SLAB_PAGE_BYTES, NULL);
        cr_assert_not(extent_is_none(out->pages[out->pages_count]));
        out->pages_count++;
    }
    read->front = out->pages[0];
    read->page_count = out->pages_count - 1;
    for (uint32_t i = 1; i < out->pages_count; i++)
        read->pages[i - 1] = out->pages[i].unit;
    rig->disk.io.read(&rig->disk.io, read);
    while (!out->is_done)
        fake_pump(&rig->disk, 1);
    store_note_read(rig->store, hash, &where, read->status);
    return read->status;
}

static inline void rig_read_free(struct disk_rig *rig, struct rig_read *read)
{
    for (uint32_t i = 0; i < read->pages_count; i++)
        slab_release(rig->slab, read->pages[i]);
    read->pages_count = 0;
}

/* The version that is found under the name, every byte of it checked; 0: none, or it was purged. */
static inline uint64_t disk_rig_version(struct disk_rig *rig, uint64_t number)
{
    struct rig_read read;
    char text[32];
    uint64_t version = 0;
    if (disk_rig_read(rig, disk_rig_hash(rig, number), &read) == DISK_OK) {
        const struct record *record = (const struct record *)(const void *)slab_at(rig->slab, read.pages[0]);
        struct bytes key = disk_rig_key(number, text);
        cr_assert(bytes_equal(record_key(record), key), "the record is another's");
        const char *body = (const char *)record + read.read.header.front_bytes;
        for (uint64_t at = 0; at < read.read.header.body_bytes; at++) {
            if (!read.read.body_follows && at % SLAB_PAGE_BYTES == 0)
                body = slab_at(rig->slab, read.pages[1 + at / SLAB_PAGE_BYTES]);
            char byte = body[read.read.body_follows ? at : at % SLAB_PAGE_BYTES];
            if (at < sizeof version)
                ((char *)&version)[at] = byte;
            else
                cr_assert_eq(byte, disk_rig_byte(number, version, at), "a wrong byte at %lu", (unsigned long)at);
        }
        cr_assert_gt(version, 0);
        /* As whoever loads it would. */
        if (record_find_purge(rig->cache, record, atomic_load(&record->purge_checked)).is_hard)
            version = 0;
    }
    rig_read_free(rig, &read);
    return version;
}

static inline struct store_stats disk_rig_stats(const struct disk_rig *rig)
{
    struct store_stats stats;
    store_stats(rig->store, &stats);
    return stats;
}

#endif
