/* The first and the last record of every segment: see recover.h.
 *
 * A segment's first record tells its sequence, or, of another kind, that it was wiped. If it is damaged, the trailer tells; if neither is there, the
 * segment was never used. A trailer of another sequence is of an earlier use. */
#include "cache/disk/recover_state.h"

#include "cache/cache_state.h"

#include <assert.h>
#include <string.h>

/* Purges later than what the headers tell of had numbers too, be they logged or not. */
#define PURGES_UNSEEN_MAX (UINT64_C(1) << 32)

/* Segments whose first record was lost with the power, though others of them were not: their numbers are not used again. */
enum { SEGMENTS_UNSEEN_MAX = 1 << 16 };

static void go_on(struct recovery *recovery);

static struct segment *segment_of(const struct header_read *slot)
{
    return &slot->directory->segments[slot->segment];
}

static const char *front_of(const struct header_read *slot)
{
    return slab_at(slot->recovery->store->cache->slab, slot->front);
}

static void note_purges(struct recovery *recovery, uint64_t sequence)
{
    if (sequence > recovery->purge_sequence)
        recovery->purge_sequence = sequence;
}

static void use(const struct header_read *slot, uint64_t sequence)
{
    struct segment *segment = segment_of(slot);
    struct store *store = slot->recovery->store;
    segment_set_state(slot->directory, slot->segment, SEGMENT_USED);
    segment->age = sequence;
    atomic_store_explicit(&segment->sequence, sequence, memory_order_release);
    if (sequence > store->last_sequence)
        store->last_sequence = sequence;
}

static void start(struct header_read *slot, void (*done)(struct disk_read *read))
{
    struct directory *directory = slot->directory;
    struct disk_io *io = directory->store->io;
    uint64_t offset = segment_offset(directory, slot->segment);
    slot->is_busy = true;
    slot->read = (struct disk_read){
        .place = {directory->number, slot->is_trailer ? offset + directory->settings.segment_bytes - STORE_UNIT_BYTES : offset},
        .segment_sequence = slot->is_trailer ? segment_sequence(directory, slot->segment) : 0,
        .read_bytes = STORE_UNIT_BYTES,
        .front = slot->front,
        .done = done,
        .context = slot,
    };
    io->read(io, &slot->read);
}

/* It has ended. False: not well, so that nothing can be said of the segment. */
static bool end(struct header_read *slot)
{
    const struct disk_read *read = &slot->read;
    slot->is_busy = false;
    slot->recovery->is_page_lost |= read->destination_lost;
    if (read->status == DISK_OVERLOADED) {
        slot->is_busy = slot->is_overloaded = true;
        return false;
    }
    if (read->status == DISK_OK || read->status == DISK_ABSENT || read->status == DISK_FRONT_LARGE)
        return true;
    if (!slot->directory->is_unreadable)
        directory_fail(slot->directory, read->status, read->error, "reading what is stored failed");
    slot->directory->is_unreadable = true;
    return false;
}

static void trailer_done(struct disk_read *read)
{
    struct header_read *slot = read->context;
    struct recovery *recovery = slot->recovery;
    struct segment *segment = segment_of(slot);
    struct store_trailer trailer;
    bool has_ended = end(slot);
    if (has_ended && read->status == DISK_OK && read->header.kind == STORE_TRAILER && read->header.front_bytes == sizeof trailer) {
        memcpy(&trailer, front_of(slot), sizeof trailer);
        if (segment->state != SEGMENT_USED)
            use(slot, read->header.segment_sequence);
        segment->is_sealed = true;
        segment->footer_place = trailer.footer_place;
        segment->footer_count = trailer.count;
        segment->has_purges = trailer.purge_sequence != slot->header_purges;
        note_purges(recovery, trailer.purge_sequence);
    }
    if (!slot->is_busy)
        go_on(recovery);
}

static void header_done(struct disk_read *read)
{
    struct header_read *slot = read->context;
    struct store_segment_front front = {0};
    if (!end(slot)) {
        if (!slot->is_busy)
            go_on(slot->recovery);
        return;
    }
    bool is_good = read->status == DISK_OK;
    slot->header_purges = 0;
    if (is_good && read->header.kind == STORE_SEGMENT && read->header.front_bytes == sizeof front) {
        memcpy(&front, front_of(slot), sizeof front);
        slot->header_purges = front.purge_sequence;
        note_purges(slot->recovery, front.purge_sequence);
        use(slot, read->header.segment_sequence);
    } else if (is_good) {
        segment_set_state(slot->directory, slot->segment, SEGMENT_FREE);
        go_on(slot->recovery);
        return;
    }
    slot->is_trailer = true;
    start(slot, trailer_done);
}

