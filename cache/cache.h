/* The cache's front door: one memory cache shared by all loops of the proxy.
 *
 * The way in is cache_lookup: it finds the stored response, or joins the fill that is fetching it, or opens a new fill; in each case a
 * reader comes back, and delivery is the same from there on. What is on disk only is loaded into memory first, and then found there (disk/load.h).
 * Decisions are cache/policy's (pure functions); this module finds, keeps and evicts.
 *
 * Locks: the index is cut into shards, each with its own lock, held for nanoseconds and never across a policy decision, an allocation or a wake. A lookup that
 * finds what is fresh takes none, given a visitor.
 * Lock order: shard → fill → slab. No function here blocks or calls back, except waker_wake.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include "base/clock.h"
#include "base/hash.h"
#include "base/headers.h"
#include "base/method.h"
#include "base/slab.h"
#include "cache/disk/load.h"
#include "cache/disk/store.h"
#include "cache/fill.h"
#include "cache/key.h"
#include "cache/policy/detail.h"
#include "cache/policy/rules.h"
#include "cache/purge.h"
#include "cache/reader.h"
#include "cache/sizing.h"

struct cache;

struct cache_settings {
    struct slab *slab;             /* borrowed; outlives the cache */
    uint64_t     object_max_bytes; /* larger responses are passed, not stored */
    unsigned     variants_max;     /* per primary key, in memory */
    const struct store_settings *store; /* NULL, or without directories: no disk tier. For the call only */
    /* For comparisons: each lookup reads footers on disk first; what is on disk is not kept in memory. */
    bool         searches_footers, keeps_no_pages;
    uint64_t     numbers_from;     /* greater than any number that selectors and purges were given before a restart: nanoseconds since 1970, say */
};

/* What an event loop has to look things up with, so that hits write nothing that another loop reads (visitor.h). */
struct visitor;

struct cache *cache_new(const struct cache_settings *settings, const struct hash_key *hash_key);
/* No reader, no visitor and no fill may be left. */
void cache_free(struct cache **cache);
const struct hash_key *cache_hash_key(const struct cache *cache);
/* NULL: there is no disk tier. */
struct store *cache_store(const struct cache *cache);

/* For one thread. NULL: there are too many, this one goes without; or every hit has to do with the disk (settings). Thread-safe. */
struct visitor *visitor_new(struct cache *cache);
/* No reader that was opened with it is open. `*visitor` may be NULL. */
void            visitor_free(struct cache *cache, struct visitor **visitor);

enum lookup_outcome {
    LOOKUP_HIT,   /* the reader's head is ready: deliver */
    LOOKUP_STALE, /* as a hit, though stale (stale-while-revalidate, grace); `fill` may be set: the caller revalidates in the background */
    LOOKUP_JOIN,  /* another request is fetching it: wait for the reader's head */
    LOOKUP_FILL,  /* the caller fetches for everybody into `fill`; conditional when fill_stale(fill) is not NULL */
    LOOKUP_PASS,  /* the caller fetches for itself into the private `fill` */
    LOOKUP_WAIT,  /* it is on disk, and on its way: when the waker is called, cache_lookup again with the same struct, which does no harm before either; or
                     load_close, if the request has gone away. The reader is not open */
    LOOKUP_ERROR, /* `error`: only-if-cached, or no memory */
};

