/* Segments, as they are opened, sealed, wiped and synced: see append.h.
 *
 * A segment is allocated when it is used for the first time; where the disk has no room for it, the directory works with those that it has, and tries
 * again from time to time. Wiped segments are free only after a sync: a loss of power must not bring back what may be forgotten without a tombstone. */
#include "cache/disk/append_state.h"

#include "base/log.h"
#include "cache/cache_state.h"

#include <string.h>

enum { SYNC_MS = 1000, ALLOCATE_AGAIN_MS = 60000 };

/* ---- entries of the footer to be --------------------------------------------------------------------------------------------------------- */

bool reserve_entries(struct appender *appender, uint32_t more)
{
    uint32_t pages = (appender->entries_count + more + ENTRIES_PER_PAGE - 1) / ENTRIES_PER_PAGE;
    while (appender->entry_pages_count < pages && appender->entry_pages_count < ENTRY_PAGES_MAX) {
        struct extent page = append_page(appender);
        if (extent_is_none(page))
            return false;
        appender->entry_pages[appender->entry_pages_count++] = page;
    }
    return true;
}

void add_entry(struct appender *appender, const struct store_footer_entry *entry)
{
    uint32_t number = appender->entries_count++;
    char *page = slab_at(appender->directory->store->cache->slab, appender->entry_pages[number / ENTRIES_PER_PAGE]);
    memcpy(page + number % ENTRIES_PER_PAGE * sizeof *entry, entry, sizeof *entry);
}

bool segment_has_room(const struct appender *appender, uint64_t bytes, uint32_t entries)
{
    uint64_t all = (uint64_t)appender->entries_count + entries;
    uint64_t end = appender->fill + bytes + store_record_bytes(0, all * sizeof(struct store_footer_entry)) + STORE_UNIT_BYTES;
    return all <= ENTRIES_MAX && end <= appender->directory->settings.segment_bytes;
}

void close_segment(struct appender *appender)
{
    struct slab *slab = appender->directory->store->cache->slab;
    for (uint32_t i = 0; i < appender->entry_pages_count; i++)
        slab_release(slab, appender->entry_pages[i]);
    appender->entry_pages_count = appender->entries_count = 0;
    if (appender->open != SEGMENT_NONE)
        segment_set_state(appender->directory, appender->open, SEGMENT_USED);
    appender->open = SEGMENT_NONE;
    appender->is_full = false;
}

/* ---- sealing ----------------------------------------------------------------------------------------------------------------------------- */

static struct segment *open_one(const struct appender *appender)
{
    return &appender->directory->segments[appender->open];
}

/* Unsealed, it is scanned at the next start, and when it is reclaimed. */
static void sealing_failed(struct appender *appender, const struct disk_write *write)
{
    close_segment(appender);
    directory_fail(appender->directory, write->status, write->error, "sealing a segment failed");
}

static void trailer_done(struct disk_write *write)
{
    struct appender *appender = write->context;
    if (!is_final(appender, write->status))
        return;
    if (write->status != DISK_OK) {
        sealing_failed(appender, write);
        return;
    }
    struct segment *segment = open_one(appender);
    segment->is_sealed = true;
    segment->footer_place = (uint32_t)(appender->fill / STORE_UNIT_BYTES);
    segment->footer_count = appender->entries_count;
    segment->has_purges = appender->has_purges;
    close_segment(appender);
    append_run(appender->directory);
}

/* That it has records of purges is seen by its purge sequences: they differ. */
static void write_trailer(struct appender *appender)
{
    struct directory *directory = appender->directory;
    uint64_t now = purge_sequence(&directory->store->cache->purges), before = appender->purge_sequence;
    struct store_trailer trailer = {
        .footer_place = (uint32_t)(appender->fill / STORE_UNIT_BYTES),
        .count = appender->entries_count,
        .purge_sequence = !appender->has_purges ? before
                          : now > before        ? now
                                                : before + 1,
    };
    clear_records(appender);
    memcpy(desk_at(appender, 0), &trailer, sizeof trailer);
    add_control(appender, STORE_TRAILER, 0, sizeof trailer);
    uint64_t end = segment_offset(directory, appender->open) + directory->settings.segment_bytes;
    submit(appender, end - STORE_UNIT_BYTES, segment_sequence(directory, appender->open), trailer_done);
}

static void footer_done(struct disk_write *write)
{
    struct appender *appender = write->context;
    if (!is_final(appender, write->status))
        return;
    if (write->status != DISK_OK)
        sealing_failed(appender, write);
    else
        write_trailer(appender);
}

