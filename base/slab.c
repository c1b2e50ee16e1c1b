/* See slab.h. A divided page keeps one number a chunk outside the shared memory (a helper must not be able to corrupt it): the owner of
 * a chunk in use, or, tagged by its highest bit, the number of the next free chunk. Chunks that were never given out are only counted: a page that is divided
 * for one response and free again after it costs no walk through its table.
 *
 * Size classes: multiples of the unit up to 1 KiB, then every n-th part of a page. A class may have a page that is partly used: where there are so few pages
 * that this weighs more than rounding, classes are multiples of two units, then 1/16 apart as long as a finer class would put more chunks on a page. */
#include "base/slab.h"

#include "base/list.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(at, bytes)   __asan_poison_memory_region((at), (bytes))
#define UNPOISON(at, bytes) __asan_unpoison_memory_region((at), (bytes))
#else
#define POISON(at, bytes)   ((void)(at), (void)(bytes))
#define UNPOISON(at, bytes) ((void)(at), (void)(bytes))
#endif

enum {
    PAGES_MIN = 16,
    UNITS_PER_PAGE = SLAB_PAGE_BYTES / SLAB_UNIT_BYTES,
    CHUNK_UNITS_MAX = SLAB_CHUNK_MAX_BYTES / SLAB_UNIT_BYTES,
    MULTIPLES_UNITS_MAX = 1024 / SLAB_UNIT_BYTES, /* up to here classes are multiples */
    FINE_PAGES_MIN = 2048,                        /* 128 MiB: 92 classes leave half a page each, 2 %; they save 3 % of a response of 1 KB */
    CLASSES_MAX = 96,
    CHUNK_NONE = 0x7fff,
    OWNER_SCAN_PAGES = 64, /* pages that slab_page_owners compares at first: bounds how long it holds the lock */
};

enum page_state { PAGE_FREE, PAGE_WHOLE, PAGE_DIVIDED };

struct page {
    struct list link; /* free: in free_pages or hollow_pages; divided with a free chunk: in its class's list; else self-linked */
    uint32_t *owners; /* when divided: one a chunk */
    uint16_t used_count;
    uint16_t first_free;  /* of those given back: chunk number, or CHUNK_NONE */
    uint16_t first_fresh; /* from here on none was given out yet, and their owners are not set */
    uint8_t state;
    uint8_t class;
};

struct size_class {
    uint32_t bytes;
    uint32_t chunks;       /* on a page */
    struct list available; /* pages with a free chunk */
};

struct slab {
    /* immutable after new */
    int fd;
    char *base;
    size_t bytes;
    size_t page_count;
    bool is_attached; /* made by another process */
    struct size_class classes[CLASSES_MAX];
    unsigned class_count;
    uint8_t class_by_units[CHUNK_UNITS_MAX + 1];
    /* shared, under lock */
    pthread_mutex_t lock;
    struct page *pages;
    struct list free_pages, hollow_pages;                            /* hollow: without memory */
    uint64_t free_page_count, hollow_page_count, divided_page_count; /* free_page_count has the hollow ones, too */
    uint64_t held_pages_max;                                         /* of slab_limit_pages */
    uint64_t chunk_bytes;                                            /* in chunks in use */
    size_t hand;                                                     /* where slab_page_owners goes on */
    _Atomic uint64_t *marks;                                         /* of slab_mark_released; or NULL */
};

static uint32_t chunk_link(uint16_t next)
{
    return (uint32_t)SLAB_OWNER_MAX + 1 + next;
}

static bool chunk_is_free(uint32_t owner)
{
    return owner > SLAB_OWNER_MAX;
}

/* The largest n-th of a page at most `part` above `units`; where there is none, the next one at all. */
static unsigned next_part_of_page(unsigned units, unsigned part)
{
    unsigned chunks = UNITS_PER_PAGE / (units + 1);
    while (UNITS_PER_PAGE / (chunks - 1) <= units + part)
        chunks--;
    return UNITS_PER_PAGE / chunks;
}

