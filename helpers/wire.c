/* The message table as code, and the layout on the wire.
 *
 * DESIGN. A message is an 8-byte header, the payload struct, the tail, and zeroes up to the next multiple of 8, so that the next message in
 * a ring is aligned as well:
 *
 *     type u16 | payload bytes u16 | tail bytes u32 | payload … | tail … | padding
 *
 * Both ends are the same binary on the same machine: integers are in its own byte order, structs in its own layout, and the sizes below are
 * asserted so that a change is a deliberate one.
 */
#include "helpers/wire.h"

#include <assert.h>

enum { ROLE_ANY = ROLE_COUNT }; /* the table's word for a message that every process may get, or send */

struct wire_header {
    uint16_t type, payload;
    uint32_t tail;
};

_Static_assert(sizeof(struct wire_header) == WIRE_HEADER_BYTES, "wire layout");
_Static_assert(sizeof(struct message_empty) == 4, "wire layout");
_Static_assert(sizeof(struct message_file_read) == 64, "wire layout");
_Static_assert(sizeof(struct message_file_answer) == 48, "wire layout");
_Static_assert(sizeof(struct message_store_read) == 56, "wire layout");
_Static_assert(sizeof(struct message_store_read_done) == 88, "wire layout");
_Static_assert(sizeof(struct message_store_write) == 32, "wire layout");
_Static_assert(sizeof(struct store_piece) == 8, "wire layout");
_Static_assert(sizeof(struct message_store_record) == 32, "wire layout");
_Static_assert(sizeof(struct message_store_scan) == 56, "wire layout");
_Static_assert(sizeof(struct message_store_scan_done) == 32, "wire layout");
_Static_assert(sizeof(struct message_store_order) == 32, "wire layout");
_Static_assert(sizeof(struct message_store_done) == 24, "wire layout");
_Static_assert(sizeof(struct message_store_directory) == 16, "wire layout");
_Static_assert(sizeof(struct message_store_geometry) == 40 + STORE_DIRECTORIES * 32, "wire layout");
_Static_assert(sizeof(struct message_resolve) == 8, "wire layout");
_Static_assert(sizeof(struct resolved_address) == 24, "wire layout");
_Static_assert(sizeof(struct message_resolved) == 16 + RESOLVE_ADDRESSES_MAX * 24, "wire layout");
_Static_assert(sizeof(struct message_log_line) == 8, "wire layout");
_Static_assert(sizeof(struct message_channel) == 16, "wire layout");
_Static_assert(sizeof(struct message_helper) == 16, "wire layout");
_Static_assert(sizeof(struct message_listener) == 8, "wire layout");
_Static_assert(sizeof(struct message_config) == 8, "wire layout");
_Static_assert(sizeof(struct message_roots) == 8, "wire layout");
_Static_assert(sizeof(struct message_resolver_settings) == 16, "wire layout");
_Static_assert(sizeof(struct message_log_dropped) == 8, "wire layout");
_Static_assert(sizeof(struct message_log_file) == 8, "wire layout");
_Static_assert(sizeof(struct message_invalidated) == 8, "wire layout");
_Static_assert(sizeof(struct message_error_line) == 8, "wire layout");
_Static_assert(sizeof(struct message_reload) == 8, "wire layout");

#define MESSAGE(name, from, to, payload, tail, fds)                                                                                        \
    _Static_assert(sizeof(payload) + (tail) + WIRE_HEADER_BYTES + 8 <= WIRE_MESSAGE_MAX, #name " is larger than any buffer");              \
    _Static_assert((tail) <= MESSAGE_TAIL_MAX && (fds) <= MESSAGE_FDS_MAX, #name " breaks a limit");                                       \
    _Static_assert((fds) == 0 || (int)ROLE_##from == (int)ROLE_SUPERVISOR,                                                                 \
                   #name ": the supervisor ends a child whose message it has no descriptor for");
#include "helpers/messages.tbl"
#undef MESSAGE

static const struct row {
    const char *name;
    uint8_t from, to, fds;
    uint16_t payload, tail;
} rows[MESSAGE_COUNT] = {
#define MESSAGE(name, from, to, payload, tail, fds) [MESSAGE_##name] = {#name, ROLE_##from, ROLE_##to, fds, sizeof(payload), tail},
#include "helpers/messages.tbl"
#undef MESSAGE
};

const char *role_name(enum role role)
{
    static const char *const names[ROLE_COUNT] = {
        [ROLE_NONE] = "none",   [ROLE_SUPERVISOR] = "supervisor", [ROLE_PROXY] = "proxy", [ROLE_DISK] = "disk",
        [ROLE_STORE] = "store", [ROLE_RESOLVER] = "resolver",     [ROLE_LOG] = "log",
    };
    assert((unsigned)role < ROLE_COUNT);
    return names[role];
}

static bool is_type(unsigned type)
{
    return type > MESSAGE_NONE && type < MESSAGE_COUNT;
}

const char *message_name(enum message_type type)
{
    return is_type(type) ? rows[type].name : "?";
}

size_t message_payload_size(enum message_type type)
{
    assert(is_type(type));
    return rows[type].payload;
}

unsigned message_fd_count(enum message_type type)
{
    assert(is_type(type));
    return rows[type].fds;
}

bool message_is_valid(enum message_type type, enum role sender, enum role receiver, size_t payload, size_t tail, unsigned fds)
{
    if (!is_type(type))
        return false;
    const struct row *row = &rows[type];
    if ((row->from != sender && row->from != ROLE_ANY) || (row->to != receiver && row->to != ROLE_ANY) || receiver == sender)
        return false;
    return payload == row->payload && tail <= row->tail && fds == row->fds;
}

static size_t padded_size(size_t payload, size_t tail)
{
    return (WIRE_HEADER_BYTES + payload + tail + 7) & ~(size_t)7;
}

size_t wire_size(enum message_type type, size_t tail)
{
    return padded_size(message_payload_size(type), tail);
}

void wire_encode(char *out, enum message_type type, const void *payload, struct bytes tail)
{
    size_t payload_bytes = message_payload_size(type), size = wire_size(type, tail.len);
    struct wire_header header = {type, payload_bytes, tail.len};
    memset(out + size - 8, 0, 8); /* the padding, and what the next lines write again */
    memcpy(out, &header, sizeof(header));
    memcpy(out + sizeof(header), payload, payload_bytes);
    if (tail.len)
        memcpy(out + sizeof(header) + payload_bytes, tail.at, tail.len);
}

size_t wire_announced_size(const char *in)
{
    struct wire_header header;
    memcpy(&header, in, sizeof(header));
    if (!is_type(header.type) || header.payload != rows[header.type].payload || header.tail > rows[header.type].tail)
        return 0;
    return padded_size(header.payload, header.tail);
}

bool wire_decode(struct bytes in, enum role sender, enum role receiver, unsigned fds, struct message *message, size_t *used)
{
    struct wire_header header;
    assert(((uintptr_t)in.at & 7) == 0);
    if (in.len < sizeof(header))
        return false;
    memcpy(&header, in.at, sizeof(header));
    if (!message_is_valid(header.type, sender, receiver, header.payload, header.tail, fds))
        return false;
    size_t size = padded_size(header.payload, header.tail);
    if (size > in.len)
        return false;
    message->type = header.type;
    message->payload = in.at + sizeof(header);
    message->tail = bytes_from(in.at + sizeof(header) + header.payload, header.tail);
    *used = size;
    return true;
}
