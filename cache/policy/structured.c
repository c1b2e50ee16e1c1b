/* The parsing algorithms of RFC 9651 §4.2, one function each. Each takes what it knows from the front of *rest and returns false at the first byte
 * that does not fit. */
#include "cache/policy/structured.h"

enum {
    INTEGER_DIGITS_MAX = 15,         /* §4.2.4 */
    DECIMAL_INTEGER_DIGITS_MAX = 12, /* §4.2.4 */
    DECIMAL_FRACTION_DIGITS_MAX = 3, /* §4.2.4 */
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_alpha(char c)
{
    return is_lower(byte_lower(c));
}

static void skip(struct bytes *rest, size_t count)
{
    *rest = bytes_from(rest->at + count, rest->len - count);
}

static bool next_is(const struct bytes *rest, char c)
{
    return rest->len > 0 && rest->at[0] == c;
}

static bool take(struct bytes *rest, char c)
{
    if (!next_is(rest, c))
        return false;
    skip(rest, 1);
    return true;
}

static void skip_spaces(struct bytes *rest)
{
    while (next_is(rest, ' '))
        skip(rest, 1);
}

/* RFC 9110 §5.6.3: OWS */
static void skip_blanks(struct bytes *rest)
{
    while (next_is(rest, ' ') || next_is(rest, '\t'))
        skip(rest, 1);
}

/* §4.2.3.3 */
static bool take_key(struct bytes *rest, struct bytes *key)
{
    if (rest->len == 0 || !(is_lower(rest->at[0]) || rest->at[0] == '*'))
        return false;
    size_t len = 1;
    while (len < rest->len && (is_lower(rest->at[len]) || is_digit(rest->at[len]) || memchr("_-.*", rest->at[len], 4)))
        len++;
    *key = bytes_from(rest->at, len);
    skip(rest, len);
    return true;
}

static size_t count_digits(struct bytes text)
{
    size_t count = 0;
    while (count < text.len && is_digit(text.at[count]))
        count++;
    return count;
}

/* §4.2.4 */
static bool take_number(struct bytes *rest, struct structured_value *value)
{
    struct bytes whole = *rest;
    bool is_negative = take(rest, '-');
    size_t digits = count_digits(*rest);
    if (digits == 0 || digits > INTEGER_DIGITS_MAX)
        return false;
    value->type = STRUCTURED_INTEGER;
    value->integer = 0;
    for (size_t i = 0; i < digits; i++)
        value->integer = value->integer * 10 + (rest->at[i] - '0');
    if (is_negative)
        value->integer = -value->integer;
    skip(rest, digits);
    if (take(rest, '.')) {
        size_t fraction = count_digits(*rest);
        if (digits > DECIMAL_INTEGER_DIGITS_MAX || fraction == 0 || fraction > DECIMAL_FRACTION_DIGITS_MAX)
            return false;
        skip(rest, fraction);
        value->type = STRUCTURED_DECIMAL;
    }
    value->text = bytes_from(whole.at, whole.len - rest->len);
    return true;
}

static bool is_printable(char c)
{
    return c >= 0x20 && c <= 0x7e;
}

/* §4.2.5, behind the opening quote */
static bool take_string(struct bytes *rest, struct structured_value *value)
{
    value->type = STRUCTURED_STRING;
    for (size_t i = 0; i < rest->len && is_printable(rest->at[i]); i++) {
        if (rest->at[i] == '"') {
            value->text = bytes_from(rest->at, i);
            skip(rest, i + 1);
            return true;
        }
        if (rest->at[i] == '\\' && (++i == rest->len || (rest->at[i] != '"' && rest->at[i] != '\\')))
            return false;
    }
    return false;
}

/* §4.2.6 */
static bool take_token(struct bytes *rest, struct structured_value *value)
{
    size_t len = 1;
    while (len < rest->len && (byte_is_tchar((unsigned char)rest->at[len]) || rest->at[len] == ':' || rest->at[len] == '/'))
        len++;
    value->type = STRUCTURED_TOKEN;
    value->text = bytes_from(rest->at, len);
    skip(rest, len);
    return true;
}

/* §4.2.7, behind the opening colon: base64, its padding optional */
static bool take_byte_sequence(struct bytes *rest, struct structured_value *value)
{
    size_t len = 0;
    while (len < rest->len && (is_alpha(rest->at[len]) || is_digit(rest->at[len]) || rest->at[len] == '+' || rest->at[len] == '/'))
        len++;
    size_t padding = 0;
    while (len + padding < rest->len && rest->at[len + padding] == '=')
        padding++;
    bool is_whole = len % 4 != 1 && (padding == 0 || (padding <= 2 && (len + padding) % 4 == 0));
    value->type = STRUCTURED_BYTES;
    value->text = bytes_from(rest->at, len + padding);
    skip(rest, len + padding);
    return is_whole && take(rest, ':');
}

/* §4.2.8, behind the question mark */
static bool take_boolean(struct bytes *rest, struct structured_value *value)
{
    value->type = STRUCTURED_BOOLEAN;
    value->integer = next_is(rest, '1');
    return take(rest, '0') || take(rest, '1');
}

/* §4.2.9, behind the at sign */
static bool take_date(struct bytes *rest, struct structured_value *value)
{
    if (!take_number(rest, value) || value->type != STRUCTURED_INTEGER)
        return false;
    value->type = STRUCTURED_DATE;
    return true;
}

/* UTF-8 a byte at a time, after RFC 3629 §4: shortest forms only, no surrogates, nothing beyond U+10FFFF. */
struct utf8 {
    unsigned expected;             /* bytes that must follow */
    unsigned char lowest, highest; /* of the next one */
};

static bool utf8_feed(struct utf8 *state, unsigned char byte)
{
    if (state->expected > 0) {
        bool fits = byte >= state->lowest && byte <= state->highest;
        *state = (struct utf8){state->expected - 1, 0x80, 0xbf};
        return fits;
    }
    if (byte < 0x80)
        return true;
    if (byte < 0xc2 || byte > 0xf4)
        return false;
    *state = (struct utf8){byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3, 0x80, 0xbf};
    if (byte == 0xe0)
        state->lowest = 0xa0;
    else if (byte == 0xed)
        state->highest = 0x9f;
    else if (byte == 0xf0)
        state->lowest = 0x90;
    else if (byte == 0xf4)
        state->highest = 0x8f;
    return true;
}

static bool is_lower_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f');
}

