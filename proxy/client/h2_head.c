/* See h2_head.h. */
#include "proxy/client/h2_head.h"
#include "proxy/client/h1_target.h"

#include "cache/policy/structured.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

enum { FIRST_CAPACITY = 2048, FIRST_FIELDS = 32, ABSENT = UINT32_MAX };

void h2_block_clear(struct h2_block *block)
{
    *block = (struct h2_block){
        .pseudo_text = {block->pseudo_text.at, 0, block->pseudo_text.capacity},
        .text = {block->text.at, 0, block->text.capacity},
        .fields = block->fields,
        .field_capacity = block->field_capacity,
    };
    for (unsigned i = 0; i < H2_PSEUDO_COUNT; i++)
        block->pseudo[i].at = ABSENT;
}

void h2_block_free(struct h2_block *block)
{
    free(block->pseudo_text.at);
    free(block->text.at);
    free(block->fields);
    *block = (struct h2_block){.fields = NULL};
}

/* --- a field --- */

static void malformed(struct h2_block *block, enum error error)
{
    if (!block->is_malformed)
        block->error = error;
    block->is_malformed = true;
}

static void too_much(struct h2_block *block, enum error error)
{
    if (block->error == ERROR_OK)
        block->error = error;
}

static void reserve(struct h2_text *text, size_t bytes)
{
    if (text->capacity - text->used >= bytes)
        return;
    size_t capacity = text->capacity ? text->capacity : FIRST_CAPACITY;
    while (capacity < text->used + bytes)
        capacity *= 2;
    text->at = realloc(text->at, capacity);
    assert(text->at);
    text->capacity = (uint32_t)capacity;
}

static void reserve_field(struct h2_block *block)
{
    if (block->field_count == block->field_capacity) {
        block->field_capacity = block->field_capacity ? block->field_capacity * 2 : FIRST_FIELDS;
        block->fields = realloc(block->fields, block->field_capacity * sizeof(*block->fields));
        assert(block->fields);
    }
}

static struct h2_piece put(struct h2_text *text, struct bytes bytes)
{
    struct h2_piece piece = {text->used, (uint32_t)bytes.len};
    bytes_put(text->at + text->used, bytes);
    text->used += (uint32_t)bytes.len;
    return piece;
}

/* H2_PSEUDO_COUNT: none of them. */
static enum h2_pseudo identify_pseudo(struct bytes name)
{
    switch (name.len) {
    case 5:
        return bytes_equal(name, BYTES(":path")) ? H2_PATH : H2_PSEUDO_COUNT;
    case 7:
        return bytes_equal(name, BYTES(":method")) ? H2_METHOD : bytes_equal(name, BYTES(":scheme")) ? H2_SCHEME : H2_PSEUDO_COUNT;
    case 9:
        return bytes_equal(name, BYTES(":protocol")) ? H2_PROTOCOL : H2_PSEUDO_COUNT;
    case 10:
        return bytes_equal(name, BYTES(":authority")) ? H2_AUTHORITY : H2_PSEUDO_COUNT;
    default:
        return H2_PSEUDO_COUNT;
    }
}

/* RFC 9113 §8.3: known ones, each once, before all other fields. */
static void add_pseudo(struct h2_block *block, enum h2_pseudo pseudo, struct bytes value)
{
    if (pseudo == H2_PSEUDO_COUNT || block->pseudo[pseudo].at != ABSENT || block->field_count > 0)
        malformed(block, ERROR_BAD_FIELD);
    else
        block->pseudo[pseudo] = put(&block->pseudo_text, value);
}

/* RFC 9113 §8.2.1, stricter: a token in lower case, and a value as HTTP/1 could carry it. A name that is known is a token. */
static bool is_well_formed(enum header_id id, struct bytes name, struct bytes value)
{
    if ((id == HEADER_OTHER && !bytes_is_token(name)) || bytes_have_upper(name) || !header_value_is_valid(value))
        return false;
    return value.len == 0 || (!byte_is_white_space(value.at[0]) && !byte_is_white_space(value.at[value.len - 1]));
}

