/* Batches: see append.h. */
#include "cache/disk/append_state.h"

#include "cache/cache_state.h"
#include "cache/disk/offer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 50 /* for more; and one tick until that is seen */ };

void append_init(struct directory *directory)
{
    struct appender *appender = calloc(1, sizeof *appender);
    if (appender == NULL)
        abort();
    appender->directory = directory;
    appender->open = SEGMENT_NONE;
    directory->appender = appender;
}

void append_free(struct directory *directory)
{
    struct appender *appender = directory->appender;
    struct slab *slab = directory->store->cache->slab;
    for (uint32_t i = 0; i < appender->entry_pages_count; i++)
        slab_release(slab, appender->entry_pages[i]);
    if (!extent_is_none(appender->desk))
        slab_release(slab, appender->desk);
    free(appender); /* its offers are freed with the queues */
    directory->appender = NULL;
}

uint32_t append_open_segment(const struct directory *directory)
{
    return directory->appender->open;
}

bool append_is_busy(const struct directory *directory)
{
    return directory->appender->is_busy;
}

void append_abandon(struct directory *directory)
{
    assert(!directory->appender->is_busy);
    close_segment(directory->appender);
}

uint64_t record_max_bytes(const struct directory *directory)
{
    uint64_t quarter = directory->settings.segment_bytes / 4;
    return quarter < STORE_RECORD_MAX_BYTES ? quarter : STORE_RECORD_MAX_BYTES;
}

/* ---- putting together -------------------------------------------------------------------------------------------------------------------- */

char *desk_at(const struct appender *appender, uint32_t offset)
{
    return slab_at(appender->directory->store->cache->slab, appender->desk) + offset;
}

struct extent append_page(struct appender *appender)
{
    struct extent page = room_alloc(appender->directory->store->cache, SLAB_PAGE_BYTES, NULL);
    if (extent_is_none(page))
        queue_drop_all(appender->directory);
    return page;
}

static bool has_desk(struct appender *appender)
{
    if (extent_is_none(appender->desk))
        appender->desk = append_page(appender);
    return !extent_is_none(appender->desk);
}

void clear_records(struct appender *appender)
{
    appender->write.record_count = appender->piece_count = 0;
    appender->offers_count = 0;
    appender->tombstones_count = appender->purges_count = 0;
    appender->bytes = 0;
}

static struct disk_record *add_record(struct appender *appender, uint8_t kind, uint32_t front_bytes, uint32_t body_bytes)
{
    struct disk_record *record = &appender->records[appender->write.record_count++];
    *record = (struct disk_record){
        .kind = kind,
        .front_bytes = front_bytes,
        .body_bytes = body_bytes,
        .pieces = &appender->pieces[appender->piece_count],
    };
    appender->bytes += store_record_bytes(front_bytes, body_bytes);
    return record;
}

void add_control(struct appender *appender, enum store_kind kind, uint32_t desk_offset, uint32_t front_bytes)
{
    struct disk_record *record = add_record(appender, (uint8_t)kind, front_bytes, 0);
    record->piece_count = 1;
    appender->pieces[appender->piece_count++] = (struct disk_piece){appender->desk.unit + desk_offset / SLAB_UNIT_BYTES, front_bytes};
}

static void add_offer(struct appender *appender, const struct offer *offer)
{
    struct disk_record *record = add_record(appender, offer->kind, offer_front_bytes(offer), offer_body_bytes(offer));
    record->hash = offer->hash;
    record->serial = offer->serial;
    record->piece_count = offer_pieces_count(offer);
    offer_pieces(offer, record->pieces);
    appender->piece_count += record->piece_count;
}

void submit(struct appender *appender, uint64_t offset, uint64_t sequence, void (*done)(struct disk_write *write))
{
    struct directory *directory = appender->directory;
    struct disk_write *write = &appender->write;
    write->place = (struct disk_place){directory->number, offset};
    write->segment_sequence = sequence;
    write->records = appender->records;
    write->done = done;
    write->context = appender;
    appender->is_busy = true;
    appender->is_order = false;
    directory->store->io->write(directory->store->io, write);
}

bool is_final(struct appender *appender, enum disk_status status)
{
    struct directory *directory = appender->directory;
    if (status == DISK_OVERLOADED) {
        appender->is_overloaded = true;
        return false;
    }
    appender->is_busy = false;
    count_add(&directory->writes, 1);
    if (status == DISK_OK) {
        count_add(&directory->written_bytes, appender->bytes);
        appender->is_dirty = true;
        directory_restore(directory);
    } else {
        count_add(&directory->write_failures, 1);
    }
    return true;
}

/* ---- batches ----------------------------------------------------------------------------------------------------------------------------- */

static uint32_t place_of(const struct appender *appender, uint64_t bytes)
{
    return (uint32_t)((appender->fill + bytes) / STORE_UNIT_BYTES);
}

/* A record of tombstones has an entry for each of them, so that its segment's footer says it all. */
static void add_tombstone_entries(struct appender *appender, uint32_t place)
{
    const uint64_t *hashes = (const uint64_t *)(const void *)desk_at(appender, 0);
    for (uint32_t i = 0; i < appender->tombstones_count; i++)
        add_entry(appender, &(struct store_footer_entry){.hash = hashes[i], .place = place, .kind = STORE_TOMBSTONES});
}

