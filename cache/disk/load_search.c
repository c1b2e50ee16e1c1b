/* load_search: see load.h. What finding a record costs when memory does not tell where it is, measured by `without: index` (docs/ARCHITECTURES.md).
 *
 * DESIGN. A load that reads no record, but the segments of the name's directory, the youngest first: a trailer, which tells where the footer is, then the
 * footer, until one has the name, or all have been read. So it is bounded by two reads a segment. Nobody joins it: others search themselves.
 *
 *     load_search → trailer → footer → it is there, or no segment is left: end
 *                      ↑_________|  not there, or it has none: the next older one
 */
#include "cache/disk/load_state.h"

#include <string.h>

static void read_next_segment(struct load *load);

static struct directory *directory_searched(struct load *load)
{
    return &load->cache->store->directories[load->where.place.directory];
}

static void start_read(struct load *load, uint64_t place, uint64_t bytes, void (*done)(struct disk_read *read))
{
    struct disk_read *read = &load->read;
    read->place = (struct disk_place){load->where.place.directory, load->where.place.offset + place};
    read->segment_sequence = load->where.segment_sequence;
    read->read_bytes = bytes;
    read->front = load->front;
    read->page_count = load->page_count;
    read->done = done;
    read->context = load;
    load->io->read(load->io, read);
}

static bool has_hash(const char *entries, uint64_t bytes, uint64_t hash)
{
    for (uint64_t at = 0; at + sizeof(struct store_footer_entry) <= bytes; at += sizeof(struct store_footer_entry)) {
        uint64_t found;
        memcpy(&found, entries + at + offsetof(struct store_footer_entry, hash), sizeof found);
        if (found == hash)
            return true;
    }
    return false;
}

static bool footer_has_hash(const struct load *load)
{
    const struct disk_read *read = &load->read;
    struct slab *slab = load->cache->slab;
    uint64_t left = read->header.body_bytes;
    if (read->body_follows)
        return has_hash(slab_at(slab, load->front), left, load->name.hash);
    for (uint32_t i = 0; i < load->page_count && left > 0; i++) {
        uint64_t here = left < SLAB_PAGE_BYTES ? left : SLAB_PAGE_BYTES;
        if (has_hash(slab_at(slab, (struct extent){read->pages[i], SLAB_PAGE_BYTES}), here, load->name.hash))
            return true;
        left -= here;
    }
    return false;
}

/* Whether it makes sense to go on; else the search is over. */
static bool has_read(struct load *load, const struct disk_read *read)
{
    if (read->status == DISK_OK || read->status == DISK_ABSENT || read->status == DISK_FRONT_LARGE)
        return true;
    load_end(load, LOAD_DONE, NULL);
    return false;
}

static void footer_done(struct disk_read *read)
{
    struct load *load = read->context;
    if (!has_read(load, read))
        return;
    if (read->status == DISK_OK && read->header.kind == STORE_FOOTER && footer_has_hash(load))
        load_end(load, LOAD_DONE, NULL);
    else
        read_next_segment(load);
}

/* Pages for a footer that does not fit the front. False: there is no room. */
static bool take_pages(struct load *load, uint64_t bytes)
{
    while (bytes > SLAB_PAGE_BYTES && load->page_count * (uint64_t)SLAB_PAGE_BYTES < bytes) {
        struct extent page = load->page_count < DISK_PAGES_MAX ? room_alloc(load->cache, SLAB_PAGE_BYTES, NULL) : (struct extent){0, 0};
        if (extent_is_none(page))
            return false;
        load->read.pages[load->page_count++] = page.unit;
    }
    return true;
}

static void trailer_done(struct disk_read *read)
{
    struct load *load = read->context;
    struct store_trailer trailer = {.count = 0};
    if (!has_read(load, read))
        return;
    if (read->status == DISK_OK && read->header.kind == STORE_TRAILER && read->header.front_bytes == sizeof trailer)
        memcpy(&trailer, slab_at(load->cache->slab, load->front), sizeof trailer);
    uint64_t bytes = (uint64_t)trailer.count * sizeof(struct store_footer_entry), place = (uint64_t)trailer.footer_place * STORE_UNIT_BYTES;
    uint64_t record = store_record_bytes(0, bytes);
    bool is_plausible = trailer.count > 0 && place + record <= directory_searched(load)->settings.segment_bytes;
    if (is_plausible && take_pages(load, bytes))
        start_read(load, place, record, footer_done);
    else
        read_next_segment(load);
}

/* The youngest of those that are older than the one before. */
static bool choose_segment(struct load *load)
{
    const struct directory *directory = directory_searched(load);
    uint64_t before = load->where.segment_sequence, best = 0;
    for (uint32_t i = 0; i < directory->settings.segment_count; i++) {
        uint64_t sequence = segment_sequence(directory, i);
        if (sequence > best && sequence < before) {
            best = sequence;
            load->where.place.offset = segment_offset(directory, i);
        }
    }
    load->where.segment_sequence = best;
    return best > 0;
}

static void read_next_segment(struct load *load)
{
    if (choose_segment(load))
        start_read(load, directory_searched(load)->settings.segment_bytes - STORE_UNIT_BYTES, STORE_UNIT_BYTES, trailer_done);
    else
        load_end(load, LOAD_DONE, NULL);
}

enum load_answer load_search(struct cache *cache, struct disk_io *io, const struct object_name *name, struct load_wait *wait)
{
    const struct store_where youngest = {.place.directory = directory_of(cache->store, name->hash)->number, .segment_sequence = UINT64_MAX};
    wait->searched++;
    struct load *load = load_new(cache, io, name, NULL, &youngest);
    load->front = room_alloc(cache, SLAB_PAGE_BYTES, NULL);
    if (extent_is_none(load->front) || !choose_segment(load)) {
        load_end(load, LOAD_DONE, NULL);
        return LOAD_NONE;
    }
    load->where.segment_sequence = UINT64_MAX;
    wait->is_search = true;
    pthread_mutex_lock(&cache->loads.lock);
    list_push_back(&cache->loads.searches, &load->link);
    pthread_mutex_unlock(&cache->loads.lock);
    load_join(load, wait);
    read_next_segment(load);
    return LOAD_WAIT;
}
