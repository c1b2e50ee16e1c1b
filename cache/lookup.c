/* cache_lookup: from a request to a reader. See cache.h.
 *
 * DESIGN. Each attempt looks under the primary key; where a selector stands there, under the secondary key that it leads to (RFC 9111 §4.1). What
 * is found is judged by cache/policy outside of all locks, and the verdict carried out if nothing has changed meanwhile; else there is another attempt.
 * The order is: memory → what is being fetched → disk → what answers for another URL as well (equivalents.h) → the origin. What is on disk is not judged
 * there, but loaded, waited for, and found in memory by the lookup that follows. */
#include "cache/fill_state.h"

#include <assert.h>

enum { ATTEMPTS_MAX = 8 }; /* a key that changes as often between two locks is fetched for this request alone */

struct search {
    struct cache *cache;
    struct lookup *lookup;
    struct reader *reader;
    struct request_meta request;
    struct object_name name; /* where the response is, or would be */
    uint64_t purge_sequence; /* before anything was looked at */
    struct object *selector; /* a reference, or NULL: the primary key's */
    struct object *object;   /* a reference, or NULL */
    struct fill *fill;       /* a reference, or NULL */
    bool is_taken;           /* `object` was loaded for this request, and is not listed */
};

static void clear(struct search *search)
{
    object_unref(search->cache, &search->object);
    object_unref(search->cache, &search->selector);
    fill_unref(&search->fill);
}

/* What was loaded for this request alone. */
static void take_loaded(struct search *search)
{
    struct cache *cache = search->cache;
    struct object *object = load_take(&search->lookup->wait, &search->name);
    if (object != NULL && object_is_purged(cache, object)) {
        struct shard *shard = shard_of(cache, object->hash);
        pthread_mutex_lock(&shard->lock);
        cache_forget(cache, object->hash);
        pthread_mutex_unlock(&shard->lock);
        object_unref(cache, &object);
    }
    search->is_taken = object != NULL;
    search->object = object;
}

/* Object and fill of search->name. */
static void find(struct search *search)
{
    struct shard *shard = shard_of(search->cache, search->name.hash);
    bool is_wanted = false;
    pthread_mutex_lock(&shard->lock);
    struct object *object = shard_find(search->cache, shard, &search->name);
    if (object != NULL) {
        search->object = object_ref(object);
        is_wanted = shard_touch(search->cache, shard, object);
    }
    if (object == NULL) {
        search->fill = shard_find_fill(shard, &search->name);
        if (search->fill != NULL)
            ref_take(&search->fill->refs);
    }
    pthread_mutex_unlock(&shard->lock);
    if (is_wanted)
        cache_offer_again(search->cache, object, search->lookup->rules);
    search->is_taken = false;
    if (object == NULL && search->fill == NULL && search->cache->settings.keeps_no_pages)
        take_loaded(search);
}

static void find_by_key(struct search *search, const struct cache_key *key)
{
    search->name = name_of_key(key);
    find(search);
    if (search->object == NULL || search->object->kind != OBJECT_SELECTOR)
        return;
    search->selector = search->object;
    search->object = NULL;
    search->name = variant_name(search->cache, search->selector, key, search->lookup->fields, search->lookup->fields->arena);
    find(search);
}

/* Where the last look found neither a response nor a fill. LOAD_WAIT: that is the outcome. */
static enum load_answer look_on_disk(struct search *search)
{
    struct lookup *lookup = search->lookup;
    if (search->object != NULL || search->fill != NULL || search->cache->store == NULL || lookup->io == NULL)
        return LOAD_NONE;
    load_close(search->cache, &lookup->wait); /* of the selector, which this search refers to by now */
    lookup->wait.waker = lookup->reader_waker;
    enum load_answer answer = load_open(search->cache, lookup->io, &search->name, search->selector, &lookup->wait);
    if (answer == LOAD_WAIT)
        lookup->outcome = LOOKUP_WAIT;
    return answer;
}

/* The nth name of this lookup: its footers are read before it is looked for in memory, where that is asked for (settings.searches_footers). True: LOOKUP_WAIT. */
static bool search_footers(struct search *search, const struct object_name *name, unsigned nth)
{
    struct lookup *lookup = search->lookup;
    struct cache *cache = search->cache;
    if (!cache->settings.searches_footers || cache->store == NULL || lookup->io == NULL || lookup->wait.searched > nth)
        return false;
    load_close(cache, &lookup->wait);
    lookup->wait.waker = lookup->reader_waker;
    if (load_search(cache, lookup->io, name, &lookup->wait) == LOAD_WAIT)
        lookup->outcome = LOOKUP_WAIT;
    return lookup->wait.load != NULL;
}

