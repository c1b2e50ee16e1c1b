/* The inside of a fill and of its readers; not for callers: fill.h and reader.h are.
 *
 * States: FETCHING → STREAMING → COMPLETE, or FAILED from either of the first two. `object` is there from STREAMING on.
 * References: the writer 1, being listed 1, each reader 1. Readers keep theirs until they close, so what `retired` holds outlives them.
 */
#ifndef CACHE_FILL_STATE_H
#define CACHE_FILL_STATE_H

#include "cache/cache_state.h"
#include "cache/policy/range.h"
#include "cache/policy/reuse.h"

enum fill_state { FILL_STATE_FETCHING, FILL_STATE_STREAMING, FILL_STATE_COMPLETE, FILL_STATE_FAILED };

struct fill {
    /* immutable after new */
    struct cache        *cache;
    struct cache_key     key;
    struct request_meta  request; /* of the originator */
    struct headers       fields;  /* its request's fields, copied: it may be gone before the head arrives */
    struct site_rules    rules;
    uint64_t             unstorable;    /* unstorable_name of what it fetches, for a listed fill or a hit-for-miss; else 0 */
    uint64_t             purge_sequence; /* at the lookup: what is purged after it may be what the origin sends */
    bool                 is_listable;   /* opened for everybody, or (POST) maybe to be stored; else for its originator alone */
    struct span          slice;         /* what is asked for instead of the whole; none: end is 0 */
    bool                 is_background; /* without an originator: nobody need be waiting */
    struct object       *stale;         /* a reference: what it revalidates, or what a HEAD for it may tell about; or NULL */
    struct response_view stale_view;
    struct ref           refs;
    /* writer's loop only */
    struct object *selector; /* a reference: whose variant it fetches, as far as is known; or NULL */
    struct arena   arena;
    struct bytes   early_hints; /* field lines, in the arena */
    bool          length_known;
    uint64_t      length;
    size_t        reserved;      /* room given out and not committed yet */
    enum cache_detail pass_detail; /* why it is for its originator alone */
    bool          is_storable;   /* by its head */
    uint64_t *purge_names; /* by which its response can be purged, once its head is there; in the arena. The first is its host's: fill_note_unstorable */
    uint32_t        purge_names_count;
    struct wall_seconds unstorable_until; /* what turns out not to be storable is remembered as such until then */
    struct extent retired; /* the tail before it was trimmed: readers may still be sending it */
    /* shared, under the lock of the shard that `name` leads to */
    struct object_name name;
    struct list        listed_link;
    bool               is_listed;
    _Atomic bool       is_purged; /* read by the writer at any time */
    /* shared, under lock */
    pthread_mutex_t       lock;
    enum fill_state       state;
    enum error            error;       /* FAILED */
    bool                  is_private;  /* not kept (any more) */
    bool                  is_origin_error; /* a 5xx that is not stored: its originator's, unless there is a stale response for it; a failure to the others */
    bool                  is_declined;     /* FAILED: an answer came, and is none to what was asked for, or cannot be kept for a moment */
    bool                  is_revalidated;  /* `object` is `stale` with a fresh head */
    enum cache_detail     detail;
    struct object        *object; /* a reference */
    struct bytes          personal; /* field lines for the originator alone (RFC 9111 §5.2.2.4, §5.2.2.7); in the arena */
    uint64_t              written;
    struct list           readers;
    struct waker         *waker; /* the writer's; NULL before it is set and once the writer is gone */
    bool                  writer_waits; /* for room in the window, or for memory */
    uint64_t              slowest;      /* while the writer waits: where its slowest readers are… */
    uint32_t              slowest_count; /* …and how many they are */
    /* shared, under the cache's memory_lock */
    struct list   memory_link;
    struct waker *memory_waker;
};

/* What a request is, to be copied into its fill. */
struct fill_request {
    const struct cache_key    *key;
    const struct request_meta *meta;
    const struct site_rules   *rules;
    uint64_t                   purge_sequence;
    const struct object_name  *name;     /* where it is to be listed; NULL: for its originator alone */
    struct object             *stale;    /* or NULL; a reference is taken */
    struct object             *selector; /* or NULL; a reference is taken */
    enum cache_detail          pass_detail;
    uint64_t                   unstorable; /* see struct fill */
    struct span                slice;    /* see struct fill */
};

/* With the writer's reference. Not listed yet. */
struct fill *fill_new(struct cache *cache, const struct fill_request *request);
void         fill_unref(struct fill **fill);
/* A fill that was neither listed nor given to a writer. */
void fill_discard(struct fill **fill);
/* The stored part of the head, once it is there, with soft purges since the lookup counted in. */
bool fill_head_meta(struct fill *fill, struct response_meta *meta);

/* purge.c: the hash by which it is found in the table of purges. `arena` is scratch. */
uint64_t tag_hash(const struct cache *cache, struct bytes tag, struct arena *arena);
uint64_t group_hash(const struct cache *cache, struct bytes scheme, struct bytes host, struct bytes group, struct arena *arena);
uint64_t host_hash(const struct cache *cache, struct bytes host, struct arena *arena);
uint64_t key_host_hash(const struct cache *cache, struct bytes key, struct arena *arena);
/* lookup.c: the verdict on a stored response, soft purges counted in. */
struct reuse_verdict object_judge(const struct cache *cache, const struct object *object, const struct request_meta *request,
                                  const struct site_rules *rules, struct wall_seconds now);
