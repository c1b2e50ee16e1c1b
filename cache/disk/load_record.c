/* The memory that a record is read into, and the object that it becomes.
 *
 * DESIGN. Before the read nothing but the size class is known, which tells neither where the front ends nor, to a fifth, how long the record is. So:
 * what is certain to be one chunk in memory (front and body) gets a chunk; what may be gets the largest chunk and pages; what cannot be gets a chunk for a
 * usual front, and pages. A front that turns out not to fit is told, with its length, and read again into memory of that length. Afterwards pages that
 * were not needed are given back, and the last bytes of the front and of the body move to chunks that fit, as those of a fill do. Nor is it known whether the object
 * will be a small one; where it turns out to be of the other size, what it owns changes hands. */
#include "cache/disk/load_state.h"

#include <assert.h>

enum {
    FRONT_USUAL_BYTES = 4096,
    LOADED_PART = 2,  /* loads under way may have this part of the slab (1/n): more would empty it for what may be asked for once */
    SPARED_PART = 16, /* a chunk is copied to a smaller one for this part of it (1/n) and more */
};

_Static_assert(DISK_PAGES_MAX *SLAB_PAGE_BYTES >= STORE_RECORD_MAX_BYTES, "room for every body");

/* Of front and body, at most. */
static uint64_t payload_max(const struct load *load)
{
    return load->where.read_bytes - sizeof(struct store_header);
}

/* Else front and body are longer, or the record would be of the next smaller class. */
static bool may_be_one_chunk(const struct load *load)
{
    uint8_t size_class = store_size_class(load->where.read_bytes);
    return size_class == 0 || store_class_bytes(size_class - 1) < store_record_bytes(0, SLAB_CHUNK_MAX_BYTES);
}

static uint64_t front_room(const struct load *load, uint32_t front_bytes)
{
    if (front_bytes > 0)
        return front_bytes;
    if (payload_max(load) <= SLAB_CHUNK_MAX_BYTES)
        return payload_max(load);
    return may_be_one_chunk(load) ? SLAB_CHUNK_MAX_BYTES : FRONT_USUAL_BYTES;
}

static uint32_t pages_for(const struct load *load, uint32_t front_bytes, uint64_t room)
{
    uint64_t payload = payload_max(load), front = front_bytes > 0 ? front_bytes : sizeof(struct record);
    if (payload <= room)
        return 0;
    return (uint32_t)((payload - front + SLAB_PAGE_BYTES - 1) / SLAB_PAGE_BYTES);
}

static struct extent page_extent(const struct load *load, uint32_t number)
{
    return (struct extent){load->read.pages[number], SLAB_PAGE_BYTES};
}

/* Whether so many more bytes may be taken by loads. */
static bool account(struct load *load, uint64_t bytes)
{
    struct load_table *table = &load->cache->loads;
    uint64_t most = slab_bytes(load->cache->slab) / LOADED_PART;
    if (atomic_fetch_add_explicit(&table->bytes, bytes, memory_order_relaxed) + bytes > most) {
        atomic_fetch_sub_explicit(&table->bytes, bytes, memory_order_relaxed);
        return false;
    }
    load->bytes = bytes;
    return true;
}

static void settle_account(struct load *load)
{
    atomic_fetch_sub_explicit(&load->cache->loads.bytes, load->bytes, memory_order_relaxed);
    load->bytes = 0;
}

static bool take_pages(struct load *load, uint32_t count)
{
    while (load->page_count < count) {
        struct extent page = room_alloc(load->cache, SLAB_PAGE_BYTES, load->cell);
        if (extent_is_none(page))
            return false;
        load->read.pages[load->page_count++] = page.unit;
    }
    return true;
}

bool load_take_space(struct load *load, uint32_t front_bytes)
{
    load_give_space(load);
    uint64_t room = front_room(load, front_bytes);
    uint32_t pages = pages_for(load, front_bytes, room);
    if (room > SLAB_PAGE_BYTES || pages > DISK_PAGES_MAX || !account(load, room + (uint64_t)pages * SLAB_PAGE_BYTES))
        return false;
    load->cell = object_reserve(load->cache, load->selector != NULL || pages > 0);
    if (load->cell == NULL) {
        load_give_space(load);
        return false;
    }
    load->front = room_alloc(load->cache, room, load->cell);
    if (extent_is_none(load->front) || !take_pages(load, pages)) {
        load_give_space(load);
        return false;
    }
    load->read.front = (struct extent){load->front.unit, (uint32_t)room}; /* no more: a body that would fit by accident goes to its pages */
    load->read.page_count = pages;
    return true;
}

void load_give_space(struct load *load)
{
    struct cache *cache = load->cache;
    settle_account(load);
    if (!load->read.destination_lost) {
        if (!extent_is_none(load->front))
            slab_release(cache->slab, load->front);
        for (uint32_t i = 0; i < load->page_count; i++)
            slab_release(cache->slab, page_extent(load, i));
    }
    load->front = (struct extent){0, 0};
    load->page_count = 0;
    if (load->cell != NULL)
        object_give_cell(cache, load->cell);
    load->cell = NULL;
}

static const struct record *record_of(const struct load *load)
{
    return (const struct record *)(const void *)slab_at(load->cache->slab, load->front);
}

static bool kind_of(const struct load *load, enum object_kind *kind)
{
    switch (load->read.header.kind) {
    case STORE_RESPONSE:
        *kind = OBJECT_RESPONSE;
        return true;
    case STORE_SELECTOR:
        *kind = OBJECT_SELECTOR;
        return load->selector == NULL;
    case STORE_SLICED:
        *kind = OBJECT_SLICED;
        return true;
    default:
        return false;
    }
}

