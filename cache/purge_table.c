/* See purge_table.h. */
#include "cache/purge_table.h"

#include <stdlib.h>

void purge_table_init(struct purge_table *table)
{
    *table = (struct purge_table){.sets = calloc(PURGE_SETS, sizeof *table->sets)};
    if (table->sets == NULL)
        abort();
    pthread_mutex_init(&table->lock, NULL);
}

void purge_table_free(struct purge_table *table)
{
    free(table->sets);
    pthread_mutex_destroy(&table->lock);
}

uint64_t purge_table_bytes(void)
{
    return (uint64_t)PURGE_SETS * sizeof(struct purge_set);
}

static struct purge_set *set_of(const struct purge_table *table, uint64_t name)
{
    return &table->sets[name % PURGE_SETS];
}

static void judge(const struct purge_times *times, uint64_t since, struct purge_verdict *verdict)
{
    if (atomic_load_explicit(&times->hard, memory_order_acquire) > since)
        verdict->is_hard = true;
    if (atomic_load_explicit(&times->soft, memory_order_acquire) > since) {
        int64_t soft_s = atomic_load_explicit(&times->soft_s, memory_order_relaxed);
        if (!verdict->is_soft || soft_s < verdict->stale_since_s)
            verdict->stale_since_s = soft_s;
        verdict->is_soft = true;
    }
}

struct purge_verdict purge_find(const struct purge_table *table, const uint64_t *names, uint32_t count, uint64_t since)
{
    struct purge_verdict verdict = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct purge_set *set = set_of(table, names[i]);
        for (unsigned way = 0; way < PURGE_WAYS; way++) {
            if (atomic_load_explicit(&set->names[way], memory_order_acquire) == names[i])
                judge(&set->times[way], since, &verdict);
        }
    }
    judge(&table->all, since, &verdict); /* last: see above */
    return verdict;
}

uint64_t purge_begin(struct purge_table *table)
{
    pthread_mutex_lock(&table->lock);
    return atomic_load_explicit(&table->sequence, memory_order_relaxed) + 1;
}

void purge_end(struct purge_table *table)
{
    atomic_fetch_add_explicit(&table->sequence, 1, memory_order_release);
    pthread_mutex_unlock(&table->lock);
}

/* All of these with the lock held. */

static void write_times(struct purge_times *times, enum purge_kind kind, uint64_t sequence, struct wall_seconds now)
{
    if (kind == PURGE_HARD) {
        atomic_store_explicit(&times->hard, sequence, memory_order_release);
        return;
    }
    atomic_store_explicit(&times->soft_s, now.s, memory_order_relaxed);
    atomic_store_explicit(&times->soft, sequence, memory_order_release);
}

static uint64_t last_purge(const struct purge_times *times)
{
    uint64_t hard = atomic_load_explicit(&times->hard, memory_order_relaxed),
             soft = atomic_load_explicit(&times->soft, memory_order_relaxed);
    return hard > soft ? hard : soft;
}

/* What they say is said of everything from now on. */
static void raise_into_all(struct purge_times *all, const struct purge_times *times)
{
    uint64_t hard = atomic_load_explicit(&times->hard, memory_order_relaxed),
             soft = atomic_load_explicit(&times->soft, memory_order_relaxed);
    if (soft > atomic_load_explicit(&all->soft, memory_order_relaxed))
        write_times(all, PURGE_SOFT, soft, (struct wall_seconds){atomic_load_explicit(&times->soft_s, memory_order_relaxed)});
    if (hard > atomic_load_explicit(&all->hard, memory_order_relaxed))
        write_times(all, PURGE_HARD, hard, (struct wall_seconds){0});
}

