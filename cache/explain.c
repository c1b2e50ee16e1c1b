/* See explain.h. Objects are looked at with references of this call, which are dropped before it returns. */
#include "cache/explain.h"

#include "cache/fill_state.h"
#include "cache/policy/vary.h"

enum {
    BUCKETS_PER_LOCK = 64, /* some tens of microseconds for those who wait for the shard */
    VARIANTS_SHOWN_MAX = 1024,
};

struct inquiry {
    struct cache *cache;
    const struct lookup *lookup;
    struct request_meta request;
    struct arena *arena;
    struct object *selector;                  /* or NULL */
    struct object *found[VARIANTS_SHOWN_MAX]; /* references */
    unsigned found_count;
    struct object_name name; /* that the request selects */
};

/* ---- finding ---------------------------------------------------------------------------------------------------------------------------- */

static struct object *find(struct cache *cache, const struct object_name *name, bool *is_fetched)
{
    struct shard *shard = shard_of(cache, name->hash);
    pthread_mutex_lock(&shard->lock);
    struct object *object = shard_find(cache, shard, name);
    if (object != NULL)
        object_ref(object);
    *is_fetched = shard_find_fill(shard, name) != NULL;
    pthread_mutex_unlock(&shard->lock);
    return object;
}

static void take_variant(void *context, struct object *object)
{
    struct inquiry *inquiry = context;
    if (object->selector == inquiry->selector && inquiry->found_count < VARIANTS_SHOWN_MAX)
        inquiry->found[inquiry->found_count++] = object_ref(object);
}

/* A bucket that is split between two locks may be seen half: then a variant is missing from what is shown. */
static void find_variants(struct inquiry *inquiry)
{
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &inquiry->cache->shards[i];
        bool more = true;
        for (uint64_t from = 0; more; from += BUCKETS_PER_LOCK) {
            pthread_mutex_lock(&shard->lock);
            more = index_visit(&shard->index, from, BUCKETS_PER_LOCK, take_variant, inquiry);
            pthread_mutex_unlock(&shard->lock);
        }
    }
}

/* ---- copying ---------------------------------------------------------------------------------------------------------------------------- */

static struct bytes *split_names(struct bytes names, struct arena *arena, unsigned *count)
{
    struct bytes member, *list = arena_alloc(arena, (names.len + 1) * sizeof *list);
    for (*count = 0; bytes_next_list_member(&names, &member);)
        list[(*count)++] = arena_copy(arena, member);
    return list;
}

/* Length-prefixed, as policy/vary writes them. */
static struct bytes *split_values(struct bytes values, unsigned count, struct arena *arena)
{
    struct bytes *list = arena_zalloc(arena, (count + 1) * sizeof *list);
    for (unsigned i = 0; i < count && vary_next_value(&values, &list[i]); i++) {
        if (list[i].at != NULL)
            list[i] = arena_copy(arena, list[i]);
    }
    return list;
}

static void describe(struct inquiry *inquiry, struct object *object, unsigned vary_count, struct explained_response *response)
{
    const struct lookup *lookup = inquiry->lookup;
    const struct record *record = object_record(inquiry->cache, object);
    struct response_meta scratch;
    bool is_purged = object_is_purged(inquiry->cache, object);
    *response = (struct explained_response){
        .meta = record->meta,
        .stale_since_s = atomic_load_explicit(&record->stale_since_s, memory_order_relaxed),
        .is_purged = is_purged,
        .serves_on_error = reuse_allowed_on_error(record_meta(record, &scratch), &inquiry->request, lookup->rules, lookup->now),
        .verdict = object_judge(inquiry->cache, object, &inquiry->request, lookup->rules, lookup->now),
        .frequency = atomic_load_explicit(&object->frequency, memory_order_relaxed),
        .body_bytes = record->body_bytes,
        .memory_bytes = object_footprint(object) + sizeof *object,
        .values = split_values(record_vary_values(record), vary_count, inquiry->arena),
        .is_selected = object_has_name(inquiry->cache, object, &inquiry->name),
    };
    struct bytes head = record_head(record);
    response->fields = arena_copy(inquiry->arena, bytes_from(head.at + record->status_line_bytes, head.len - record->status_line_bytes));
}

