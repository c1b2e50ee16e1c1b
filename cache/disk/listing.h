/* The list of a segment's records: from its footer, or, where there is none that is good, by a scan. The home loop's.
 *
 * In the end every tombstone in it is an entry of its own, with its hash (the scan knows only that there is a record of them). */
#ifndef CACHE_DISK_LISTING_H
#define CACHE_DISK_LISTING_H

#include "cache/disk/store_state.h"

struct listing {
    /* in */
    struct directory *directory;
    uint32_t          segment;
    bool              wants_purges; /* they are read, and go to the table of purges */
    void (*done)(struct listing *listing); /* may be called from inside listing_start */
    void *context;
    /* out */
    enum disk_status           status;     /* DISK_OK, or why the disk could not be read; DISK_OVERLOADED: no memory, or a full queue */
    int                        error;
    bool                       is_damaged; /* a record of tombstones or purges is not good: what is older cannot be trusted */
    struct store_footer_entry *entries;    /* listing_free */
    uint32_t                   count;
    /* its own */
    uint32_t          capacity;
    uint32_t          control; /* the entry that is looked at */
    struct disk_read  read;
    struct disk_scan  scan;
    struct extent     front;
    uint32_t          page_count;
    struct extent     pages[DISK_PAGES_MAX];
    bool              is_lost; /* memory that must not be used again */
};

/* Everything but `in` is zero. */
void listing_start(struct listing *listing);
/* Nothing is under way, or it was dropped with its port. */
void listing_free(struct listing *listing);

#endif