/* §4.2.10, behind the percent sign */
static bool take_display_string(struct bytes *rest, struct structured_value *value)
{
    struct utf8 state = {0};
    if (!take(rest, '"'))
        return false;
    for (size_t i = 0; i < rest->len && is_printable(rest->at[i]); i++) {
        uint64_t byte = (unsigned char)rest->at[i];
        if (rest->at[i] == '"') {
            value->type = STRUCTURED_DISPLAY_STRING;
            value->text = bytes_from(rest->at, i);
            skip(rest, i + 1);
            return state.expected == 0;
        }
        if (rest->at[i] == '%') {
            if (rest->len - i < 3 || !is_lower_hex(rest->at[i + 1]) || !is_lower_hex(rest->at[i + 2]))
                return false;
            bytes_parse_hex64(bytes_from(rest->at + i + 1, 2), &byte);
            i += 2;
        }
        if (!utf8_feed(&state, (unsigned char)byte))
            return false;
    }
    return false;
}

/* §4.2.3.1 */
static bool take_bare_item(struct bytes *rest, struct structured_value *value)
{
    if (rest->len == 0)
        return false;
    *value = (struct structured_value){.text = BYTES_NONE};
    char first = rest->at[0];
    if (first == '-' || is_digit(first))
        return take_number(rest, value);
    if (first == '*' || is_alpha(first))
        return take_token(rest, value);
    skip(rest, 1);
    switch (first) {
    case '"':
        return take_string(rest, value);
    case ':':
        return take_byte_sequence(rest, value);
    case '?':
        return take_boolean(rest, value);
    case '@':
        return take_date(rest, value);
    case '%':
        return take_display_string(rest, value);
    default:
        return false;
    }
}

/* §4.2.3.2 */
static bool skip_parameters(struct bytes *rest)
{
    while (take(rest, ';')) {
        struct bytes key;
        struct structured_value value;
        skip_spaces(rest);
        if (!take_key(rest, &key) || (take(rest, '=') && !take_bare_item(rest, &value)))
            return false;
    }
    return true;
}

/* §4.2.1.2, behind the parenthesis */
static bool take_inner_list(struct bytes *rest, struct structured_value *value)
{
    const char *start = rest->at;
    while (rest->len > 0) {
        struct structured_value item;
        skip_spaces(rest);
        if (next_is(rest, ')')) {
            *value = (struct structured_value){.type = STRUCTURED_INNER_LIST, .text = bytes_from(start, (size_t)(rest->at - start))};
            skip(rest, 1);
            return true;
        }
        if (!take_bare_item(rest, &item) || !skip_parameters(rest) || !(next_is(rest, ' ') || next_is(rest, ')')))
            return false;
    }
    return false;
}

/* §4.2.1.1 */
static bool take_item(struct bytes *rest, struct structured_value *value)
{
    return take(rest, '(') ? take_inner_list(rest, value) : take_bare_item(rest, value);
}

static bool take_value(struct bytes *rest, struct structured_value *value)
{
    if (!take(rest, '=')) {
        *value = (struct structured_value){.type = STRUCTURED_BOOLEAN, .integer = 1};
        return true;
    }
    return take_item(rest, value);
}

/* §4.2.1, §4.2.2: what follows a member, which has ended. */
static enum structured_result end_member(struct bytes *rest)
{
    skip_blanks(rest);
    if (rest->len == 0)
        return STRUCTURED_MEMBER;
    if (!take(rest, ','))
        return STRUCTURED_INVALID;
    skip_blanks(rest);
    return rest->len > 0 ? STRUCTURED_MEMBER : STRUCTURED_INVALID; /* no comma at the end */
}

/* §4.2.2 */
enum structured_result structured_next_member(struct bytes *rest, struct structured_member *member)
{
    skip_spaces(rest);
    if (rest->len == 0)
        return STRUCTURED_END;
    if (!take_key(rest, &member->key) || !take_value(rest, &member->value) || !skip_parameters(rest))
        return STRUCTURED_INVALID;
    return end_member(rest);
}

/* §4.2.1 */
enum structured_result structured_next_item(struct bytes *rest, struct structured_value *item)
{
    skip_spaces(rest);
    if (rest->len == 0)
        return STRUCTURED_END;
    if (!take_item(rest, item) || !skip_parameters(rest))
        return STRUCTURED_INVALID;
    return end_member(rest);
}

bool structured_next_inner_item(struct bytes *rest, struct structured_value *item)
{
    skip_spaces(rest);
    return take_bare_item(rest, item) && skip_parameters(rest);
}

struct bytes structured_unescape(struct bytes string, struct arena *arena)
{
    char *text = arena_alloc(arena, string.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < string.len; i++) {
        if (string.at[i] == '\\')
            i++;
        text[len++] = string.at[i];
    }
    return bytes_from(text, len);
}
