#include "cache/unstorable.h"

#include <stdatomic.h>
#include <stdlib.h>

_Static_assert((UNSTORABLE_SETS & (UNSTORABLE_SETS - 1)) == 0, "a set is chosen by the low bits");

/* Upper half: of the hash; lower half: wall seconds until which it counts. 0: free. */
static uint32_t tag_of(uint64_t name)
{
    return (uint32_t)(name >> 32);
}

static uint32_t seconds(struct wall_seconds time)
{
    return time.s < 0 ? 0 : time.s > UINT32_MAX ? UINT32_MAX : (uint32_t)time.s;
}

static _Atomic uint64_t *set_of(const struct unstorable *table, uint64_t name)
{
    return &table->slots[(name & (UNSTORABLE_SETS - 1)) * UNSTORABLE_WAYS];
}

static uint64_t load(const _Atomic uint64_t *slot)
{
    return atomic_load_explicit(slot, memory_order_relaxed);
}

void unstorable_init(struct unstorable *table)
{
    table->slots = calloc((size_t)UNSTORABLE_SETS * UNSTORABLE_WAYS, sizeof *table->slots);
    if (table->slots == NULL)
        abort();
}

void unstorable_free(struct unstorable *table)
{
    free(table->slots);
    table->slots = NULL;
}

uint64_t unstorable_name(uint64_t hash, bool has_authorization)
{
    uint64_t name = has_authorization ? ~hash : hash;
    return name != 0 ? name : 1;
}

void unstorable_add(struct unstorable *table, uint64_t name, struct wall_seconds until)
{
    _Atomic uint64_t *set = set_of(table, name), *chosen = set;
    uint32_t earliest = UINT32_MAX;
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++) {
        uint64_t slot = load(&set[i]);
        uint32_t end = (uint32_t)slot;
        if (slot >> 32 == tag_of(name) && slot != 0) {
            chosen = &set[i];
            break;
        }
        if (end < earliest) {
            earliest = end;
            chosen = &set[i];
        }
    }
    atomic_store_explicit(chosen, (uint64_t)tag_of(name) << 32 | seconds(until), memory_order_relaxed);
}

void unstorable_remove(struct unstorable *table, uint64_t name)
{
    _Atomic uint64_t *set = set_of(table, name);
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++) {
        uint64_t slot = load(&set[i]);
        if (slot != 0 && slot >> 32 == tag_of(name))
            atomic_compare_exchange_strong_explicit(&set[i], &slot, 0, memory_order_relaxed, memory_order_relaxed);
    }
}

bool unstorable_has(const struct unstorable *table, uint64_t name, struct wall_seconds now)
{
    const _Atomic uint64_t *set = set_of(table, name);
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++) {
        uint64_t slot = load(&set[i]);
        if (slot >> 32 == tag_of(name) && (uint32_t)slot > seconds(now))
            return true;
    }
    return false;
}
