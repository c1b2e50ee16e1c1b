/* From what an origin answered to the head of a record: which fields are kept, and whether the response is.
 * Runs on the writer's loop, without locks. */
#include "cache/fill_state.h"

#include "base/http_date.h"
#include "base/status_line.h"
#include "cache/policy/storable.h"
#include "cache/policy/tags.h"
#include "cache/policy/targeted.h"
#include "cache/policy/validate.h"
#include "cache/policy/vary.h"

enum { EARLY_HINTS_MAX_BYTES = 4096 }; /* kept with a response: a few dozen links */

/* RFC 9111 §3.1, RFC 9110 §7.6.1: hop-by-hop fields, and what Connection names, are not kept. Age is written for each answer; so is the
 * framing, except that an answer to HEAD, and a 304, keep the Content-Length that tells of a body (RFC 9110 §8.6). */
static bool is_kept(const struct header *field, const struct headers *received, bool tells_length)
{
    if (field->id == HEADER_AGE || (field->id == HEADER_CONTENT_LENGTH && !tells_length))
        return false;
    return !header_is_hop_by_hop(field, received);
}

/* RFC 9110 §6.6.1: a recipient with a clock that caches or forwards a response without Date adds one. */
static void add_missing_date(struct headers *fields, struct wall_seconds received)
{
    if (headers_find(fields, HEADER_DATE) != NULL)
        return;
    char *text = arena_alloc(fields->arena, HTTP_DATE_LEN);
    http_date_format(received, text);
    headers_add_known(fields, HEADER_DATE, bytes_from(text, HTTP_DATE_LEN));
}

static char *put_field(char *at, const struct header *field)
{
    at = bytes_put(bytes_put(at, field->name), BYTES(": "));
    return bytes_put(bytes_put(at, field->value), BYTES("\r\n"));
}

static size_t fields_length(const struct headers *fields)
{
    size_t length = 0;
    for (unsigned i = 0; i < fields->count; i++)
        length += fields->at[i].name.len + fields->at[i].value.len + 4;
    return length;
}

/* Field lines that are kept, and sent to nobody. */
static bool is_hidden(enum header_id id, const struct site_rules *rules)
{
    if (id == HEADER_STRICT_TRANSPORT_SECURITY)
        return rules->hide_hsts;
    return field_is_for_us(id, rules) || (rules->strip_tags && header_is_tag_field(id));
}

static char *put_fields(char *at, const struct headers *fields, const struct site_rules *rules, bool hidden)
{
    for (unsigned i = 0; i < fields->count; i++) {
        if (is_hidden(fields->at[i].id, rules) == hidden)
            at = put_field(at, &fields->at[i]);
    }
    return at;
}

/* Status line, if it is an unusual one, the fields that clients see in their order, then those that were for us, then hints. */
static void write_head(const struct fill *fill, struct head_plan *plan, struct bytes status_line, struct bytes early_hints)
{
    struct bytes mark = early_hints.len > 0 ? BYTES(HIDDEN_HINTS) : BYTES("");
    size_t length = status_line.len + fields_length(&plan->fields) + mark.len + early_hints.len;
    char *text = arena_alloc(plan->fields.arena, length);
    char *hidden = put_fields(bytes_put(text, status_line), &plan->fields, &fill->rules, false);
    char *end = bytes_put(bytes_put(put_fields(hidden, &plan->fields, &fill->rules, true), mark), early_hints);
    plan->parts.head = bytes_from(text, length);
    plan->parts.status_line_bytes = (uint32_t)status_line.len;
    plan->parts.hidden_bytes = (uint32_t)(end - hidden);
}

/* Takes the fields that are the originator's alone out of those that are stored. */
static void set_personal_apart(struct head_plan *plan, const struct store_verdict *verdict)
{
    if (!plan->store || (verdict->no_cache_names.at == NULL && verdict->private_names.at == NULL))
        return;
    struct headers *fields = &plan->fields, kept;
    char *text = arena_alloc(fields->arena, fields_length(fields)), *at = text;
    headers_init(&kept, fields->arena);
    for (unsigned i = 0; i < fields->count; i++) {
        const struct header *field = &fields->at[i];
        if (storable_keeps_field(verdict, field->name))
            headers_add(&kept, field->id, field->name, field->value);
        else
            at = put_field(at, field);
    }
    *fields = kept;
    plan->personal = bytes_from(text, (size_t)(at - text));
}

