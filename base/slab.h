/* The slab: one shared memory file that holds every cached byte, mapped by the proxy and by the disk helpers alike.
 *
 * DESIGN. The mapping is cut into pages of SLAB_PAGE_BYTES. A page is free, or whole (one extent), or divided into equal chunks of
 * one size class (up to SLAB_CHUNK_MAX_BYTES; see slab.c). Everything outside this module names memory by extent; offsets
 * mean the same in every process that maps the slab, pointers do not.
 * A free page has memory behind it (it was used before), or is hollow: never touched, or its memory was given back to the kernel. Those with memory are
 * used first, and only so many pages may have some (slab_limit_pages).
 * Invariants: 1. extents never overlap; 2. used + free bytes = slab size at every moment; 3. the slab never grows.
 * Locks: one mutex, held for a few hundred nanoseconds, never across a system call. Allocation is on the miss path only.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SLAB_UNIT_BYTES = 32,           /* extents start at multiples of it */
    SLAB_PAGE_BYTES = 64 * 1024,
    SLAB_CHUNK_MAX_BYTES = 16 * 1024,
    SLAB_OWNER_MAX = INT32_MAX,
};

struct slab;

struct extent {
    uint32_t unit;     /* offset in the slab / SLAB_UNIT_BYTES */
    uint32_t capacity; /* bytes; 0 = no extent */
};

/* Creates the memory file (name shown in /proc) and maps it. `bytes` is rounded down to whole pages, at least 16 pages.
 * NULL with errno when the kernel refuses. */
struct slab *slab_new(size_t bytes);
/* Takes over the memory file of a slab made by another process that does not allocate from it: all of it is free, and this process allocates.
 * NULL with errno; then `fd` is still the caller's. */
struct slab *slab_adopt(int fd);
/* Maps a slab made by another process; reads and writes only: slab_alloc on it aborts. NULL with errno. */
struct slab *slab_attach(int fd);
/* Unmaps and closes. */
void slab_free(struct slab **slab);

int    slab_fd(const struct slab *slab); /* borrowed */
size_t slab_bytes(const struct slab *slab);

/* An extent of at least `bytes` (1 … SLAB_PAGE_BYTES). A size over SLAB_CHUNK_MAX_BYTES takes a whole page. `owner`, at most SLAB_OWNER_MAX, comes back from
 * slab_page_owners: the cache passes the number of its object. Capacity 0 when there is no room. Thread-safe. */
struct extent slab_alloc(struct slab *slab, size_t bytes, uint32_t owner);
/* The same of what is divided already: a chunk that may be much larger, where no page is free and none can be made so. */
struct extent slab_alloc_larger(struct slab *slab, size_t bytes, uint32_t owner);
void          slab_release(struct slab *slab, struct extent extent);
void          slab_set_owner(struct slab *slab, struct extent extent, uint32_t owner);

/* As slab_release of a whole page, whose memory the kernel gets back. Blocks for some microseconds. Where the kernel refuses, the page is released. */
void slab_give_back(struct slab *slab, struct extent page);
/* No hollow page is used while so many have memory; those that have it keep it. At first: all may. Thread-safe. */
void slab_limit_pages(struct slab *slab, size_t pages);
/* Pages that have memory. Thread-safe. */
size_t slab_held_pages(struct slab *slab);

/* From now on, before an extent that is released can be given out again, the bit of its first unit is set (word unit / 64, bit unit % 64): who copies an
 * extent in another process, and finds the bit unset afterwards, has copied what was there when this was called. `marks` is zero, borrowed, and has a bit for
 * each unit; NULL: nobody copies any more. Thread-safe. */
void slab_mark_released(struct slab *slab, _Atomic uint64_t *marks);

/* What stands in the way of a page: owners of the chunks on the one with the fewest used bytes of the next few pages, so that evicting them frees a whole page
 * (otherwise a change of the usual sizes would starve a class). `attempt`: how often that has failed; the more, the fewer pages are compared, in
 * the end one: those that are emptiest may be so because what is left there cannot be evicted. Fills `owners` (at most `capacity`), returns how many. */
size_t slab_page_owners(struct slab *slab, unsigned attempt, uint32_t *owners, size_t capacity);

static inline bool extent_is_none(struct extent extent)
{
    return extent.capacity == 0;
}

static inline uint64_t extent_offset(struct extent extent)
{
    return (uint64_t)extent.unit * SLAB_UNIT_BYTES;
}

char *slab_at(const struct slab *slab, struct extent extent);
/* Where unit 0 is, for who has compared its extents with slab_bytes, or got them here. */
char *slab_start(const struct slab *slab);

struct slab_stats {
    uint64_t bytes;          /* size of the slab */
    uint64_t allocated;      /* bytes in extents */
    uint64_t free_in_pages;  /* bytes on divided pages in no extent: fragmentation */
    uint64_t free_pages;     /* pages in no use */
    uint64_t held_pages;     /* pages with memory behind them, free ones included */
};

void slab_stats(struct slab *slab, struct slab_stats *stats);

#endif
