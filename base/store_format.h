/* What a cache directory looks like on disk, byte by byte: shared by those who decide what is written (cache/disk) and those who write it (helpers).
 *
 * DESIGN. A directory has one file, STORE_FILE: a superblock, and segments of equal size after it.
 *
 *     | superblock, padded to STORE_FIRST_SEGMENT | segment 0 | segment 1 | …
 *
 * A segment is filled from its start, once, by records at multiples of STORE_UNIT_BYTES. Its first record says that it is open and gives its sequence
 * number, which grows with each segment that is opened anywhere in the store and is repeated in every record: what an earlier use of the
 * segment left behind is told by it. A sealed segment ends in a footer, the list of its records in the order of writing, and in its last unit has a
 * trailer that says where the footer is.
 *
 *     | SEGMENT | record | record | … | FOOTER |  unused  | TRAILER |
 *
 * A record is a header, its *front* (for a response: struct record of cache/object.h and its texts, up to and with the head) and its body, without
 * gaps, padded to STORE_UNIT_BYTES. Header, front and body have a checksum each (XXH3, 64 bits). A record that does not verify is not there.
 * All integers are little-endian, which a store made on another machine would not be found to be: its superblock's checksum fails.
 * Described for people in docs/STORE.md.
 */
#ifndef BASE_STORE_FORMAT_H
#define BASE_STORE_FORMAT_H

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_FILE "outrigger.store"

enum {
    STORE_VERSION = 4,
    STORE_VERSION_OLDEST = 3,         /* that is read, and goes on as one of STORE_VERSION: docs/STORE.md has what is different */
    STORE_UNIT_BYTES = 512,           /* of a place; what O_DIRECT asks for */
    STORE_SUPERBLOCK_BYTES = 4096,
    STORE_FIRST_SEGMENT = 1024 * 1024, /* offset in the file */
    STORE_SEGMENT_MIN_BYTES = 1024 * 1024,
    STORE_SEGMENT_MAX_BYTES = 64 * 1024 * 1024,
    STORE_SEGMENTS_MIN = 4,           /* of a directory: one is being filled, one is being emptied */
    STORE_RECORD_MAX_BYTES = 8 * 1024 * 1024, /* and no more than a quarter of a segment */
};

#define STORE_MAGIC        0x524f545354524f55ull /* "UORTSTOR" */
#define STORE_RECORD_MAGIC 0x6352524fu          /* "ORRc" */

struct store_superblock {
    uint64_t      magic;
    uint32_t      version;
    uint32_t      superblock_bytes; /* sizeof: what `checksum` is over, but for itself */
    uint64_t      segment_bytes;
    unsigned char hash_key[HASH_KEY_BYTES]; /* of the names in this store; the same in all directories of one configuration */
    unsigned char identity[16];             /* random: tells one making of the store from another */
    int64_t       created_s;
    uint64_t      checksum;
};

enum store_kind {
    STORE_NONE,
    STORE_SEGMENT,    /* the first of a segment. Front: struct store_segment_front */
    STORE_RESPONSE,   /* a response, a variant, or one slice. Front: a record; body: the body */
    STORE_SELECTOR,   /* `serial` is the selector's. Front: a record */
    STORE_SLICED,     /* head of a response in slices; `serial` is the slices'. Front: a record */
    STORE_TOMBSTONES, /* front: hashes (uint64_t) of names whose earlier records are out of date. In the place of a SEGMENT record: the segment is empty */
    STORE_PURGES,     /* front: struct store_purge … */
    STORE_FOOTER,     /* body: struct store_footer_entry … */
    STORE_TRAILER,    /* front: struct store_trailer */
    STORE_KIND_COUNT
};

struct store_header {
    uint32_t magic;
    uint8_t  kind; /* enum store_kind */
    uint8_t  reserved[3];
    uint64_t segment_sequence;
    uint64_t hash;   /* of the name; 0 for what has none */
    uint64_t serial;
    uint32_t front_bytes, body_bytes;
    uint64_t body_checksum, front_checksum;
    uint64_t header_checksum; /* over all before it */
};

struct store_segment_front {
    unsigned char identity[16]; /* the superblock's */
    int64_t       opened_s;
    uint64_t      purge_sequence; /* of the last purge when it was opened */
};

struct store_purge {
    uint64_t name; /* keyed hash of what was purged; 0: everything */
    uint64_t sequence;
    int64_t  at_s;
    uint32_t kind; /* enum purge_kind */
    uint32_t reserved;
};

struct store_footer_entry {
    uint64_t hash; /* a record of tombstones has an entry for each of its hashes */
    uint32_t place; /* in units, from the segment's start */
    uint8_t  kind;
    uint8_t  size_class;
    uint16_t reserved;
};

struct store_trailer {
    uint32_t footer_place; /* in units, from the segment's start */
    uint32_t count;        /* of its entries */
    uint64_t purge_sequence; /* of the last purge when it was sealed; that of the SEGMENT record, if and only if it has no PURGES records */
};

_Static_assert(sizeof(struct store_superblock) == 88, "part of the format");
_Static_assert(sizeof(struct store_header) == 64, "part of the format");
_Static_assert(offsetof(struct store_header, header_checksum) == 56, "part of the format");
_Static_assert(sizeof(struct store_segment_front) == 32, "part of the format");
_Static_assert(sizeof(struct store_purge) == 32, "part of the format");
_Static_assert(sizeof(struct store_footer_entry) == 16, "part of the format");
_Static_assert(sizeof(struct store_trailer) == 16, "part of the format");

/* Unkeyed: against accidents. */
uint64_t store_checksum(const void *bytes, size_t count);
void     store_superblock_seal(struct store_superblock *block);
/* Fills in magic and the header's checksum. */
void store_header_seal(struct store_header *header);
/* Magic, checksum, a known kind, and lengths within STORE_RECORD_MAX_BYTES. */
bool store_header_is_valid(const struct store_header *header);

/* Size classes: how much to read for a record of which no more is known. Four to a doubling; a class is at most a fifth over what it holds. */
uint8_t  store_size_class(uint64_t record_bytes);
uint64_t store_class_bytes(uint8_t size_class); /* a multiple of STORE_UNIT_BYTES */

static inline uint64_t store_record_bytes(uint64_t front_bytes, uint64_t body_bytes)
{
    return (sizeof(struct store_header) + front_bytes + body_bytes + STORE_UNIT_BYTES - 1) / STORE_UNIT_BYTES * STORE_UNIT_BYTES;
}

#endif
