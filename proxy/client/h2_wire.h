/* The layout of HTTP/2 frames (RFC 9113 §4.1, §6, §7), in numbers. What they mean is h2_receive.c's. */
#ifndef CLIENT_H2_WIRE_H
#define CLIENT_H2_WIRE_H

#include "base/bytes.h"

#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" /* §3.4 */

enum {
    H2_PREFACE_BYTES = sizeof(H2_PREFACE) - 1,
    H2_FRAME_HEADER_BYTES = 9,
    H2_PAYLOAD_MAX_BYTES = 16 * 1024, /* SETTINGS_MAX_FRAME_SIZE, which nobody here changes (§4.2) */
    H2_PRIORITY_BYTES = 5,            /* §6.3 */
    H2_RST_STREAM_BYTES = 4,
    H2_SETTING_BYTES = 6,
    H2_PING_BYTES = 8,
    H2_GOAWAY_BYTES = 8, /* at least */
    H2_WINDOW_UPDATE_BYTES = 4,
    H2_PRIORITY_UPDATE_BYTES = 4, /* at least; RFC 9218 §7.1 */
};

#define H2_WINDOW_MAX INT32_MAX /* §6.9.1 */
enum { H2_WINDOW_DEFAULT = 65535 }; /* §6.9.2 */

enum h2_frame_type {
    H2_FRAME_DATA,
    H2_FRAME_HEADERS,
    H2_FRAME_PRIORITY,
    H2_FRAME_RST_STREAM,
    H2_FRAME_SETTINGS,
    H2_FRAME_PUSH_PROMISE,
    H2_FRAME_PING,
    H2_FRAME_GOAWAY,
    H2_FRAME_WINDOW_UPDATE,
    H2_FRAME_CONTINUATION,
    H2_FRAME_PRIORITY_UPDATE = 16,
};

enum { H2_FLAG_END_STREAM = 0x1, H2_FLAG_ACK = 0x1, H2_FLAG_END_HEADERS = 0x4, H2_FLAG_PADDED = 0x8, H2_FLAG_PRIORITY = 0x20 };

enum h2_setting {
    H2_SETTING_HEADER_TABLE_SIZE = 1,
    H2_SETTING_ENABLE_PUSH = 2,
    H2_SETTING_MAX_CONCURRENT_STREAMS = 3,
    H2_SETTING_INITIAL_WINDOW_SIZE = 4,
    H2_SETTING_MAX_FRAME_SIZE = 5,
    H2_SETTING_MAX_HEADER_LIST_SIZE = 6,
    H2_SETTING_ENABLE_CONNECT_PROTOCOL = 8, /* RFC 8441 §3 */
    H2_SETTING_NO_RFC7540_PRIORITIES = 9,   /* RFC 9218 §2.1 */
};

enum h2_code {
    H2_CODE_NO_ERROR,
    H2_CODE_PROTOCOL_ERROR,
    H2_CODE_INTERNAL_ERROR,
    H2_CODE_FLOW_CONTROL_ERROR,
    H2_CODE_SETTINGS_TIMEOUT,
    H2_CODE_STREAM_CLOSED,
    H2_CODE_FRAME_SIZE_ERROR,
    H2_CODE_REFUSED_STREAM,
    H2_CODE_CANCEL,
    H2_CODE_COMPRESSION_ERROR,
    H2_CODE_CONNECT_ERROR,
    H2_CODE_ENHANCE_YOUR_CALM,
};

struct h2_frame {
    uint32_t length; /* of the payload */
    uint8_t  type, flags;
    int32_t  stream;
};

static inline uint32_t h2_get32(const uint8_t *at)
{
    return (uint32_t)bytes_get_u16(at) << 16 | bytes_get_u16(at + 2);
}

/* Without the reserved bit: of a stream's number, of an increment. */
static inline uint32_t h2_get31(const uint8_t *at)
{
    return h2_get32(at) & INT32_MAX;
}

static inline struct h2_frame h2_get_frame(const uint8_t *at)
{
    return (struct h2_frame){h2_get32(at) >> 8, at[3], at[4], (int32_t)h2_get31(at + 5)};
}

static inline char *h2_put16(char *at, uint32_t number)
{
    at[0] = (char)(number >> 8);
    at[1] = (char)number;
    return at + 2;
}

static inline char *h2_put32(char *at, uint32_t number)
{
    return h2_put16(h2_put16(at, number >> 16), number);
}

static inline char *h2_put_frame(char *at, struct h2_frame frame)
{
    at = h2_put32(at, frame.length << 8 | frame.type);
    *at++ = (char)frame.flags;
    return h2_put32(at, (uint32_t)frame.stream);
}

#endif