/* The way of `name` in its set; where it has none, a free one, or that which was written longest ago. */
static unsigned claim_way(struct purge_table *table, struct purge_set *set, uint64_t name)
{
    unsigned oldest = 0;
    for (unsigned way = 0; way < PURGE_WAYS; way++) {
        if (atomic_load_explicit(&set->names[way], memory_order_relaxed) == name)
            return way;
        if (last_purge(&set->times[way]) < last_purge(&set->times[oldest])) /* of a free one: 0 */
            oldest = way;
    }
    raise_into_all(&table->all, &set->times[oldest]);
    /* Release, all three: who misses the old name sees `all` raised, and who sees the new name nothing of the old one. */
    atomic_store_explicit(&set->names[oldest], 0, memory_order_release);
    atomic_store_explicit(&set->times[oldest].hard, 0, memory_order_release);
    atomic_store_explicit(&set->times[oldest].soft, 0, memory_order_release);
    return oldest;
}

uint64_t purge_add(struct purge_table *table, uint64_t name, enum purge_kind kind, struct wall_seconds now)
{
    uint64_t sequence = purge_begin(table);
    struct purge_set *set = set_of(table, name);
    unsigned way = claim_way(table, set, name);
    write_times(&set->times[way], kind, sequence, now);
    atomic_store_explicit(&set->names[way], name, memory_order_release);
    purge_end(table);
    return sequence;
}

uint64_t purge_add_all(struct purge_table *table, enum purge_kind kind, struct wall_seconds now)
{
    uint64_t sequence = purge_begin(table);
    write_times(&table->all, kind, sequence, now);
    purge_end(table);
    return sequence;
}

/* ---- after a restart --------------------------------------------------------------------------------------------------------------------- */

/* What is not of before the restart. */
static void raise_times(struct purge_times *times, uint64_t above, uint64_t sequence)
{
    if (atomic_load_explicit(&times->hard, memory_order_relaxed) > above)
        atomic_store_explicit(&times->hard, sequence, memory_order_release);
    if (atomic_load_explicit(&times->soft, memory_order_relaxed) > above)
        atomic_store_explicit(&times->soft, sequence, memory_order_release);
}

static void raise(struct purge_table *table, uint64_t sequence)
{
    if (sequence <= atomic_load_explicit(&table->sequence, memory_order_relaxed))
        return;
    for (unsigned i = 0; i < PURGE_SETS; i++) {
        for (unsigned way = 0; way < PURGE_WAYS; way++)
            raise_times(&table->sets[i].times[way], table->given_from, sequence + 1);
    }
    raise_times(&table->all, table->given_from, sequence + 1);
    table->given_from = sequence;
    atomic_store_explicit(&table->sequence, sequence + 1, memory_order_release);
}

static void restore_times(struct purge_times *times, enum purge_kind kind, uint64_t sequence, struct wall_seconds at)
{
    const _Atomic uint64_t *last = kind == PURGE_HARD ? &times->hard : &times->soft;
    if (sequence > atomic_load_explicit(last, memory_order_relaxed))
        write_times(times, kind, sequence, at);
}

/* The way of `name`, or a free one, or one that says less than `sequence`; PURGE_WAYS: there is none. */
static unsigned way_for(const struct purge_set *set, uint64_t name, uint64_t sequence)
{
    unsigned found = PURGE_WAYS;
    for (unsigned way = 0; way < PURGE_WAYS; way++) {
        if (atomic_load_explicit(&set->names[way], memory_order_relaxed) == name)
            return way;
        if (last_purge(&set->times[way]) < sequence)
            found = way;
    }
    return found;
}

void purge_restore(struct purge_table *table, uint64_t name, enum purge_kind kind, uint64_t sequence, struct wall_seconds at)
{
    pthread_mutex_lock(&table->lock);
    raise(table, sequence);
    struct purge_set *set = set_of(table, name);
    if (name == 0 || way_for(set, name, sequence) == PURGE_WAYS) {
        restore_times(&table->all, kind, sequence, at);
    } else {
        unsigned way = claim_way(table, set, name);
        restore_times(&set->times[way], kind, sequence, at);
        atomic_store_explicit(&set->names[way], name, memory_order_release);
    }
    pthread_mutex_unlock(&table->lock);
}

void purge_raise(struct purge_table *table, uint64_t sequence)
{
    pthread_mutex_lock(&table->lock);
    raise(table, sequence);
    pthread_mutex_unlock(&table->lock);
}