static void make_classes(struct slab *slab)
{
    bool is_fine = slab->page_count >= FINE_PAGES_MIN;
    unsigned units = 0;
    while (units < CHUNK_UNITS_MAX) {
        if (units < MULTIPLES_UNITS_MAX)
            units += is_fine ? 1 : 2;
        else
            units = next_part_of_page(units, is_fine ? 0 : units / 16);
        assert(slab->class_count < CLASSES_MAX);
        struct size_class *class = &slab->classes[slab->class_count++];
        class->bytes = units * SLAB_UNIT_BYTES;
        class->chunks = UNITS_PER_PAGE / units;
        list_init(&class->available);
    }
    for (unsigned i = 0, class = 0; i <= CHUNK_UNITS_MAX; i++) {
        while (slab->classes[class].bytes < i * SLAB_UNIT_BYTES)
            class ++;
        slab->class_by_units[i] = (uint8_t) class;
    }
}

static struct slab *map_slab(int fd, size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (base == MAP_FAILED)
        return NULL;
    /* Fewer TLB misses where the kernel allows it; where it does not, nothing is lost. */
    madvise(base, bytes, MADV_HUGEPAGE);
    struct slab *slab = calloc(1, sizeof *slab);
    if (slab == NULL) {
        munmap(base, bytes);
        errno = ENOMEM;
        return NULL;
    }
    slab->fd = fd;
    slab->base = base;
    slab->bytes = bytes;
    slab->page_count = bytes / SLAB_PAGE_BYTES;
    pthread_mutex_init(&slab->lock, NULL);
    list_init(&slab->free_pages);
    list_init(&slab->hollow_pages);
    return slab;
}

static int make_memory_file(size_t bytes)
{
    int fd = memfd_create("outrigger-slab", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)bytes) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* Makes this process the one that allocates. False with errno. */
static bool make_pages(struct slab *slab)
{
    slab->pages = calloc(slab->page_count, sizeof *slab->pages);
    if (slab->pages == NULL)
        return false;
    make_classes(slab);
    for (size_t i = 0; i < slab->page_count; i++)
        list_push_back(&slab->hollow_pages, &slab->pages[i].link);
    slab->free_page_count = slab->hollow_page_count = slab->held_pages_max = slab->page_count;
    POISON(slab->base, slab->bytes);
    return true;
}

struct slab *slab_new(size_t bytes)
{
    size_t pages = bytes / SLAB_PAGE_BYTES;
    if (pages < PAGES_MIN)
        pages = PAGES_MIN;
    if (pages > UINT32_MAX / UNITS_PER_PAGE) { /* struct extent counts units in 32 bits: 128 GiB */
        errno = EOVERFLOW;
        return NULL;
    }
    int fd = make_memory_file(pages * SLAB_PAGE_BYTES);
    if (fd < 0)
        return NULL;
    struct slab *slab = slab_adopt(fd);
    if (slab == NULL) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return slab;
}

struct slab *slab_adopt(int fd)
{
    struct slab *slab = slab_attach(fd);
    if (slab == NULL)
        return NULL;
    slab->is_attached = false;
    if (!make_pages(slab)) {
        int error = errno;
        slab_free(&slab); /* without pages and not attached: leaves the descriptor to the caller */
        errno = error;
    }
    return slab;
}

struct slab *slab_attach(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return NULL;
    if (status.st_size <= 0 || status.st_size % SLAB_PAGE_BYTES != 0) {
        errno = EINVAL;
        return NULL;
    }
    struct slab *slab = map_slab(fd, (size_t)status.st_size);
    if (slab != NULL)
        slab->is_attached = true;
    return slab;
}

void slab_free(struct slab **slab_pointer)
{
    struct slab *slab = *slab_pointer;
    *slab_pointer = NULL;
    if (slab == NULL)
        return;
    for (size_t i = 0; slab->pages != NULL && i < slab->page_count; i++)
        free(slab->pages[i].owners);
    UNPOISON(slab->base, slab->bytes);
    munmap(slab->base, slab->bytes);
    if (slab->pages != NULL || slab->is_attached)
        close(slab->fd);
    pthread_mutex_destroy(&slab->lock);
    free(slab->pages);
    free(slab);
}

int slab_fd(const struct slab *slab)
{
    return slab->fd;
}

