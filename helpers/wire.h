/* Checks and encoding shared by both ends of every channel: what messages.tbl says, enforced. */
#ifndef HELPERS_WIRE_H
#define HELPERS_WIRE_H

#include "base/bytes.h"
#include "helpers/messages.h"

struct message {
    enum message_type type;
    const void       *payload; /* borrowed; of the type's struct */
    struct bytes      tail;    /* borrowed */
};

enum {
    MESSAGE_TAIL_MAX = 8192,
    MESSAGE_FDS_MAX = 2,
    WIRE_HEADER_BYTES = 8,
    WIRE_MESSAGE_MAX = 10240, /* no message of the table takes more */
};

const char *message_name(enum message_type type);
size_t      message_payload_size(enum message_type type);
unsigned    message_fd_count(enum message_type type);

/* Whether `receiver` may get this from `sender`, with these sizes. */
bool message_is_valid(enum message_type type, enum role sender, enum role receiver, size_t payload, size_t tail, unsigned fds);

/* Bytes that the message takes on the wire (header, payload, tail, padding to 8). */
size_t wire_size(enum message_type type, size_t tail);
/* Writes it at `out`, which has wire_size bytes. */
void wire_encode(char *out, enum message_type type, const void *payload, struct bytes tail);
/* What the header at `in` (WIRE_HEADER_BYTES, copied from the ring) says of its message's size; 0 when it cannot be a message. */
size_t wire_announced_size(const char *in);
/* Reads one message from the front of `in`; *used = its wire size. Copies nothing: borrowed from `in`, which must be 8-aligned and must not change
 * while the message is used. False when malformed or not allowed between these roles. */
bool wire_decode(struct bytes in, enum role sender, enum role receiver, unsigned fds, struct message *message, size_t *used);

#endif