/* RFC 9113 §8.2.2; and what an origin may take for a framing field since it reads an underscore as a hyphen (HARDENING: framing). */
static bool is_of_the_connection(enum header_id id, struct bytes name, struct bytes value)
{
    switch (id) {
    case HEADER_CONNECTION:
    case HEADER_PROXY_CONNECTION:
    case HEADER_KEEP_ALIVE:
    case HEADER_TRANSFER_ENCODING:
    case HEADER_UPGRADE:
    case HEADER_HTTP2_SETTINGS:
        return true;
    case HEADER_TE:
        return !bytes_equal_nocase(value, BYTES("trailers"));
    case HEADER_OTHER:
        return bytes_equal(name, BYTES("transfer_encoding")) || bytes_equal(name, BYTES("content_length"));
    default:
        return false;
    }
}

bool h2_field_is_well_formed(struct bytes name, struct bytes value)
{
    enum header_id id = header_identify(name);
    return is_well_formed(id, name, value) && !is_of_the_connection(id, name, value);
}

/* RFC 9113 §8.2.3: crumbs become one field again. */
static bool join_cookie(struct h2_block *block, enum header_id id, struct bytes value)
{
    struct h2_block_field *last = block->field_count ? &block->fields[block->field_count - 1] : NULL;
    if (id != HEADER_COOKIE || !last || last->id != HEADER_COOKIE)
        return false;
    put(&block->text, BYTES("; "));
    put(&block->text, value);
    last->value.len += 2 + (uint32_t)value.len;
    return true;
}

static void check_limits(struct h2_block *block, const struct config *config)
{
    if (block->charged_bytes > config->header_bytes_max)
        too_much(block, ERROR_HEADER_TOO_LARGE);
    if (block->count > config->header_count_max)
        too_much(block, ERROR_HEADER_TOO_MANY);
}

/* What is too large is not, and all after it. */
static bool is_kept(const struct h2_block *block, const struct config *config)
{
    return block->error == ERROR_OK || block->charged_bytes <= config->header_bytes_max;
}

void h2_block_add(struct h2_block *block, struct bytes name, struct bytes value, const struct config *config)
{
    block->charged_bytes += name.len + value.len + H2_FIELD_CHARGE_BYTES;
    if (name.len > 0 && name.at[0] == ':') {
        enum h2_pseudo pseudo = identify_pseudo(name);
        if (pseudo == H2_PATH && value.len > config->url_bytes_max)
            too_much(block, ERROR_URL_TOO_LONG);
        check_limits(block, config);
        if (!is_kept(block, config))
            return;
        reserve(&block->pseudo_text, value.len + 1); /* never nothing: there may be no memory yet */
        add_pseudo(block, pseudo, value);
        return;
    }
    enum header_id id = header_identify(name);
    block->count++;
    check_limits(block, config);
    if (!is_well_formed(id, name, value) || is_of_the_connection(id, name, value))
        malformed(block, ERROR_BAD_FIELD);
    if (!is_kept(block, config))
        return;
    reserve(&block->text, name.len + value.len + 2);
    reserve_field(block);
    if (!join_cookie(block, id, value)) {
        struct h2_piece at = put(&block->text, name);
        block->fields[block->field_count++] = (struct h2_block_field){at, put(&block->text, value), id};
    }
}

struct h2_block_mark h2_block_mark(const struct h2_block *block, uint32_t charge_bytes)
{
    return (struct h2_block_mark){block->text.used, block->field_count, block->count, charge_bytes};
}

bool h2_block_repeat(struct h2_block *block, const struct h2_block_mark *mark, const struct config *config)
{
    uint64_t charged_bytes = block->charged_bytes + mark->charge_bytes;
    if (block->error != ERROR_OK || charged_bytes > config->header_bytes_max || mark->count > config->header_count_max)
        return false;
    struct h2_piece *last = &block->fields[mark->field_count - 1].value;
    block->charged_bytes = charged_bytes;
    block->count = mark->count;
    block->field_count = mark->field_count;
    block->text.used = mark->used;
    last->len = mark->used - last->at; /* of a cookie: the crumbs so far */
    return true;
}

/* --- the whole --- */

static struct bytes slice(const char *copy, struct h2_piece piece)
{
    return piece.at == ABSENT ? BYTES_NONE : bytes_from(copy + piece.at, piece.len);
}

