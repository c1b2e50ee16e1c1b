#include "helpers/wire.h"

#include <criterion/criterion.h>

#define ROLE_ANY ROLE_NONE

struct row {
    enum message_type type;
    enum role from, to; /* ROLE_NONE: any */
    size_t payload, tail;
    unsigned fds;
};

static const struct row ROWS[] = {
#define MESSAGE(name, from, to, payload, tail, fds) {MESSAGE_##name, ROLE_##from, ROLE_##to, sizeof(payload), tail, fds},
#include "helpers/messages.tbl"
#undef MESSAGE
};

enum { ROW_COUNT = sizeof(ROWS) / sizeof(ROWS[0]) };

Test(wire, every_message_is_valid_in_its_own_direction_only)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const struct row *row = &ROWS[i];
        for (enum role sender = ROLE_NONE; sender < ROLE_COUNT; sender++) {
            for (enum role receiver = ROLE_NONE; receiver < ROLE_COUNT; receiver++) {
                bool expected =
                    (row->from == ROLE_ANY || sender == row->from) && receiver != sender && (row->to == ROLE_ANY || receiver == row->to);
                cr_assert_eq(message_is_valid(row->type, sender, receiver, row->payload, row->tail, row->fds), expected, "%s from %s to %s",
                             message_name(row->type), role_name(sender), role_name(receiver));
            }
        }
    }
}

Test(wire, every_size_and_descriptor_count_is_checked)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const struct row *row = &ROWS[i];
        enum role to = row->to == ROLE_ANY ? ROLE_DISK : row->to;
        cr_assert(message_is_valid(row->type, row->from, to, row->payload, 0, row->fds));
        cr_assert_not(message_is_valid(row->type, row->from, to, row->payload - 1, 0, row->fds), "%s", message_name(row->type));
        cr_assert_not(message_is_valid(row->type, row->from, to, row->payload + 1, 0, row->fds), "%s", message_name(row->type));
        cr_assert_not(message_is_valid(row->type, row->from, to, row->payload, row->tail + 1, row->fds), "%s", message_name(row->type));
        cr_assert_not(message_is_valid(row->type, row->from, to, row->payload, 0, row->fds + 1), "%s", message_name(row->type));
    }
}

Test(wire, unknown_types_are_refused)
{
    cr_assert_not(message_is_valid(MESSAGE_NONE, ROLE_PROXY, ROLE_DISK, 0, 0, 0));
    cr_assert_not(message_is_valid(MESSAGE_COUNT, ROLE_PROXY, ROLE_DISK, 0, 0, 0));
    cr_assert_not(message_is_valid(60000, ROLE_PROXY, ROLE_DISK, 0, 0, 0));
    cr_assert_str_eq(message_name(MESSAGE_COUNT), "?");
}

Test(wire, what_was_encoded_is_decoded)
{
    _Alignas(8) char buffer[WIRE_MESSAGE_MAX], payload[2048];
    static char tail[MESSAGE_TAIL_MAX];
    memset(tail, 't', sizeof(tail));
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const struct row *row = &ROWS[i];
        enum role to = row->to == ROLE_ANY ? ROLE_DISK : row->to;
        for (size_t tail_bytes = 0; tail_bytes <= row->tail; tail_bytes += tail_bytes < 17 ? 1 : 1001) {
            struct message message;
            size_t used, size = wire_size(row->type, tail_bytes);
            memset(payload, (int)i + 1, sizeof(payload));
            memset(buffer, 0xee, sizeof(buffer));
            cr_assert_eq(size % 8, 0);
            cr_assert_leq(size, WIRE_MESSAGE_MAX - 8);
            wire_encode(buffer, row->type, payload, bytes_from(tail, tail_bytes));
            cr_assert_eq((unsigned char)buffer[size], 0xee, "nothing is written behind the message");
            cr_assert_eq(wire_announced_size(buffer), size);
            cr_assert(wire_decode(bytes_from(buffer, size), row->from, to, row->fds, &message, &used));
            cr_assert_eq(used, size);
            cr_assert_eq(message.type, row->type);
            cr_assert_arr_eq(message.payload, payload, row->payload);
            cr_assert(bytes_equal(message.tail, bytes_from(tail, tail_bytes)));
            cr_assert_not(wire_decode(bytes_from(buffer, size - 8), row->from, to, row->fds, &message, &used), "cut short");
            cr_assert_not(wire_decode(bytes_from(buffer, 7), row->from, to, row->fds, &message, &used), "cut in the header");
        }
    }
}

Test(wire, padding_carries_no_old_bytes)
{
    _Alignas(8) char buffer[64];
    struct message_resolve payload = {1};
    memset(buffer, 0xee, sizeof(buffer));
    wire_encode(buffer, MESSAGE_RESOLVE, &payload, BYTES("abc"));
    cr_assert_arr_eq(buffer + 16, "abc\0\0\0\0\0", 8);
}

Test(wire, a_header_that_lies_about_its_sizes_is_refused)
{
    _Alignas(8) char buffer[64];
    struct message_resolve payload = {1};
    struct message message;
    size_t used;
    uint16_t header[4];
    wire_encode(buffer, MESSAGE_RESOLVE, &payload, BYTES("abc"));
    memcpy(header, buffer, sizeof(header));
    for (unsigned word = 0; word < 4; word++) {
        uint16_t bad[4];
        memcpy(bad, header, sizeof(bad));
        bad[word] ^= 0x8000;
        memcpy(buffer, bad, sizeof(bad));
        cr_assert_eq(wire_announced_size(buffer), 0, "word %u", word);
        cr_assert_not(wire_decode(bytes_from(buffer, sizeof(buffer)), ROLE_PROXY, ROLE_RESOLVER, 0, &message, &used), "word %u", word);
    }
}
