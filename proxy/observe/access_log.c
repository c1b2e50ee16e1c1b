/* DESIGN. A line is structure (times, numbers, our own words: bounded, …_STRUCTURE_MAX) and five fields that a client wrote. Room for the structure is set aside
 * first, the rest is shared among the fields: short ones whole, the longest cut to one length. So nothing has to be checked while the structure is written.
 * The usual line, whose fields would fit even if every byte were escaped, is written in one pass. */
#include "proxy/observe/access_log.h"

#include <assert.h>

enum {
    COMBINED_STRUCTURE_MAX = 920,
    JSON_STRUCTURE_MAX = 1460,
    OWN_TEXT_MAX = 64, /* an address or a word of ours, escaped */
    ESCAPE_MAX = 6,    /* bytes that one byte can become: \u0000 */
};

_Static_assert((int)ACCESS_LINE_MIN > (int)JSON_STRUCTURE_MAX, "room for the fields of clients");

enum field { FIELD_METHOD, FIELD_TARGET, FIELD_REFERER, FIELD_AGENT, FIELD_HOST, FIELD_COUNT };

/* Writes the next escaped character of `text` to `out`, which has room for ESCAPE_MAX bytes; returns how many bytes of text it took. */
typedef size_t escaper(struct bytes text, char *out, size_t *written);

static const char hex[] = "0123456789abcdef";

static size_t escape_combined(struct bytes text, char *out, size_t *written)
{
    unsigned char c = (unsigned char)text.at[0];

    out[0] = (char)c;
    *written = 1;
    if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = 'x';
        out[2] = hex[c >> 4];
        out[3] = hex[c & 15];
        *written = 4;
    }
    return 1;
}

/* Outside quotes, where a space would start the next field. */
static size_t escape_bare(struct bytes text, char *out, size_t *written)
{
    size_t taken = escape_combined(text, out, written);

    if (text.at[0] == ' ') {
        memcpy(out, "\\x20", 4);
        *written = 4;
    }
    return taken;
}

