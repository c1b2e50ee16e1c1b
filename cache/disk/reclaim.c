/* See reclaim.h. */
#include "cache/disk/reclaim.h"

#include "cache/disk/append.h"
#include "cache/disk/listing.h"
#include "cache/disk/queue.h"
#include "cache/fill_state.h"

#include <stdlib.h>

enum {
    FREE_SEGMENTS_MAX = 4, /* kept free, or a sixteenth of all, but at least one */
    FREE_SEGMENTS_PART = 16,
    ENTRIES_A_RUN = 4096,       /* looked at before the loop goes on with other things */
    READS_MAX = 4,              /* under way */
    MOVING_BYTES_MAX = 4 << 20, /* read or waiting to be written */
};

struct move {
    struct reclaim *reclaim;
    struct disk_read read;
    struct offer *offer; /* NULL: none is read */
    bool has_retried;
};

struct reclaim {
    struct directory *directory;
    uint32_t segment; /* SEGMENT_NONE: nothing is emptied */
    uint64_t age;
    bool is_listing;
    struct listing listing;
    uint32_t next; /* of its entries */
    uint64_t moved_bytes;
    unsigned reads_count;
    struct move moves[READS_MAX];
};

void reclaim_init(struct directory *directory)
{
    struct reclaim *reclaim = calloc(1, sizeof *reclaim);
    if (reclaim == NULL)
        abort();
    reclaim->directory = directory;
    reclaim->segment = SEGMENT_NONE;
    for (unsigned i = 0; i < READS_MAX; i++)
        reclaim->moves[i].reclaim = reclaim;
    directory->reclaim = reclaim;
}

void reclaim_free(struct directory *directory)
{
    struct reclaim *reclaim = directory->reclaim;
    for (unsigned i = 0; i < READS_MAX; i++) {
        if (reclaim->moves[i].offer != NULL)
            offer_drop(reclaim->moves[i].offer);
    }
    if (reclaim->segment != SEGMENT_NONE)
        listing_free(&reclaim->listing);
    free(reclaim);
    directory->reclaim = NULL;
}

bool reclaim_is_active(const struct directory *directory)
{
    return directory->reclaim->segment != SEGMENT_NONE;
}

/* ---- records that stay ------------------------------------------------------------------------------------------------------------------- */

static void let_go(struct directory *directory, uint64_t hash, uint64_t unit)
{
    struct store *store = directory->store;
    pthread_mutex_lock(&store->lock);
    if (disk_index_remove_at(store->index, hash, unit))
        atomic_fetch_sub_explicit(&directory->records, 1, memory_order_relaxed);
    pthread_mutex_unlock(&store->lock);
}

/* A reference, or NULL. */
static struct object *find_in_memory(struct cache *cache, uint64_t hash)
{
    struct shard *shard = shard_of(cache, hash);
    pthread_mutex_lock(&shard->lock);
    struct object *object = index_find_hash(&shard->index, hash);
    if (object != NULL)
        object_ref(object);
    pthread_mutex_unlock(&shard->lock);
    return object;
}

static void free_move(struct move *move)
{
    move->offer = NULL;
    move->reclaim->reads_count--;
}

/* What was read is compared with the purges, as at a hit. False: it was purged. */
static bool note_purges(struct cache *cache, const struct offer *offer)
{
    struct record *record = (struct record *)(void *)slab_at(cache->slab, offer->front);
    if (!record_is_sound(record, offer->front_bytes))
        return false;
    if (offer->kind == STORE_SELECTOR) /* its purge members are of its URL alone */
        return true;
    uint64_t sequence = purge_sequence(&cache->purges);
    uint64_t checked = atomic_load_explicit(&record->purge_checked, memory_order_relaxed);
    struct purge_verdict verdict = record_find_purge(cache, record, checked);
    if (verdict.is_soft)
        record_note_stale(record, verdict.stale_since_s);
    if (checked < sequence)
        atomic_store_explicit(&record->purge_checked, sequence, memory_order_relaxed);
    return !verdict.is_hard;
}

/* Memory for a record of `bytes`; a front that does not fit into a page is not moved. */
static bool take_memory(struct cache *cache, struct offer *offer, uint64_t bytes)
{
    uint32_t pages = bytes <= SLAB_PAGE_BYTES ? 0 : (uint32_t)((bytes + SLAB_PAGE_BYTES - 1) / SLAB_PAGE_BYTES);
    offer->front = room_alloc(cache, SLAB_PAGE_BYTES, NULL);
    offer->pages = pages > 0 ? malloc(pages * sizeof *offer->pages) : NULL;
    if (extent_is_none(offer->front) || (pages > 0 && offer->pages == NULL))
        return false;
    while (offer->page_count < pages) {
        struct extent page = room_alloc(cache, SLAB_PAGE_BYTES, NULL);
        if (extent_is_none(page))
            return false;
        offer->pages[offer->page_count++] = page;
    }
    return true;
}