/* The bytes are those that were written (the port has verified that); are they what was looked for? */
static bool is_wanted(const struct load *load, enum object_kind kind)
{
    const struct store_header *header = &load->read.header;
    const struct record *record = record_of(load);
    uint64_t body_room =
        load->read.body_follows ? load->read.front.capacity - header->front_bytes : (uint64_t)load->page_count * SLAB_PAGE_BYTES;
    return header->hash == load->name.hash && header->front_bytes <= load->read.front.capacity && header->body_bytes <= body_room &&
           record_is_sound(record, header->front_bytes) && record_length_known(record) &&
           (kind == OBJECT_RESPONSE ? record_body_bytes(record) == header->body_bytes : header->body_bytes == 0) &&
           bytes_equal(record_key(record), load->name.key) && bytes_equal(record_vary_values(record), load->name.values);
}

/* `extent`, of which `used` bytes are in use, or a smaller one with them. For a page something may be evicted, a chunk is not worth that. */
static struct extent trim(const struct load *load, struct extent extent, size_t used)
{
    struct slab *slab = load->cache->slab;
    if (used > SLAB_CHUNK_MAX_BYTES || extent.capacity - used < extent.capacity / SPARED_PART)
        return extent;
    bool is_page = extent.capacity == SLAB_PAGE_BYTES;
    struct extent fitting =
        is_page ? room_alloc(load->cache, used, load->cell) : slab_alloc(slab, used, object_number(load->cache, load->cell));
    if (extent_is_none(fitting))
        return extent;
    if (fitting.capacity >= extent.capacity) {
        slab_release(slab, fitting);
        return extent;
    }
    memcpy(slab_at(slab, fitting), slab_at(slab, extent), used);
    slab_release(slab, extent);
    return fitting;
}

/* Moves what the last page holds into chunks. False: there is no room, and nothing has changed. */
static bool split_rest(struct load *load, struct body **body, struct extent page, uint32_t bytes)
{
    struct slab *slab = load->cache->slab;
    struct extent chunks[SLAB_PAGE_BYTES / BODY_SMALL_BYTES];
    uint32_t count = 0;
    for (uint32_t at = 0; at < bytes; at += BODY_SMALL_BYTES, count++) {
        uint32_t here = bytes - at < BODY_SMALL_BYTES ? bytes - at : BODY_SMALL_BYTES;
        chunks[count] = room_alloc(load->cache, here, load->cell);
        if (extent_is_none(chunks[count])) {
            while (count > 0)
                slab_release(slab, chunks[--count]);
            return false;
        }
        memcpy(slab_at(slab, chunks[count]), slab_at(slab, page) + at, here);
    }
    for (uint32_t i = 0; i < count; i++)
        body_append(load->cache, body, chunks[i]);
    slab_release(slab, page);
    return true;
}

/* The pages that the body fills, in a table; the others stay the load's. */
static struct body *take_body(struct load *load, uint64_t bytes)
{
    struct body *body = body_new_sized(bytes);
    uint32_t used = 0;
    for (; used < body->page_count; used++)
        body_append(load->cache, &body, page_extent(load, used));
    uint64_t whole = (uint64_t)body->page_count * SLAB_PAGE_BYTES;
    if (whole < bytes) {
        struct extent page = page_extent(load, used++);
        if (!split_rest(load, &body, page, (uint32_t)(bytes - whole))) {
            body->page_count++; /* then it stays where it is */
            body_append(load->cache, &body, page);
        }
    }
    for (uint32_t i = used; i < load->page_count; i++)
        slab_release(load->cache->slab, page_extent(load, i));
    load->page_count = 0;
    return body;
}

/* The chunks that the cell owns. (A page has no owner.) */
static void own_chunks(const struct load *load, const struct body *body)
{
    struct slab *slab = load->cache->slab;
    const uint32_t owner = object_number(load->cache, load->cell);
    slab_set_owner(slab, load->front, owner);
    for (uint32_t i = 0; body != NULL && i < body->count; i++) {
        if (body->extents[i].capacity <= SLAB_CHUNK_MAX_BYTES)
            slab_set_owner(slab, body->extents[i], owner);
    }
}

/* A cell of the size that the object has, as is known by now. False: there is none. */
static bool fit_cell(struct load *load, bool is_large, const struct body *body)
{
    struct object *before = load->cell;
    if (before->is_large == is_large)
        return true;
    struct object *cell = object_take_cell(load->cache, is_large);
    if (cell == NULL)
        return !is_large; /* a large one will do */
    load->cell = cell;
    own_chunks(load, body);
    object_give_cell(load->cache, before);
    return true;
}

struct object *load_build(struct load *load)
{
    const struct store_header *header = &load->read.header;
    enum object_kind kind;
    if (!kind_of(load, &kind) || !is_wanted(load, kind))
        return NULL;
    bool is_apart = kind == OBJECT_RESPONSE && !load->read.body_follows && header->body_bytes > 0;
    struct body *body = is_apart ? take_body(load, header->body_bytes) : NULL;
    load->front = trim(load, load->front, header->front_bytes + (is_apart ? 0 : header->body_bytes));
    if (!fit_cell(load, kind != OBJECT_RESPONSE || is_apart || load->selector != NULL, body)) {
        body_unref(load->cache, &body);
        return NULL;
    }
    struct object *object = load->cell;
    object_adopt(object, kind, load->front);
    load->front = (struct extent){0, 0};
    load->cell = NULL;
    if (body != NULL)
        object_set_body(object, body);
    if (kind != OBJECT_RESPONSE)
        object_set_serial(object, header->serial);
    object->hash = load->name.hash;
    if (load->selector != NULL)
        object_set_selector(object, load->selector);
    load_give_space(load); /* the pages of a record without a body apart */
    return object;
}
