/* Records as they lie on disk: made from pieces, and verified. No I/O. */
#ifndef HELPERS_STORE_RECORD_H
#define HELPERS_STORE_RECORD_H

#include "base/store_format.h"

enum store_verdict {
    RECORD_GOOD,    /* header, front and body verify */
    RECORD_DAMAGED, /* the header verifies, the rest does not: what it spans is no record */
    RECORD_NONE,    /* no header of that segment */
    RECORD_CUT,     /* the header verifies, but more bytes are needed than there are */
};

/* The record at `at`, of which `available` bytes are there. `segment_sequence` 0: any. `header` is set but for RECORD_NONE. */
enum store_verdict store_record_verify(const char *at, uint64_t available, uint64_t segment_sequence, struct store_header *header);

/* Front and body stand behind room for the header at `at`: fills in the checksums, the header, and zeroes up to the next unit. Returns the record's bytes. */
uint64_t store_record_seal(char *at, struct store_header *header);

#endif
