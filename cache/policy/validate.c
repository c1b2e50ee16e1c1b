#include "cache/policy/validate.h"

#include "base/http_date.h"

/* RFC 9110 §8.8.3: entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE. A backslash in it is a character like others, and a comma does not
 * separate: so entity tags have a list parser of their own. Takes one from the front of *rest. */
static bool take_etag(struct bytes *rest, struct bytes *etag)
{
    size_t at = rest->len > 2 && rest->at[0] == 'W' && rest->at[1] == '/' ? 2 : 0;
    if (at >= rest->len || rest->at[at] != '"')
        return false;
    for (at++; at < rest->len && rest->at[at] != '"'; at++) {
        unsigned char c = (unsigned char)rest->at[at];
        if (c <= 0x20 || c == 0x7f)
            return false;
    }
    if (at == rest->len)
        return false;
    *etag = bytes_from(rest->at, at + 1);
    *rest = bytes_from(rest->at + at + 1, rest->len - at - 1);
    return true;
}

bool etag_is_valid(struct bytes etag)
{
    struct bytes rest = etag, whole;
    return take_etag(&rest, &whole) && rest.len == 0;
}

static bool etag_is_weak(struct bytes etag)
{
    return etag.at[0] == 'W';
}

static struct bytes opaque_part(struct bytes etag)
{
    return etag_is_weak(etag) ? bytes_from(etag.at + 2, etag.len - 2) : etag;
}

bool etag_weak_equal(struct bytes a, struct bytes b)
{
    return etag_is_valid(a) && etag_is_valid(b) && bytes_equal(opaque_part(a), opaque_part(b));
}

bool etag_strong_equal(struct bytes a, struct bytes b)
{
    return etag_is_valid(a) && etag_is_valid(b) && !etag_is_weak(a) && !etag_is_weak(b) && bytes_equal(a, b);
}

typedef bool etag_comparison(struct bytes a, struct bytes b);

/* Whether one line of If-Match or If-None-Match names `etag`. What is no entity tag is skipped up to the next comma: it matches nothing. */
static bool etag_list_has(struct bytes list, struct bytes etag, etag_comparison *equal)
{
    while (list.len > 0) {
        struct bytes member;
        list = bytes_trim(list);
        bool is_etag = take_etag(&list, &member);
        size_t comma = bytes_find(list, ',');
        /* `"a"b` is not the entity tag "a". */
        if (is_etag && bytes_trim(bytes_from(list.at, comma)).len == 0 && equal(member, etag))
            return true;
        size_t skipped = comma < list.len ? comma + 1 : comma;
        list = bytes_from(list.at + skipped, list.len - skipped);
    }
    return false;
}

/* If-Match and If-None-Match alike: "*" as the only member, or a list that may come in several lines (§13.1.1, §13.1.2). */
static bool field_names_etag(const struct headers *request, enum header_id id, struct bytes etag, etag_comparison *equal)
{
    const struct header *line = headers_find(request, id);
    if (bytes_equal(line->value, BYTES("*")) && !headers_next(request, line))
        return true;
    for (; line; line = headers_next(request, line)) {
        if (etag_list_has(line->value, etag, equal))
            return true;
    }
    return false;
}

/* A date without a century is understood as it was when it came. */
static int64_t stored_date(const struct headers *stored, enum header_id id, const struct response_meta *meta)
{
    struct wall_seconds date;
    struct bytes value = headers_value(stored, id);
    return value.at && http_date_parse(value, (struct wall_seconds){meta->response_time_s}, &date) ? date.s : META_ABSENT;
}

struct validators validators_of(const struct headers *stored, const struct response_meta *meta, const struct headers *request)
{
    struct validators validators = {.etag = headers_value(stored, HEADER_ETAG), .last_modified_s = META_ABSENT, .date_s = META_ABSENT};
    /* §13.2.2: entity tags go before dates; browsers send both. */
    bool since = headers_find(request, HEADER_IF_MODIFIED_SINCE) && !headers_find(request, HEADER_IF_NONE_MATCH);
    bool unmodified = headers_find(request, HEADER_IF_UNMODIFIED_SINCE) && !headers_find(request, HEADER_IF_MATCH);
    if (!since && !unmodified && !headers_find(request, HEADER_IF_RANGE))
        return validators;
    int64_t modified_s = stored_date(stored, HEADER_LAST_MODIFIED, meta);
    if (modified_s >= 0) /* as for RESPONSE_HAS_VALIDATOR */
        validators.last_modified_s = modified_s;
    if (meta->flags & RESPONSE_HAS_DATE) /* the origin's own; and not ours, which says nothing about the representation */
        validators.date_s = stored_date(stored, HEADER_DATE, meta);
    return validators;
}

