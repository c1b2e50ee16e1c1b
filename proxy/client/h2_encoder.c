/* See h2_encoder.h. Entries are numbered as they come, and lie in a ring by their numbers; those whose lines share a bucket are a chain, from the newest to
 * older ones, which ends at the first that is not there any more. */
#include "proxy/client/h2_encoder.h"

#include <assert.h>
#include <stdlib.h>

enum {
    DEFAULT_BYTES = 4096,    /* RFC 7541 §4.2, RFC 9113 §6.5.2: until the client says otherwise */
    ENTRY_CHARGE_BYTES = 32, /* §4.1 */
    STATIC_ENTRIES = 61,     /* §2.3.3: indices beyond are the table's, the newest first */
    FIRST_CAPACITY = 16,     /* of entries; powers of two */
    BUCKETS = 64,
    SHORT_LINE = 8,
};

/* §6: kinds of representations, and how many bits of the first byte are left to them */
enum { INDEXED = 0x80, INDEXED_BITS = 7, INSERTED = 0x40, INSERTED_BITS = 6, NOT_INSERTED = 0, NOT_INSERTED_BITS = 4, STRING_BITS = 7 };
enum { SIZE_UPDATE = 0x20, SIZE_UPDATE_BITS = 5 };
enum { NUMBER_BYTES_MAX = 6, BEGIN_BYTES_MAX = 3 * NUMBER_BYTES_MAX }; /* of 32 bits; two sizes, and a status */

struct entry {
    char *line;           /* owned; without its end */
    uint32_t hash, older; /* number of the next one of its bucket */
    uint16_t line_len, name_len, charge_bytes;
    uint8_t id;
};

struct h2_entries {
    uint32_t newest; /* number; the first is 1 */
    uint32_t
        first; /* number of what the head before began with: heads are much alike, and lines that came together have numbers in a row */
    uint32_t count, capacity, bytes;
    uint32_t buckets[BUCKETS]; /* number of the newest; 0: none yet */
    struct entry at[];         /* capacity; entry n at n % capacity */
};

/* RFC 7541, appendix A */
static const uint8_t static_index[HEADER_ID_COUNT] = {
    [HEADER_ACCEPT_CHARSET] = 15,
    [HEADER_ACCEPT_ENCODING] = 16,
    [HEADER_ACCEPT_LANGUAGE] = 17,
    [HEADER_ACCEPT_RANGES] = 18,
    [HEADER_ACCEPT] = 19,
    [HEADER_AGE] = 21,
    [HEADER_ALLOW] = 22,
    [HEADER_AUTHORIZATION] = 23,
    [HEADER_CACHE_CONTROL] = 24,
    [HEADER_CONTENT_ENCODING] = 26,
    [HEADER_CONTENT_LENGTH] = 28,
    [HEADER_CONTENT_LOCATION] = 29,
    [HEADER_CONTENT_RANGE] = 30,
    [HEADER_CONTENT_TYPE] = 31,
    [HEADER_COOKIE] = 32,
    [HEADER_DATE] = 33,
    [HEADER_ETAG] = 34,
    [HEADER_EXPECT] = 35,
    [HEADER_EXPIRES] = 36,
    [HEADER_HOST] = 38,
    [HEADER_IF_MATCH] = 39,
    [HEADER_IF_MODIFIED_SINCE] = 40,
    [HEADER_IF_NONE_MATCH] = 41,
    [HEADER_IF_RANGE] = 42,
    [HEADER_IF_UNMODIFIED_SINCE] = 43,
    [HEADER_LAST_MODIFIED] = 44,
    [HEADER_LINK] = 45,
    [HEADER_LOCATION] = 46,
    [HEADER_PROXY_AUTHENTICATE] = 48,
    [HEADER_PROXY_AUTHORIZATION] = 49,
    [HEADER_RANGE] = 50,
    [HEADER_REFERER] = 51,
    [HEADER_RETRY_AFTER] = 53,
    [HEADER_SERVER] = 54,
    [HEADER_SET_COOKIE] = 55,
    [HEADER_STRICT_TRANSPORT_SECURITY] = 56,
    [HEADER_TRANSFER_ENCODING] = 57,
    [HEADER_USER_AGENT] = 58,
    [HEADER_VARY] = 59,
    [HEADER_VIA] = 60,
};