/* Crumbs that did not come one behind the other. */
static void join_cookies(struct request_head *head, struct arena *arena)
{
    if (headers_count(&head->fields, HEADER_COOKIE) < 2)
        return;
    struct bytes joined = BYTES_NONE;
    for (const struct header *crumb = headers_find(&head->fields, HEADER_COOKIE); crumb; crumb = headers_next(&head->fields, crumb))
        joined = joined.at ? arena_printf(arena, "%.*s; %.*s", BYTES_FMT(joined), BYTES_FMT(crumb->value)) : crumb->value;
    headers_remove(&head->fields, HEADER_COOKIE);
    headers_add_known(&head->fields, HEADER_COOKIE, joined);
}

/* RFC 9113 §8.3.1: :authority is the authority; a Host beside it must say the same. */
static bool read_authority(struct request_head *head, struct bytes authority)
{
    const struct header *host = headers_find(&head->fields, HEADER_HOST);
    if (host && headers_next(&head->fields, host))
        return false;
    if (host && authority.at && !bytes_equal_nocase(host->value, authority))
        return false;
    head->authority = authority.at ? authority : host ? host->value : BYTES_NONE;
    if (!head->authority.at || !h1_authority_is_valid(head->authority))
        return false;
    if (!host)
        headers_add_known(&head->fields, HEADER_HOST, head->authority);
    return true;
}

static bool is_http(struct bytes scheme)
{
    if (!scheme.at)
        return false;
    if (bytes_equal(scheme, BYTES("https")) || bytes_equal(scheme, BYTES("http"))) /* as everybody writes them */
        return true;
    return bytes_equal_nocase(scheme, BYTES("https")) || bytes_equal_nocase(scheme, BYTES("http"));
}

/* RFC 9113 §8.3.1, §8.5; RFC 8441 §4. */
static void read_target(struct h2_block *block, const char *copy, struct request_head *head, struct h2_framing *framing)
{
    struct bytes scheme = slice(copy, block->pseudo[H2_SCHEME]), protocol = slice(copy, block->pseudo[H2_PROTOCOL]);
    bool is_connect = head->method == METHOD_CONNECT;
    head->target = slice(copy, block->pseudo[H2_PATH]);
    if (!bytes_is_token(head->method_name) || (protocol.at && (!is_connect || !bytes_is_token(protocol)))) {
        malformed(block, ERROR_BAD_REQUEST_LINE);
    } else if (is_connect && !protocol.at) { /* of which there is only the authority */
        if (scheme.at || head->target.at)
            malformed(block, ERROR_BAD_TARGET);
        else
            too_much(block, ERROR_METHOD_NOT_ALLOWED);
        head->target = slice(copy, block->pseudo[H2_AUTHORITY]);
        return;
    } else if (!is_http(scheme)) {
        malformed(block, ERROR_BAD_TARGET);
    } else if (!head->target.at || head->target.len == 0 || (head->target.at[0] != '/' && !bytes_equal(head->target, BYTES("*")))) {
        malformed(block, ERROR_BAD_TARGET);
    } else if (h1_split_target(head) != ERROR_OK) {
        malformed(block, ERROR_BAD_TARGET);
    }
    framing->is_extended_connect = protocol.at != NULL;
    if (bytes_equal_nocase(protocol, BYTES("h2c"))) /* would carry requests past us, as an upgrade to it by HTTP/1.1 would */
        too_much(block, ERROR_PROTOCOL_UNKNOWN);
    if (!read_authority(head, slice(copy, block->pseudo[H2_AUTHORITY])))
        malformed(block, ERROR_BAD_HOST);
}

/* RFC 9113 §8.1.1 */
static void read_length(struct h2_block *block, bool ends, const struct config *config, const struct request_head *head,
                        struct h2_framing *framing)
{
    const struct header *length = headers_find(&head->fields, HEADER_CONTENT_LENGTH);
    if (!length)
        return;
    if (headers_next(&head->fields, length) || !bytes_parse_u64(length->value, &framing->length) || (ends && framing->length > 0))
        malformed(block, ERROR_BAD_FRAMING);
    else if (config->body_bytes_max && framing->length > config->body_bytes_max)
        too_much(block, ERROR_BODY_TOO_LARGE);
    framing->length_known = true;
}

/* RFC 9110 §10.1.1. The field ends here: the expectation is met by us. */
static void read_expectation(struct h2_block *block, bool ends, struct request_head *head, struct h2_framing *framing)
{
    const struct header *expect = headers_find(&head->fields, HEADER_EXPECT);
    if (!expect)
        return;
    for (const struct header *field = expect; field; field = headers_next(&head->fields, field))
        if (!bytes_equal_nocase(field->value, BYTES("100-continue")))
            too_much(block, ERROR_EXPECTATION_FAILED);
    framing->expects_continue = !ends;
    headers_remove(&head->fields, HEADER_EXPECT);
}

