#include "base/store_format.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CLASSES_A_DOUBLING = 4 };

uint64_t store_checksum(const void *bytes, size_t count)
{
    return XXH3_64bits(bytes, count);
}

void store_superblock_seal(struct store_superblock *block)
{
    block->magic = STORE_MAGIC;
    block->version = STORE_VERSION;
    block->superblock_bytes = sizeof *block;
    block->checksum = store_checksum(block, offsetof(struct store_superblock, checksum));
}

void store_header_seal(struct store_header *header)
{
    header->magic = STORE_RECORD_MAGIC;
    header->header_checksum = store_checksum(header, offsetof(struct store_header, header_checksum));
}

bool store_header_is_valid(const struct store_header *header)
{
    if (header->magic != STORE_RECORD_MAGIC || header->kind == STORE_NONE || header->kind >= STORE_KIND_COUNT)
        return false;
    return header->header_checksum == store_checksum(header, offsetof(struct store_header, header_checksum)) &&
           store_record_bytes(header->front_bytes, header->body_bytes) <= STORE_RECORD_MAX_BYTES;
}

/* Class c: units of (4 + c mod 4) × 2^(c / 4) quarters of a unit. The first few hold the same and are skipped by the search. */
uint64_t store_class_bytes(uint8_t size_class)
{
    uint64_t quarters = (uint64_t)(CLASSES_A_DOUBLING + size_class % CLASSES_A_DOUBLING) << (size_class / CLASSES_A_DOUBLING);
    uint64_t units = (quarters + CLASSES_A_DOUBLING - 1) / CLASSES_A_DOUBLING;
    return units * STORE_UNIT_BYTES;
}

uint8_t store_size_class(uint64_t record_bytes)
{
    uint8_t size_class = 0;
    while (store_class_bytes(size_class) < record_bytes)
        size_class++;
    return size_class;
}