/* `fields`: of the whole response, those included that are not stored. */
static void plan_vary(struct fill *fill, struct head_plan *plan, const struct headers *fields)
{
    struct record_parts *parts = &plan->parts;
    if (!fill->is_listable)
        return; /* nobody else will be given it */
    enum vary_kind kind = vary_parse(fields, &fill->rules.key_cookies, &fill->arena, &parts->vary_names);
    if (kind == VARY_FIELDS) {
        parts->vary_values = vary_values(parts->vary_names, &fill->fields, &fill->arena);
    } else if (kind == VARY_STAR && plan->store) {
        plan->store = false;
        plan->detail = DETAIL_VARY_STAR;
    }
}

void fill_note_early_hints(struct fill *fill, const struct headers *fields)
{
    struct bytes *hints = &fill->early_hints;
    if (!fill->rules.early_hints || !fill->is_listable)
        return;
    for (unsigned i = 0; i < fields->count; i++) {
        const struct header *field = &fields->at[i];
        if (storable_keeps_hint(field) && hints->len + field->name.len + field->value.len + 4 <= EARLY_HINTS_MAX_BYTES)
            *hints = arena_printf(&fill->arena, "%.*s%.*s: %.*s\r\n", BYTES_FMT(*hints), BYTES_FMT(field->name), BYTES_FMT(field->value));
    }
}

/* Leaves out what a record has for being purged by. */
static void leave_out_tags(struct record_parts *parts)
{
    parts->tags_count = 0;
    parts->goes_with_host = false;
    parts->head.len -= parts->hidden_bytes;
    parts->hidden_bytes = 0;
}

static enum cache_detail why_too_large(const struct record_parts *parts, size_t most_bytes)
{
    struct record_parts unvaried = *parts, untagged = *parts;
    unvaried.vary_values = BYTES("");
    leave_out_tags(&untagged);
    if (record_parts_bytes(&unvaried) <= most_bytes)
        return DETAIL_VARY_TOO_LARGE;
    return record_parts_bytes(&untagged) <= most_bytes ? DETAIL_TAGS_FULL : DETAIL_HEAD_TOO_LARGE;
}

/* What stands before the body lies in one page. A response that does not fit there together with what it would be found and purged by is passed on
 * without that. Those who wait for it are released: nothing tells any more which requests select it. */
static void fit_front(struct head_plan *plan, size_t most_bytes)
{
    struct record_parts *parts = &plan->parts;
    if (record_parts_bytes(parts) <= most_bytes)
        return;
    if (plan->store || plan->detail == DETAIL_HIT_FOR_MISS || plan->detail == DETAIL_PURGED)
        plan->detail = why_too_large(parts, most_bytes);
    plan->store = plan->is_storable = false;
    leave_out_tags(parts);
    parts->key = parts->vary_names = parts->vary_values = BYTES("");
    if (record_parts_bytes(parts) > most_bytes)
        plan->error = ERROR_ORIGIN_HEADER_TOO_LARGE;
}

static void plan_body(struct fill *fill, const struct origin_head *head, struct head_plan *plan)
{
    struct record_parts *parts = &plan->parts;
    parts->key = fill->key.encoded;
    parts->length_known = head->length_known || head->body_forbidden;
    parts->body_bytes = head->body_forbidden || !head->length_known ? 0 : head->length;
    fit_front(plan, SLAB_PAGE_BYTES);
    size_t front = record_parts_bytes(parts);
    bool fits = parts->body_bytes == 0 || (front <= SLAB_CHUNK_MAX_BYTES && parts->body_bytes <= SLAB_CHUNK_MAX_BYTES - front);
    parts->body_is_apart = !parts->length_known || !fits;
    if ((plan->store || plan->detail == DETAIL_HIT_FOR_MISS) && parts->body_bytes > fill->cache->settings.object_max_bytes) {
        plan->store = false;
        plan->detail = DETAIL_TOO_LARGE;
    }
}