/* ---- deciding, as lookup.c does --------------------------------------------------------------------------------------------------------- */

static void decide_fetch(const struct inquiry *inquiry, struct explanation *explanation, enum fwd_reason fwd, enum cache_detail detail,
                         bool is_stored)
{
    const struct lookup *lookup = inquiry->lookup;
    uint64_t unstorable = unstorable_name(inquiry->name.hash, inquiry->request.has_authorization);
    explanation->fwd = fwd;
    explanation->detail = detail;
    if (lookup->rules->honour_request_directives && inquiry->request.cache_control.only_if_cached) {
        explanation->outcome = EXPLAINED_REFUSED;
        explanation->detail = DETAIL_ONLY_IF_CACHED;
    } else if (lookup->method == METHOD_HEAD) {
        explanation->outcome = EXPLAINED_PASS;
        explanation->detail = is_stored ? detail : DETAIL_HEAD_MISS;
    } else if (unstorable_has(&inquiry->cache->unstorable, &inquiry->cache->purges, unstorable, lookup->now)) {
        explanation->outcome = EXPLAINED_PASS;
        explanation->detail = DETAIL_HIT_FOR_MISS;
    } else {
        explanation->outcome = is_stored ? EXPLAINED_REVALIDATE : EXPLAINED_FETCH;
    }
}

static void decide(const struct inquiry *inquiry, struct explanation *explanation)
{
    const struct explained_response *selected = NULL;
    for (unsigned i = 0; i < explanation->response_count; i++) {
        if (explanation->responses[i].is_selected && !explanation->responses[i].is_purged)
            selected = &explanation->responses[i];
    }
    if (request_decide(&inquiry->request, inquiry->lookup->rules, &explanation->fwd, &explanation->detail) == REQUEST_PASS)
        explanation->outcome = EXPLAINED_PASS;
    else if (selected == NULL)
        decide_fetch(inquiry, explanation, inquiry->selector != NULL ? FWD_VARY_MISS : FWD_URI_MISS, DETAIL_NONE, false);
    else if (selected->verdict.reuse == REUSE_REVALIDATE)
        decide_fetch(inquiry, explanation, selected->verdict.fwd, selected->verdict.detail, true);
    else {
        explanation->outcome = selected->verdict.reuse == REUSE_FRESH ? EXPLAINED_HIT : EXPLAINED_STALE;
        explanation->fwd = FWD_NONE;
        explanation->detail = selected->verdict.detail;
    }
}

void cache_explain(struct cache *cache, const struct lookup *lookup, struct arena *arena, struct explanation *explanation)
{
    struct inquiry *inquiry = arena_zalloc(arena, sizeof *inquiry);
    *explanation = (struct explanation){0};
    inquiry->cache = cache;
    inquiry->lookup = lookup;
    inquiry->arena = arena;
    request_meta_from(&inquiry->request, lookup->method, lookup->fields);
    inquiry->name = name_of_key(&lookup->key);
    struct object *object = find(cache, &inquiry->name, &explanation->is_joined);
    if (object != NULL && object->kind == OBJECT_SELECTOR) {
        inquiry->selector = object;
        explanation->vary_names = split_names(record_vary_names(object_record(cache, object)), arena, &explanation->vary_count);
        inquiry->name = variant_name(cache, object, &lookup->key, lookup->fields, arena);
        object = find(cache, &inquiry->name, &explanation->is_joined);
        object_unref(cache, &object);
        find_variants(inquiry);
    } else if (object != NULL) {
        inquiry->found[inquiry->found_count++] = object;
    }
    explanation->responses = arena_alloc(arena, (inquiry->found_count + 1) * sizeof *explanation->responses);
    for (unsigned i = 0; i < inquiry->found_count; i++) {
        describe(inquiry, inquiry->found[i], explanation->vary_count, &explanation->responses[explanation->response_count++]);
        object_unref(cache, &inquiry->found[i]);
    }
    decide(inquiry, explanation);
    object_unref(cache, &inquiry->selector);
}