static void lose_memory(struct offer *offer)
{
    offer->front = (struct extent){0, 0};
    offer->page_count = 0;
}

static void move_read(struct disk_read *read)
{
    struct move *move = read->context;
    struct offer *offer = move->offer;
    struct directory *directory = offer->directory;
    free_move(move);
    if (read->destination_lost)
        lose_memory(offer);
    offer->kind = read->header.kind;
    offer->serial = read->header.serial;
    offer->front_bytes = read->header.front_bytes;
    offer->body_bytes = read->header.body_bytes;
    offer->body_follows = read->body_follows;
    bool is_response = offer->kind == STORE_RESPONSE || offer->kind == STORE_SELECTOR || offer->kind == STORE_SLICED;
    if (read->status == DISK_OK && !read->destination_lost && is_response && note_purges(directory->store->cache, offer))
        queue_return(offer);
    else
        offer_drop(offer);
    reclaim_run(directory);
}

/* False: no memory, or it was forgotten. */
static bool read_to_move(struct reclaim *reclaim, struct offer *offer, uint8_t size_class)
{
    struct directory *directory = reclaim->directory;
    struct store *store = directory->store;
    struct move *move = reclaim->moves;
    while (move->offer != NULL)
        move++;
    uint64_t place = (offer->from - segment_unit(directory, reclaim->segment)) * STORE_UNIT_BYTES;
    uint64_t bytes = store_class_bytes(size_class), left = directory->settings.segment_bytes - place;
    bytes = bytes < left ? bytes : left;
    if (bytes > STORE_RECORD_MAX_BYTES || !take_memory(store->cache, offer, bytes))
        return false;
    offer->pinned_bytes = SLAB_PAGE_BYTES * (1 + (uint64_t)offer->page_count);
    if (!queue_begin_move(offer))
        return false;
    move->offer = offer;
    move->read = (struct disk_read){
        .place = {directory->number, segment_offset(directory, reclaim->segment) + place},
        .segment_sequence = segment_sequence(directory, reclaim->segment),
        .hash = offer->hash,
        .read_bytes = bytes,
        .front = offer->front,
        .page_count = offer->page_count,
        .done = move_read,
        .context = move,
    };
    for (uint32_t i = 0; i < offer->page_count; i++)
        move->read.pages[i] = offer->pages[i].unit;
    reclaim->reads_count++;
    store->io->read(store->io, &move->read);
    return true;
}

/* False: it was forgotten. */
static bool take_from_memory(struct offer *offer, struct object *object)
{
    offer->object = object;
    offer->pinned_bytes = object_footprint(object);
    offer->serial = object->kind != OBJECT_RESPONSE ? object_serial(object) : 0;
    if (!queue_begin_move(offer))
        return false;
    queue_return(offer);
    return true;
}

static uint8_t kind_of(const struct object *object)
{
    return object->kind == OBJECT_RESPONSE ? STORE_RESPONSE : object->kind == OBJECT_SELECTOR ? STORE_SELECTOR : STORE_SLICED;
}

/* Begins to move it, if it is worth that and there is room. */
static bool try_move(struct reclaim *reclaim, const struct store_footer_entry *entry, const struct disk_entry *found)
{
    struct directory *directory = reclaim->directory;
    struct cache *cache = directory->store->cache;
    uint64_t bytes = store_class_bytes(entry->size_class);
    bool is_room = append_open_segment(directory) != SEGMENT_NONE || append_free_segments(directory) > 0;
    if (!is_room || directory_is_bypassed(directory) || reclaim->moved_bytes + bytes > directory->settings.segment_bytes / 2)
        return false;
    struct object *object = find_in_memory(cache, entry->hash);
    bool is_hot = object != NULL && atomic_load_explicit(&object->frequency, memory_order_relaxed) > 0;
    if (object != NULL && kind_of(object) != entry->kind) /* a whole, of which there are slices */
        object_unref(cache, &object);
    if (!found->was_hit && !is_hot) {
        object_unref(cache, &object);
        return false;
    }
    struct offer *offer = offer_new(directory, entry->kind, entry->hash);
    offer->is_moved = true;
    offer->from = found->unit;
    bool is_moved = object != NULL ? take_from_memory(offer, object) : read_to_move(reclaim, offer, entry->size_class);
    if (!is_moved) {
        offer_free(offer);
        return false;
    }
    reclaim->moved_bytes += bytes;
    return true;
}

static void look_at(struct reclaim *reclaim, const struct store_footer_entry *entry)
{
    struct directory *directory = reclaim->directory;
    uint64_t unit = segment_unit(directory, reclaim->segment) + entry->place;
    struct disk_entry found;
    bool is_response = entry->kind == STORE_RESPONSE || entry->kind == STORE_SELECTOR || entry->kind == STORE_SLICED;
    if (!is_response || !disk_index_find(directory->store->index, entry->hash, &found) || found.unit != unit)
        return;
    if (!try_move(reclaim, entry, &found))
        let_go(directory, entry->hash, unit);
}

