#include "helpers/store_record.h"

#include <string.h>

enum store_verdict store_record_verify(const char *at, uint64_t available, uint64_t segment_sequence, struct store_header *header)
{
    if (available < sizeof *header)
        return RECORD_NONE;
    memcpy(header, at, sizeof *header);
    if (!store_header_is_valid(header) || (segment_sequence != 0 && header->segment_sequence != segment_sequence))
        return RECORD_NONE;
    if (store_record_bytes(header->front_bytes, header->body_bytes) > available)
        return RECORD_CUT;
    const char *front = at + sizeof *header, *body = front + header->front_bytes;
    bool is_whole = store_checksum(front, header->front_bytes) == header->front_checksum &&
                    store_checksum(body, header->body_bytes) == header->body_checksum;
    return is_whole ? RECORD_GOOD : RECORD_DAMAGED;
}

uint64_t store_record_seal(char *at, struct store_header *header)
{
    char *front = at + sizeof *header, *body = front + header->front_bytes, *end = body + header->body_bytes;
    uint64_t bytes = store_record_bytes(header->front_bytes, header->body_bytes);
    header->front_checksum = store_checksum(front, header->front_bytes);
    header->body_checksum = store_checksum(body, header->body_bytes);
    store_header_seal(header);
    memcpy(at, header, sizeof *header);
    memset(end, 0, at + bytes - end);
    return bytes;
}
