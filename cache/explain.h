/* What cache_lookup would do with a request, and what there is, without doing it: nothing is counted as a hit, fetched or evicted. For people.
 *
 * Everything in an explanation is a copy in the caller's arena: no reference outlives the call. Variants are found by going through the whole index,
 * a few buckets at a time, so this is for the control loop, not for requests. What is on disk only is not read: nothing is known of it but that it is there. */
#ifndef CACHE_EXPLAIN_H
#define CACHE_EXPLAIN_H

#include "cache/cache.h"
#include "cache/policy/range.h"
#include "cache/policy/reuse.h"

struct explained_response {
    struct response_meta meta;         /* as it was stored */
    int64_t              stale_since_s; /* softly purged; META_ABSENT */
    bool                 is_purged;    /* hard: it leaves when it is met */
    bool                 serves_on_error;
    struct reuse_verdict verdict;      /* for the request */
    unsigned             frequency;    /* 0…3: hits since the eviction last looked */
    uint64_t             body_bytes, memory_bytes;
    struct bytes         fields;       /* lines with their CRLF; those that are hidden from clients at the end */
    struct bytes        *values;       /* of the fields that it varies on, normalised; BYTES_NONE: the request had none */
    bool                 is_selected;  /* by the request */
    bool                 is_on_disk;   /* too: it would be found again after it was evicted */
    bool                 is_sliced;    /* its body lies in slices, of which these are there, by their position; the last one cut at the body's end */
    struct span         *slices;
    unsigned             slices_count;
};

enum explained_outcome {
    EXPLAINED_HIT,
    EXPLAINED_PARTIAL,    /* as far as the slices that it wants are there; the others are fetched */
    EXPLAINED_LOAD,       /* it is on disk only: loaded, and then judged like what is in memory */
    EXPLAINED_STALE,      /* served stale, while it is validated in the background */
    EXPLAINED_REVALIDATE, /* the origin is asked whether it is still good */
    EXPLAINED_FETCH,      /* nothing usable is stored */
    EXPLAINED_PASS,       /* fetched for this request alone */
    EXPLAINED_REFUSED,    /* only-if-cached */
};

struct explanation {
    enum explained_outcome outcome;
    struct bytes           stored_under; /* the key of another URL, whose response answers this one too (No-Vary-Search); BYTES_NONE: its own */
    bool                   is_joined; /* somebody is fetching it already */
    struct explained_place {
        bool     is_there;   /* on disk, and not in memory: what the request selects, or what that is found by */
        bool     is_lasting; /* a selector of variants, or the head of slices: these may be on disk as well */
        bool     was_hit;    /* since it was written */
        uint64_t bytes;      /* that it takes, at most */
    } disk;
    enum fwd_reason        fwd;
    enum cache_detail      detail;
    struct bytes          *vary_names; /* what its responses vary on */
    unsigned               vary_count;
    struct explained_response *responses; /* stored under the URL */
    unsigned                   response_count;
};

/* For `lookup` as it would be given to cache_lookup; only its inputs are used, and the reader's waker not. */
void cache_explain(struct cache *cache, const struct lookup *lookup, struct arena *arena, struct explanation *explanation);

#endif
