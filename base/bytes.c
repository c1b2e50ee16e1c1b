/* See bytes.h. */
#include "base/bytes.h"

/* RFC 9110 §5.6.2: "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA */
const bool bytes_tchar[256] = {
    ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true,         ['&'] = true,         ['\''] = true,
    ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,         ['^'] = true,         ['_'] = true,
    ['`'] = true, ['|'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

static const uint64_t ones = 0x0101010101010101;

/* Eight bytes at once: A–Z become a–z, all others stay. The sums cannot carry into the next byte, since the high bits are masked off. */
static inline uint64_t lower_eight(uint64_t eight)
{
    uint64_t low_bits = eight & (0x7f * ones);
    uint64_t at_least_a = low_bits + (0x80 - 'A') * ones;
    uint64_t beyond_z = low_bits + (0x7f - 'Z') * ones;
    uint64_t is_upper = (at_least_a ^ beyond_z) & ~eight & (0x80 * ones);
    return eight | is_upper >> 2;
}

static inline bool equal_eight(const char *a, const char *b)
{
    uint64_t left, right;
    memcpy(&left, a, 8);
    memcpy(&right, b, 8);
    return left == right || lower_eight(left) == lower_eight(right);
}

static inline bool equal_four(const char *a, const char *b)
{
    uint32_t left, right;
    memcpy(&left, a, 4);
    memcpy(&right, b, 4);
    return left == right || lower_eight(left) == lower_eight(right);
}

bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    if (a.len >= 4 && a.len <= 8)
        return equal_four(a.at, b.at) && equal_four(a.at + a.len - 4, b.at + b.len - 4); /* may overlap */
    if (a.len < 4) {
        for (size_t i = 0; i < a.len; i++) {
            if (byte_lower(a.at[i]) != byte_lower(b.at[i]))
                return false;
        }
        return true;
    }
    for (size_t i = 0; i + 8 < a.len; i += 8) {
        if (!equal_eight(a.at + i, b.at + i))
            return false;
    }
    return equal_eight(a.at + a.len - 8, b.at + b.len - 8); /* may overlap the one before */
}

static inline void put_lower_eight(char *at, const char *from)
{
    uint64_t eight;
    memcpy(&eight, from, 8);
    eight = lower_eight(eight);
    memcpy(at, &eight, 8);
}

char *bytes_put_lower(char *at, struct bytes text)
{
    if (text.len < 8) {
        for (size_t i = 0; i < text.len; i++)
            at[i] = byte_lower(text.at[i]);
        return at + text.len;
    }
    for (size_t i = 0; i + 8 < text.len; i += 8)
        put_lower_eight(at + i, text.at + i);
    put_lower_eight(at + text.len - 8, text.at + text.len - 8); /* may overlap the one before */
    return at + text.len;
}

static inline bool has_upper_eight(const char *at)
{
    uint64_t eight;
    memcpy(&eight, at, 8);
    return lower_eight(eight) != eight;
}

bool bytes_have_upper(struct bytes text)
{
    if (text.len < 8) {
        for (size_t i = 0; i < text.len; i++)
            if (byte_lower(text.at[i]) != text.at[i])
                return true;
        return false;
    }
    for (size_t i = 0; i + 8 < text.len; i += 8)
        if (has_upper_eight(text.at + i))
            return true;
    return has_upper_eight(text.at + text.len - 8);
}

bool bytes_starts_with(struct bytes text, struct bytes prefix)
{
    return text.len >= prefix.len && (prefix.len == 0 || memcmp(text.at, prefix.at, prefix.len) == 0);
}

bool bytes_ends_with(struct bytes text, struct bytes suffix)
{
    return text.len >= suffix.len && (suffix.len == 0 || memcmp(text.at + text.len - suffix.len, suffix.at, suffix.len) == 0);
}

bool bytes_parse_u64(struct bytes text, uint64_t *value)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned char)text.at[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(sum, 10, &sum) || __builtin_add_overflow(sum, digit, &sum))
            return false;
    }
    if (text.len == 0)
        return false;
    *value = sum;
    return true;
}

bool bytes_parse_hex64(struct bytes text, uint64_t *value)
{
    if (text.len == 0 || text.len > 16)
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = byte_lower(text.at[i]);
        if (c >= '0' && c <= '9')
            sum = sum << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            sum = sum << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *value = sum;
    return true;
}

char *bytes_put_decimal(char *at, uint64_t value)
{
    char digits[DECIMAL_BYTES_MAX], *first = digits + sizeof(digits);
    do {
        *--first = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return bytes_put(at, bytes_from(first, (size_t)(digits + sizeof(digits) - first)));
}

char *bytes_put_hex(char *at, uint64_t value)
{
    char digits[HEX_BYTES_MAX], *first = digits + sizeof(digits);
    do {
        *--first = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value > 0);
    return bytes_put(at, bytes_from(first, (size_t)(digits + sizeof(digits) - first)));
}

bool bytes_is_token(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!bytes_tchar[(unsigned char)text.at[i]])
            return false;
    }
    return text.len > 0;
}

/* Where the first member of `list` ends: its comma outside quoted strings, or list.len. */
static size_t list_member_end(struct bytes list)
{
    bool quoted = false;
    for (size_t i = 0; i < list.len; i++) {
        char c = list.at[i];
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\' && quoted)
            i++; /* RFC 9110 §5.6.4: quoted-pair */
        else if (c == ',' && !quoted)
            return i;
    }
    return list.len;
}

bool bytes_next_list_member(struct bytes *rest, struct bytes *member)
{
    while (rest->len) {
        size_t end = list_member_end(*rest);
        size_t taken = end < rest->len ? end + 1 : end;
        struct bytes found = bytes_trim(bytes_from(rest->at, end));
        *rest = bytes_from(rest->at + taken, rest->len - taken);
        if (found.len) {
            *member = found;
            return true;
        }
    }
    return false;
}

bool bytes_list_has(struct bytes list, struct bytes token)
{
    struct bytes member;
    while (bytes_next_list_member(&list, &member)) {
        if (bytes_equal_nocase(member, token))
            return true;
    }
    return false;
}