size_t slab_bytes(const struct slab *slab)
{
    return slab->bytes;
}

char *slab_at(const struct slab *slab, struct extent extent)
{
    assert(extent.capacity > 0 && extent_offset(extent) + extent.capacity <= slab->bytes);
    return slab->base + extent_offset(extent);
}

char *slab_start(const struct slab *slab)
{
    return slab->base;
}

static struct extent extent_at(const struct slab *slab, const struct page *page, uint32_t offset, uint32_t capacity)
{
    size_t number = (size_t)(page - slab->pages);
    struct extent extent = {(uint32_t)(number * UNITS_PER_PAGE + offset / SLAB_UNIT_BYTES), capacity};
    UNPOISON(slab_at(slab, extent), capacity);
    return extent;
}

static uint64_t held_pages(const struct slab *slab)
{
    return slab->page_count - slab->hollow_page_count;
}

static bool may_fill_hollow_page(const struct slab *slab)
{
    return slab->hollow_page_count > 0 && held_pages(slab) < slab->held_pages_max;
}

static bool has_free_page(const struct slab *slab)
{
    return !list_is_empty(&slab->free_pages) || may_fill_hollow_page(slab);
}

static struct page *take_free_page(struct slab *slab, enum page_state state)
{
    struct list *link = list_pop_front(&slab->free_pages);
    if (link == NULL && may_fill_hollow_page(slab)) {
        link = list_pop_front(&slab->hollow_pages);
        slab->hollow_page_count--;
    }
    if (link == NULL)
        return NULL;
    struct page *page = LIST_OWNER(link, struct page, link);
    assert(page->state == PAGE_FREE);
    page->state = (uint8_t)state;
    slab->free_page_count--;
    return page;
}

static void give_free_page(struct slab *slab, struct page *page)
{
    page->state = PAGE_FREE;
    list_push_front(&slab->free_pages, &page->link); /* front: memory that was touched lately is used first */
    slab->free_page_count++;
}

static void divide(struct slab *slab, struct page *page, unsigned class, uint32_t *owners)
{
    page->owners = owners;
    page->class = (uint8_t) class;
    page->used_count = 0;
    page->first_free = CHUNK_NONE;
    page->first_fresh = 0;
    list_push_front(&slab->classes[class].available, &page->link);
    slab->divided_page_count++;
}

static bool has_room(const struct slab *slab, const struct page *page)
{
    return page->first_free != CHUNK_NONE || page->first_fresh < slab->classes[page->class].chunks;
}

static struct extent take_chunk(struct slab *slab, struct page *page, uint32_t owner)
{
    const struct size_class *class = &slab->classes[page->class];
    uint16_t number = page->first_free;
    if (number == CHUNK_NONE) {
        number = page->first_fresh++;
        assert(number < class->chunks);
    } else {
        assert(number < page->first_fresh && chunk_is_free(page->owners[number]));
        page->first_free = (uint16_t)page->owners[number];
    }
    page->owners[number] = owner;
    page->used_count++;
    slab->chunk_bytes += class->bytes;
    if (!has_room(slab, page))
        list_remove(&page->link);
    return extent_at(slab, page, number * class->bytes, class->bytes);
}

/* Returns with the lock held. NULL when the class has no room and no page is free; dividing one takes the lock off while it allocates. */
static struct page *lock_page_with_room(struct slab *slab, unsigned number)
{
    struct size_class *class = &slab->classes[number];
    pthread_mutex_lock(&slab->lock);
    if (list_is_empty(&class->available) && has_free_page(slab)) {
        pthread_mutex_unlock(&slab->lock);
        uint32_t *owners = malloc(class->chunks * sizeof *owners);
        pthread_mutex_lock(&slab->lock);
        struct page *page = owners != NULL && list_is_empty(&class->available) ? take_free_page(slab, PAGE_DIVIDED) : NULL;
        if (page != NULL)
            divide(slab, page, number, owners);
        else
            free(owners); /* another thread was faster: rare enough to do under the lock */
    }
    return list_is_empty(&class->available) ? NULL : LIST_OWNER(class->available.next, struct page, link);
}

