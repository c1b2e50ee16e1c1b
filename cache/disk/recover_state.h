/* The inside of recover.c and recover_headers.c. */
#ifndef CACHE_DISK_RECOVER_STATE_H
#define CACHE_DISK_RECOVER_STATE_H

#include "cache/disk/append.h"
#include "cache/disk/listing.h"
#include "cache/disk/recover.h"

enum { JOBS_AT_ONCE = 4, HEADER_READS_MAX = 32, HEADER_SLOT_BYTES = SLAB_PAGE_BYTES / HEADER_READS_MAX };

enum job_state { JOB_NEW, JOB_LISTING, JOB_LISTED, JOB_DONE };

struct recover_job {
    struct directory *directory;
    uint32_t          segment;
    uint64_t          age;
    enum job_state    state;
    bool              has_purges_read, is_accepted;
    struct listing    listing;
};

/* A read of a segment's first or last record. */
struct header_read {
    struct recovery  *recovery;
    struct directory *directory;
    uint32_t          segment;
    bool              is_trailer;
    bool              is_busy, is_overloaded;
    uint64_t          header_purges; /* for the trailer: what the SEGMENT record says */
    struct extent     front;
    struct disk_read  read;
};

enum recover_phase { RECOVER_IDLE, RECOVER_HEADERS, RECOVER_PURGES, RECOVER_ENTRIES };

struct recovery {
    struct store      *store;
    enum recover_phase phase;
    bool               in_pass[STORE_DIRECTORIES_MAX];
    bool               has_begun;
    struct monotonic_ms began_at;
    /* headers */
    struct extent      page;
    bool               is_page_lost;
    struct header_read reads[HEADER_READS_MAX];
    unsigned           directory; /* the next segment to be looked at */
    uint32_t           segment;
    uint64_t           purge_sequence; /* the greatest seen */
    /* purges, entries */
    struct recover_job *jobs; /* the youngest first */
    uint32_t            jobs_count, next;
};

void recover_headers_begin(struct recovery *recovery);
/* True: the segments of all directories in the pass are known, or the directory has failed. */
bool recover_headers_run(struct recovery *recovery);
void recover_headers_free(struct recovery *recovery);

#endif
