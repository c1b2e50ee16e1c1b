/* See listing.h. */
#include "cache/disk/listing.h"

#include "cache/cache_state.h"

#include <stdlib.h>
#include <string.h>

enum { SCAN_ENTRIES = SLAB_PAGE_BYTES / sizeof(struct store_footer_entry) };

static struct slab *slab_of(const struct listing *listing)
{
    return listing->directory->store->cache->slab;
}

static void give_memory(struct listing *listing)
{
    if (!extent_is_none(listing->front) && !listing->is_lost)
        slab_release(slab_of(listing), listing->front);
    for (uint32_t i = 0; i < listing->page_count && !listing->is_lost; i++)
        slab_release(slab_of(listing), listing->pages[i]);
    listing->front = (struct extent){0, 0};
    listing->page_count = 0;
    listing->is_lost = false;
}

void listing_free(struct listing *listing)
{
    give_memory(listing);
    free(listing->entries);
    listing->entries = NULL;
    listing->count = listing->capacity = 0;
}

/* A page for the front, and as many as a body of `bytes` needs. */
static bool take_memory(struct listing *listing, uint64_t bytes)
{
    struct cache *cache = listing->directory->store->cache;
    uint32_t pages = bytes <= SLAB_PAGE_BYTES ? 0 : (uint32_t)((bytes + SLAB_PAGE_BYTES - 1) / SLAB_PAGE_BYTES);
    if (extent_is_none(listing->front))
        listing->front = room_alloc(cache, SLAB_PAGE_BYTES, NULL);
    while (!extent_is_none(listing->front) && listing->page_count < pages) {
        struct extent page = room_alloc(cache, SLAB_PAGE_BYTES, NULL);
        if (extent_is_none(page))
            break;
        listing->pages[listing->page_count++] = page;
    }
    return !extent_is_none(listing->front) && listing->page_count >= pages;
}

static void reserve(struct listing *listing, uint32_t more)
{
    if (listing->count + more <= listing->capacity)
        return;
    uint32_t capacity = listing->capacity * 2 > listing->count + more ? listing->capacity * 2 : listing->count + more;
    listing->entries = realloc(listing->entries, capacity * sizeof *listing->entries);
    if (listing->entries == NULL)
        abort();
    listing->capacity = capacity;
}

static void append(struct listing *listing, const void *entries, uint32_t count)
{
    reserve(listing, count);
    memcpy(listing->entries + listing->count, entries, count * sizeof *listing->entries);
    listing->count += count;
}

static void end(struct listing *listing, enum disk_status status, int error)
{
    give_memory(listing);
    listing->status = status;
    listing->error = error;
    listing->done(listing);
}

static void start_read(struct listing *listing, uint32_t place, uint64_t bytes, void (*done)(struct disk_read *read))
{
    struct directory *directory = listing->directory;
    struct disk_io *io = directory->store->io;
    listing->read = (struct disk_read){
        .place = {directory->number, segment_offset(directory, listing->segment) + (uint64_t)place * STORE_UNIT_BYTES},
        .segment_sequence = segment_sequence(directory, listing->segment),
        .read_bytes = bytes,
        .front = listing->front,
        .page_count = listing->page_count,
        .done = done,
        .context = listing,
    };
    for (uint32_t i = 0; i < listing->page_count; i++)
        listing->read.pages[i] = listing->pages[i].unit;
    io->read(io, &listing->read);
}

/* ---- tombstones and purges --------------------------------------------------------------------------------------------------------------- */

static void next_control(struct listing *listing);

static void take_purges(struct listing *listing, const struct store_header *header)
{
    struct purge_table *table = &listing->directory->store->cache->purges;
    const char *at = slab_at(slab_of(listing), listing->front);
    for (uint32_t i = 0; i < header->front_bytes / sizeof(struct store_purge); i++) {
        struct store_purge purge;
        memcpy(&purge, at + i * sizeof purge, sizeof purge);
        if (purge.kind == PURGE_HARD || purge.kind == PURGE_SOFT)
            purge_restore(table, purge.name, (enum purge_kind)purge.kind, purge.sequence, (struct wall_seconds){purge.at_s});
    }
}

/* In the place of the entry that named the record. */
static void take_tombstones(struct listing *listing, const struct store_header *header)
{
    uint32_t count = header->front_bytes / sizeof(uint64_t), at = listing->control;
    struct store_footer_entry entry = listing->entries[at];
    const char *hashes = slab_at(slab_of(listing), listing->front);
    if (count == 0)
        return;
    reserve(listing, count - 1);
    memmove(listing->entries + at + count, listing->entries + at + 1, (listing->count - at - 1) * sizeof *listing->entries);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&entry.hash, hashes + i * sizeof entry.hash, sizeof entry.hash);
        listing->entries[at + i] = entry;
    }
    listing->count += count - 1;
    listing->control += count - 1;
}