bool seal_segment(struct appender *appender)
{
    struct directory *directory = appender->directory;
    uint32_t left = appender->entries_count * (uint32_t)sizeof(struct store_footer_entry);
    clear_records(appender);
    struct disk_record *record = &appender->records[0];
    *record = (struct disk_record){.kind = STORE_FOOTER, .body_bytes = left, .pieces = appender->pieces};
    for (; left > 0; record->piece_count++) {
        uint32_t here = left < SLAB_PAGE_BYTES ? left : SLAB_PAGE_BYTES;
        appender->pieces[record->piece_count] = (struct disk_piece){appender->entry_pages[record->piece_count].unit, here};
        left -= here;
    }
    appender->write.record_count = 1;
    appender->bytes = store_record_bytes(0, record->body_bytes);
    submit(appender, segment_offset(directory, appender->open) + appender->fill, segment_sequence(directory, appender->open), footer_done);
    return true;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------------------------- */

static void opening_done(struct disk_write *write)
{
    struct appender *appender = write->context;
    struct directory *directory = appender->directory;
    if (!is_final(appender, write->status))
        return;
    if (write->status != DISK_OK) {
        directory_fail(directory, write->status, write->error, "opening a segment failed");
        return;
    }
    struct segment *segment = &directory->segments[appender->segment];
    segment_set_state(directory, appender->segment, SEGMENT_OPEN);
    segment->is_sealed = segment->has_purges = segment->is_condemned = false;
    segment->age = write->segment_sequence;
    atomic_store_explicit(&segment->sequence, write->segment_sequence, memory_order_release);
    appender->open = appender->segment;
    appender->fill = appender->bytes;
    appender->is_full = appender->has_purges = false;
    add_entry(appender, &(struct store_footer_entry){.kind = STORE_SEGMENT});
    append_run(directory);
}

static bool write_opening(struct appender *appender, uint32_t number)
{
    struct directory *directory = appender->directory;
    struct store *store = directory->store;
    if (!reserve_entries(appender, 1))
        return false;
    struct store_segment_front front = {.opened_s = store->wall.s, .purge_sequence = purge_sequence(&store->cache->purges)};
    memcpy(front.identity, directory->settings.identity, sizeof front.identity);
    clear_records(appender);
    memcpy(desk_at(appender, 0), &front, sizeof front);
    add_control(appender, STORE_SEGMENT, 0, sizeof front);
    appender->purge_sequence = front.purge_sequence;
    appender->segment = number;
    /* A number of its own even when this fails: nobody knows what gets there. */
    submit(appender, segment_offset(directory, number), ++store->last_sequence, opening_done);
    return true;
}

/* The disk has no room for what it was said to have. */
static void fall_short(struct appender *appender, const struct disk_order *order)
{
    struct directory *directory = appender->directory;
    uint32_t missing = directory->segments_count[SEGMENT_UNALLOCATED], all = directory->settings.segment_count;
    if (missing == all) {
        directory_fail(directory, order->status, order->error, "there is no room for a segment");
        return;
    }
    if (!appender->is_short)
        log_warn("store", "directory %u: the disk has no room for %u of its %u segments; working with the others", directory->number,
                 missing, all);
    appender->is_short = true;
    appender->allocate_at = monotonic_add(directory->store->now, ALLOCATE_AGAIN_MS);
}

static void allocation_done(struct disk_order *order)
{
    struct appender *appender = order->context;
    struct directory *directory = appender->directory;
    if (order->status == DISK_OVERLOADED) {
        appender->is_overloaded = true;
        return;
    }
    appender->is_busy = false;
    if (order->status == DISK_OK) {
        segment_set_state(directory, appender->segment, SEGMENT_FREE);
        appender->is_short = false;
    } else if (order->status == DISK_FULL) {
        fall_short(appender, order);
    } else {
        directory_fail(directory, order->status, order->error, "allocating a segment failed");
    }
    append_run(directory);
}

static void allocate(struct appender *appender, uint32_t number)
{
    struct directory *directory = appender->directory;
    appender->segment = number;
    appender->order = (struct disk_order){
        .kind = DISK_ALLOCATE,
        .place = {directory->number, segment_offset(directory, number)},
        .bytes = directory->settings.segment_bytes,
        .done = allocation_done,
        .context = appender,
    };
    appender->is_busy = appender->is_order = true;
    directory->store->io->order(directory->store->io, &appender->order);
}

static uint32_t find_segment(const struct directory *directory, enum segment_state state)
{
    for (uint32_t i = 0; i < directory->settings.segment_count && directory->segments_count[state] > 0; i++) {
        if (directory->segments[i].state == state)
            return i;
    }
    return SEGMENT_NONE;
}

static bool can_allocate(const struct appender *appender)
{
    return monotonic_since(appender->directory->store->now, appender->allocate_at) >= 0;
}

uint32_t append_free_segments(const struct directory *directory)
{
    const uint32_t *count = directory->segments_count;
    return count[SEGMENT_FREE] + count[SEGMENT_WIPED] + (can_allocate(directory->appender) ? count[SEGMENT_UNALLOCATED] : 0);
}

bool open_segment(struct appender *appender)
{
    struct directory *directory = appender->directory;
    uint32_t number = find_segment(directory, SEGMENT_FREE);
    if (number != SEGMENT_NONE)
        return write_opening(appender, number);
    number = can_allocate(appender) ? find_segment(directory, SEGMENT_UNALLOCATED) : SEGMENT_NONE;
    if (number == SEGMENT_NONE)
        return false;
    allocate(appender, number);
    return true;
}

/* ---- wiping and syncing ------------------------------------------------------------------------------------------------------------------ */

static void wipe_done(struct disk_write *write)
{
    struct appender *appender = write->context;
    struct directory *directory = appender->directory;
    if (!is_final(appender, write->status))
        return;
    if (write->status != DISK_OK) {
        directory_fail(directory, write->status, write->error, "emptying a segment failed");
        return;
    }
    struct segment *segment = &directory->segments[appender->segment];
    segment_set_state(directory, appender->segment, SEGMENT_WIPED);
    segment->is_condemned = false;
    directory->condemned_count--;
    segment->age = 0;
    count_add(&directory->store->reclaimed_segments, 1);
    append_run(directory);
}

/* The oldest first: what a younger one says of its records holds until they are gone. */
static uint32_t oldest_condemned(const struct directory *directory)
{
    uint32_t oldest = SEGMENT_NONE;
    for (uint32_t i = 0; i < directory->settings.segment_count && directory->condemned_count > 0; i++) {
        if (directory->segments[i].is_condemned && (oldest == SEGMENT_NONE || directory->segments[i].age < directory->segments[oldest].age))
            oldest = i;
    }
    return oldest;
}

bool wipe_segment(struct appender *appender)
{
    struct directory *directory = appender->directory;
    uint32_t number = oldest_condemned(directory);
    if (number == SEGMENT_NONE)
        return false;
    clear_records(appender);
    memset(desk_at(appender, 0), 0, sizeof(uint64_t));
    add_control(appender, STORE_TOMBSTONES, 0, sizeof(uint64_t));
    appender->segment = number;
    submit(appender, segment_offset(directory, number), ++directory->store->last_sequence, wipe_done);
    return true;
}

static void sync_done(struct disk_order *order)
{
    struct appender *appender = order->context;
    struct directory *directory = appender->directory;
    appender->is_syncing = false;
    if (order->status != DISK_OK) {
        appender->is_dirty = true;
        if (order->status != DISK_OVERLOADED)
            directory_fail(directory, order->status, order->error, "syncing failed");
        return;
    }
    for (uint32_t i = 0; i < directory->settings.segment_count && directory->segments_count[SEGMENT_WIPED] > 0; i++) {
        if (directory->segments[i].is_syncing)
            segment_set_state(directory, i, SEGMENT_FREE);
        directory->segments[i].is_syncing = false;
    }
    directory_note_latent(directory);
    append_run(directory);
    append_note_done(directory);
}

/* Those wiped before this sync are marked, for there may be more before it is done. */
static void mark_wiped(struct directory *directory)
{
    for (uint32_t i = 0; i < directory->settings.segment_count && directory->segments_count[SEGMENT_WIPED] > 0; i++) {
        directory->segments[i].is_syncing = directory->segments[i].state == SEGMENT_WIPED;
    }
}

void sync_if_due(struct appender *appender)
{
    struct directory *directory = appender->directory;
    struct store *store = directory->store;
    bool is_urgent = (store->is_draining && store->syncs_at_end) ||
                     (directory->segments_count[SEGMENT_FREE] == 0 && directory->segments_count[SEGMENT_WIPED] > 0);
    if (!appender->is_dirty || appender->is_syncing || (!is_urgent && monotonic_since(store->now, appender->synced_at) < SYNC_MS))
        return;
    mark_wiped(directory);
    appender->is_dirty = false;
    appender->is_syncing = true;
    appender->synced_at = store->now;
    appender->sync = (struct disk_order){.kind = DISK_SYNC, .place = {directory->number, 0}, .done = sync_done, .context = appender};
    store->io->order(store->io, &appender->sync);
}