static struct store_verdict judge(struct fill *fill, const struct origin_head *head, unsigned status, const struct headers *fields,
                                  struct head_plan *plan)
{
    struct store_verdict verdict =
        storable_decide(&fill->request, status, fields, &fill->rules, head->request_time, head->response_time, &plan->parts.meta);
    plan->is_storable = verdict.store;
    plan->store = verdict.store && fill->is_listable;
    bool has_own_reason = fill->pass_detail == DETAIL_NONE || fill->pass_detail == DETAIL_HIT_FOR_MISS;
    plan->detail = verdict.store || !has_own_reason ? fill->pass_detail : verdict.detail;
    plan->error = ERROR_OK;
    return verdict;
}

/* Empty: it is the usual one, whatever version of HTTP the origin speaks. */
static struct bytes own_status_line(const struct origin_head *head, struct arena *arena)
{
    if (status_line_usual(head->status).len > 0 && bytes_equal(head->reason, status_phrase(head->status)))
        return BYTES("");
    const struct bytes version = BYTES("HTTP/1.1 ");
    const char status[4] = {(char)('0' + head->status / 100), (char)('0' + head->status / 10 % 10), (char)('0' + head->status % 10), ' '};
    char *text = arena_alloc(arena, version.len + sizeof status + head->reason.len + 2);
    char *end = bytes_put(bytes_put(bytes_put(bytes_put(text, version), bytes_from(status, sizeof status)), head->reason), BYTES("\r\n"));
    return bytes_from(text, (size_t)(end - text));
}

void plan_head(struct fill *fill, const struct origin_head *head, struct head_plan *plan)
{
    *plan = (struct head_plan){0};
    headers_init(&plan->fields, &fill->arena);
    for (unsigned i = 0; i < head->fields->count; i++) {
        const struct header *field = &head->fields->at[i];
        if (is_kept(field, head->fields, head->body_forbidden && head->status != 204))
            headers_add(&plan->fields, field->id, field->name, field->value);
    }
    struct store_verdict verdict = judge(fill, head, head->status, head->fields, plan);
    if (plan->store && fill->stale != NULL && !storable_replaces(&fill->stale_view.meta, &plan->parts.meta)) {
        plan->store = false;
        plan->detail = DETAIL_ERROR;
    }
    plan_vary(fill, plan, head->fields);
    plan_tags(fill, plan);
    set_personal_apart(plan, &verdict);
    add_missing_date(&plan->fields, head->response_time);
    write_head(fill, plan, own_status_line(head, &fill->arena), plan->store ? fill->early_hints : BYTES_NONE);
    plan_body(fill, head, plan);
    plan->is_origin_error = !plan->store && status_is_origin_error(head->status);
    plan->ends_stale =
        !plan->store && fill->is_listable && fill->stale != NULL && storable_ends(&fill->stale_view.meta, &plan->parts.meta, plan->detail);
}

/* RFC 9111 §3.2: what a 304 says replaces what is stored, except what describes the stored body itself. A digest of the content
 * (RFC 9530 §2) would be that of the 304's, which has none. */
static bool is_refreshed(const struct header *field, const struct headers *received)
{
    return is_kept(field, received, false) && field->id != HEADER_CONTENT_ENCODING && !(header_flags(field->id) & HEADER_CONTENT);
}

static bool is_replaced(const struct header *stored, const struct headers *received)
{
    const struct header *newer = headers_find_named(received, stored->name);
    return newer != NULL && is_refreshed(newer, received);
}

static void merge_fields(struct fill *fill, const struct headers *stored, const struct origin_head *head, struct headers *merged)
{
    headers_init(merged, &fill->arena);
    for (unsigned i = 0; i < stored->count; i++) {
        if (!is_replaced(&stored->at[i], head->fields))
            headers_add(merged, stored->at[i].id, stored->at[i].name, stored->at[i].value);
    }
    for (unsigned i = 0; i < head->fields->count; i++) {
        const struct header *field = &head->fields->at[i];
        if (is_refreshed(field, head->fields))
            headers_add(merged, field->id, field->name, field->value);
    }
}