static unsigned class_for(const struct slab *slab, size_t bytes)
{
    return slab->class_by_units[(bytes + SLAB_UNIT_BYTES - 1) / SLAB_UNIT_BYTES];
}

struct extent slab_alloc(struct slab *slab, size_t bytes, uint32_t owner)
{
    assert(!slab->is_attached && bytes >= 1 && bytes <= SLAB_PAGE_BYTES && !chunk_is_free(owner));
    struct extent extent = {0, 0};
    if (bytes > SLAB_CHUNK_MAX_BYTES) {
        pthread_mutex_lock(&slab->lock);
        struct page *page = take_free_page(slab, PAGE_WHOLE);
        if (page != NULL)
            extent = extent_at(slab, page, 0, SLAB_PAGE_BYTES);
    } else {
        struct page *page = lock_page_with_room(slab, class_for(slab, bytes));
        if (page != NULL)
            extent = take_chunk(slab, page, owner);
    }
    pthread_mutex_unlock(&slab->lock);
    return extent;
}

struct extent slab_alloc_larger(struct slab *slab, size_t bytes, uint32_t owner)
{
    assert(!slab->is_attached && bytes >= 1 && !chunk_is_free(owner));
    struct extent extent = {0, 0};
    if (bytes > SLAB_CHUNK_MAX_BYTES)
        return extent;
    unsigned number = class_for(slab, bytes);
    pthread_mutex_lock(&slab->lock);
    while (number < slab->class_count && list_is_empty(&slab->classes[number].available))
        number++;
    if (number < slab->class_count)
        extent = take_chunk(slab, LIST_OWNER(slab->classes[number].available.next, struct page, link), owner);
    pthread_mutex_unlock(&slab->lock);
    return extent;
}

/* The page of an extent, which must be one that slab_alloc gave; of a chunk, its number. */
static struct page *find_page(const struct slab *slab, struct extent extent, uint32_t *number)
{
    size_t at = extent.unit / UNITS_PER_PAGE;
    uint32_t offset = extent.unit % UNITS_PER_PAGE * SLAB_UNIT_BYTES;
    struct page *page = &slab->pages[at];
    assert(at < slab->page_count && page->state != PAGE_FREE);
    if (page->state == PAGE_WHOLE) {
        assert(offset == 0 && extent.capacity == SLAB_PAGE_BYTES);
        *number = 0;
        return page;
    }
    uint32_t bytes = slab->classes[page->class].bytes;
    *number = offset / bytes;
    assert(offset % bytes == 0 && extent.capacity == bytes && *number < page->first_fresh && !chunk_is_free(page->owners[*number]));
    return page;
}

/* Returns the owners' table when the page has become free: the caller frees it without the lock. */
static uint32_t *give_chunk(struct slab *slab, struct page *page, uint32_t number)
{
    struct size_class *class = &slab->classes[page->class];
    page->owners[number] = chunk_link(page->first_free);
    if (!has_room(slab, page))
        list_push_back(&class->available, &page->link); /* back: fuller pages first, so that emptier ones become free */
    page->first_free = (uint16_t)number;
    slab->chunk_bytes -= class->bytes;
    if (--page->used_count > 0)
        return NULL;
    uint32_t *owners = page->owners;
    page->owners = NULL;
    list_remove(&page->link);
    slab->divided_page_count--;
    give_free_page(slab, page);
    return owners;
}

static void mark_released(struct slab *slab, struct extent extent)
{
    if (slab->marks != NULL) /* what writes there next has taken the lock after this */
        atomic_fetch_or_explicit(&slab->marks[extent.unit / 64], UINT64_C(1) << extent.unit % 64, memory_order_release);
}

void slab_release(struct slab *slab, struct extent extent)
{
    assert(!slab->is_attached);
    POISON(slab_at(slab, extent), extent.capacity);
    uint32_t number;
    uint32_t *owners = NULL;
    pthread_mutex_lock(&slab->lock);
    struct page *page = find_page(slab, extent, &number);
    mark_released(slab, extent);
    if (page->state == PAGE_WHOLE)
        give_free_page(slab, page);
    else
        owners = give_chunk(slab, page, number);
    pthread_mutex_unlock(&slab->lock);
    free(owners);
}

