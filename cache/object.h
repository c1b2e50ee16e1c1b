/* An object: one stored (or arriving) response, or the selector of a key whose responses vary.
 *
 * DESIGN. An object is half a cache line outside the slab, or a whole one; its bytes are a record in the slab: struct record | struct record_more, if it has one |
 * tags | key | Vary names | Vary values | head | body. *Tags* are the hashes that it may be purged by (purge_table.h).
 * A record of at most SLAB_CHUNK_MAX_BYTES whose length is known lies in one extent. Else the first extent ends with the head and the body has
 * extents of its own (struct body), which two objects may share (a 304 makes a new head for the same body).
 *
 * A *selector* (RFC 9111 §4.1) stands under the primary key and names the request's fields that choose among the variants. Variants are indexed
 * under a hash of (primary hash, the selector's serial, normalised values): dropping the selector makes them all unreachable at once.
 * A *sliced* object is the head of a response whose body lies in slices: objects of their own, found like variants by (primary hash, the head's
 * serial, place in the body), so that the loss of the head makes them unreachable too.
 *
 * A *small* object (struct object, and no more) is a response with its body in its record, found under its primary key: nearly all are. What has a body apart or a
 * selector, or is no response, is *large*: struct object_large. Which it is to be is known before there is one, and never changes: cells are of one size. Nobody
 * but the functions below looks at what only large ones have.
 *
 * Lifetime: object_new, or object_reserve and object_adopt (1 reference: the fill's, or its maker's) → listed in the index (+1) ⇄ used by readers, fills, variants (+1 each), visitors
 *           (none as long as it is listed: visitor.h)
 *           → delisted (evicted, purged or replaced) → last reference dropped: extents and cell are given back.
 * Invariants: 1. `record`, and what the record says, do not change while the object is listed, but for its two purge members; 2. an object is in an eviction queue if and only if
 * it is listed (evict.h has the one exception, under way); 3. a variant holds a reference to its selector.
 */
#ifndef CACHE_OBJECT_H
#define CACHE_OBJECT_H

#include "base/bytes.h"
#include "base/ref.h"
#include "base/slab.h"
#include "cache/cells.h"
#include "cache/policy/meta.h"
#include "cache/reader.h"

#include <assert.h>

struct cache;

enum object_kind { OBJECT_RESPONSE, OBJECT_SELECTOR, OBJECT_SLICED };
enum object_listing { OBJECT_UNLISTED, OBJECT_LISTED, OBJECT_PURGED };
enum { OBJECT_FREQUENCY_MAX = 3 };

/* Each member that is not immutable is a place of its own in memory: they are written under several locks, or none. */
struct object {
    struct ref       refs;
    _Atomic uint8_t  frequency;    /* 0…3: hits since the last look of the eviction */
    uint8_t          kind : 2;     /* enum object_kind; immutable, as is: */
    uint8_t          is_large : 1; /* it is the beginning of a struct object_large */
    _Atomic uint8_t  listing;      /* enum object_listing; written under its shard's lock */
    _Atomic bool     is_refused;   /* the disk tier has not taken it: its next hit offers it again */
    uint64_t         hash;         /* immutable once listed; where the index finds it */
    uint32_t         older, newer; /* in an eviction queue, under its lock: the cells' numbers of those beside it */
    uint8_t          queue;        /* enum evict_queue; under the eviction's lock */
    uint8_t          leave;        /* listed during that cache_leave, or 0; under its shard's lock */
    /* Its record's extent: object_extent. While filling: under the fill's lock */
    uint16_t         record_units : 15;
    uint16_t         record_is_lost : 1; /* the extent is never given back (fill_lose_space) */
    uint32_t         record_unit; /* last, where a cell that is given back has its link */
};

_Static_assert(sizeof(struct object) == CELL_UNIT_BYTES, "a small object is a small cell");
_Static_assert(SLAB_PAGE_BYTES / SLAB_UNIT_BYTES < 1 << 15, "capacities are counted in units");

/* What is not small. For the functions below. */
struct object_large {
    struct object    common;
    struct object   *selector;  /* of a variant (of a slice: its head), a reference; immutable once listed. Or NULL */
    union {
        struct body *body;      /* NULL: the body follows the head in the record. While filling: under the fill's lock */
        uint64_t     serial;    /* of a selector, or of what is sliced; immutable */
    };
    _Atomic uint32_t variants_count; /* of a selector or what is sliced: objects that refer to it */
    uint32_t         unused[3];
};

_Static_assert(sizeof(struct object_large) == CELL_LINE_BYTES, "a large object is a large cell");

/* The fixed part of a record, in memory and on disk alike: no pointers. A checksum leaves the two purge members out. Most responses need no more than this: who
 * reads asks the functions below, which know where the rest is. */