void h2_encoder_init(struct h2_encoder *encoder)
{
    *encoder = (struct h2_encoder){.entries = NULL, .bytes_max = DEFAULT_BYTES};
}

/* --- the table --- */

static struct entry *entry_of(struct h2_entries *entries, uint32_t number)
{
    return &entries->at[number & (entries->capacity - 1)];
}

static void evict_to(struct h2_entries *entries, uint32_t bytes)
{
    while (entries->bytes > bytes) {
        struct entry *oldest = entry_of(entries, entries->newest - --entries->count);
        entries->bytes -= oldest->charge_bytes;
        free(oldest->line);
    }
}

void h2_encoder_free(struct h2_encoder *encoder)
{
    if (encoder->entries)
        evict_to(encoder->entries, 0);
    free(encoder->entries);
    encoder->entries = NULL;
}

static bool is_there(const struct h2_entries *entries, uint32_t number)
{
    return entries->newest - number < entries->count;
}

static inline uint64_t load(const char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

/* Its ends and its middle, where lines with the same name differ. */
static inline uint32_t hash_line(struct bytes line)
{
    const uint64_t factor = 0x9E3779B97F4A7C15;
    if (line.len < SHORT_LINE)
        return (uint32_t)line.len;
    uint64_t mixed = (load(line.at) * factor) ^ load(line.at + line.len - SHORT_LINE);
    mixed = (mixed * factor) ^ load(line.at + line.len / 2 - SHORT_LINE / 2);
    return (uint32_t)(((mixed + line.len) * factor) >> 32);
}

static unsigned bucket_of(uint32_t hash)
{
    return hash / (UINT32_MAX / BUCKETS + 1);
}

static uint32_t index_of(const struct h2_entries *entries, uint32_t number)
{
    return STATIC_ENTRIES + 1 + (entries->newest - number);
}

/* 0: it is not in the table. */
static uint32_t find_line(struct h2_entries *entries, struct bytes line, uint32_t hash)
{
    for (uint32_t number = entries->buckets[bucket_of(hash)]; is_there(entries, number);) {
        const struct entry *entry = entry_of(entries, number);
        if (entry->hash == hash && bytes_equal(bytes_from(entry->line, entry->line_len), line))
            return number;
        number = entry->older;
    }
    return 0;
}

static uint32_t index_of_name(struct h2_entries *entries, enum header_id id, struct bytes name)
{
    if (static_index[id] != 0)
        return static_index[id];
    for (uint32_t back = 0; entries && back < entries->count; back++) {
        const struct entry *entry = entry_of(entries, entries->newest - back);
        if (entry->id == id && (id != HEADER_OTHER || bytes_equal_nocase(bytes_from(entry->line, entry->name_len), name)))
            return index_of(entries, entries->newest - back);
    }
    return 0;
}

static struct h2_entries *grown(struct h2_entries *entries)
{
    uint32_t capacity = entries ? entries->capacity * 2 : FIRST_CAPACITY;
    struct h2_entries *larger = calloc(1, sizeof(*larger) + capacity * sizeof(larger->at[0]));
    assert(larger);
    if (entries) {
        *larger = *entries;
        larger->capacity = capacity;
        for (uint32_t back = 0; back < entries->count; back++)
            *entry_of(larger, entries->newest - back) = *entry_of(entries, entries->newest - back);
        free(entries);
    }
    larger->capacity = capacity;
    return larger;
}

/* §4.4 */
static void insert(struct h2_encoder *encoder, struct entry entry, struct bytes line)
{
    if (encoder->entries)
        evict_to(encoder->entries, encoder->bytes_max - entry.charge_bytes);
    if (!encoder->entries || encoder->entries->count == encoder->entries->capacity)
        encoder->entries = grown(encoder->entries);
    struct h2_entries *entries = encoder->entries;
    uint32_t *bucket = &entries->buckets[bucket_of(entry.hash)];
    entry.line = malloc(line.len);
    assert(entry.line);
    bytes_put(entry.line, line);
    entry.line_len = (uint16_t)line.len;
    entry.older = *bucket;
    *bucket = ++entries->newest;
    entries->count++;
    entries->bytes += entry.charge_bytes;
    *entry_of(entries, entries->newest) = entry;
}

/* --- blocks --- */

/* §5.1 */
static char *put_number(char *at, unsigned first, unsigned bits, size_t number)
{
    size_t most = (1U << bits) - 1;
    if (number < most) {
        *at = (char)(first | number);
        return at + 1;
    }
    *at++ = (char)(first | most);
    for (number -= most; number >= 0x80; number >>= 7)
        *at++ = (char)(0x80 | (number & 0x7f));
    *at = (char)number;
    return at + 1;
}

static char *put_string(char *at, struct bytes text)
{
    return bytes_put(put_number(at, 0, STRING_BITS, text.len), text);
}

/* §4.2: of several sizes since the last block the smallest, and the last. */
void h2_encoder_resize(struct h2_encoder *encoder, uint32_t bytes)
{
    if (bytes > DEFAULT_BYTES)
        bytes = DEFAULT_BYTES;
    if (bytes == encoder->bytes_max)
        return;
    if (!encoder->is_resized || bytes < encoder->bytes_least)
        encoder->bytes_least = bytes;
    encoder->bytes_max = bytes;
    encoder->is_resized = true;
    if (encoder->entries)
        evict_to(encoder->entries, bytes);
}

static char *put_sizes(struct h2_encoder *encoder, char *at)
{
    if (!encoder->is_resized)
        return at;
    if (encoder->bytes_least < encoder->bytes_max)
        at = put_number(at, SIZE_UPDATE, SIZE_UPDATE_BITS, encoder->bytes_least);
    encoder->is_resized = false;
    return put_number(at, SIZE_UPDATE, SIZE_UPDATE_BITS, encoder->bytes_max);
}

/* Appendix A: some are entries, in which the name comes first. */
static char *put_status(char *at, unsigned status)
{
    static const uint16_t known[] = {200, 204, 206, 304, 400, 404, 500};
    enum { STATUS_INDEX = 8, STATUS_DIGITS = 3 };
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (status == known[i])
            return put_number(at, INDEXED, INDEXED_BITS, STATUS_INDEX + i);
    at = put_number(at, NOT_INSERTED, NOT_INSERTED_BITS, STATUS_INDEX);
    *at++ = STATUS_DIGITS;
    return bytes_put_decimal(at, status);
}

static char *begin_block(struct h2_encoder *encoder, char *at, unsigned status)
{
    return put_status(put_sizes(encoder, at), status);
}

bool h2_field_is_of_the_connection(struct bytes name)
{
    switch (name.len) {
    case 7:
        return bytes_equal_nocase(name, BYTES("upgrade"));
    case 10:
        return bytes_equal_nocase(name, BYTES("connection")) || bytes_equal_nocase(name, BYTES("keep-alive"));
    case 16:
        return bytes_equal_nocase(name, BYTES("proxy-connection"));
    case 17:
        return bytes_equal_nocase(name, BYTES("transfer-encoding"));
    case 20:
        return bytes_equal_nocase(name, BYTES("sec-websocket-accept"));
    default:
        return false;
    }
}

/* What is another one with nearly each response, and a cookie, which is nobody else's business (§7.1). */
static bool is_worth_inserting(enum header_id id)
{
    switch (id) {
    case HEADER_AGE:
    case HEADER_CONTENT_LENGTH:
    case HEADER_CONTENT_RANGE:
    case HEADER_ETAG:
    case HEADER_LOCATION:
    case HEADER_SET_COOKIE:
        return false;
    default:
        return true;
    }
}

/* A line that is not in the table. */
static char *encode_field(struct h2_encoder *encoder, char *at, struct bytes line, uint32_t hash)
{
    size_t colon = bytes_find(line, ':');
    if (colon == line.len)
        return at;
    struct bytes name = bytes_from(line.at, colon), value = bytes_trim(bytes_from(line.at + colon + 1, line.len - colon - 1));
    size_t charge = name.len + value.len + ENTRY_CHARGE_BYTES;
    enum header_id id = header_identify(name);
    uint32_t index = index_of_name(encoder->entries, id, name);
    if (h2_field_is_of_the_connection(name))
        return at;
    bool inserts = is_worth_inserting(id) && charge <= encoder->bytes_max / 4 * 3 && line.len <= charge;
    at = inserts ? put_number(at, INSERTED, INSERTED_BITS, index) : put_number(at, NOT_INSERTED, NOT_INSERTED_BITS, index);
    if (index == 0)
        at = bytes_put_lower(put_number(at, 0, STRING_BITS, name.len), name);
    if (inserts)
        insert(encoder, (struct entry){.hash = hash, .name_len = (uint16_t)name.len, .charge_bytes = (uint16_t)charge, .id = (uint8_t)id},
               line);
    return put_string(at, value);
}

/* *next: see encode_lines. */
static char *encode_line(struct h2_encoder *encoder, char *at, struct bytes line, uint32_t *next)
{
    struct h2_entries *entries = encoder->entries;
    uint32_t newest = entries ? entries->newest : 0, hash = hash_line(line), number = entries ? find_line(entries, line, hash) : 0;
    if (number > 0) {
        at = put_number(at, INDEXED, INDEXED_BITS, index_of(entries, number));
    } else {
        at = encode_field(encoder, at, line, hash);
        entries = encoder->entries;
        if (!entries || entries->newest == newest)
            return at; /* it was not inserted */
        number = entries->newest;
    }
    if (*next == entries->first)
        entries->first = number;
    *next = number + 1;
    return at;
}

/* Length of the line, if the text begins with that of the entry; else 0. */
static inline size_t line_if_next(struct h2_entries *entries, uint32_t number, struct bytes text)
{
    enum { END_BYTES = 2 };
    if (!entries || !is_there(entries, number))
        return 0;
    const struct entry *entry = entry_of(entries, number);
    size_t length = entry->line_len;
    if (text.len < length + END_BYTES || text.at[length] != '\r' || text.at[length + 1] != '\n' ||
        memcmp(text.at, entry->line, length) != 0)
        return 0;
    return length + END_BYTES;
}

/* "Name: value\r\n" lines, well-formed. *next: number of the entry whose line probably comes next. */
static char *encode_lines(struct h2_encoder *encoder, char *at, struct bytes lines, uint32_t *next)
{
    const char *from = lines.at, *end = lines.at + lines.len, *newline;
    for (size_t length; from < end; from += length) {
        struct h2_entries *entries = encoder->entries;
        if ((length = line_if_next(entries, *next, bytes_from(from, (size_t)(end - from)))) > 0) {
            at = put_number(at, INDEXED, INDEXED_BITS, index_of(entries, (*next)++));
            continue;
        }
        if (!(newline = memchr(from, '\n', (size_t)(end - from))))
            break;
        length = (size_t)(newline + 1 - from);
        at = encode_line(encoder, at, bytes_from(from, length - 1 - (length > 1 && newline[-1] == '\r')), next);
    }
    return at;
}

size_t h2_encoder_bound(const struct response_head *head)
{
    enum { LENGTH_FIELD_BYTES = 2 + 1 + DECIMAL_BYTES_MAX };
    size_t lines = head->fields.len + head->extra.len;
    return BEGIN_BYTES_MAX + lines + lines / 2 +
           LENGTH_FIELD_BYTES; /* a byte more than a line with a bare LF; four where its parts are long */
}

char *h2_encode_head(struct h2_encoder *encoder, char *at, const struct response_head *head)
{
    uint32_t next = encoder->entries ? encoder->entries->first : 0;
    at = begin_block(encoder, at, head->status);
    at = encode_lines(encoder, at, head->fields, &next);
    at = encode_lines(encoder, at, head->extra, &next);
    if (head->length_known) {
        char digits[DECIMAL_BYTES_MAX];
        size_t length = (size_t)(bytes_put_decimal(digits, head->length) - digits);
        at = put_number(at, NOT_INSERTED, NOT_INSERTED_BITS, static_index[HEADER_CONTENT_LENGTH]);
        at = put_string(at, bytes_from(digits, length));
    }
    return at;
}

size_t h2_encoder_bound_interim(const struct headers *fields)
{
    size_t bytes = BEGIN_BYTES_MAX;
    for (unsigned i = 0; fields && i < fields->count; i++)
        bytes += 1 + 2 * NUMBER_BYTES_MAX + fields->at[i].name.len + fields->at[i].value.len;
    return bytes;
}

char *h2_encode_interim(struct h2_encoder *encoder, char *at, unsigned status, const struct headers *fields)
{
    at = begin_block(encoder, at, status);
    for (unsigned i = 0; fields && i < fields->count; i++) {
        struct bytes name = fields->at[i].name;
        if (h2_field_is_of_the_connection(name))
            continue;
        at = put_number(at, NOT_INSERTED, NOT_INSERTED_BITS, 0);
        at = bytes_put_lower(put_number(at, 0, STRING_BITS, name.len), name);
        at = put_string(at, fields->at[i].value);
    }
    return at;
}
