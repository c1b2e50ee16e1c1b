/* Two caches, as of two instances: what the old one lists the new one takes over. */
#ifndef TESTS_HANDOVER_RIG_H
#define TESTS_HANDOVER_RIG_H

#include "tests/unit/cache/cache_rig.h"

#include "cache/handover.h"

#include <sys/mman.h>
#include <unistd.h>

static struct rig old, new;
static char *list;
static uint64_t list_bytes;
static struct slab *seen; /* the old slab, as another process sees it */
static const _Atomic bool goes_on = false;

static inline void setup(void)
{
    old = rig_new(4 * RIG_MIB, RIG_MIB, 8);
    new = rig_new(4 * RIG_MIB, RIG_MIB, 8);
    atomic_store(&new.cache->selector_serial, 1000000); /* another moment's */
    list_bytes = handover_list_bytes(slab_bytes(old.slab));
    list = mmap(NULL, list_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(list, MAP_FAILED);
    seen = slab_attach(dup(slab_fd(old.slab)));
}

static inline void teardown(void)
{
    cache_end_list(old.cache);
    slab_free(&seen);
    munmap(list, list_bytes);
    rig_free(&old);
    rig_free(&new);
}

static inline struct handover_counts list_all(void)
{
    struct handover_counts counts;
    cache_leave(old.cache, true);
    cr_assert(cache_list(old.cache, list, list_bytes, &goes_on, &counts));
    return counts;
}

static inline struct handover from_old(void)
{
    return (struct handover){slab_at(seen, (struct extent){0, 1}), list, slab_bytes(old.slab), list_bytes};
}

static inline struct handover_report adopt_all(void)
{
    struct handover_report report;
    struct handover from = from_old();
    cache_adopt(new.cache, &from, &goes_on, &report);
    return report;
}

/* As memory_home does before the first client. */
static inline void await_adoption(void)
{
    struct handover from = from_old();
    cache_await_adoption(new.cache);
    cache_adopt_unstorable(new.cache, &from);
}

static inline struct handover_report hand_over(void)
{
    list_all();
    await_adoption();
    return adopt_all();
}

static inline void close_all(struct ask *ask)
{
    if (ask->lookup.fill != NULL)
        fill_fail(&ask->lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask->reader);
}

/* As it is found in the new one: its body's bytes are checked. −1: not at all. */
static inline int64_t found(const char *path, const char *fields)
{
    struct ask ask;
    int64_t bytes = -1;
    if (ask_with(&new, &ask, METHOD_GET, path, fields, false) == LOOKUP_HIT && ask_head(&ask) == READER_HEAD_READY)
        bytes = (int64_t)read_all(&ask);
    close_all(&ask);
    return bytes;
}

static inline const struct handover_head *head(void)
{
    return (const struct handover_head *)(const void *)list;
}

static inline bool purge(struct rig *rig, const char *path, enum purge_kind kind)
{
    struct cache_key key = rig_key(rig, path);
    return cache_purge(rig->cache, &key, kind, rig->now);
}

#endif