/* §13.1.3, §13.1.4: a field that is no single HTTP-date is ignored. */
static bool find_date(const struct headers *request, enum header_id id, struct wall_seconds now, int64_t *date_s)
{
    struct wall_seconds date;
    if (headers_count(request, id) != 1 || !http_date_parse(headers_value(request, id), now, &date))
        return false;
    *date_s = date.s;
    return true;
}

/* §13.2.2 steps 1 and 2, which are the origin server's: a gateway is that for its clients (RFC 9110 §3.7). */
static bool unmodified_conditions_hold(const struct headers *request, const struct validators *stored, struct wall_seconds now)
{
    int64_t date_s;
    if (headers_find(request, HEADER_IF_MATCH))
        return field_names_etag(request, HEADER_IF_MATCH, stored->etag, etag_strong_equal);
    if (stored->last_modified_s != META_ABSENT && find_date(request, HEADER_IF_UNMODIFIED_SINCE, now, &date_s))
        return stored->last_modified_s <= date_s;
    return true;
}

/* §13.2.2 steps 3 and 4: whether what the client has is still current. */
static bool client_is_current(enum method method, const struct headers *request, const struct validators *stored, struct wall_seconds now)
{
    int64_t date_s;
    if (headers_find(request, HEADER_IF_NONE_MATCH))
        return field_names_etag(request, HEADER_IF_NONE_MATCH, stored->etag, etag_weak_equal);
    if ((method != METHOD_GET && method != METHOD_HEAD) || !find_date(request, HEADER_IF_MODIFIED_SINCE, now, &date_s))
        return false;
    /* RFC 9111 §4.3.2: without Last-Modified the response's Date is compared. */
    int64_t modified_s = stored->last_modified_s != META_ABSENT ? stored->last_modified_s : stored->date_s;
    return modified_s != META_ABSENT && modified_s <= date_s;
}

enum condition condition_evaluate(enum method method, const struct headers *request, unsigned status, const struct validators *stored,
                                  struct wall_seconds now)
{
    if (status < 200 || status > 299)
        return CONDITION_NONE_OR_TRUE;
    if (!unmodified_conditions_hold(request, stored, now))
        return CONDITION_FAILED;
    if (!client_is_current(method, request, stored, now))
        return CONDITION_NONE_OR_TRUE;
    return method == METHOD_GET || method == METHOD_HEAD ? CONDITION_NOT_MODIFIED : CONDITION_FAILED;
}

bool if_range_holds(const struct headers *request, const struct validators *stored, struct wall_seconds now)
{
    struct bytes value = headers_value(request, HEADER_IF_RANGE);
    int64_t date_s;
    if (!value.at)
        return true;
    if (headers_count(request, HEADER_IF_RANGE) > 1)
        return false;
    if (etag_is_valid(value))
        return etag_strong_equal(value, stored->etag);
    if (!find_date(request, HEADER_IF_RANGE, now, &date_s) || stored->last_modified_s == META_ABSENT || stored->date_s == META_ABSENT)
        return false;
    /* §8.8.2.2: a date is a strong validator only if the response was sent at least a second after the change. */
    return date_s == stored->last_modified_s && stored->date_s - stored->last_modified_s >= 1;
}

bool not_modified_updates(const struct headers *stored, const struct headers *received)
{
    struct bytes newer = headers_value(received, HEADER_ETAG);
    if (!etag_is_valid(newer) || etag_is_weak(newer))
        return true;
    /* Compared weakly: an origin that compresses as it sends (nginx) weakens the tag of its 200, and not that of its 304. */
    return etag_weak_equal(newer, headers_value(stored, HEADER_ETAG));
}

static bool is_unchanged(const struct headers *stored, const struct headers *received, enum header_id id)
{
    struct bytes newer = headers_value(received, id);
    return newer.at == NULL || bytes_equal(newer, headers_value(stored, id));
}

enum head_effect head_effect_on(unsigned stored_status, const struct headers *stored, uint64_t stored_length, unsigned status,
                                const struct headers *received)
{
    if (status != 200)
        return HEAD_SAYS_NOTHING;
    struct bytes length = headers_value(received, HEADER_CONTENT_LENGTH);
    uint64_t bytes = stored_length;
    bool is_same_length = length.at == NULL || (bytes_parse_u64(length, &bytes) && bytes == stored_length);
    bool is_same = stored_status == 200 && is_same_length && is_unchanged(stored, received, HEADER_ETAG) &&
                   is_unchanged(stored, received, HEADER_LAST_MODIFIED);
    return is_same ? HEAD_UPDATES : HEAD_INVALIDATES;
}
