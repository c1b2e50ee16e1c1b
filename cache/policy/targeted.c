#include "cache/policy/targeted.h"

#include "cache/policy/structured.h"

/* RFC 9213 §2.1: a directive without a value is a Boolean, delta-seconds are an Integer, field names a String. */
static void apply_member(struct cache_control *out, const struct structured_member *member)
{
    const struct structured_value *value = &member->value;
    struct typed_argument argument = {.kind = ARGUMENT_OTHER};
    if (value->type == STRUCTURED_BOOLEAN)
        argument.kind = value->integer ? ARGUMENT_TRUE : ARGUMENT_FALSE;
    else if (value->type == STRUCTURED_INTEGER)
        argument = (struct typed_argument){.kind = ARGUMENT_INTEGER, .integer = value->integer};
    else if (value->type == STRUCTURED_STRING)
        argument = (struct typed_argument){.kind = ARGUMENT_STRING, .text = value->text};
    cache_control_apply(out, member->key, &argument);
}

/* False: empty or invalid, so that it counts as absent (RFC 9213 §2.1). */
static bool parse_dictionary(struct cache_control *out, struct bytes text)
{
    struct structured_member member;
    bool is_empty = true;
    cache_control_clear(out);
    for (;;) {
        switch (structured_next_member(&text, &member)) {
        case STRUCTURED_MEMBER:
            apply_member(out, &member);
            is_empty = false;
            break;
        case STRUCTURED_END:
            out->is_present = true;
            return !is_empty;
        case STRUCTURED_INVALID:
            return false;
        }
    }
}

static bool find_targeted(struct cache_control *out, const struct headers *response, const struct site_rules *rules)
{
    for (unsigned i = 0; i < rules->targeted.count; i++) {
        struct bytes text = headers_combined(response, rules->targeted.at[i], response->arena);
        if (text.at != NULL && parse_dictionary(out, text))
            return true;
    }
    return false;
}

/* One that holds no caching directive, such as content="ESI/1.0" alone, says nothing about caching. */
static bool find_surrogate_control(struct cache_control *out, const struct headers *response, const struct site_rules *rules)
{
    if (!rules->surrogate_control || headers_find(response, HEADER_SURROGATE_CONTROL) == NULL)
        return false;
    cache_control_parse(out, response, HEADER_SURROGATE_CONTROL);
    return out->is_known;
}

/* What is no number is ignored, as nginx does; the first of several lines counts. */
static bool find_accel_expires(struct cache_control *out, const struct headers *response, const struct site_rules *rules, int64_t date_s)
{
    struct bytes value = rules->accel_expires ? headers_value(response, HEADER_X_ACCEL_EXPIRES) : BYTES_NONE;
    bool is_time = value.len > 0 && value.at[0] == '@';
    uint64_t seconds;
    if (!bytes_parse_u64(is_time ? bytes_from(value.at + 1, value.len - 1) : value, &seconds))
        return false;
    cache_control_clear(out);
    if (seconds == 0)
        out->no_store = true;
    else if (!is_time)
        cache_control_set_max_age(out, seconds);
    else
        cache_control_set_max_age(out, date_s >= 0 && seconds > (uint64_t)date_s ? seconds - (uint64_t)date_s : 0);
    return true;
}

void response_control_from(struct response_control *out, const struct headers *response, const struct site_rules *rules, int64_t date_s)
{
    if (find_targeted(&out->cc, response, rules)) {
        out->source = CONTROL_TARGETED;
    } else if (find_surrogate_control(&out->cc, response, rules)) {
        out->source = CONTROL_SURROGATE;
    } else if (find_accel_expires(&out->cc, response, rules, date_s)) {
        out->source = CONTROL_ACCEL_EXPIRES;
    } else {
        out->source = CONTROL_CACHE_CONTROL;
        cache_control_parse(&out->cc, response, HEADER_CACHE_CONTROL);
    }
}

bool field_is_for_us(enum header_id id, const struct site_rules *rules)
{
    return (id == HEADER_SURROGATE_CONTROL && rules->surrogate_control) || (id == HEADER_X_ACCEL_EXPIRES && rules->accel_expires);
}
