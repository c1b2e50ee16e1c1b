/* The port through which the cache reaches disks: what it wants done, for somebody else to do (helpers, or, for the benchmark of architectures, the loop
 * itself). One per loop; every call and every `done` is on that loop. `done` comes later, never from inside the call. Whatever fails is told by `status`,
 * within a bounded time: no call is forgotten. Memory is named by its offset in the slab. */
#ifndef CACHE_DISK_IO_H
#define CACHE_DISK_IO_H

#include "base/slab.h"
#include "base/store_format.h"

#include <stdbool.h>

enum disk_status {
    DISK_OK,
    DISK_ABSENT,      /* read: what lies there is not that record, or does not verify */
    DISK_FRONT_LARGE, /* read: the front needs front_bytes */
    DISK_FULL,        /* ENOSPC, EDQUOT */
    DISK_ERROR,       /* the disk failed: `error` is its errno */
    DISK_OVERLOADED,  /* the queue is full: nothing was tried */
    DISK_UNAVAILABLE, /* no helper did it in time; nothing is known */
};

/* Where a record lies in the whole store. */
struct disk_place {
    uint16_t directory;
    uint64_t offset; /* bytes, in the directory's file; a multiple of STORE_UNIT_BYTES */
};

enum { DISK_PAGES_MAX = STORE_RECORD_MAX_BYTES / SLAB_PAGE_BYTES + 1 };

/* A record, verified as a whole and taken apart: the front goes to `front`, the body behind it if it fits there (`body_follows`), else from the start of
 * the first page on. With a front that does not fit, or fewer pages than the body needs, nothing is written: DISK_FRONT_LARGE, DISK_ABSENT. */
struct disk_read {
    /* in; borrowed until done */
    struct disk_place place;
    uint64_t          segment_sequence; /* of the segment as it is known to be: what has another is absent. 0: any */
    uint64_t          hash;             /* of the record; what has another is absent */
    uint64_t          read_bytes;       /* store_class_bytes of its class */
    struct extent     front;            /* any alignment */
    uint32_t          page_count;
    uint32_t          pages[DISK_PAGES_MAX]; /* first units of whole pages, for the body */
    void (*done)(struct disk_read *read);
    void *context;
    /* out */
    enum disk_status    status;
    int                 error;
    bool                destination_lost; /* a helper that cannot be stopped may still write to front and pages: never use them again */
    struct store_header header;
    bool                body_follows;
    void *port;       /* the port's own */
};

struct disk_piece {
    uint32_t unit; /* of the slab, SLAB_UNIT_BYTES each */
    uint32_t bytes;
};

/* One record of a batch. The port makes header and checksums. The bytes stay where they are, and alive, until done; 8-byte members of a front that
 * change meanwhile are written as they were before or after. */
struct disk_record {
    uint8_t            kind; /* enum store_kind */
    uint64_t           hash, serial;
    uint32_t           front_bytes, body_bytes;
    uint32_t           piece_count;
    struct disk_piece *pieces; /* front, then body; borders of pieces may lie anywhere in them */
};

enum { DISK_BATCH_BYTES = 1024 * 1024, DISK_BATCH_RECORDS = 128, DISK_BATCH_PIECES = 512 };

/* Records one after the other from `place` on, written at once. A batch of one record may be as large as a record may be; else DISK_BATCH_BYTES. */
struct disk_write {
    struct disk_place   place;
    uint64_t            segment_sequence;
    uint32_t            record_count;
    struct disk_record *records;
    void (*done)(struct disk_write *write);
    void *context;
    enum disk_status status;
    int              error;
    void *port;
};

/* All records of a segment that verify, headers, fronts and bodies, from place.offset on: as footer entries (with those of its SEGMENT, TOMBSTONES and
 * PURGES records), in the order in which they lie. Holes are passed over. */
struct disk_scan {
    struct disk_place place; /* the segment's start, or where to go on */
    uint64_t          end;   /* offset of the segment's end */
    uint64_t          segment_sequence;
    struct extent     entries; /* a whole page, for struct store_footer_entry; `place` in it counts from `origin` */
    uint64_t          origin;  /* offset of the segment's start */
    void (*done)(struct disk_scan *scan);
    void *context;
    enum disk_status status;
    int              error;
    bool             destination_lost;
    uint32_t         count;
    uint64_t         next; /* offset to go on from; `end`: all was looked at */
    void *port;
};

/* Space for a segment, or everything written so far safe from a loss of power. */
struct disk_order {
    enum disk_order_kind { DISK_ALLOCATE, DISK_SYNC } kind;
    struct disk_place place; /* ALLOCATE: where… */
    uint64_t          bytes; /* …and how much */
    void (*done)(struct disk_order *order);
    void *context;
    enum disk_status status;
    int              error;
    void *port;
};

struct disk_io {
    void (*read)(struct disk_io *io, struct disk_read *read);
    void (*write)(struct disk_io *io, struct disk_write *write);
    void (*scan)(struct disk_io *io, struct disk_scan *scan);
    void (*order)(struct disk_io *io, struct disk_order *order);
};

#endif
