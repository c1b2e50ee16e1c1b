/* DESIGN. A Cache-Control line is read once, left to right, a directive at a time: name [ "=" ( token / quoted-string ) ].
 *
 * What does not fit that grammar (spaces around "=", ";" for ",", a quote that never closes) is junk up to the next list member,
 * and inside it only restrictions count: a malformed line must neither hide a `private` nor grant a lifetime.
 */
#include "cache/policy/cache_control.h"

#include <assert.h>

/* RFC 9111 §1.2.2: what is larger counts as 2^31. */
static const int64_t seconds_max = INT64_C(1) << 31;

enum directive_kind {
    DIRECTIVE_RESTRICTION, /* counts with any argument, and inside junk */
    DIRECTIVE_PERMISSION,  /* counts in its exact form only */
    DIRECTIVE_IMMUTABLE,   /* RFC 8246 §2: its arguments must be ignored */
    DIRECTIVE_NO_CACHE,    /* may name fields */
    DIRECTIVE_PRIVATE,     /* may name fields */
    DIRECTIVE_SECONDS,
    DIRECTIVE_MAX_STALE, /* seconds, or nothing at all */
};

static const struct known_directive {
    struct bytes name;
    enum directive_kind kind;
    size_t offset; /* of its bool or int64_t */
} known_directives[] = {
#define FLAG(name, kind, member)                                                                                                           \
    {                                                                                                                                      \
        {name, sizeof(name) - 1}, kind, offsetof(struct cache_control, member)                                                             \
    }
    FLAG("max-age", DIRECTIVE_SECONDS, max_age),
    FLAG("s-maxage", DIRECTIVE_SECONDS, s_maxage),
    FLAG("no-cache", DIRECTIVE_NO_CACHE, no_cache),
    FLAG("no-store", DIRECTIVE_RESTRICTION, no_store),
    FLAG("private", DIRECTIVE_PRIVATE, is_private),
    FLAG("public", DIRECTIVE_PERMISSION, is_public),
    FLAG("must-revalidate", DIRECTIVE_RESTRICTION, must_revalidate),
    FLAG("proxy-revalidate", DIRECTIVE_RESTRICTION, proxy_revalidate),
    FLAG("no-transform", DIRECTIVE_RESTRICTION, no_transform),
    FLAG("must-understand", DIRECTIVE_PERMISSION, must_understand),
    FLAG("immutable", DIRECTIVE_IMMUTABLE, immutable),
    FLAG("stale-while-revalidate", DIRECTIVE_SECONDS, stale_while_revalidate),
    FLAG("stale-if-error", DIRECTIVE_SECONDS, stale_if_error),
    FLAG("only-if-cached", DIRECTIVE_RESTRICTION, only_if_cached),
    FLAG("min-fresh", DIRECTIVE_SECONDS, min_fresh),
    FLAG("max-stale", DIRECTIVE_MAX_STALE, max_stale),
#undef FLAG
};

struct directive {
    struct bytes name, argument; /* argument without its quotes; BYTES_NONE when there is none */
    bool is_malformed;           /* junk follows, or came before it in this list member */
};

static const struct known_directive *directive_find(struct bytes name)
{
    for (size_t i = 0; i < sizeof known_directives / sizeof *known_directives; i++) {
        if (bytes_equal_nocase(known_directives[i].name, name))
            return &known_directives[i];
    }
    return NULL;
}

/* Takes a quoted-string from the front of *rest; false, and nothing taken, when it never closes. */
static bool take_quoted(struct bytes *rest, struct bytes *content)
{
    for (size_t i = 1; i < rest->len; i++) {
        if (rest->at[i] == '\\') {
            i++;
        } else if (rest->at[i] == '"') {
            *content = bytes_from(rest->at + 1, i - 1);
            *rest = bytes_from(rest->at + i + 1, rest->len - i - 1);
            return true;
        }
    }
    return false;
}

static struct bytes take_token(struct bytes *rest)
{
    size_t len = 0;
    while (len < rest->len && byte_is_tchar((unsigned char)rest->at[len]))
        len++;
    struct bytes token = bytes_from(rest->at, len);
    *rest = bytes_from(rest->at + len, rest->len - len);
    return token;
}

/* Skips what cannot begin a directive; whether anything was skipped. */
static bool skip_junk(struct bytes *rest)
{
    size_t len = 0;
    while (len < rest->len && !byte_is_tchar((unsigned char)rest->at[len]))
        len++;
    *rest = bytes_from(rest->at + len, rest->len - len);
    return len > 0;
}

static bool directive_next(struct bytes *rest, struct directive *directive)
{
    directive->is_malformed |= skip_junk(rest);
    if (rest->len == 0)
        return false;
    directive->name = take_token(rest);
    directive->argument = BYTES_NONE;
    if (rest->len > 0 && rest->at[0] == '=') {
        *rest = bytes_from(rest->at + 1, rest->len - 1);
        if (rest->len == 0 || rest->at[0] != '"' || !take_quoted(rest, &directive->argument))
            directive->argument = take_token(rest);
    }
    directive->is_malformed |= rest->len > 0;
    return true;
}