static bool find_next(struct recovery *recovery, struct header_read *slot)
{
    struct store *store = recovery->store;
    for (; recovery->directory < store->directory_count; recovery->directory++, recovery->segment = 0) {
        struct directory *directory = &store->directories[recovery->directory];
        if (!recovery->in_pass[recovery->directory] || directory->is_known || directory->is_unreadable ||
            recovery->segment == directory->settings.segment_count)
            continue;
        slot->directory = directory;
        slot->segment = recovery->segment++;
        return true;
    }
    return false;
}

static void look_further(struct recovery *recovery)
{
    for (unsigned i = 0; i < HEADER_READS_MAX && !recovery->is_page_lost; i++) {
        struct header_read *slot = &recovery->reads[i];
        if (slot->is_busy || !find_next(recovery, slot))
            continue;
        segment_set_state(slot->directory, slot->segment, SEGMENT_UNALLOCATED); /* until something is found */
        slot->is_trailer = false;
        start(slot, header_done);
    }
}

/* A segment is known now, or cannot be: on to others, or to the phase's end. */
static void go_on(struct recovery *recovery)
{
    look_further(recovery);
    store_wake(recovery->store);
}

void recover_headers_begin(struct recovery *recovery)
{
    recovery->directory = 0;
    recovery->segment = 0;
}

void recover_headers_free(struct recovery *recovery)
{
    if (!extent_is_none(recovery->page) && !recovery->is_page_lost)
        slab_release(recovery->store->cache->slab, recovery->page);
    recovery->page = (struct extent){0, 0};
    recovery->is_page_lost = false;
}

static bool has_page(struct recovery *recovery)
{
    if (!extent_is_none(recovery->page))
        return true;
    recovery->page = room_alloc(recovery->store->cache, SLAB_PAGE_BYTES, NULL);
    if (extent_is_none(recovery->page))
        return false;
    for (unsigned i = 0; i < HEADER_READS_MAX; i++) {
        struct header_read *slot = &recovery->reads[i];
        slot->recovery = recovery;
        slot->front = (struct extent){recovery->page.unit + i * (HEADER_SLOT_BYTES / SLAB_UNIT_BYTES), HEADER_SLOT_BYTES};
    }
    return true;
}

static void again(struct header_read *slot)
{
    struct disk_io *io = slot->recovery->store->io;
    slot->is_overloaded = false;
    io->read(io, &slot->read);
}

/* All is known of those that have not failed. */
static void finish(struct recovery *recovery)
{
    struct store *store = recovery->store;
    recover_headers_free(recovery);
    for (unsigned i = 0; i < store->directory_count; i++) {
        if (recovery->in_pass[i] && !store->directories[i].is_unreadable)
            store->directories[i].is_known = true;
    }
    uint64_t now = (uint64_t)(store->wall.s > 0 ? store->wall.s : 0) * SEGMENTS_UNSEEN_MAX;
    store->last_sequence += SEGMENTS_UNSEEN_MAX;
    if (store->last_sequence < now) /* where nothing is left that could tell */
        store->last_sequence = now;
    uint64_t floor = recovery->purge_sequence + PURGES_UNSEEN_MAX;
    if (purge_sequence(&store->cache->purges) > floor)
        return;
    purge_raise(&store->cache->purges, floor);
    pthread_mutex_lock(&store->lock);
    store->purge_floor = floor > store->purge_floor ? floor : store->purge_floor;
    pthread_mutex_unlock(&store->lock);
}

bool recover_headers_run(struct recovery *recovery)
{
    bool is_busy = false;
    if (!has_page(recovery))
        return false;
    for (unsigned i = 0; i < HEADER_READS_MAX; i++) {
        if (recovery->reads[i].is_overloaded)
            again(&recovery->reads[i]);
    }
    look_further(recovery);
    for (unsigned i = 0; i < HEADER_READS_MAX; i++)
        is_busy |= recovery->reads[i].is_busy;
    if (is_busy)
        return false;
    if (recovery->is_page_lost) { /* on with another one */
        recover_headers_free(recovery);
        store_wake(recovery->store);
        return false;
    }
    finish(recovery);
    return true;
}
