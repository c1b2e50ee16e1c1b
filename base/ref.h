/* Reference count of what several loops share. The count starts at 1, held by whoever created the thing. */
#ifndef BASE_REF_H
#define BASE_REF_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ref {
    _Atomic uint32_t count;
};

static inline void ref_init(struct ref *ref)
{
    atomic_init(&ref->count, 1);
}

static inline void ref_take(struct ref *ref)
{
    uint32_t before = atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
}

/* True when this was the last reference: the caller frees. */
static inline bool ref_drop(struct ref *ref)
{
    uint32_t before = atomic_fetch_sub_explicit(&ref->count, 1, memory_order_acq_rel);
    assert(before > 0);
    return before == 1;
}

static inline uint32_t ref_count(const struct ref *ref)
{
    return atomic_load_explicit(&ref->count, memory_order_acquire);
}

#endif
