#include "cache/unstorable.h"

#include <stdatomic.h>
#include <stdlib.h>

_Static_assert((UNSTORABLE_SETS & (UNSTORABLE_SETS - 1)) == 0, "a set is chosen by the low bits");

static uint32_t tag_of(uint64_t name)
{
    return (uint32_t)(name >> 32);
}

static uint32_t seconds(struct wall_seconds time)
{
    return time.s < 0 ? 0 : time.s > UINT32_MAX ? UINT32_MAX : (uint32_t)time.s;
}

static struct unstorable_slot *set_of(const struct unstorable *table, uint64_t name)
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

/* Its own, or that which ends first. */
static struct unstorable_slot *choose_slot(struct unstorable_slot *set, uint64_t name)
{
    struct unstorable_slot *chosen = set;
    uint32_t earliest = UINT32_MAX;
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++) {
        uint64_t key = load(&set[i].key);
        uint32_t end = (uint32_t)key;
        if (key >> 32 == tag_of(name) && key != 0)
            return &set[i];
        if (end < earliest) {
            earliest = end;
            chosen = &set[i];
        }
    }
    return chosen;
}

void unstorable_add(struct unstorable *table, const struct unstorable_mark *mark)
{
    struct unstorable_slot *slot = choose_slot(set_of(table, mark->name), mark->name);
    bool any_purge = mark->purge_names_count > UNSTORABLE_PURGE_NAMES;
    atomic_store_explicit(&slot->since, mark->since << 1 | any_purge, memory_order_relaxed);
    for (unsigned i = 0; i < UNSTORABLE_PURGE_NAMES; i++) {
        uint64_t name = i < mark->purge_names_count ? mark->purge_names[i] : 0;
        atomic_store_explicit(&slot->purge_names[i], name, memory_order_relaxed);
    }
    atomic_store_explicit(&slot->key, (uint64_t)tag_of(mark->name) << 32 | seconds(mark->until), memory_order_relaxed);
}

void unstorable_remove(struct unstorable *table, uint64_t name)
{
    struct unstorable_slot *set = set_of(table, name);
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++) {
        uint64_t key = load(&set[i].key);
        if (key != 0 && key >> 32 == tag_of(name))
            atomic_compare_exchange_strong_explicit(&set[i].key, &key, 0, memory_order_relaxed, memory_order_relaxed);
    }
}

/* A soft purge counts too: what was unstorable before it may be stored now. */
static bool is_purged(const struct unstorable_slot *slot, const struct purge_table *purges)
{
    uint64_t since = load(&slot->since), names[UNSTORABLE_PURGE_NAMES];
    uint32_t count = 0;
    if (purge_sequence(purges) == since >> 1)
        return false;
    if (since & 1)
        return true;
    for (unsigned i = 0; i < UNSTORABLE_PURGE_NAMES; i++) {
        names[count] = load(&slot->purge_names[i]);
        count += names[count] != 0;
    }
    struct purge_verdict verdict = purge_find(purges, names, count, since >> 1);
    return verdict.is_hard || verdict.is_soft;
}

bool unstorable_has(const struct unstorable *table, const struct purge_table *purges, uint64_t name, struct wall_seconds now)
{
    const struct unstorable_slot *set = set_of(table, name);
    for (unsigned i = 0; i < UNSTORABLE_WAYS; i++) {
        uint64_t key = load(&set[i].key);
        if (key >> 32 == tag_of(name) && (uint32_t)key > seconds(now) && !is_purged(&set[i], purges))
            return true;
    }
    return false;
}

uint32_t unstorable_list(const struct unstorable *table, const struct purge_table *purges, struct unstorable_entry *entries, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < UNSTORABLE_SETS * UNSTORABLE_WAYS && count < max; i++) {
        const struct unstorable_slot *slot = &table->slots[i];
        uint64_t key = load(&slot->key);
        if (key == 0 || is_purged(slot, purges))
            continue;
        struct unstorable_entry *entry = &entries[count++];
        *entry = (struct unstorable_entry){.key = key, .set = i / UNSTORABLE_WAYS, .any_purge = load(&slot->since) & 1};
        for (unsigned k = 0; k < UNSTORABLE_PURGE_NAMES; k++)
            entry->purge_names[k] = load(&slot->purge_names[k]);
    }
    return count;
}

void unstorable_adopt(struct unstorable *table, const struct unstorable_entry *entry, uint64_t since)
{
    if (entry->key == 0 || entry->set >= UNSTORABLE_SETS)
        return;
    unstorable_add(table, &(struct unstorable_mark){
                              .name = (uint64_t)tag_of(entry->key) << 32 | entry->set, /* all that is looked at of a name */
                              .until = {(uint32_t)entry->key},
                              .since = since,
                              .purge_names = entry->purge_names,
                              .purge_names_count = UNSTORABLE_PURGE_NAMES + (entry->any_purge != 0),
                          });
}