/* Whether the object was purged (hard) since it was last compared with the table; a soft purge is noted in its record. */
bool object_is_purged(struct cache *cache, const struct object *object);
/* What was purged by that URL after `since`, while something was awaited (handover.h). */
struct purge_verdict key_find_purge(const struct cache *cache, const struct cache_key *key, uint64_t since);
/* Whether what the fill brings, or the stored response that it validates, was purged (hard) since its lookup, as far as can be told by now. */
bool fill_is_purged(struct fill *fill);
/* What was purged of a record after `since`, be its response listed or not. */
struct purge_verdict record_find_purge(const struct cache *cache, const struct record *record, uint64_t since);

/* Makes `reader` one of the fill's. False when the fill failed or is private by now: it is not to be joined any more. */
bool fill_attach(struct fill *fill, struct reader *reader, bool is_originator);
/* With the fill's lock held: a reader that was at `from` has moved on, or left: the writer is told what that changes for it. */
void fill_reader_moved(struct fill *fill, uint64_t from);
void fill_tell_if_unwanted(struct fill *fill);
/* The writer is gone: nothing wakes it any more. */
void fill_end_writer(struct fill **fill, enum fill_state state, enum error error);
/* The answer's readers are to ask again: the error to fail it with. */
enum error fill_decline(struct fill *fill, enum cache_detail detail);
/* Wakes those who wait. With the fill's lock held. */
void fill_wake_readers(struct fill *fill);
/* With `detail` its response is not stored: remembered, where the next one will not be either. On the writer's loop. */
void fill_note_unstorable(struct fill *fill, enum cache_detail detail);
/* fill_body.c: on the writer's loop. */
void fill_stop_waiting_for_memory(struct fill *fill);
/* The body is complete: the object to be stored, a reference; trimmed to what it needs, and for that maybe another than fill->object. */
struct object *fill_close_body(struct fill *fill);

/* A record's head made of what an origin answered, and the verdict on it; fill_head.c. */
struct head_plan {
    struct record_parts parts;
    struct headers      fields;   /* as stored */
    struct bytes        personal; /* field lines for the originator alone */
    bool                store;
    bool                is_storable; /* by the policy; it may be passed nevertheless */
    enum cache_detail   detail;
    bool                is_origin_error; /* a 5xx, not to be stored */
    bool                ends_stale;      /* fill->stale may not be kept any longer, nor this one in its place */
    enum error          error; /* the head cannot be kept in memory at all */
};

/* All texts lie in the fill's arena, or are borrowed from `head`. */
void plan_head(struct fill *fill, const struct origin_head *head, struct head_plan *plan);
/* The same for a 304 to `stale` (RFC 9111 §4.3.4). */
void plan_refresh(struct fill *fill, const struct origin_head *head, struct head_plan *plan);

/* What a HEAD's answer says of the stored response to GET: the head that it will have. `store` is false when it may not be kept; fill_head.c. */
void plan_update(struct fill *fill, const struct origin_head *head, struct head_plan *plan);
/* RFC 9111 §4.3.5: the answer to a HEAD updates the stored response to GET, or takes it away; fill_update.c. */
void update_stored_by_head(struct fill *fill, const struct origin_head *head);
/* Puts `newer` (or nothing: NULL) in the place of fill->stale, if that is still there, or nothing but its copy on disk; fill_update.c. */
void replace_stale(struct fill *fill, struct object *newer);
/* The body of fill->stale becomes that of `object`: slices are found by the same serial, large ones are shared, small ones lie behind their new head. */
void take_stale_body(struct fill *fill, struct object *object);
/* After the verdict: the tags of plan->fields, and DETAIL_PURGED when any was purged since the lookup. fill_tags.c. */
void plan_tags(struct fill *fill, struct head_plan *plan);
/* The same for a record that keeps the body of fill->stale, which what was purged of that concerns, too. */
void plan_stale_tags(struct fill *fill, struct head_plan *plan);

/* What the head says about the next response under its key (an error of the origin says nothing, nor does a slice that is not there), and about what is
 * stored there. */
void fill_note_plan(struct fill *fill, const struct head_plan *plan, struct wall_seconds received);
/* The record's head in memory and its place in the index. NULL with *error. */
struct object *fill_build_object(struct fill *fill, struct head_plan *plan, enum object_kind kind, enum error *error);

/* The name of what stands under the primary key; it borrows the key. */
static inline struct object_name name_of_key(const struct cache_key *key)
{
    return (struct object_name){.hash = key->hash.low, .key = key->encoded};
}

/* The name of what hangs on `selector` by these values; it borrows all but the hash. */
struct object_name name_of_values(const struct cache *cache, const struct object *selector, const struct cache_key *key, struct bytes values,
                                  struct arena *arena);
/* Where the index has a slice of `head`; fill_slice.c. */
uint64_t slice_hash(const struct cache *cache, const struct object *head, struct span slice);
/* The name of the variant of `selector` that a request with `fields` selects; its values lie in `arena`. */
struct object_name variant_name(struct cache *cache, const struct object *selector, const struct cache_key *key, const struct headers *fields,
                                struct arena *arena);

/* Finds its place in the index for a response that is to be stored: under the primary key, or as a variant, whose selector is made where there is
 * none; lists the fill there. `plan->store` turns false, with a detail, when there is no place. fill_place.c. */
void place_fill(struct fill *fill, struct head_plan *plan, struct object **selector);
/* Lists the object in the fill's place, in the place of what was there: DETAIL_NONE; or the reason why it must not be (purged meanwhile, or its
 * selector replaced). The fill is unlisted in either case. */
enum cache_detail place_object(struct fill *fill, struct object *object);
/* Lists it where it is named to be. False: something is stored there, or being fetched, already. */
bool list_if_new(struct fill *fill);
/* No longer found by other requests. */
void unlist_fill(struct fill *fill);

#endif