/* `plan->fields`: the stored fields as `head` leaves them. `judged`: with the Age that is not kept, but counts. False: it is about another version. */
static bool plan_merge(struct fill *fill, const struct origin_head *head, struct head_plan *plan, struct headers *judged)
{
    const struct response_view *stale = &fill->stale_view;
    struct headers stored;
    *plan = (struct head_plan){0};
    headers_init(&stored, &fill->arena);
    headers_parse_block(&stored, stale->fields);
    headers_parse_block(&stored, stale->hidden);
    bool is_same = not_modified_updates(&stored, head->fields);
    if (is_same)
        merge_fields(fill, &stored, head, &plan->fields);
    else
        plan->fields = stored;
    if (is_same && headers_find(head->fields, HEADER_DATE) == NULL) { /* the stored one tells of the stored answer, not of this one */
        headers_remove(&plan->fields, HEADER_DATE);
        add_missing_date(&plan->fields, head->response_time);
    }
    headers_init(judged, &fill->arena);
    for (unsigned i = 0; i < plan->fields.count; i++)
        headers_add(judged, plan->fields.at[i].id, plan->fields.at[i].name, plan->fields.at[i].value);
    const struct header *age = headers_find(head->fields, HEADER_AGE);
    for (; age != NULL; age = headers_next(head->fields, age))
        headers_add(judged, age->id, age->name, age->value);
    return is_same;
}

/* The rest of a record that keeps the stored body. */
static void plan_stale_body(struct fill *fill, const struct origin_head *head, struct head_plan *plan)
{
    const struct response_view *stale = &fill->stale_view;
    struct bytes hints =
        fill->early_hints.len > 0 ? fill->early_hints : stale->early_hints; /* the newer ones take the place of the older */
    write_head(fill, plan, stale->status_line, hints);
    struct origin_head whole = *head;
    whole.body_forbidden = false;
    whole.length_known = true;
    whole.length = stale->is_sliced ? 0 : stale->length;
    plan_body(fill, &whole, plan);
    plan->parts.body_bytes = stale->length;
    plan->parts.body_is_apart = stale->is_sliced || object_body(fill->stale) != NULL;
    if (!plan->parts.body_is_apart)
        fit_front(plan, SLAB_PAGE_BYTES - stale->length);
}

void plan_refresh(struct fill *fill, const struct origin_head *head, struct head_plan *plan)
{
    struct headers judged;
    bool is_same = plan_merge(fill, head, plan, &judged);
    struct store_verdict verdict = judge(fill, head, fill->stale_view.status, &judged, plan);
    if (!is_same && plan->store) { /* what it confirmed is served this once, and stays as it is */
        plan->store = false;
        plan->detail = DETAIL_VALIDATOR;
    }
    plan->ends_stale = is_same && detail_is_of_response(verdict.detail);
    plan_vary(fill, plan, &judged);
    plan_stale_tags(fill, plan);
    set_personal_apart(plan, &verdict);
    plan_stale_body(fill, head, plan);
    if (verdict.store && !plan->is_storable) /* it cannot be kept as it is now, nor as it was */
        plan->ends_stale = true;
}

void plan_update(struct fill *fill, const struct origin_head *head, struct head_plan *plan)
{
    struct headers judged;
    bool is_same = plan_merge(fill, head, plan, &judged);
    const struct record *stored = object_record(fill->cache, fill->stale);
    struct request_meta as_get = fill->request;
    as_get.method = METHOD_GET;
    struct store_verdict verdict = storable_decide(&as_get, fill->stale_view.status, &judged, &fill->rules, head->request_time,
                                                   head->response_time, &plan->parts.meta);
    /* It stays where it is in the index, so it must select as it did. */
    struct bytes names = BYTES("");
    vary_parse(&judged, &fill->rules.key_cookies, &fill->arena, &names);
    plan->parts.vary_names = record_vary_names(stored);
    plan->parts.vary_values = record_vary_values(stored);
    plan->store = verdict.store && is_same && bytes_equal(names, plan->parts.vary_names);
    plan_stale_tags(fill, plan);
    set_personal_apart(plan, &verdict);
    plan_stale_body(fill, head, plan);
}