/* A hit that needs not have been one, where nothing that the disk has is kept (settings.keeps_no_pages): memory lets go of it. */
static bool give_up_pages(struct search *search)
{
    struct cache *cache = search->cache;
    const struct lookup *lookup = search->lookup;
    if (!cache->settings.keeps_no_pages || search->is_taken || search->object->kind != OBJECT_RESPONSE || lookup->io == NULL ||
        lookup->wait.has_failed || lookup->wait.count == LOADS_PER_WAIT_MAX || !load_is_on_disk(cache, search->object->hash))
        return false;
    struct shard *shard = shard_of(cache, search->object->hash);
    struct object *listed = NULL;
    pthread_mutex_lock(&shard->lock);
    if (atomic_load_explicit(&search->object->listing, memory_order_relaxed) == OBJECT_LISTED) {
        listed = search->object;
        shard_delist(cache, shard, listed, OBJECT_UNLISTED);
    }
    pthread_mutex_unlock(&shard->lock);
    object_unref(cache, &listed);
    object_unref(cache, &search->object);
    return true;
}

static void open_reader(struct search *search)
{
    const struct lookup *lookup = search->lookup;
    *search->reader = (struct reader){
        .cache = search->cache,
        .purge_sequence = purge_sequence(&search->cache->purges),
        .waker = lookup->reader_waker,
        .end = UINT64_MAX,
        .method = lookup->method,
        .fields = lookup->fields,
        .rules = lookup->rules,
        .now = lookup->now,
    };
    list_init(&search->reader->link);
}

static void serve_object(struct search *search, const struct reuse_verdict *verdict)
{
    struct lookup *lookup = search->lookup;
    search->reader->object = search->object;
    search->reader->is_open = search->reader->is_complete = true;
    search->object = NULL;
    lookup->age_s = verdict->age_s;
    lookup->ttl_s = verdict->ttl_s;
    lookup->fwd = FWD_NONE;
    lookup->detail = verdict->detail;
    lookup->outcome = verdict->reuse == REUSE_FRESH ? LOOKUP_HIT : LOOKUP_STALE;
}

/* What the answer to this request is remembered by if it turns out not to be storable. */
static uint64_t unstorable_of(const struct search *search)
{
    return unstorable_name(search->name.hash, search->request.has_authorization);
}

static struct fill *new_listable_fill(const struct search *search)
{
    bool asks_slice = search->object == NULL || search->object->kind == OBJECT_SLICED; /* else the whole is known to be storable */
    return fill_new(search->cache, &(struct fill_request){
                                       .key = &search->lookup->key,
                                       .meta = &search->request,
                                       .rules = search->lookup->rules,
                                       .purge_sequence = search->purge_sequence,
                                       .name = &search->name,
                                       .stale = search->object,
                                       .slice = asks_slice ? search->lookup->slice : (struct span){0, 0},
                                       .selector = search->selector,
                                       .unstorable = unstorable_of(search),
                                   });
}

static struct fill *new_private_fill(const struct search *search, enum cache_detail detail)
{
    bool is_whole = search->object != NULL && search->object->kind == OBJECT_RESPONSE; /* a pass opens no slices */
    bool may_answer_gets = search->request.method == METHOD_POST;                      /* RFC 9110 §9.3.3 */
    return fill_new(search->cache, &(struct fill_request){
                                       .key = &search->lookup->key,
                                       .meta = &search->request,
                                       .rules = search->lookup->rules,
                                       .purge_sequence = search->purge_sequence,
                                       .name = may_answer_gets ? &search->name : NULL,
                                       .stale = is_whole ? search->object : NULL,
                                       .pass_detail = detail,
                                       .unstorable = detail == DETAIL_HIT_FOR_MISS ? unstorable_of(search) : 0,
                                   });
}

static void forward(struct search *search, enum lookup_outcome outcome, struct fill *fill)
{
    fill_attach(fill, search->reader, true);
    search->lookup->outcome = outcome;
    search->lookup->fill = fill;
}

