#include "proxy/boot/memory_home.h"

#include "base/log.h"
#include "cache/cache.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MIB = 1024 * 1024 };

/* ---- the files ---------------------------------------------------------------------------------------------------------------------------- */

/* NULL: it is none that can be relied on. Another process has it, too: what is mapped must not be cut off. */
static char *map_file(int fd, int protection, uint64_t *bytes)
{
    struct stat status;
    int seals = fcntl(fd, F_GET_SEALS);
    void *map = MAP_FAILED;
    if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && fstat(fd, &status) == 0 && status.st_size > 0) {
        *bytes = (uint64_t)status.st_size;
        map = mmap(NULL, *bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
    }
    close(fd);
    return map != MAP_FAILED ? map : NULL;
}

static void unmap(char **map, uint64_t bytes)
{
    if (*map != NULL)
        munmap(*map, bytes);
    *map = NULL;
}

/* ---- the thread --------------------------------------------------------------------------------------------------------------------------- */

static void do_list(struct memory_home *home)
{
    home->is_listed = cache_list(home->cache, home->list, home->list_bytes, &home->is_off, &home->counts);
}

static void do_take(struct memory_home *home)
{
    struct handover from = {home->slab, home->list, home->slab_bytes, home->list_bytes};
    cache_adopt(home->cache, &from, &home->is_off, &home->report);
}

static void *thread_main(void *context)
{
    struct memory_home *home = context;
    struct monotonic_ms began = clock_monotonic();
    pthread_setname_np(pthread_self(), "memory");
    (home->is_listing ? do_list : do_take)(home);
    home->took_ms = monotonic_since(clock_monotonic(), began);
    atomic_store(&home->is_done, true);
    mail_post(&home->mail);
    return NULL;
}

/* False: there are no more threads to be had. */
static bool start(struct memory_home *home, bool is_listing)
{
    atomic_store(&home->is_off, false);
    atomic_store(&home->is_done, false);
    home->is_listing = is_listing;
    home->is_busy = pthread_create(&home->thread, NULL, thread_main, home) == 0;
    return home->is_busy;
}

static void end_thread(struct memory_home *home)
{
    if (home->is_busy)
        pthread_join(home->thread, NULL);
    home->is_busy = false;
}

/* ---- listing ------------------------------------------------------------------------------------------------------------------------------ */

static void tell_listed(struct memory_home *home)
{
    void (*listed)(void) = home->listed;
    home->listed = NULL;
    if (listed != NULL)
        listed();
}

static void begin_list(struct memory_home *home, int fd)
{
    cache_end_list(home->cache);
    unmap(&home->list, home->list_bytes);
    home->list = map_file(fd, PROT_READ | PROT_WRITE, &home->list_bytes);
    if (home->list == NULL || !start(home, true)) {
        log_warn("upgrade", "the memory tier is not handed over: it cannot be listed");
        tell_listed(home);
    }
}

static void list_done(struct memory_home *home)
{
    if (home->is_listed)
        log_info("upgrade", "memory tier: %llu responses, %llu MiB listed in %lld ms", (unsigned long long)home->counts.responses,
                 (unsigned long long)home->counts.bytes / MIB, (long long)home->took_ms);
    tell_listed(home);
}

void memory_home_list(struct memory_home *home, int list, void (*listed)(void))
{
    home->listed = listed;
    if (home->is_busy) {
        home->waiting = list;
        return;
    }
    begin_list(home, list);
}

void memory_home_unlist(struct memory_home *home)
{
    home->listed = NULL;
    if (home->waiting >= 0)
        close(home->waiting);
    home->waiting = -1;
    if (home->is_busy && !home->is_listing)
        return;
    atomic_store(&home->is_off, true);
    end_thread(home); /* it looks every few microseconds */
    cache_end_list(home->cache);
    unmap(&home->list, home->list_bytes);
}

/* ---- taking ------------------------------------------------------------------------------------------------------------------------------- */

static void tell_taken(const struct memory_home *home)
{
    static const char *const reasons[] = {
        [HANDOVER_NOTHING] = "the old server has not listed it",
        [HANDOVER_OTHER_LAYOUT] = "it is of a version with another layout",
        [HANDOVER_OTHER_KEY] = "it has another hash key, as with other cache directories",
        [HANDOVER_DAMAGED] = "its list is damaged",
    };
    const struct handover_report *report = &home->report;
    if (report->verdict != HANDOVER_TAKEN)
        log_warn("upgrade", "memory tier not taken over: %s; %s", reasons[report->verdict],
                 cache_store(home->cache) != NULL ? "it is filled from disk" : "it starts empty");
    else
        log_info("upgrade", "memory tier: %llu responses, %llu MiB taken over in %lld ms; %llu left out%s",
                 (unsigned long long)report->taken.responses, (unsigned long long)report->taken.bytes / MIB, (long long)home->took_ms,
                 (unsigned long long)report->left_out, report->is_full ? "; memory is full" : "");
}

static void take_done(struct memory_home *home)
{
    tell_taken(home);
    unmap(&home->slab, home->slab_bytes);
    unmap(&home->list, home->list_bytes);
}

void memory_home_take(struct memory_home *home, int slab, int list)
{
    home->slab = map_file(slab, PROT_READ, &home->slab_bytes);
    home->list = map_file(list, PROT_READ, &home->list_bytes);
    if (home->slab == NULL || home->list == NULL || home->is_busy) {
        log_warn("upgrade", "memory tier not taken over: its files cannot be mapped");
        unmap(&home->slab, home->slab_bytes);
        unmap(&home->list, home->list_bytes);
        return;
    }
    cache_await_adoption(home->cache);
    cache_adopt_unstorable(home->cache, &(struct handover){home->slab, home->list, home->slab_bytes, home->list_bytes});
    if (start(home, false))
        return;
    atomic_store(&home->is_off, true); /* that it is over must be known, too */
    do_take(home);
    take_done(home);
}

/* ---- both --------------------------------------------------------------------------------------------------------------------------------- */

static void thread_posted(struct mail *mail)
{
    struct memory_home *home = LIST_OWNER(mail, struct memory_home, mail);
    if (!home->is_busy || !atomic_load(&home->is_done))
        return;
    end_thread(home);
    int waiting = home->waiting;
    home->waiting = -1;
    if (!home->is_listing)
        take_done(home);
    if (waiting >= 0)
        begin_list(home, waiting);
    else if (home->is_listing)
        list_done(home);
}

void memory_home_init(struct memory_home *home, struct cache *cache, struct loop *loop)
{
    *home = (struct memory_home){.cache = cache, .waiting = -1};
    mail_init(&home->mail, loop, thread_posted);
}

void memory_home_stop(struct memory_home *home)
{
    atomic_store(&home->is_off, true);
    end_thread(home);
}