static void arrive(struct appender *appender, unsigned number, const struct disk_record *record, uint32_t place)
{
    struct directory *directory = appender->directory;
    struct offer *offer = appender->offers[number];
    uint64_t bytes = store_record_bytes(record->front_bytes, record->body_bytes);
    struct disk_entry entry = {
        .unit = segment_unit(directory, appender->open) + place,
        .size_class = store_size_class(bytes),
        .is_lasting = record->kind != STORE_RESPONSE,
    };
    add_entry(appender,
              &(struct store_footer_entry){.hash = record->hash, .place = place, .kind = record->kind, .size_class = entry.size_class});
    count_add(offer->is_moved ? &directory->moved_bytes : &directory->admitted_bytes, bytes);
    count_add(&directory->store->moved_records, offer->is_moved ? 1 : 0);
    offer_arrive(offer, &entry);
}

static void batch_arrived(struct appender *appender)
{
    uint64_t bytes = 0;
    unsigned first_offer = appender->write.record_count - appender->offers_count;
    for (unsigned i = 0; i < appender->write.record_count; i++) {
        const struct disk_record *record = &appender->records[i];
        uint32_t place = place_of(appender, bytes);
        if (record->kind == STORE_TOMBSTONES)
            add_tombstone_entries(appender, place);
        else if (record->kind == STORE_PURGES)
            add_entry(appender, &(struct store_footer_entry){.place = place, .kind = STORE_PURGES});
        else
            arrive(appender, i - first_offer, record, place);
        appender->has_purges |= record->kind == STORE_PURGES;
        bytes += store_record_bytes(record->front_bytes, record->body_bytes);
    }
    queue_arrived(appender->directory, appender->tombstones_count, appender->purges_count, appender->position);
}

static void batch_done(struct disk_write *write)
{
    struct appender *appender = write->context;
    if (!is_final(appender, write->status))
        return;
    if (write->status == DISK_OK) {
        batch_arrived(appender);
    } else {
        for (unsigned i = 0; i < appender->offers_count; i++)
            offer_fail(appender->offers[i]);
    }
    /* After a failure nobody knows what is there by now, or will be: nothing else is written to the same place. */
    appender->fill += appender->bytes;
    appender->offers_count = 0;
    if (write->status != DISK_OK)
        directory_fail(appender->directory, write->status, write->error, "writing failed");
    append_run(appender->directory);
    append_note_done(appender->directory);
}

/* What may be in the next batch beside the offers, as far as is known now. */
struct reserve {
    uint32_t tombstones, purges;
    uint64_t bytes;
    bool is_unneeded; /* so far */
};

static struct reserve reserve_controls(const struct queue_state *state)
{
    enum { SLACK = 64 }; /* for what is forgotten while the batch is put together */
    uint32_t tombstones = state->tombstones_count + SLACK, purges = state->purges_count + SLACK;
    struct reserve reserve = {
        .tombstones = tombstones < TOMBSTONES_A_WRITE ? tombstones : TOMBSTONES_A_WRITE,
        .purges = purges < PURGES_A_WRITE ? purges : PURGES_A_WRITE,
        .is_unneeded = state->tombstones_count == 0 && state->purges_count == 0,
    };
    reserve.bytes =
        store_record_bytes(reserve.tombstones * sizeof(uint64_t), 0) + store_record_bytes(reserve.purges * sizeof(struct store_purge), 0);
    return reserve;
}

/* Takes the offers of the next batch from the queue. What has no room in the segment ends it. */
static void take_offers(struct appender *appender, struct reserve *reserve)
{
    uint64_t bytes = reserve->bytes;
    uint32_t pieces = CONTROLS_A_WRITE;
    struct offer *offer;
    while (appender->offers_count < DISK_BATCH_RECORDS - CONTROLS_A_WRITE && (offer = queue_take(appender->directory)) != NULL) {
        enum offer_verdict verdict = offer_judge(&offer);
        if (verdict == OFFER_DROP)
            offer_drop(offer);
        if (verdict != OFFER_TAKE)
            continue;
        uint64_t more = store_record_bytes(offer_front_bytes(offer), offer_body_bytes(offer));
        uint32_t more_pieces = offer_pieces_count(offer);
        bool is_large = bytes + more > DISK_BATCH_BYTES, can_be_alone = appender->offers_count == 0 && reserve->is_unneeded;
        bool fits = pieces + more_pieces <= DISK_BATCH_PIECES && (!is_large || can_be_alone);
        if (fits && !segment_has_room(appender, bytes + more, appender->offers_count + 2 + reserve->tombstones))
            appender->is_full = true;
        if (!fits || appender->is_full) {
            queue_return(offer);
            return;
        }
        appender->offers[appender->offers_count++] = offer;
        bytes += more;
        pieces += more_pieces;
        if (is_large) { /* alone, as it must be: tombstones that come meanwhile go first */
            reserve->tombstones = reserve->purges = 0;
            return;
        }
    }
}