struct record {
    uint64_t meta[META_COMMON_BYTES / sizeof(uint64_t)]; /* the beginning of a struct response_meta */
    uint32_t plain_body_bytes;                           /* has_more: 0, and there: record_body_bytes */
    uint16_t key_bytes, head_bytes, status_line_bytes;   /* what is before the body fits into a page; status_line_bytes 0: the usual one is not kept */
    uint16_t tags_count : 14;
    uint16_t goes_with_host : 1; /* purged with its host, whose hash is not among the tags: the key tells it */
    uint16_t has_more : 1;       /* a struct record_more follows */
    _Atomic uint32_t stale_after_s; /* softly purged so long after response_time_s, which is the earliest; STALE_NEVER */
    /* Compared with the purges up to this one. Of a selector: the last soft purge of its URL. */
    _Atomic uint64_t purge_checked;
};

#define STALE_NEVER UINT32_MAX

/* What few responses have: Vary, stale windows, hidden fields; a body of 4 GiB, or of a length that nobody knows yet. */
struct record_more {
    uint64_t body_bytes;
    int32_t  stale_while_revalidate_s, stale_if_error_s; /* of struct response_meta */
    uint16_t vary_names_bytes, vary_values_bytes;
    uint16_t hidden_bytes; /* the last of the head: field lines that were for this cache, and are not sent with it; HIDDEN_HINTS; those of 103s */
    uint16_t length_unknown; /* 1 only while a response of unknown length arrives */
};

/* Ends the field lines that were for this cache; no field line is like it. Absent where no hints follow. */
#define HIDDEN_HINTS ":103\r\n"

_Static_assert(SLAB_PAGE_BYTES - sizeof(struct record) <= UINT16_MAX, "lengths of texts have 16 bits");
_Static_assert(sizeof(struct record) % sizeof(uint64_t) == 0 && sizeof(struct record_more) % sizeof(uint64_t) == 0, "tags follow them");

enum { TAGS_MAX = 1024 }; /* RFC 9875 §2 asks for 128 groups, each of which has two */

_Static_assert(sizeof(struct record) == 40 && sizeof(struct record_more) == 24, "part of the store's format");

/* What an index entry is found by: the hash, then all of the rest. `values` is empty for a primary key. */
struct object_name {
    uint64_t     hash;
    struct bytes key;
    struct bytes values;
};

/* Body extents: `small_count` of 16 KiB, then `page_count` whole pages, then 16 KiB again; the last may be any size. Places follow from the position alone.
 * Where the length is known, the rest behind the last whole page takes chunks and not another page, most of which would be wasted. */
struct body {
    struct ref    refs;            /* objects that share it */
    uint32_t      small_count, page_count;
    uint32_t      released_count;  /* extents already given back at the front (a private fill's window) */
    uint32_t      count, capacity; /* of `extents` */
    bool          tail_is_lost;    /* the last extent is never given back */
    uint64_t      bytes;           /* of all extents held */
    struct extent extents[];
};

enum { BODY_SMALL_BYTES = SLAB_CHUNK_MAX_BYTES };

/* The head of a record to be made. Everything is borrowed for the call. stale_since_s is META_ABSENT in the usual case. */
struct record_parts {
    struct response_meta meta;
    const uint64_t      *tags;
    uint32_t             tags_count;
    bool                 goes_with_host; /* see struct record */
    uint64_t             purge_sequence; /* purges after this one concern it */
    int64_t              stale_since_s;
    struct bytes         key, vary_names, vary_values;
    struct bytes         head; /* status line, unless it is the usual one (base/status_line.h), and field lines */
    uint32_t             status_line_bytes, hidden_bytes; /* at its beginning, at its end */
    bool                 length_known;
    uint64_t             body_bytes;      /* when length_known */
    bool                 body_is_apart;   /* the body is put into (or is) a struct body */
};

/* Of everything before the body. */
size_t record_parts_bytes(const struct record_parts *parts);
/* With one reference and a record whose parts are filled in, its body's bytes excepted; makes room by evicting. NULL when there is no room. */
struct object *object_new(struct cache *cache, enum object_kind kind, const struct record_parts *parts);
/* The same in two steps, for a record that is made elsewhere: a cell that may own extents, but is no object yet (NULL: there is none to be had); and an object, with
 * one reference, whose record `extent` holds. A cell that becomes none is given back. */
struct object *object_reserve(struct cache *cache, bool is_large);
/* The same without an eviction. */
struct object *object_take_cell(struct cache *cache, bool is_large);
void           object_adopt(struct object *object, enum object_kind kind, struct extent extent);
void           object_give_cell(struct cache *cache, struct object *cell);
/* Objects and cells that may become some: how many, and their bytes. */
uint64_t       objects_in_use(const struct cache *cache);
uint64_t       objects_bytes(const struct cache *cache);
/* Makes it a variant, or a slice, of `selector` (takes a reference). It is large, and not listed yet. */
void object_set_selector(struct object *object, struct object *selector);
/* Gives a large response the body, of which this is the caller's reference. */
void object_set_body(struct object *object, struct body *body);
/* Of a selector, or of what is sliced: these three. */
void     object_set_serial(struct object *object, uint64_t serial);
uint64_t object_serial(const struct object *object);
uint32_t object_variants_count(const struct object *object);

static inline struct object_large *object_large(const struct object *object)
{
    assert(object->is_large);
    return (struct object_large *)(uintptr_t)object;
}