/* The page is the caller's until the kernel has its memory: nobody else waits for that. */
void slab_give_back(struct slab *slab, struct extent extent)
{
    uint32_t number;
    pthread_mutex_lock(&slab->lock);
    struct page *page = find_page(slab, extent, &number);
    assert(page->state == PAGE_WHOLE);
    mark_released(slab, extent);
    pthread_mutex_unlock(&slab->lock);
    if (fallocate(slab->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)extent_offset(extent), SLAB_PAGE_BYTES) != 0) {
        slab_release(slab, extent);
        return;
    }
    POISON(slab_at(slab, extent), extent.capacity);
    pthread_mutex_lock(&slab->lock);
    page->state = PAGE_FREE;
    list_push_front(&slab->hollow_pages, &page->link);
    slab->free_page_count++;
    slab->hollow_page_count++;
    pthread_mutex_unlock(&slab->lock);
}

void slab_limit_pages(struct slab *slab, size_t pages)
{
    pthread_mutex_lock(&slab->lock);
    slab->held_pages_max = pages;
    pthread_mutex_unlock(&slab->lock);
}

size_t slab_held_pages(struct slab *slab)
{
    pthread_mutex_lock(&slab->lock);
    uint64_t held = held_pages(slab);
    pthread_mutex_unlock(&slab->lock);
    return held;
}

void slab_mark_released(struct slab *slab, _Atomic uint64_t *marks)
{
    pthread_mutex_lock(&slab->lock);
    slab->marks = marks;
    pthread_mutex_unlock(&slab->lock);
}

void slab_set_owner(struct slab *slab, struct extent extent, uint32_t owner)
{
    assert(!chunk_is_free(owner));
    uint32_t number;
    pthread_mutex_lock(&slab->lock);
    struct page *page = find_page(slab, extent, &number);
    if (page->state == PAGE_DIVIDED)
        page->owners[number] = owner;
    pthread_mutex_unlock(&slab->lock);
}

/* Among the next `compared` divided pages, the one with the fewest used bytes. */
static const struct page *emptiest_page(struct slab *slab, size_t compared)
{
    const struct page *best = NULL;
    uint32_t best_bytes = UINT32_MAX;
    size_t seen = 0;
    for (size_t i = 0; i < slab->page_count && seen < compared && i < OWNER_SCAN_PAGES * 16; i++) {
        const struct page *page = &slab->pages[slab->hand];
        slab->hand = slab->hand + 1 < slab->page_count ? slab->hand + 1 : 0;
        if (page->state != PAGE_DIVIDED)
            continue;
        seen++;
        uint32_t bytes = page->used_count * slab->classes[page->class].bytes;
        if (bytes < best_bytes) {
            best = page;
            best_bytes = bytes;
        }
    }
    return best;
}

size_t slab_page_owners(struct slab *slab, unsigned attempt, uint32_t *owners, size_t capacity)
{
    size_t count = 0, compared = attempt < 6 ? OWNER_SCAN_PAGES >> attempt : 1;
    pthread_mutex_lock(&slab->lock);
    const struct page *page = emptiest_page(slab, compared);
    for (uint32_t i = 0; page != NULL && i < page->first_fresh && count < capacity; i++) {
        if (!chunk_is_free(page->owners[i]))
            owners[count++] = page->owners[i];
    }
    pthread_mutex_unlock(&slab->lock);
    return count;
}

void slab_stats(struct slab *slab, struct slab_stats *stats)
{
    pthread_mutex_lock(&slab->lock);
    uint64_t whole = slab->page_count - slab->free_page_count - slab->divided_page_count;
    stats->bytes = slab->bytes;
    stats->allocated = whole * SLAB_PAGE_BYTES + slab->chunk_bytes;
    stats->free_in_pages = slab->divided_page_count * SLAB_PAGE_BYTES - slab->chunk_bytes;
    stats->free_pages = slab->free_page_count;
    stats->held_pages = held_pages(slab);
    pthread_mutex_unlock(&slab->lock);
}