/* For this request alone. */
static void pass(struct search *search, enum fwd_reason fwd, enum cache_detail detail)
{
    search->lookup->fwd = fwd;
    search->lookup->detail = detail;
    forward(search, LOOKUP_PASS, new_private_fill(search, detail));
}

static bool only_if_cached(const struct search *search)
{
    return search->lookup->rules->honour_request_directives && search->request.cache_control.only_if_cached;
}

static void refuse(struct search *search, enum error error, enum cache_detail detail)
{
    search->lookup->outcome = LOOKUP_ERROR;
    search->lookup->error = error;
    search->lookup->detail = detail;
}

/* Lists `fill` in the place that was looked at, provided that it still is as it was found. */
static bool list_if_unchanged(struct search *search, struct fill *fill)
{
    struct shard *shard = shard_of(search->cache, search->name.hash);
    pthread_mutex_lock(&shard->lock);
    bool unchanged = shard_find(search->cache, shard, &search->name) == search->object && shard_find_fill(shard, &search->name) == NULL;
    if (unchanged)
        shard_list_fill(shard, fill);
    pthread_mutex_unlock(&shard->lock);
    return unchanged;
}

/* Of the object's place: search->fill. */
static void find_fill(struct search *search)
{
    struct shard *shard = shard_of(search->cache, search->name.hash);
    pthread_mutex_lock(&shard->lock);
    search->fill = shard_find_fill(shard, &search->name);
    if (search->fill != NULL)
        ref_take(&search->fill->refs);
    pthread_mutex_unlock(&shard->lock);
}

/* What it will bring, or validates, was purged after it was opened: it goes on for those who asked before. */
static void leave_purged_fill(struct search *search)
{
    struct shard *shard = shard_of(search->cache, search->name.hash);
    struct fill *unlisted = NULL;
    pthread_mutex_lock(&shard->lock);
    if (shard_find_fill(shard, &search->name) == search->fill) {
        atomic_store_explicit(&search->fill->is_purged, true, memory_order_relaxed);
        shard_unlist_fill(search->fill);
        unlisted = search->fill;
    }
    pthread_mutex_unlock(&shard->lock);
    fill_unref(&unlisted);
}

/* True: decided. */
static bool join(struct search *search)
{
    struct response_meta meta;
    if (fill_is_purged(search->fill)) {
        leave_purged_fill(search);
        return false;
    }
    if (fill_head_meta(search->fill, &meta)) {
        /* It came for an earlier request: for this one it is a stored response like any other (RFC 9111 §4). */
        struct reuse_verdict verdict = reuse_decide(&meta, &search->request, search->lookup->rules, search->lookup->now);
        if (verdict.reuse == REUSE_REVALIDATE) {
            pass(search, verdict.fwd, verdict.detail);
            return true;
        }
    }
    if (!fill_attach(search->fill, search->reader, false))
        return false;
    search->lookup->outcome = LOOKUP_JOIN;
    search->lookup->collapsed = true;
    return true;
}

/* Nothing usable is stored: `fwd` and `detail` say why. True: decided. */
static bool fetch(struct search *search, enum fwd_reason fwd, enum cache_detail detail)
{
    struct lookup *lookup = search->lookup;
    if (only_if_cached(search)) {
        refuse(search, ERROR_ONLY_IF_CACHED, DETAIL_ONLY_IF_CACHED);
        return true;
    }
    if (lookup->method == METHOD_HEAD) {
        pass(search, fwd, search->object != NULL ? detail : DETAIL_HEAD_MISS);
        return true;
    }
    if (unstorable_has(&search->cache->unstorable, &search->cache->purges, unstorable_of(search), lookup->now)) {
        pass(search, fwd, DETAIL_HIT_FOR_MISS);
        return true;
    }
    lookup->fwd = fwd;
    lookup->detail = detail;
    if (search->fill == NULL && search->object != NULL)
        find_fill(search);
    if (search->fill != NULL)
        return join(search);
    struct fill *fill = new_listable_fill(search);
    if (!list_if_unchanged(search, fill)) {
        fill_discard(&fill);
        return false;
    }
    forward(search, LOOKUP_FILL, fill);
    return true;
}