/* ---- the segment ------------------------------------------------------------------------------------------------------------------------- */

/* What is read, waits or is being written. */
static bool is_moving(const struct reclaim *reclaim, uint64_t *bytes)
{
    struct queue_state state = queue_look(reclaim->directory);
    *bytes = state.moves_bytes;
    return state.moves_count > 0;
}

static void end(struct reclaim *reclaim)
{
    struct directory *directory = reclaim->directory;
    if (segment_is_used(directory, reclaim->segment, reclaim->age))
        segment_condemn(directory, reclaim->segment);
    listing_free(&reclaim->listing);
    reclaim->segment = SEGMENT_NONE;
    directory_note_latent(directory);
}

static void listed(struct listing *listing)
{
    struct reclaim *reclaim = listing->context;
    struct directory *directory = reclaim->directory;
    reclaim->is_listing = false;
    if (listing->status != DISK_OK && listing->status != DISK_OVERLOADED) {
        /* It cannot be read: what the index has of it goes, wherever that is. */
        uint64_t from = segment_unit(directory, reclaim->segment);
        pthread_mutex_lock(&directory->store->lock);
        uint64_t removed = disk_index_remove_range(directory->store->index, from, from + directory->units_per_segment);
        atomic_fetch_sub_explicit(&directory->records, removed, memory_order_relaxed);
        pthread_mutex_unlock(&directory->store->lock);
        listing->count = 0;
    }
    store_wake(directory->store);
}

static uint32_t oldest_used(const struct directory *directory)
{
    uint32_t oldest = SEGMENT_NONE;
    for (uint32_t i = 0; i < directory->settings.segment_count; i++) {
        const struct segment *segment = &directory->segments[i];
        if (segment->state == SEGMENT_USED && !segment->is_condemned &&
            (oldest == SEGMENT_NONE || segment->age < directory->segments[oldest].age))
            oldest = i;
    }
    return oldest;
}

uint32_t reclaim_kept_free(const struct directory *directory)
{
    uint32_t keep = directory->settings.segment_count / FREE_SEGMENTS_PART;
    return keep < 1 ? 1 : keep > FREE_SEGMENTS_MAX ? FREE_SEGMENTS_MAX : keep;
}

static bool is_needed(const struct directory *directory)
{
    uint32_t free_count = append_free_segments(directory);
    free_count += directory->condemned_count;
    if (directory_is_bypassed(directory)) /* nothing to try it with */
        return free_count == 0 && append_open_segment(directory) == SEGMENT_NONE;
    return free_count < reclaim_kept_free(directory);
}

static bool begin(struct reclaim *reclaim)
{
    struct directory *directory = reclaim->directory;
    if (!directory->is_known || !directory->is_recovered || !is_needed(directory))
        return false;
    reclaim->segment = oldest_used(directory);
    if (reclaim->segment == SEGMENT_NONE)
        return false;
    reclaim->age = directory->segments[reclaim->segment].age;
    directory_note_latent(directory);
    reclaim->next = 0;
    reclaim->moved_bytes = 0;
    reclaim->is_listing = true;
    reclaim->listing = (struct listing){.directory = directory, .segment = reclaim->segment, .done = listed, .context = reclaim};
    listing_start(&reclaim->listing);
    return true;
}

void reclaim_run(struct directory *directory)
{
    struct reclaim *reclaim = directory->reclaim;
    uint64_t moving_bytes = 0;
    if (!directory->store->is_started) /* a read has ended after the release */
        return;
    if (reclaim->segment == SEGMENT_NONE && !begin(reclaim))
        return;
    if (reclaim->is_listing)
        return;
    const struct listing *listing = &reclaim->listing;
    if (listing->status == DISK_OVERLOADED) { /* no memory to list it in: later */
        listing_free(&reclaim->listing);
        reclaim->segment = SEGMENT_NONE;
        return;
    }
    bool is_dropped = !segment_is_used(directory, reclaim->segment, reclaim->age); /* with all of its directory */
    uint32_t end_of_run = reclaim->next + ENTRIES_A_RUN;
    while (!is_dropped && reclaim->next < listing->count && reclaim->next < end_of_run && reclaim->reads_count < READS_MAX) {
        is_moving(reclaim, &moving_bytes);
        if (moving_bytes >= MOVING_BYTES_MAX)
            break;
        look_at(reclaim, &listing->entries[reclaim->next++]);
    }
    bool is_moving_yet = is_moving(reclaim, &moving_bytes);
    if (!is_moving_yet && (is_dropped || reclaim->next == listing->count))
        end(reclaim);
    else if (reclaim->next == end_of_run)
        store_wake(directory->store);
}