/* What the departure left: tombstones, purges, records. False: nothing. */
static bool lay_out(struct appender *appender)
{
    if (appender->tombstones_count > 0)
        add_control(appender, STORE_TOMBSTONES, 0, appender->tombstones_count * sizeof(uint64_t));
    if (appender->purges_count > 0)
        add_control(appender, STORE_PURGES, CONTROL_PIECE_SECOND, appender->purges_count * sizeof(struct store_purge));
    for (unsigned i = 0; i < appender->offers_count; i++)
        add_offer(appender, appender->offers[i]);
    return appender->write.record_count > 0;
}

/* A name that is none: written to see whether writing works. */
static void add_probe(struct appender *appender)
{
    memset(desk_at(appender, 0), 0, sizeof(uint64_t));
    add_control(appender, STORE_TOMBSTONES, 0, sizeof(uint64_t));
}

static bool write_batch(struct appender *appender, bool is_probe)
{
    struct directory *directory = appender->directory;
    struct queue_state state = queue_look(directory);
    struct reserve reserve = reserve_controls(&state);
    clear_records(appender);
    if (!segment_has_room(appender, reserve.bytes, reserve.tombstones + 1)) {
        appender->is_full = true;
        return seal_segment(appender);
    }
    if (!reserve_entries(appender, DISK_BATCH_RECORDS + reserve.tombstones))
        return false;
    if (!is_probe)
        take_offers(appender, &reserve);
    struct departure departure = {
        .tombstones_max = reserve.tombstones,
        .purges_max = reserve.purges,
        .hashes = (uint64_t *)(void *)desk_at(appender, 0),
        .purges = (struct store_purge *)(void *)desk_at(appender, CONTROL_PIECE_SECOND),
        .offers = appender->offers,
        .offers_count = appender->offers_count,
    };
    queue_depart(directory, &departure);
    appender->offers_count = departure.offers_count;
    appender->tombstones_count = departure.tombstones_count;
    appender->purges_count = departure.purges_count;
    appender->position = departure.position;
    if (!lay_out(appender) && is_probe)
        add_probe(appender);
    if (appender->write.record_count == 0)
        return appender->is_full && seal_segment(appender);
    submit(appender, segment_offset(directory, appender->open) + appender->fill, segment_sequence(directory, appender->open), batch_done);
    return true;
}

/* ---- what is to be done ------------------------------------------------------------------------------------------------------------------ */

static bool is_due(struct directory *directory)
{
    struct store *store = directory->store;
    struct queue_state state = queue_look(directory);
    bool waits = state.has_offers || state.tombstones_count > 0 || state.purges_count > 0;
    if (waits && !directory->has_waited)
        directory->waiting_since = store->now;
    directory->has_waited = waits;
    if (!waits || (store->is_draining && state.is_drained))
        return false;
    bool is_much = state.offers_bytes >= queue_enough_bytes(store) || state.tombstones_count >= TOMBSTONES_A_WRITE;
    return is_much || state.is_urgent || store->is_draining || monotonic_since(store->now, directory->waiting_since) >= WAIT_MS;
}

static bool again(struct appender *appender)
{
    struct disk_io *io = appender->directory->store->io;
    appender->is_overloaded = false;
    if (appender->is_order)
        io->order(io, &appender->order);
    else
        io->write(io, &appender->write);
    return true;
}

static bool open_or_wait(struct appender *appender)
{
    if (open_segment(appender))
        return true;
    if (append_free_segments(appender->directory) == 0) /* then nothing can be moved, which the next one waits for */
        queue_drop_moves(appender->directory);
    return false;
}

/* Begins the next thing. False: there is none. */
static bool begin(struct appender *appender)
{
    struct directory *directory = appender->directory;
    bool is_probe = directory_is_bypassed(directory);
    if (!has_desk(appender))
        return false;
    if (wipe_segment(appender))
        return true;
    if (appender->is_full)
        return seal_segment(appender);
    if (!is_due(directory) && !is_probe)
        return false;
    if (appender->open == SEGMENT_NONE)
        return open_or_wait(appender);
    directory->has_waited = false;
    return write_batch(appender, is_probe);
}

void append_run(struct directory *directory)
{
    struct appender *appender = directory->appender;
    if (!directory->store->is_started) /* a sync has ended after the release: what is there is another's */
        return;
    if (appender->is_overloaded)
        again(appender);
    if (!directory->is_known || !directory_is_due(directory))
        return;
    if (!directory_is_bypassed(directory))
        sync_if_due(appender);
    while (!appender->is_busy && begin(appender) && !directory_is_bypassed(directory)) {
    }
}

bool append_is_done(struct directory *directory)
{
    const struct appender *appender = directory->appender;
    struct queue_state state = queue_look(directory);
    bool with_sync = directory->store->syncs_at_end;
    bool waits = !state.is_drained || (with_sync && appender->is_dirty);
    bool is_under_way = appender->is_busy || (with_sync && appender->is_syncing);
    return !is_under_way && (!waits || directory_is_bypassed(directory));
}

void append_note_done(struct directory *directory)
{
    if (directory->store->is_draining && append_is_done(directory))
        store_wake(directory->store);
}