/* Stale, and served so: one of those who find it gets the fill to revalidate it (RFC 5861 §3). */
static void revalidate_in_background(struct search *search)
{
    if (search->lookup->method != METHOD_GET || only_if_cached(search))
        return;
    struct fill *fill = new_listable_fill(search);
    if (list_if_unchanged(search, fill))
        search->lookup->fill = fill;
    else
        fill_discard(&fill);
}

static void drop_purged_object(struct search *search)
{
    struct shard *shard = shard_of(search->cache, search->name.hash);
    struct object *listed = NULL;
    pthread_mutex_lock(&shard->lock);
    if (atomic_load_explicit(&search->object->listing, memory_order_relaxed) == OBJECT_LISTED) {
        shard_delist(search->cache, shard, search->object, OBJECT_PURGED);
        cache_forget(search->cache, search->object->hash);
        listed = search->object;
    }
    pthread_mutex_unlock(&shard->lock);
    object_unref(search->cache, &listed);
}

struct reuse_verdict object_judge(const struct cache *cache, const struct object *object, const struct request_meta *request,
                                  const struct site_rules *rules, struct wall_seconds now)
{
    struct response_meta meta;
    bool is_purged = record_meta_now(object_record(cache, object), &meta);
    struct reuse_verdict verdict = reuse_decide(&meta, request, rules, now);
    if (is_purged && (verdict.detail == DETAIL_EXPIRED || verdict.detail == DETAIL_NO_VALIDATOR))
        verdict.detail = DETAIL_SOFT_PURGED;
    return verdict;
}

/* The stored response of another URL, where No-Vary-Search says that it answers this one too, and it is fresh: what has to be fetched is fetched for
 * this URL itself. */
static bool serve_equivalent(struct search *search)
{
    struct lookup *lookup = search->lookup;
    struct arena *arena = lookup->fields->arena;
    struct search other = {.cache = search->cache, .lookup = lookup, .reader = search->reader, .request = search->request};
    struct cache_key key;
    struct response_view view;
    struct headers stored;
    if (search->fill != NULL || !equivalents_find(&search->cache->equivalents, &search->cache->hash_key, &lookup->key, arena, &key))
        return false;
    other.purge_sequence = search->purge_sequence;
    find_by_key(&other, &key);
    bool is_served = look_on_disk(&other) == LOAD_WAIT;
    bool is_whole = other.object != NULL && other.object->kind == OBJECT_RESPONSE; /* slices that are missing are fetched by this URL */
    if (is_whole && !object_is_purged(other.cache, other.object)) {
        struct reuse_verdict verdict = object_judge(other.cache, other.object, &other.request, lookup->rules, lookup->now);
        object_view(other.cache, other.object, true, &view);
        headers_init(&stored, arena);
        headers_parse_block(&stored, view.fields);
        is_served = verdict.reuse == REUSE_FRESH && equivalents_match(key.encoded, lookup->key.encoded, &stored);
        if (is_served)
            serve_object(&other, &verdict);
    }
    clear(&other);
    return is_served;
}

/* What the request selects, in the visitor's place. Sliced responses, whose readers have further lookups, are none. */
static struct object *visit_by_key(struct search *search, struct visitor *visitor)
{
    struct cache *cache = search->cache;
    const struct lookup *lookup = search->lookup;
    struct object_name name = name_of_key(&lookup->key);
    struct object *found = index_visit_name(cache, &shard_of(cache, name.hash)->index, &name, visitor);
    if (found == NULL || found->kind == OBJECT_RESPONSE)
        return found;
    bool is_selector = found->kind == OBJECT_SELECTOR;
    if (is_selector)
        name = variant_name(cache, found, &lookup->key, lookup->fields, lookup->fields->arena);
    visit_end(cache, visitor); /* the name is a copy, and a variant refers to its selector */
    return is_selector ? index_visit_name(cache, &shard_of(cache, name.hash)->index, &name, visitor) : NULL;
}