/* Of a variant, or a slice. NULL: it has none. */
static inline struct object *object_selector(const struct object *object)
{
    return object->is_large ? object_large(object)->selector : NULL;
}

/* NULL: the body follows the head in the record, or it is no response. */
static inline struct body *object_body(const struct object *object)
{
    return object->is_large && object->kind == OBJECT_RESPONSE ? object_large(object)->body : NULL;
}

static inline struct extent object_extent(const struct object *object)
{
    return (struct extent){object->record_unit, (uint32_t)object->record_units * SLAB_UNIT_BYTES};
}

static inline void object_set_extent(struct object *object, struct extent extent)
{
    object->record_unit = extent.unit;
    object->record_units = (uint16_t)(extent.capacity / SLAB_UNIT_BYTES) & 0x7fff;
}

static inline struct object *object_ref(struct object *object)
{
    ref_take(&object->refs);
    return object;
}

/* A reference to what may have been freed already: false, and none is taken, when it has. The pointer must once have been to an object of this cache. */
bool object_try_ref(struct object *object);
/* Takes locks of its own (slab, cells); not under a shard's lock. `*object` may be NULL. */
void object_unref(struct cache *cache, struct object **object);

const struct record *object_record(const struct cache *cache, const struct object *object);
/* As it came. */
void record_meta(const struct record *record, struct response_meta *meta);
/* What policy is to know of it: as it came, but stale since it was softly purged. True: it was. */
bool record_meta_now(const struct record *record, struct response_meta *meta);
/* META_ABSENT: it was not softly purged. A moment before the response came is as good as that when it did. */
int64_t record_stale_since(const struct record *record);
/* Softly purged: stale since the earlier of this moment and what is noted. Any thread, of a listed object as well. */
void     record_note_stale(struct record *record, int64_t since_s);
/* Instead of what is noted; META_ABSENT: not softly purged. */
void     record_set_stale(struct record *record, int64_t since_s);
bool     record_length_known(const struct record *record);
uint64_t record_body_bytes(const struct record *record); /* when that is known */
bool     record_has_vary(const struct record *record);
size_t   record_hidden_bytes(const struct record *record);
struct bytes         record_key(const struct record *record);
struct bytes         record_vary_names(const struct record *record);
struct bytes         record_vary_values(const struct record *record);
/* With what is hidden. */
struct bytes         record_fields(const struct record *record);
const uint64_t      *record_tags(const struct record *record);
/* To make one like it, of a known length, with the body in its own extent. Borrows from the record. */
struct record_parts  record_parts_of(const struct record *record);
/* Of everything before the body. */
size_t record_front_bytes(const struct record *record);
/* Whether the texts that it tells of fill `front_bytes` exactly: of a record that was not made here. */
bool record_is_sound(const struct record *record, size_t front_bytes);
bool   object_has_name(const struct cache *cache, const struct object *object, const struct object_name *name);
/* Bytes of its extents. */
uint64_t object_footprint(const struct object *object);
/* One more hit; reads only, once it is at the maximum. True: it is to be offered again (cache_offer_again). */
static inline bool object_touch(struct object *object)
{
    uint8_t frequency = atomic_load_explicit(&object->frequency, memory_order_relaxed);
    if (frequency == OBJECT_FREQUENCY_MAX)
        return false;
    atomic_store_explicit(&object->frequency, (uint8_t)(frequency + 1), memory_order_relaxed);
    return atomic_load_explicit(&object->is_refused, memory_order_relaxed);
}

/* Fills in all but source, is_stored, detail and personal. */
void object_view(const struct cache *cache, const struct object *object, bool is_complete, struct response_view *view);
/* Points `iov` at the body's bytes [position, end), as many as fit into *count pieces; sets *count. */
void object_body_iov(const struct cache *cache, const struct object *object, uint64_t position, uint64_t end, struct iovec *iov, int *count);

/* The length of a body that came without one is known at its end. With the fill's lock held. */
void object_set_length(struct cache *cache, struct object *object, uint64_t bytes);
/* Copies the whole body behind the head of `to`, whose record has room for it. */
void object_copy_body(const struct cache *cache, const struct object *from, struct object *to);

/* Of bytes to come: chunks first, then pages, where nobody knows how many; or chunks alone, of which a window is kept. */
struct body *body_new(void);
struct body *body_new_window(void);
/* Of a known length. */
struct body *body_new_sized(uint64_t bytes);
struct body *body_ref(struct body *body);
void         body_unref(struct cache *cache, struct body **body);
/* Where the n-th extent of the response's body starts, and which one holds `position`: counted from the body's start, released ones included. */
uint64_t body_extent_start(const struct body *body, uint32_t number);
uint32_t body_extent_number(const struct body *body, uint64_t position);
/* Appends; *body moves. */
void body_append(struct cache *cache, struct body **body, struct extent extent);
/* The same for the body of an object. */
void object_append(struct cache *cache, struct object *object, struct extent extent);
/* Gives back the extents that lie wholly before `position`. */
void body_release_before(struct cache *cache, struct body *body, uint64_t position);

#endif
