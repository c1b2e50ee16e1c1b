/* See explain.h. Objects are looked at with references of this call, which are dropped before it returns. */
#include "cache/explain.h"

#include "cache/disk/store_state.h"
#include "cache/fill_state.h"
#include "cache/policy/slice.h"
#include "cache/policy/vary.h"

#include <stdlib.h>

enum {
    BUCKETS_PER_LOCK = 64, /* some tens of microseconds for those who wait for the shard */
    VARIANTS_SHOWN_MAX = 1024,
    SLICES_SHOWN_MAX = 65536,
};

struct inquiry {
    struct cache *cache;
    const struct lookup *lookup;
    struct request_meta request;
    struct arena *arena;
    struct object *selector, *selected; /* references, or NULL */
    bool is_fetched;
    struct explained_place disk;
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

static void find_on_disk(struct cache *cache, uint64_t hash, struct explained_place *place)
{
    struct disk_entry entry;
    *place = (struct explained_place){.is_there = load_is_on_disk(cache, hash) && disk_index_find(cache->store->index, hash, &entry)};
    if (!place->is_there)
        return;
    place->is_lasting = entry.is_lasting;
    place->was_hit = entry.was_hit;
    place->bytes = store_class_bytes(entry.size_class);
}

static void take_variant(void *context, struct object *object)
{
    struct inquiry *inquiry = context;
    if (object_selector(object) == inquiry->selector && inquiry->found_count < VARIANTS_SHOWN_MAX)
        inquiry->found[inquiry->found_count++] = object_ref(object);
}

/* A bucket that is split between two locks may be seen half: then an object is missing from what is shown. */
static void visit_all(struct cache *cache, void (*visit)(void *context, struct object *object), void *context)
{
    for (unsigned i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &cache->shards[i];
        bool more = true;
        for (uint64_t from = 0; more; from += BUCKETS_PER_LOCK) {
            pthread_mutex_lock(&shard->lock);
            more = index_visit(&shard->index, from, BUCKETS_PER_LOCK, visit, context);
            pthread_mutex_unlock(&shard->lock);
        }
    }
}

/* All that is in memory under the key. The one that the request selects is inquiry->selected, if there is any. */
static void look_in_memory(struct inquiry *inquiry, const struct cache_key *key)
{
    inquiry->name = name_of_key(key);
    inquiry->selected = find(inquiry->cache, &inquiry->name, &inquiry->is_fetched);
    if (inquiry->selected == NULL || inquiry->selected->kind != OBJECT_SELECTOR) {
        if (inquiry->selected != NULL)
            inquiry->found[inquiry->found_count++] = object_ref(inquiry->selected);
        return;
    }
    inquiry->selector = inquiry->selected;
    inquiry->name = variant_name(inquiry->cache, inquiry->selector, key, inquiry->lookup->fields, inquiry->arena);
    inquiry->selected = find(inquiry->cache, &inquiry->name, &inquiry->is_fetched);
    visit_all(inquiry->cache, take_variant, inquiry);
}

static void look(struct inquiry *inquiry, const struct cache_key *key)
{
    look_in_memory(inquiry, key);
    if (inquiry->selected == NULL && !inquiry->is_fetched)
        find_on_disk(inquiry->cache, inquiry->name.hash, &inquiry->disk);
}

static void let_go(struct inquiry *inquiry)
{
    object_unref(inquiry->cache, &inquiry->selector);
    object_unref(inquiry->cache, &inquiry->selected);
    for (unsigned i = 0; i < inquiry->found_count; i++)
        object_unref(inquiry->cache, &inquiry->found[i]);
    inquiry->found_count = 0;
}

static struct inquiry *new_inquiry(struct cache *cache, const struct lookup *lookup, struct arena *arena)
{
    struct inquiry *inquiry = arena_zalloc(arena, sizeof *inquiry);
    inquiry->cache = cache;
    inquiry->lookup = lookup;
    inquiry->arena = arena;
    request_meta_from(&inquiry->request, lookup->method, lookup->fields);
    return inquiry;
}

/* Whether the response that was found under `key` answers the request for another URL. */
static bool answers_equivalent(struct inquiry *inquiry, const struct cache_key *key)
{
    struct response_view view;
    struct headers stored;
    const struct lookup *lookup = inquiry->lookup;
    struct object *object = inquiry->selected;
    if (object == NULL || object->kind != OBJECT_RESPONSE || object_is_purged(inquiry->cache, object))
        return false;
    object_view(inquiry->cache, object, true, &view);
    headers_init(&stored, inquiry->arena);
    headers_parse_block(&stored, view.fields);
    return object_judge(inquiry->cache, object, &inquiry->request, lookup->rules, lookup->now).reuse == REUSE_FRESH &&
           equivalents_match(key->encoded, lookup->key.encoded, &stored);
}

/* Where nothing is stored for the URL itself: what answers it all the same. */
static struct inquiry *look_for_equivalent(struct inquiry *inquiry, struct explanation *explanation)
{
    struct cache *cache = inquiry->cache;
    struct cache_key key;
    if (inquiry->selected != NULL || inquiry->is_fetched || inquiry->disk.is_there ||
        !equivalents_find(&cache->equivalents, &cache->hash_key, &inquiry->lookup->key, inquiry->arena, &key))
        return inquiry;
    struct inquiry *other = new_inquiry(cache, inquiry->lookup, inquiry->arena);
    look(other, &key);
    bool answers = other->disk.is_there || answers_equivalent(other, &key);
    let_go(answers ? inquiry : other);
    if (answers)
        explanation->stored_under = key.encoded;
    return answers ? other : inquiry;
}

/* ---- slices ----------------------------------------------------------------------------------------------------------------------------- */

struct slice_list {
    const struct object *head;
    struct span *at;
    unsigned count;
    const struct cache *cache;
};

static void take_slice(void *context, struct object *object)
{
    struct slice_list *list = context;
    if (object_selector(object) != list->head || list->count == SLICES_SHOWN_MAX)
        return;
    struct bytes values = record_vary_values(object_record(list->cache, object)); /* see fill_slice.c */
    memcpy(&list->at[list->count++], values.at, sizeof(struct span));
}

static int compare_spans(const void *a, const void *b)
{
    uint64_t x = ((const struct span *)a)->first, y = ((const struct span *)b)->first;
    return (x > y) - (x < y);
}

/* To the sorted list: those of today's size that are on disk only; others could be found by nobody. How long the whole is an origin only says: no more
 * places are looked at than could be shown. */
static void add_slices_on_disk(const struct inquiry *inquiry, struct slice_list *list, uint64_t length)
{
    uint64_t configured = inquiry->lookup->rules->slice_bytes, size = configured > 0 ? configured : SLICE_DEFAULT_BYTES;
    uint64_t end = length < size * SLICES_SHOWN_MAX ? length : size * SLICES_SHOWN_MAX;
    unsigned in_memory = list->count;
    for (uint64_t first = 0; inquiry->cache->store != NULL && first < end && list->count < SLICES_SHOWN_MAX; first += size) {
        struct span slice = {first, first + size};
        bool is_known = bsearch(&slice, list->at, in_memory, sizeof slice, compare_spans) != NULL;
        if (!is_known && load_is_on_disk(inquiry->cache, slice_hash(inquiry->cache, list->head, slice)))
            list->at[list->count++] = slice;
    }
}

static void describe_slices(struct inquiry *inquiry, const struct object *head, struct explained_response *response)
{
    struct slice_list list = {.head = head, .at = malloc(SLICES_SHOWN_MAX * sizeof *list.at), .cache = inquiry->cache};
    if (list.at == NULL)
        abort();
    visit_all(inquiry->cache, take_slice, &list);
    qsort(list.at, list.count, sizeof *list.at, compare_spans);
    add_slices_on_disk(inquiry, &list, response->body_bytes);
    qsort(list.at, list.count, sizeof *list.at, compare_spans);
    response->is_sliced = true;
    response->slices_count = list.count;
    response->slices = arena_alloc(inquiry->arena, (list.count + 1) * sizeof *list.at);
    for (unsigned i = 0; i < list.count; i++) {
        response->slices[i] = list.at[i];
        if (response->slices[i].end > response->body_bytes)
            response->slices[i].end = response->body_bytes;
    }
    free(list.at);
}

/* Whether all of [first, end) lies in slices of today's size. */
static bool has_part(const struct explained_response *response, struct span part, uint64_t size)
{
    unsigned i = 0;
    for (uint64_t first = part.first - part.first % size; first < part.end; first += size) {
        uint64_t end = first + size < response->body_bytes ? first + size : response->body_bytes;
        while (i < response->slices_count && (response->slices[i].first != first || response->slices[i].end != end))
            i++;
        if (i == response->slices_count)
            return false;
    }
    return true;
}

static bool has_what_is_wanted(const struct lookup *lookup, const struct explained_response *response)
{
    uint64_t configured = lookup->rules->slice_bytes, size = configured > 0 ? configured : SLICE_DEFAULT_BYTES;
    const struct headers *fields = lookup->fields;
    if (!response->is_sliced || lookup->method == METHOD_HEAD)
        return true;
    struct range range =
        range_parse(headers_count(fields, HEADER_RANGE) == 1 ? headers_value(fields, HEADER_RANGE) : BYTES_NONE, response->body_bytes);
    if (range.kind == RANGE_WHOLE)
        return has_part(response, (struct span){0, response->body_bytes}, size);
    range_sort(&range);
    for (unsigned i = 0; range.kind == RANGE_PARTIAL && i < range.count; i++) {
        if (!has_part(response, range.parts[i], size))
            return false;
    }
    return true;
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
    struct response_meta now;
    bool is_purged = object_is_purged(inquiry->cache, object);
    record_meta_now(record, &now);
    *response = (struct explained_response){
        .stale_since_s = record_stale_since(record),
        .is_purged = is_purged,
        .serves_on_error = reuse_allowed_on_error(&now, &inquiry->request, lookup->rules, lookup->now),
        .verdict = object_judge(inquiry->cache, object, &inquiry->request, lookup->rules, lookup->now),
        .frequency = atomic_load_explicit(&object->frequency, memory_order_relaxed),
        .body_bytes = record_body_bytes(record),
        .memory_bytes = object_footprint(object) + sizeof *object,
        .values = split_values(record_vary_values(record), vary_count, inquiry->arena),
        .is_selected = object_has_name(inquiry->cache, object, &inquiry->name),
        .is_on_disk = load_is_on_disk(inquiry->cache, object->hash),
    };
    record_meta(record, &response->meta);
    response->fields = arena_copy(inquiry->arena, record_fields(record));
    if (object->kind == OBJECT_SLICED)
        describe_slices(inquiry, object, response);
}

/* ---- deciding, as lookup.c does --------------------------------------------------------------------------------------------------------- */

static bool wants_stored_only(const struct inquiry *inquiry)
{
    return inquiry->lookup->rules->honour_request_directives && inquiry->request.cache_control.only_if_cached;
}

static void decide_fetch(const struct inquiry *inquiry, struct explanation *explanation, enum fwd_reason fwd, enum cache_detail detail,
                         bool is_stored)
{
    const struct lookup *lookup = inquiry->lookup;
    uint64_t unstorable = unstorable_name(inquiry->name.hash, inquiry->request.has_authorization);
    explanation->fwd = fwd;
    explanation->detail = detail;
    if (wants_stored_only(inquiry)) {
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
    else if (selected == NULL && inquiry->disk.is_there)
        explanation->outcome = EXPLAINED_LOAD;
    else if (selected == NULL)
        decide_fetch(inquiry, explanation, inquiry->selector != NULL ? FWD_VARY_MISS : FWD_URI_MISS, DETAIL_NONE, false);
    else if (selected->verdict.reuse == REUSE_REVALIDATE)
        decide_fetch(inquiry, explanation, selected->verdict.fwd, selected->verdict.detail, true);
    else {
        explanation->outcome = selected->verdict.reuse == REUSE_FRESH ? EXPLAINED_HIT : EXPLAINED_STALE;
        explanation->fwd = FWD_NONE;
        explanation->detail = selected->verdict.detail;
        if (!has_what_is_wanted(inquiry->lookup, selected)) {
            bool is_refused = wants_stored_only(inquiry);
            explanation->outcome = is_refused ? EXPLAINED_REFUSED : EXPLAINED_PARTIAL;
            explanation->fwd = is_refused ? FWD_NONE : FWD_PARTIAL;
            explanation->detail = is_refused ? DETAIL_ONLY_IF_CACHED : explanation->detail;
        }
    }
}

void cache_explain(struct cache *cache, const struct lookup *lookup, struct arena *arena, struct explanation *explanation)
{
    struct inquiry *inquiry = new_inquiry(cache, lookup, arena);
    *explanation = (struct explanation){0};
    look(inquiry, &lookup->key);
    inquiry = look_for_equivalent(inquiry, explanation);
    explanation->is_joined = inquiry->is_fetched;
    explanation->disk = inquiry->disk;
    if (inquiry->selector != NULL)
        explanation->vary_names = split_names(record_vary_names(object_record(cache, inquiry->selector)), arena, &explanation->vary_count);
    explanation->responses = arena_alloc(arena, (inquiry->found_count + 1) * sizeof *explanation->responses);
    for (unsigned i = 0; i < inquiry->found_count; i++)
        describe(inquiry, inquiry->found[i], explanation->vary_count, &explanation->responses[explanation->response_count++]);
    decide(inquiry, explanation);
    let_go(inquiry);
}
