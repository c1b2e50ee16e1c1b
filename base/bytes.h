/* A borrowed run of bytes, and the few ways the rest of the code looks into one.
 *
 * A `struct bytes` owns nothing and is passed by value. It is not NUL-terminated. {NULL, 0} means "absent"; an empty
 * field value is {non-NULL, 0}: RFC 9111 §4.1 needs the difference.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const char *at;
    size_t      len;
};

#define BYTES(literal) ((struct bytes){(literal), sizeof(literal) - 1})
#define BYTES_NONE     ((struct bytes){NULL, 0})
/* For printf: printf("%.*s", BYTES_FMT(b)) */
#define BYTES_FMT(b)   (int)(b).len, (b).at

static inline struct bytes bytes_from(const char *at, size_t len)
{
    return (struct bytes){at, len};
}

static inline struct bytes bytes_from_string(const char *string)
{
    return (struct bytes){string, strlen(string)};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* ASCII case only; never the locale's. */
bool bytes_equal_nocase(struct bytes a, struct bytes b);
bool bytes_starts_with(struct bytes text, struct bytes prefix);
bool bytes_ends_with(struct bytes text, struct bytes suffix);

/* Index of the first `c`, or text.len when there is none. */
static inline size_t bytes_find(struct bytes text, char c)
{
    const char *found = text.len ? (const char *)memchr(text.at, c, text.len) : NULL;
    return found ? (size_t)(found - text.at) : text.len;
}

/* What is before the first `c`, or all; `rest` goes on behind that `c`. */
static inline struct bytes bytes_take_until(struct bytes *rest, char c)
{
    size_t end = bytes_find(*rest, c), used = end < rest->len ? end + 1 : end;
    struct bytes taken = bytes_from(rest->at, end);
    *rest = bytes_from(rest->at + used, rest->len - used);
    return taken;
}

static inline bool byte_is_white_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Without the optional white space (SP, HTAB; RFC 9110 §5.6.3) at either end. */
static inline struct bytes bytes_trim(struct bytes text)
{
    while (text.len && byte_is_white_space(text.at[0])) {
        text.at++;
        text.len--;
    }
    while (text.len && byte_is_white_space(text.at[text.len - 1]))
        text.len--;
    return text;
}

/* Digits only: no sign, no white space, at least one digit. False on anything else and on overflow. */
bool bytes_parse_u64(struct bytes text, uint64_t *value);
/* 1–16 hexadecimal digits and nothing else. */
bool bytes_parse_hex64(struct bytes text, uint64_t *value);

/* Two bytes of a number on the wire, the more significant one first. */
static inline uint16_t bytes_get_u16(const void *at)
{
    const uint8_t *bytes = at;
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* Write a number, without sign or NUL, and return what is behind it: heads are made of these, and printf is a thousand instructions. */
enum { DECIMAL_BYTES_MAX = 20, HEX_BYTES_MAX = 16 };
char *bytes_put_decimal(char *at, uint64_t value);
char *bytes_put_hex(char *at, uint64_t value);
/* Copies, and returns what is behind it. */
static inline char *bytes_put(char *at, struct bytes text)
{
    if (text.len > 0)
        memcpy(at, text.at, text.len);
    return at + text.len;
}

/* RFC 9110 §5.6.2 `token`: at least one tchar and nothing else. */
bool bytes_is_token(struct bytes text);
extern const bool bytes_tchar[256];
static inline bool byte_is_tchar(unsigned char c)
{
    return bytes_tchar[c];
}

/* Takes the next member of a comma-separated list (RFC 9110 §5.6.1) from the front of *rest: a comma inside a quoted
 * string does not separate, empty members are skipped, optional white space is trimmed. False when nothing is left. */
bool bytes_next_list_member(struct bytes *rest, struct bytes *member);

/* Whether a comma-separated list holds `token`, compared without case. */
bool bytes_list_has(struct bytes list, struct bytes token);

/* Copies in lower case (ASCII), and returns what is behind it. */
char *bytes_put_lower(char *at, struct bytes text);
/* Whether there is any of A–Z. */
bool  bytes_have_upper(struct bytes text);

static inline char byte_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

#endif