/* Length of the UTF-8 character in front, 0 when it is broken (overlong forms, surrogates and what is beyond U+10FFFF included). */
static size_t character_length(struct bytes text)
{
    unsigned char c = (unsigned char)text.at[0], next = text.len > 1 ? (unsigned char)text.at[1] : 0;
    size_t length = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (length > text.len || (c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
        (c == 0xf4 && next > 0x8f))
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)text.at[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

/* RFC 8259 §7; and ISO 6429's second set of control characters, which terminals obey, and some readers of lines take for their end (U+0085). */
static size_t escape_json(struct bytes text, char *out, size_t *written)
{
    unsigned char c = (unsigned char)text.at[0];
    size_t length = character_length(text);
    bool is_control = c < 0x20 || c == 0x7f || (c == 0xc2 && length == 2 && (unsigned char)text.at[1] < 0xa0);

    if (length == 0) {
        memcpy(out, "\xef\xbf\xbd", 3); /* U+FFFD */
        *written = 3;
        return 1;
    }
    if (c == '"' || c == '\\') {
        out[0] = '\\';
        out[1] = (char)c;
        *written = 2;
    } else if (is_control) {
        unsigned char code = (unsigned char)text.at[length - 1]; /* U+0080 to U+009F are C2 and that */
        memcpy(out, "\\u00", 4);
        out[4] = hex[code >> 4];
        out[5] = hex[code & 15];
        *written = 6;
    } else {
        memcpy(out, text.at, length);
        *written = length;
    }
    return length;
}

/* What is written as it is: 1 everywhere, 2 except where a space is escaped. */
static const unsigned char plain[256] = {[' '] = 2, ['!'] = 1, ['#' ... '['] = 1, [']' ... '~'] = 1};

#define EACH_BYTE(c)   (UINT64_C(0x0101010101010101) * (c))
#define HAS_LESS(w, c) (((w)-EACH_BYTE(c)) & ~(w)&EACH_BYTE(0x80))
#define HAS_BYTE(w, c) HAS_LESS((w) ^ EACH_BYTE(c), 1)

/* Eight bytes at once; a space is plain. May err on the side of "no": then they are looked at one by one. */
static bool word_is_plain(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return ((word & EACH_BYTE(0x80)) | HAS_LESS(word, 0x20) | HAS_BYTE(word, '"') | HAS_BYTE(word, '\\') | HAS_BYTE(word, 0x7f)) == 0;
}

static size_t plain_run(struct bytes text, unsigned char most)
{
    size_t run = 0;

    while (most == 2 && run + 8 <= text.len && word_is_plain(text.at + run))
        run += 8;
    while (run < text.len && (unsigned char)(plain[(unsigned char)text.at[run]] - 1) < most)
        run++;
    return run;
}

/* Escapes as much of `text` as fits into `limit` bytes, whole characters only. */
static char *put_escaped(char *out, struct bytes text, escaper *escape, size_t limit)
{
    char *end = out + limit;
    const unsigned char most = escape == escape_bare ? 1 : 2;

    for (size_t at = 0; at < text.len;) {
        struct bytes rest = bytes_from(text.at + at, text.len - at);
        size_t run = plain_run(rest, most), room = (size_t)(end - out), written;
        char unit[ESCAPE_MAX];
        if (run > 0) {
            size_t fits = run < room ? run : room;
            memcpy(out, rest.at, fits);
            out += fits;
            at += fits;
            if (fits < run)
                break;
            continue;
        }
        size_t taken = escape(rest, unit, &written);
        if (written > room)
            break;
        memcpy(out, unit, written);
        out += written;
        at += taken;
    }
    return out;
}

static size_t escaped_length(struct bytes text, escaper *escape)
{
    size_t length = 0;

    for (size_t at = 0; at < text.len;) {
        char unit[ESCAPE_MAX];
        size_t written;
        at += escape(bytes_from(text.at + at, text.len - at), unit, &written);
        length += written;
    }
    return length;
}

/* How many bytes each field may have, so that all of them have `budget`: what is shorter than an even share leaves its rest to the others. */
static void share_budget(const struct bytes fields[FIELD_COUNT], escaper *escape, size_t budget, size_t limits[FIELD_COUNT])
{
    size_t lengths[FIELD_COUNT], raw = 0;

    for (unsigned i = 0; i < FIELD_COUNT; i++)
        raw += fields[i].len;
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        limits[i] = budget;
    if (raw <= budget / ESCAPE_MAX)
        return;
    for (unsigned i = 0; i < FIELD_COUNT; i++)
        lengths[i] = escaped_length(fields[i], escape);
    bool settled[FIELD_COUNT] = {false}, again = true;
    unsigned open = FIELD_COUNT;
    while (again && open > 0) {
        size_t share = budget / open;
        again = false;
        for (unsigned i = 0; i < FIELD_COUNT; i++) {
            if (settled[i] || lengths[i] > share)
                continue;
            limits[i] = lengths[i];
            budget -= lengths[i];
            settled[i] = again = true;
            open--;
            break; /* the share of the others has grown */
        }
        for (unsigned i = 0; i < FIELD_COUNT; i++) {
            if (!settled[i])
                limits[i] = share;
        }
    }
}

static char *put(char *out, const char *text, size_t length)
{
    memcpy(out, text, length);
    return out + length;
}

#define PUT(out, literal) put((out), (literal), sizeof(literal) - 1)

static char *put_padded(char *out, unsigned value, unsigned digits)
{
    for (unsigned i = digits; i > 0; i--) {
        out[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + digits;
}

static char *put_seconds(char *out, uint64_t us)
{
    out = bytes_put_decimal(out, us / 1000000);
    *out++ = '.';
    return put_padded(out, (unsigned)(us % 1000000), 6);
}

enum { COMBINED_TIME_LEN = 26, JSON_TIME_LEN = 20 };

/* The texts of one second, made once by each thread. */
struct second {
    bool is_made;
    struct wall_seconds time;
    char combined[COMBINED_TIME_LEN + 1]; /* 10/Oct/2000:13:55:36 +0000 */
    char json[JSON_TIME_LEN + 1];         /* 2000-10-10T13:55:36Z */
};

static void second_make(struct second *second, struct wall_seconds time)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm;
    time_t seconds = (time_t)time.s;

    if (!gmtime_r(&seconds, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
        seconds = 0;
        gmtime_r(&seconds, &tm);
    }
    unsigned year = (unsigned)(tm.tm_year + 1900), month = (unsigned)tm.tm_mon, day = (unsigned)tm.tm_mday;
    char clock[8];
    char *at = put_padded(clock, (unsigned)tm.tm_hour, 2);
    at = put_padded(PUT(at, ":"), (unsigned)tm.tm_min, 2);
    put_padded(PUT(at, ":"), (unsigned)tm.tm_sec, 2);

    at = PUT(put_padded(second->combined, day, 2), "/");
    at = PUT(put(at, months + month * 3, 3), "/");
    at = PUT(put_padded(at, year, 4), ":");
    PUT(put(at, clock, sizeof(clock)), " +0000");

    at = PUT(put_padded(second->json, year, 4), "-");
    at = PUT(put_padded(at, month + 1, 2), "-");
    at = PUT(put_padded(at, day, 2), "T");
    PUT(put(at, clock, sizeof(clock)), "Z");
    second->time = time;
    second->is_made = true;
}

static const struct second *second_of(struct wall_seconds time)
{
    static _Thread_local struct second second;

    if (!second.is_made || second.time.s != time.s)
        second_make(&second, time);
    return &second;
}

static char *put_own(char *out, struct bytes text, escaper *escape)
{
    return put_escaped(out, text, escape, OWN_TEXT_MAX);
}

static char *put_or_dash(char *out, struct bytes text, escaper *escape, size_t limit)
{
    return text.len > 0 ? put_escaped(out, text, escape, limit) : PUT(out, "-");
}

static char *put_version(char *out, const struct access_entry *entry)
{
    out = bytes_put_decimal(PUT(out, "HTTP/"), entry->http_major);
    return bytes_put_decimal(PUT(out, "."), entry->http_minor);
}

static char *put_combined(char *out, const struct access_entry *entry, const struct bytes fields[FIELD_COUNT],
                          const size_t limits[FIELD_COUNT])
{
    const char *reason = entry->error[0] ? entry->error : entry->detail;

    out = put_or_dash(out, entry->client, escape_bare, OWN_TEXT_MAX);
    out = put(PUT(out, " - - ["), second_of(entry->time)->combined, COMBINED_TIME_LEN);
    out = PUT(out, "] \"");
    out = put_or_dash(out, fields[FIELD_METHOD], escape_combined, limits[FIELD_METHOD]);
    if (fields[FIELD_METHOD].len > 0) {
        out = put_or_dash(PUT(out, " "), fields[FIELD_TARGET], escape_combined, limits[FIELD_TARGET]);
        out = put_version(PUT(out, " "), entry);
    }
    out = bytes_put_decimal(PUT(out, "\" "), access_entry_status(entry));
    out = bytes_put_decimal(PUT(out, " "), entry->body_bytes);
    out = put_or_dash(PUT(out, " \""), fields[FIELD_REFERER], escape_combined, limits[FIELD_REFERER]);
    out = put_or_dash(PUT(out, "\" \""), fields[FIELD_AGENT], escape_combined, limits[FIELD_AGENT]);
    out = put_own(PUT(out, "\" "), bytes_from_string(cache_result_word(entry->result)), escape_bare);
    out = put_or_dash(PUT(out, " "), bytes_from_string(reason), escape_bare, OWN_TEXT_MAX);
    out = put_seconds(PUT(out, " "), entry->duration_us);
    return put_or_dash(PUT(out, " "), fields[FIELD_HOST], escape_bare, limits[FIELD_HOST]);
}

static char *put_json_string(char *out, struct bytes text, size_t limit)
{
    if (!text.at)
        return PUT(out, "null");
    out = put_escaped(PUT(out, "\""), text, escape_json, limit);
    return PUT(out, "\"");
}

static char *put_json(char *out, const struct access_entry *entry, const struct bytes fields[FIELD_COUNT], const size_t limits[FIELD_COUNT])
{
    out = put(PUT(out, "{\"time\":\""), second_of(entry->time)->json, JSON_TIME_LEN);
    out = put_json_string(PUT(out, "\",\"client\":"), entry->client, OWN_TEXT_MAX);
    out = put_json_string(PUT(out, ",\"method\":"), fields[FIELD_METHOD], limits[FIELD_METHOD]);
    out = put_json_string(PUT(out, ",\"target\":"), fields[FIELD_TARGET], limits[FIELD_TARGET]);
    out = put_version(PUT(out, ",\"protocol\":\""), entry);
    out = bytes_put_decimal(PUT(out, "\",\"status\":"), access_entry_status(entry));
    out = bytes_put_decimal(PUT(out, ",\"bytes\":"), entry->body_bytes);
    out = put_json_string(PUT(out, ",\"referer\":"), fields[FIELD_REFERER], limits[FIELD_REFERER]);
    out = put_json_string(PUT(out, ",\"user_agent\":"), fields[FIELD_AGENT], limits[FIELD_AGENT]);
    out = put_json_string(PUT(out, ",\"host\":"), fields[FIELD_HOST], limits[FIELD_HOST]);
    out = put_json_string(PUT(out, ",\"cache\":"), bytes_from_string(cache_result_word(entry->result)), OWN_TEXT_MAX);
    out = put_json_string(PUT(out, ",\"detail\":"), bytes_from_string(entry->detail), OWN_TEXT_MAX);
    out = put_json_string(PUT(out, ",\"error\":"), bytes_from_string(entry->error), OWN_TEXT_MAX);
    out = put_seconds(PUT(out, ",\"duration\":"), entry->duration_us);
    out = put_json_string(PUT(out, ",\"origin\":"), entry->origin, OWN_TEXT_MAX);
    if (entry->tls_version) {
        out = put_json_string(PUT(out, ",\"tls\":"), bytes_from_string(entry->tls_version), OWN_TEXT_MAX);
        out = put_json_string(PUT(out, ",\"cipher\":"), bytes_from_string(entry->tls_cipher), OWN_TEXT_MAX);
        out = put_json_string(PUT(out, ",\"sni\":"), entry->tls_name, OWN_TEXT_MAX);
    }
    if (entry->request_id.at)
        out = put_json_string(PUT(out, ",\"request_id\":"), entry->request_id, OWN_TEXT_MAX);
    if (entry->traceparent.at)
        out = put_json_string(PUT(out, ",\"traceparent\":"), entry->traceparent, OWN_TEXT_MAX);
    if (entry->scheme.at)
        out = put_json_string(PUT(out, ",\"scheme\":"), entry->scheme, OWN_TEXT_MAX);
    if (entry->site.at)
        out = put_json_string(PUT(out, ",\"site\":"), entry->site, OWN_TEXT_MAX);
    return PUT(out, "}");
}

size_t access_log_format(const struct access_entry *entry, enum access_format format, char *out, size_t size)
{
    const struct bytes fields[FIELD_COUNT] = {entry->method, entry->target, entry->referer, entry->user_agent, entry->host};
    size_t limits[FIELD_COUNT], structure = format == ACCESS_JSON ? JSON_STRUCTURE_MAX : COMBINED_STRUCTURE_MAX;
    char *end;

    assert(size >= ACCESS_LINE_MIN);
    share_budget(fields, format == ACCESS_JSON ? escape_json : escape_bare, size - structure, limits);
    end = format == ACCESS_JSON ? put_json(out, entry, fields, limits) : put_combined(out, entry, fields, limits);
    *end++ = '\n';
    return (size_t)(end - out);
}