struct lookup {
    /* in, borrowed until reader_close: the request must outlive its reader */
    struct cache_key         key;
    enum method              method;
    const struct headers    *fields;      /* of the request; scratch for the secondary key comes from its arena */
    const struct site_rules *rules;
    struct wall_seconds      now;
    struct span              slice;       /* what a fill is to ask for, where nothing but slices is stored (policy/slice.h); end 0: the whole */
    bool                     is_private;  /* pass whatever is stored (a released waiter; a request with a body; an upgrade) */
    struct waker            *reader_waker;
    struct disk_io          *io;          /* of the loop that asks; NULL: disks are not looked at */
    struct visitor          *visitor;     /* of the thread that asks; NULL: hits take references. The reader stays on that thread */
    /* its own; zeroed at first */
    struct load_wait wait;
    /* out */
    enum lookup_outcome outcome;
    bool                was_loaded; /* from disk, for this request */
    enum fwd_reason     fwd;       /* RFC 9211 `fwd`; FWD_NONE on a hit */
    enum cache_detail   detail;    /* why, for Cache-Status and the log; with is_private left as the caller set it, unless policy has a reason of its own */
    bool                collapsed; /* RFC 9211 `collapsed` */
    int64_t             age_s, ttl_s; /* on hit and stale; ttl_s < 0: stale since */
    enum error          error;
    struct fill        *fill;      /* owned by the caller from here */
};

void cache_lookup(struct cache *cache, struct lookup *lookup, struct reader *reader);

/* One slice of the response that `head` reads, which is_sliced. */
struct slice_lookup {
    struct span         slice;   /* in */
    struct waker       *waker;   /* in: of the slice's reader */
    struct disk_io     *io;      /* in: as for a lookup */
    struct load_wait    wait;    /* its own; zeroed at first */
    enum lookup_outcome outcome; /* LOOKUP_HIT, LOOKUP_JOIN, LOOKUP_FILL, or LOOKUP_WAIT, as for a lookup */
    struct fill        *fill;    /* of LOOKUP_FILL; owned by the caller from here */
};

/* Opens `reader` on the slice's bytes alone: the first of them is its position 0. Borrows what `head` borrows. */
void cache_open_slice(const struct reader *head, struct slice_lookup *lookup, struct reader *reader);
/* Whether it is stored, whole; on disk or in memory. */
bool cache_has_slice(const struct reader *head, struct span slice);
/* A slice that will be read soon: the caller's to fetch, though nobody reads it yet. NULL: it is stored, or being fetched; or, with LOOKUP_WAIT in
 * lookup->outcome, being loaded from disk: it stays in memory until cache_open_slice with the same lookup, or load_close. */
struct fill *cache_begin_slice(const struct reader *head, struct slice_lookup *lookup);

/* Another instance takes over (false: it does not after all): what is purged here from now on is not purged there, and what is stored is not handed over
 * (handover.h). One thread; each time that it leaves counts anew. */
void cache_leave(struct cache *cache, bool leaves);
/* Whether a purge that is over by now may have been of this cache alone. */
bool cache_has_left(const struct cache *cache);

/* How much memory stored responses may have from now on; less than a sixteenth of the slab, or 16 pages, is taken as that: what arrives needs some to pass
 * through. Does not grow beyond it, and gives back to the kernel what is beyond it, evicting as it must, at most `most_bytes` at a time: milliseconds. Returns how
 * much that was. One thread, which serves nobody. */
uint64_t cache_limit_memory(struct cache *cache, uint64_t bytes, uint64_t most_bytes);

struct cache_stats {
    struct slab_stats slab;
    uint64_t objects;         /* that can be found: responses and selectors */
    uint64_t object_bytes;    /* in their extents */
    uint64_t index_bytes;     /* buckets, object headers, body tables, eviction's memory: outside the slab */
    uint64_t fills;           /* under way */
    uint64_t evictions;       /* since the start */
    uint64_t evicted_bytes;
    uint64_t admission_failures; /* no room could be made */
    uint64_t purges;
    uint64_t adopted, adopted_bytes; /* responses taken over from the instance before this one, and the bytes of their extents */
};

void cache_stats(struct cache *cache, struct cache_stats *stats);
/* What the hit ratio would be with other sizes (sizing.h), in the present window of time and the one before it. */
void cache_sizing(struct cache *cache, struct sizing_report *report);
/* The window ends. */
void cache_turn_sizing(struct cache *cache);

#endif
