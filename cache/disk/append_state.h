/* The inside of append.c and append_segment.c. */
#ifndef CACHE_DISK_APPEND_STATE_H
#define CACHE_DISK_APPEND_STATE_H

#include "cache/disk/append.h"

enum {
    ENTRIES_PER_PAGE = SLAB_PAGE_BYTES / sizeof(struct store_footer_entry),
    ENTRY_PAGES_MAX = 32,
    ENTRIES_MAX = ENTRIES_PER_PAGE * ENTRY_PAGES_MAX, /* of a segment; as many records as the largest can have */
    /* At one go; half of the desk each. */
    TOMBSTONES_A_WRITE = SLAB_PAGE_BYTES / 2 / sizeof(uint64_t),
    PURGES_A_WRITE = SLAB_PAGE_BYTES / 2 / sizeof(struct store_purge),
    CONTROLS_A_WRITE = 2, /* records: tombstones, purges */
    CONTROL_PIECE_SECOND = SLAB_PAGE_BYTES / 2,
};

struct appender {
    struct directory *directory;
    bool              is_busy;       /* write or order is under way… */
    bool              is_order;
    bool              is_overloaded; /* …or to be given again: the port had no room */
    /* the open segment */
    uint32_t          open;        /* SEGMENT_NONE */
    uint64_t          fill;        /* bytes of it that are written, or lost to a failure */
    bool              is_full;     /* to be sealed */
    bool              has_purges;
    uint64_t          purge_sequence; /* as its SEGMENT record says */
    uint32_t          entries_count;
    uint32_t          entry_pages_count;
    struct extent     entry_pages[ENTRY_PAGES_MAX];
    /* what is under way */
    struct disk_write  write;
    struct disk_order  order;
    struct disk_record records[DISK_BATCH_RECORDS];
    struct disk_piece  pieces[DISK_BATCH_PIECES];
    uint32_t           piece_count;
    struct extent      desk; /* a page for the fronts of what is not a response */
    uint32_t           segment; /* that is opened, allocated or wiped */
    /* the batch */
    struct offer      *offers[DISK_BATCH_RECORDS]; /* the last of the records */
    unsigned           offers_count;
    uint32_t           tombstones_count, purges_count;
    uint64_t           position; /* logged when they are written */
    uint64_t           bytes;
    /* syncing */
    struct disk_order   sync;
    bool                is_syncing, is_dirty;
    struct monotonic_ms synced_at;
    /* a disk with less space than was promised */
    struct monotonic_ms allocate_at; /* not before */
    bool                is_short;
};

/* append.c */
/* Wakes the home loop if this was what it drains for. */
void append_note_done(struct directory *directory);
/* A page of the slab, or none. It may be what waits here that fills the memory, and without the page nothing of that is ever written: then it is dropped, and
 * there is room the next time. */
struct extent append_page(struct appender *appender);
char *desk_at(const struct appender *appender, uint32_t offset);
/* Puts a record together: its front is on the desk, or there is none. */
void add_control(struct appender *appender, enum store_kind kind, uint32_t desk_offset, uint32_t front_bytes);
/* Sends what was put together. */
void submit(struct appender *appender, uint64_t offset, uint64_t sequence, void (*done)(struct disk_write *write));
void clear_records(struct appender *appender);
/* The write has ended: false when it is to be given again, which append_run does. */
bool is_final(struct appender *appender, enum disk_status status);

/* append_segment.c: each begins one write or order; false: nothing to do, or no memory */
bool open_segment(struct appender *appender);
bool seal_segment(struct appender *appender);
bool wipe_segment(struct appender *appender);
void sync_if_due(struct appender *appender);
void close_segment(struct appender *appender);
/* Room for `more` entries; false: no memory. */
bool reserve_entries(struct appender *appender, uint32_t more);
void add_entry(struct appender *appender, const struct store_footer_entry *entry);
/* Whether `bytes` and their entries fit into the open segment, with its footer and trailer. */
bool segment_has_room(const struct appender *appender, uint64_t bytes, uint32_t entries);

#endif
