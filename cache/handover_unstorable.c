/* Both sides of what turned out not to be storable (unstorable.h), behind the list. See handover.h.
 *
 * Its place is where the entries end, aligned, and it has a head of its own: so a version that does not know of it hands over, and takes over, all the rest. */
#include "cache/handover.h"

#include "cache/fill_state.h"

#include <stdlib.h>
#include <string.h>

#define UNSTORABLE_MAGIC "ORunstor"

struct unstorable_head {
    char magic[8];
    uint64_t check; /* of all that follows */
    uint32_t sets, entry_bytes, count, purge_names;
};

_Static_assert(sizeof(struct unstorable_head) == 32, "shared with other versions");

enum { ENTRIES_MAX = UNSTORABLE_SETS * UNSTORABLE_WAYS, ALIGNMENT = 64 };

uint64_t handover_unstorable_bytes(void)
{
    return ALIGNMENT + sizeof(struct unstorable_head) + ENTRIES_MAX * sizeof(struct unstorable_entry);
}

static uint64_t place_after(uint64_t entries_end)
{
    return (entries_end + ALIGNMENT - 1) & ~(uint64_t)(ALIGNMENT - 1);
}

/* How many entries there is room for at `at`. */
static uint32_t room(uint64_t at, uint64_t end)
{
    if (at >= end || end - at < sizeof(struct unstorable_head))
        return 0;
    uint64_t count = (end - at - sizeof(struct unstorable_head)) / sizeof(struct unstorable_entry);
    return count < ENTRIES_MAX ? (uint32_t)count : ENTRIES_MAX;
}

static uint64_t check_of(const struct cache *cache, const struct unstorable_head *head, const struct unstorable_entry *entries)
{
    size_t skipped = offsetof(struct unstorable_head, sets);
    struct hash128 hashes[] = {
        hash_bytes(&cache->hash_key, bytes_from((const char *)head + skipped, sizeof *head - skipped)),
        hash_bytes(&cache->hash_key, bytes_from((const char *)entries, head->count * sizeof *entries)),
    };
    return hash_bytes(&cache->hash_key, bytes_from((const char *)hashes, sizeof hashes)).low;
}

void handover_list_unstorable(const struct cache *cache, char *list, uint64_t entries_end, uint64_t bytes)
{
    uint64_t at = place_after(entries_end);
    struct unstorable_entry *entries = (struct unstorable_entry *)(void *)(list + at + sizeof(struct unstorable_head));
    struct unstorable_head head = {.magic = UNSTORABLE_MAGIC,
                                   .sets = UNSTORABLE_SETS,
                                   .entry_bytes = sizeof *entries,
                                   .purge_names = UNSTORABLE_PURGE_NAMES,
                                   .count = unstorable_list(&cache->unstorable, &cache->purges, entries, room(at, bytes))};
    if (head.count == 0)
        return;
    head.check = check_of(cache, &head, entries);
    memcpy(list + at, &head, sizeof head);
}

/* A copy of the entries (malloc'ed), for the other may write on; NULL: there are none, or they are another version's. */
static struct unstorable_entry *read_entries(const struct cache *cache, const struct handover *from, uint64_t at, uint32_t *count)
{
    struct unstorable_head head;
    uint32_t most = room(at, from->list_bytes);
    if (most == 0)
        return NULL;
    memcpy(&head, from->list + at, sizeof head);
    if (memcmp(head.magic, UNSTORABLE_MAGIC, sizeof head.magic) != 0 || head.sets != UNSTORABLE_SETS ||
        head.entry_bytes != sizeof(struct unstorable_entry) || head.purge_names != UNSTORABLE_PURGE_NAMES || head.count == 0 ||
        head.count > most)
        return NULL;
    struct unstorable_entry *entries = malloc(head.count * sizeof *entries);
    if (entries == NULL)
        abort();
    memcpy(entries, from->list + at + sizeof head, head.count * sizeof *entries);
    *count = head.count;
    if (head.check == check_of(cache, &head, entries))
        return entries;
    free(entries);
    return NULL;
}

void cache_adopt_unstorable(struct cache *cache, const struct handover *from)
{
    struct handover_head head;
    uint32_t count = 0;
    if (handover_read_head(cache, from, &head) != HANDOVER_TAKEN)
        return;
    struct unstorable_entry *entries = read_entries(cache, from, place_after(head.entries_end), &count);
    for (uint32_t i = 0; i < count && entries != NULL; i++)
        unstorable_adopt(&cache->unstorable, &entries[i], cache->adopts_since);
    free(entries);
}