/* RFC 9111 §4.2.1: of repeated directives the first is used, and invalid freshness information counts as stale: 0. */
static void set_seconds(int64_t *slot, const struct directive *directive)
{
    struct bytes digits = directive->argument;
    bool is_number = !directive->is_malformed && digits.len > 0;
    for (size_t i = 0; is_number && i < digits.len; i++)
        is_number = digits.at[i] >= '0' && digits.at[i] <= '9';
    if (!is_number) {
        *slot = 0;
        return;
    }
    if (*slot != CC_ABSENT)
        return;
    uint64_t value;
    bool fits = bytes_parse_u64(digits, &value) && value < (uint64_t)seconds_max;
    *slot = fits ? (int64_t)value : seconds_max;
}

static bool *flag_of(struct cache_control *out, const struct known_directive *known)
{
    return (bool *)((char *)out + known->offset);
}

static int64_t *seconds_of(struct cache_control *out, const struct known_directive *known)
{
    return (int64_t *)((char *)out + known->offset);
}

static struct bytes *names_of(struct cache_control *out, const struct known_directive *known)
{
    return known->kind == DIRECTIVE_NO_CACHE ? &out->no_cache_names : &out->private_names;
}

/* Whether a response without this field is still that response. */
static bool field_can_be_left_out(struct bytes name)
{
    switch (header_identify(name)) {
    case HEADER_CACHE_CONTROL:
    case HEADER_CONTENT_ENCODING:
    case HEADER_CONTENT_LENGTH:
    case HEADER_CONTENT_RANGE:
    case HEADER_CONTENT_TYPE:
    case HEADER_VARY:
        return false;
    default:
        return true;
    }
}

static bool names_can_be_honoured(struct bytes names)
{
    struct bytes name;
    bool is_empty = true;
    while (bytes_next_list_member(&names, &name)) {
        if (!bytes_is_token(name) || !field_can_be_left_out(name))
            return false;
        is_empty = false;
    }
    return !is_empty;
}

static void apply(struct cache_control *out, const struct directive *directive)
{
    const struct known_directive *known = directive_find(directive->name);
    if (!known)
        return;
    bool *flag = flag_of(out, known), has_argument = directive->argument.at != NULL;
    int64_t *seconds = seconds_of(out, known);
    out->is_known = true;
    switch (known->kind) {
    case DIRECTIVE_RESTRICTION:
        *flag = true;
        break;
    case DIRECTIVE_PERMISSION:
        *flag |= !directive->is_malformed && !has_argument;
        break;
    case DIRECTIVE_IMMUTABLE:
        *flag |= !directive->is_malformed;
        break;
    case DIRECTIVE_NO_CACHE:
    case DIRECTIVE_PRIVATE:
        if (directive->is_malformed || names_of(out, known)->at || !names_can_be_honoured(directive->argument))
            *flag = true;
        else
            *names_of(out, known) = directive->argument;
        break;
    case DIRECTIVE_MAX_STALE:
        if (!directive->is_malformed && !has_argument)
            out->max_stale_any = true;
        else
            set_seconds(seconds, directive);
        break;
    case DIRECTIVE_SECONDS:
        set_seconds(seconds, directive);
        break;
    }
}

void cache_control_clear(struct cache_control *out)
{
    *out = (struct cache_control){
        .max_age = CC_ABSENT,
        .s_maxage = CC_ABSENT,
        .stale_while_revalidate = CC_ABSENT,
        .stale_if_error = CC_ABSENT,
        .min_fresh = CC_ABSENT,
        .max_stale = CC_ABSENT,
    };
}

static int64_t cap_seconds(uint64_t seconds)
{
    return seconds < (uint64_t)seconds_max ? (int64_t)seconds : seconds_max;
}

void cache_control_set_max_age(struct cache_control *out, uint64_t seconds)
{
    out->max_age = cap_seconds(seconds);
}

void cache_control_apply(struct cache_control *out, struct bytes name, const struct typed_argument *argument)
{
    const struct known_directive *known = directive_find(name);
    if (!known)
        return;
    out->is_known = true;
    switch (known->kind) {
    case DIRECTIVE_RESTRICTION:
        *flag_of(out, known) = argument->kind != ARGUMENT_FALSE;
        break;
    case DIRECTIVE_PERMISSION:
    case DIRECTIVE_IMMUTABLE:
        *flag_of(out, known) = argument->kind == ARGUMENT_TRUE;
        break;
    case DIRECTIVE_NO_CACHE:
    case DIRECTIVE_PRIVATE: {
        struct bytes *names = names_of(out, known);
        bool has_names = argument->kind == ARGUMENT_STRING && names_can_be_honoured(argument->text);
        *names = has_names ? argument->text : BYTES_NONE;
        *flag_of(out, known) = argument->kind != ARGUMENT_FALSE && !has_names;
        break;
    }
    case DIRECTIVE_SECONDS:
    case DIRECTIVE_MAX_STALE:
        *seconds_of(out, known) =
            argument->kind == ARGUMENT_INTEGER && argument->integer > 0 ? cap_seconds((uint64_t)argument->integer) : 0;
        break;
    }
}

void cache_control_parse(struct cache_control *out, const struct headers *fields, enum header_id id)
{
    cache_control_clear(out);
    for (const struct header *line = headers_find(fields, id); line; line = headers_next(fields, line)) {
        out->is_present = true;
        struct bytes rest = line->value, member;
        while (bytes_next_list_member(&rest, &member)) {
            struct directive directive = {.is_malformed = false};
            while (directive_next(&member, &directive))
                apply(out, &directive);
        }
    }
}