/* The way of nearly all hits: no lock, no reference (visitor.h). What is not simply fresh is left to `attempt`, which looks again. */
static bool serve_visitor(struct search *search)
{
    struct lookup *lookup = search->lookup;
    struct visitor *visitor = lookup->visitor;
    visitor_settle(visitor);
    struct object *object = visit_by_key(search, visitor);
    if (object == NULL)
        return false;
    struct reuse_verdict verdict;
    bool is_fresh = !object_is_purged(search->cache, object);
    if (is_fresh) {
        verdict = object_judge(search->cache, object, &search->request, lookup->rules, lookup->now);
        is_fresh = verdict.reuse == REUSE_FRESH;
    }
    if (!is_fresh) {
        visit_end(search->cache, visitor);
        return false;
    }
    if (visitor_touch(search->cache, visitor, object, lookup->now))
        cache_offer_again(search->cache, object, lookup->rules);
    visitor->reader = search->reader;
    search->reader->visitor = visitor;
    search->object = object; /* not a reference: it passes on to the reader, which knows */
    serve_object(search, &verdict);
    return true;
}

/* True: decided. False: what was found has changed meanwhile. */
static bool attempt(struct search *search)
{
    struct lookup *lookup = search->lookup;
    const struct object_name name = name_of_key(&lookup->key);
    search->purge_sequence = purge_sequence(&search->cache->purges);
    if (lookup->wait.is_search)
        load_close(search->cache, &lookup->wait);
    if (search_footers(search, &name, 0))
        return true;
    find_by_key(search, &lookup->key);
    if (search->selector != NULL && search_footers(search, &search->name, 1))
        return true;
    if (search->object != NULL && object_is_purged(search->cache, search->object)) {
        drop_purged_object(search);
        return false;
    }
    enum load_answer answer = look_on_disk(search);
    if (answer != LOAD_NONE)
        return answer == LOAD_WAIT;
    if (search->object == NULL && serve_equivalent(search))
        return true;
    if (search->object == NULL)
        return fetch(search, search->selector != NULL ? FWD_VARY_MISS : FWD_URI_MISS, DETAIL_NONE);
    struct reuse_verdict verdict = object_judge(search->cache, search->object, &search->request, lookup->rules, lookup->now);
    if (verdict.reuse == REUSE_FRESH && give_up_pages(search))
        return look_on_disk(search) == LOAD_WAIT;
    if (verdict.reuse != REUSE_FRESH && search->is_taken && !load_list_taken(&lookup->wait, search->object))
        return false;
    if (verdict.reuse == REUSE_REVALIDATE)
        return fetch(search, verdict.fwd, verdict.detail);
    if (verdict.reuse == REUSE_STALE)
        revalidate_in_background(search);
    serve_object(search, &verdict);
    return true;
}

static void look_up(struct search *search)
{
    struct lookup *lookup = search->lookup;
    enum fwd_reason fwd = FWD_MISS;
    enum cache_detail detail;
    if (request_decide(&search->request, lookup->rules, &fwd, &detail) == REQUEST_PASS) {
        pass(search, fwd, detail);
        return;
    }
    if (lookup->is_private) {
        pass(search, FWD_MISS, lookup->detail);
        return;
    }
    if (lookup->visitor != NULL && serve_visitor(search))
        return;
    for (unsigned i = 0; i < ATTEMPTS_MAX; i++) {
        bool decided = attempt(search);
        clear(search);
        if (decided)
            return;
    }
    pass(search, FWD_MISS, DETAIL_NONE);
}

static void end_wait(struct search *search)
{
    struct lookup *lookup = search->lookup;
    load_close(search->cache, &lookup->wait);
    bool is_hit = lookup->outcome == LOOKUP_HIT || lookup->outcome == LOOKUP_STALE;
    lookup->was_loaded = is_hit && !lookup->wait.has_failed;
    if (lookup->was_loaded && lookup->detail == DETAIL_NONE)
        lookup->detail = DETAIL_DISK;
}

void cache_lookup(struct cache *cache, struct lookup *lookup, struct reader *reader)
{
    assert(lookup->fields->arena != NULL);
    if (load_is_under_way(&lookup->wait)) {
        lookup->outcome = LOOKUP_WAIT;
        return;
    }
    struct search search = {.cache = cache, .lookup = lookup, .reader = reader};
    request_meta_from(&search.request, lookup->method, lookup->fields);
    open_reader(&search);
    lookup->fill = NULL;
    lookup->error = ERROR_OK;
    lookup->collapsed = lookup->was_loaded = false;
    lookup->age_s = lookup->ttl_s = 0;
    search.name = name_of_key(&lookup->key);
    search.purge_sequence = reader->purge_sequence;
    look_up(&search);
    if (lookup->outcome != LOOKUP_WAIT && lookup->wait.count > 0)
        end_wait(&search);
}