static void control_done(struct disk_read *read)
{
    struct listing *listing = read->context;
    uint8_t kind = listing->entries[listing->control].kind;
    listing->is_lost = read->destination_lost;
    if (read->status != DISK_OK && read->status != DISK_ABSENT && read->status != DISK_FRONT_LARGE) {
        end(listing, read->status, read->error);
        return;
    }
    bool is_good = read->status == DISK_OK && read->header.kind == kind;
    if (!is_good)
        listing->is_damaged = true;
    else if (kind == STORE_PURGES)
        take_purges(listing, &read->header);
    else
        take_tombstones(listing, &read->header);
    listing->control++;
    next_control(listing);
}

static bool is_to_be_read(const struct listing *listing, const struct store_footer_entry *entry)
{
    return (entry->kind == STORE_PURGES && listing->wants_purges) || (entry->kind == STORE_TOMBSTONES && entry->hash == 0);
}

static void next_control(struct listing *listing)
{
    while (listing->control < listing->count && !is_to_be_read(listing, &listing->entries[listing->control]))
        listing->control++;
    if (listing->control == listing->count) {
        end(listing, DISK_OK, 0);
        return;
    }
    if (!take_memory(listing, 0)) {
        end(listing, DISK_OVERLOADED, 0);
        return;
    }
    uint64_t bytes = listing->directory->settings.segment_bytes - (uint64_t)listing->entries[listing->control].place * STORE_UNIT_BYTES;
    uint64_t most = SLAB_PAGE_BYTES + STORE_UNIT_BYTES;
    start_read(listing, listing->entries[listing->control].place, bytes < most ? bytes : most, control_done);
}

/* ---- the list ---------------------------------------------------------------------------------------------------------------------------- */

static void scan_done(struct disk_scan *scan)
{
    struct listing *listing = scan->context;
    listing->is_lost = scan->destination_lost;
    if (scan->status != DISK_OK) {
        end(listing, scan->status, scan->error);
        return;
    }
    append(listing, slab_at(slab_of(listing), listing->front), scan->count < SCAN_ENTRIES ? scan->count : SCAN_ENTRIES);
    if (scan->next >= scan->end || scan->next <= scan->place.offset) {
        next_control(listing);
        return;
    }
    scan->place.offset = scan->next;
    listing->directory->store->io->scan(listing->directory->store->io, scan);
}

static void start_scan(struct listing *listing)
{
    struct directory *directory = listing->directory;
    struct disk_io *io = directory->store->io;
    uint64_t start = segment_offset(directory, listing->segment);
    listing->count = 0;
    give_memory(listing);
    if (!take_memory(listing, 0)) {
        end(listing, DISK_OVERLOADED, 0);
        return;
    }
    listing->scan = (struct disk_scan){
        .place = {directory->number, start},
        .end = start + directory->settings.segment_bytes,
        .segment_sequence = segment_sequence(directory, listing->segment),
        .entries = listing->front,
        .origin = start,
        .done = scan_done,
        .context = listing,
    };
    io->scan(io, &listing->scan);
}

static void footer_done(struct disk_read *read)
{
    struct listing *listing = read->context;
    uint64_t bytes = listing->directory->segments[listing->segment].footer_count * sizeof(struct store_footer_entry);
    listing->is_lost = read->destination_lost;
    bool is_good = read->status == DISK_OK && read->header.kind == STORE_FOOTER && read->header.body_bytes == bytes;
    if (!is_good) { /* be it an error of the disk: the records may lie elsewhere */
        start_scan(listing);
        return;
    }
    for (uint64_t done = 0; done < bytes; done += SLAB_PAGE_BYTES) {
        uint64_t here = bytes - done < SLAB_PAGE_BYTES ? bytes - done : SLAB_PAGE_BYTES;
        struct extent from = read->body_follows ? listing->front : listing->pages[done / SLAB_PAGE_BYTES];
        append(listing, slab_at(slab_of(listing), from), (uint32_t)(here / sizeof(struct store_footer_entry)));
    }
    next_control(listing);
}

void listing_start(struct listing *listing)
{
    const struct segment *segment = &listing->directory->segments[listing->segment];
    uint64_t bytes = (uint64_t)segment->footer_count * sizeof(struct store_footer_entry);
    uint64_t record = store_record_bytes(0, bytes);
    bool is_plausible = segment->is_sealed &&
                        (uint64_t)segment->footer_place * STORE_UNIT_BYTES + record <= listing->directory->settings.segment_bytes &&
                        record <= STORE_RECORD_MAX_BYTES;
    listing->is_damaged = false;
    listing->control = 0;
    if (is_plausible && take_memory(listing, bytes))
        start_read(listing, segment->footer_place, record, footer_done);
    else
        start_scan(listing);
}