/* RFC 6455 §4.1: 16 random bytes in base64. */
static struct bytes websocket_key(struct arena *arena)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char nonce[18] = {0}; /* 16, and what fills the last group */
    char *key = arena_alloc(arena, 24);
    if (getrandom(nonce, 16, 0) != 16)
        abort(); /* cannot fail for so few bytes (getrandom(2)) */
    for (unsigned i = 0; i < 6; i++) {
        uint32_t group = (uint32_t)nonce[3 * i] << 16 | (uint32_t)nonce[3 * i + 1] << 8 | nonce[3 * i + 2];
        for (unsigned d = 0; d < 4; d++)
            key[4 * i + d] = digits[group >> (18 - 6 * d) & 63];
    }
    key[22] = key[23] = '=';
    return bytes_from(key, 24);
}

/* RFC 8441 §4, §5: to the origin it is an upgrade by HTTP/1.1, which is a GET and, for a WebSocket, has a key. */
static void become_upgrade(struct request_head *head, struct bytes protocol, struct arena *arena)
{
    head->method = METHOD_GET;
    head->method_name = BYTES("GET");
    head->wants_upgrade = true;
    headers_add_known(&head->fields, HEADER_CONNECTION, BYTES("upgrade"));
    headers_add_known(&head->fields, HEADER_UPGRADE, protocol);
    if (bytes_equal_nocase(protocol, BYTES("websocket")) && !headers_find_named(&head->fields, BYTES("sec-websocket-key")))
        headers_add(&head->fields, HEADER_OTHER, BYTES("Sec-WebSocket-Key"), websocket_key(arena));
}

enum error h2_block_finish(struct h2_block *block, bool ends, const struct config *config, struct arena *arena, struct request_head *head,
                           struct h2_framing *framing)
{
    char *pseudo = arena_alloc(arena, block->pseudo_text.used + block->text.used + 1);
    const char *copy = bytes_put(pseudo, bytes_from(block->pseudo_text.at, block->pseudo_text.used));
    bytes_put(pseudo + block->pseudo_text.used, bytes_from(block->text.at, block->text.used));
    *framing = (struct h2_framing){.length = 0};
    head->version_major = 2;
    head->is_in_arena = true;
    head->keep_alive = true;
    head->method_name = slice(pseudo, block->pseudo[H2_METHOD]);
    head->method = method_identify(head->method_name);
    for (unsigned i = 0; i < block->field_count; i++) {
        const struct h2_block_field *field = &block->fields[i];
        headers_add_trimmed(&head->fields, field->id, bytes_from(copy + field->name.at, field->name.len),
                            bytes_from(copy + field->value.at, field->value.len)); /* or it is malformed */
    }
    if (block->error == ERROR_HEADER_TOO_LARGE || block->error == ERROR_HEADER_TOO_MANY) { /* not all of it is there */
        head->target = slice(pseudo, block->pseudo[H2_PATH]);
        return block->error;
    }
    join_cookies(head, arena);
    read_target(block, pseudo, head, framing);
    read_length(block, ends, config, head, framing);
    read_expectation(block, ends, head, framing);
    if (block->error == ERROR_OK && framing->is_extended_connect)
        become_upgrade(head, slice(pseudo, block->pseudo[H2_PROTOCOL]), arena);
    return block->error;
}

/* --- priority --- */

void h2_priority_parse(struct bytes value, struct h2_priority *priority)
{
    struct h2_priority said = *priority;
    struct structured_member member;
    enum structured_result result;
    while ((result = structured_next_member(&value, &member)) == STRUCTURED_MEMBER) {
        const struct structured_value *is = &member.value;
        if (bytes_equal(member.key, BYTES("u")) && is->type == STRUCTURED_INTEGER && is->integer >= 0 && is->integer <= 7)
            said.urgency = (uint8_t)is->integer;
        else if (bytes_equal(member.key, BYTES("i")) && is->type == STRUCTURED_BOOLEAN)
            said.is_incremental = is->integer != 0;
    }
    if (result == STRUCTURED_END)
        *priority = said;
}
