/* See visitor.h. */
#include "cache/visitor.h"

#include "cache/cache_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const uintptr_t MARK = 1;

void visitors_init(struct visitors *visitors)
{
    pthread_mutex_init(&visitors->lock, NULL);
    atomic_init(&visitors->count, 0);
}

void visitors_free(struct visitors *visitors)
{
    unsigned count = atomic_load_explicit(&visitors->count, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++) {
        assert(!visitors->all[i]->is_taken);
        free(visitors->all[i]);
    }
    pthread_mutex_destroy(&visitors->lock);
}

/* With the lock held. One that was given back, or a new one. */
static struct visitor *find_free(struct visitors *visitors)
{
    unsigned count = atomic_load_explicit(&visitors->count, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++) {
        if (!visitors->all[i]->is_taken)
            return visitors->all[i];
    }
    struct visitor *visitor = count < VISITORS_MAX ? aligned_alloc(_Alignof(struct visitor), sizeof *visitor) : NULL;
    if (visitor == NULL)
        return NULL;
    memset(visitor, 0, sizeof *visitor);
    visitors->all[count] = visitor;
    /* Before anything that it visits: who delists that, and looks here afterwards, sees it. */
    atomic_store_explicit(&visitors->count, count + 1, memory_order_seq_cst);
    return visitor;
}

struct visitor *visitor_new(struct cache *cache)
{
    struct visitors *visitors = &cache->visitors;
    if (cache->settings.searches_footers || cache->settings.keeps_no_pages) /* there are no hits without a disk */
        return NULL;
    pthread_mutex_lock(&visitors->lock);
    struct visitor *visitor = find_free(visitors);
    if (visitor != NULL)
        visitor->is_taken = true;
    pthread_mutex_unlock(&visitors->lock);
    return visitor;
}

void visitor_free(struct cache *cache, struct visitor **visitor_pointer)
{
    struct visitor *visitor = *visitor_pointer;
    *visitor_pointer = NULL;
    if (visitor == NULL)
        return;
    assert(visitor->reader == NULL && atomic_load_explicit(&visitor->place, memory_order_relaxed) == 0);
    pthread_mutex_lock(&cache->visitors.lock);
    visitor->notes_count = 0;
    visitor->is_taken = false;
    pthread_mutex_unlock(&cache->visitors.lock);
}

uint64_t visitors_found(struct visitors *visitors)
{
    uint64_t found = 0;
    unsigned count = atomic_load_explicit(&visitors->count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++)
        found += atomic_load_explicit(&visitors->all[i]->found, memory_order_relaxed);
    return found;
}

static void hand_over(_Atomic uintptr_t *place, struct object *object)
{
    uintptr_t unmarked = (uintptr_t)object;
    if (atomic_load_explicit(place, memory_order_seq_cst) != unmarked)
        return;
    object_ref(object);
    if (!atomic_compare_exchange_strong_explicit(place, &unmarked, unmarked | MARK, memory_order_acq_rel, memory_order_acquire))
        ref_drop(&object->refs); /* it has just left; the index's is still there */
}

void visitors_hand_over(struct visitors *visitors, struct object *object)
{
    unsigned count = atomic_load_explicit(&visitors->count, memory_order_seq_cst);
    for (unsigned i = 0; i < count; i++)
        hand_over(&visitors->all[i]->place, object);
}

void visit_end(struct cache *cache, struct visitor *visitor)
{
    uintptr_t left = atomic_exchange_explicit(&visitor->place, 0, memory_order_acq_rel);
    struct object *object = (left & MARK) != 0 ? (struct object *)(left & ~MARK) : NULL;
    object_unref(cache, &object);
}

void visitor_settle(struct visitor *visitor)
{
    struct reader *reader = visitor->reader;
    if (reader == NULL)
        return;
    object_ref(reader->object);
    visit_end(reader->cache, visitor);
    visitor->reader = NULL;
    reader->visitor = NULL;
}

void visitor_note(struct cache *cache, struct visitor *visitor, uint64_t hash, uint64_t bytes, int64_t now_s)
{
    if (visitor->notes_count == 0)
        visitor->notes_s = now_s;
    if (visitor->notes_count < VISIT_NOTES)
        visitor->notes[visitor->notes_count++] = (struct sizing_note){hash, bytes};
    if (visitor->notes_count < VISIT_NOTES && now_s == visitor->notes_s)
        return;
    if (sizing_note_many_found(&cache->sizing, visitor->notes, visitor->notes_count))
        visitor->notes_count = 0;
}
