/* What an arriving response can be purged by: the hashes in its record. See purge_table.h. Runs on the writer's loop, without locks. */
#include "cache/fill_state.h"

#include "cache/policy/tags.h"

#include <stdlib.h>

static void refuse(struct head_plan *plan, enum cache_detail detail)
{
    plan->store = false;
    plan->detail = detail;
}

static int compare_tags(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The hashes of the tags and the groups, each once. */
static uint32_t hash_tags(struct fill *fill, const struct tag *tags, unsigned count, uint64_t *hashes)
{
    struct bytes scheme, host, path, query;
    uint32_t total = 0, unique = 1;
    if (count == 0)
        return 0;
    cache_key_parts(fill->key.encoded, &scheme, &host, &path, &query);
    for (unsigned i = 0; i < count; i++) {
        hashes[total++] = tag_hash(fill->cache, tags[i].name, &fill->arena);
        if (tags[i].is_group)
            hashes[total++] = group_hash(fill->cache, scheme, host, tags[i].name, &fill->arena);
    }
    qsort(hashes, total, sizeof *hashes, compare_tags);
    for (uint32_t i = 1; i < total; i++) {
        if (hashes[i] != hashes[i - 1])
            hashes[unique++] = hashes[i];
    }
    return unique;
}

/* What it can be purged by, and whether it was, since it was asked for. */
void plan_tags(struct fill *fill, struct head_plan *plan)
{
    struct record_parts *parts = &plan->parts;
    struct tag *tags;
    parts->stale_since_s = META_ABSENT;
    if (!fill->is_listable)
        return;
    unsigned count = tags_collect(&plan->fields, &fill->arena, &tags);
    uint64_t *hashes = arena_alloc(&fill->arena, (2 * (size_t)count + 1) * sizeof *hashes);
    uint32_t unique = hash_tags(fill, tags, count, hashes + 1);
    fill->purge_names = hashes;
    fill->purge_names_count = unique + 1;
    if (!plan->store)
        return;
    if (unique > TAGS_MAX) {
        refuse(plan, DETAIL_TAGS_FULL);
        plan->is_storable = false;
        return;
    }
    parts->tags = hashes + 1;
    parts->tags_count = unique;
    parts->goes_with_host = true;
    parts->purge_sequence = fill->purge_sequence;
    if (purge_sequence(&fill->cache->purges) == fill->purge_sequence)
        return;
    hashes[0] = key_host_hash(fill->cache, fill->key.encoded, &fill->arena);
    if (purge_find(&fill->cache->purges, hashes, unique + 1, fill->purge_sequence).is_hard)
        refuse(plan, DETAIL_PURGED);
}

void plan_stale_tags(struct fill *fill, struct head_plan *plan)
{
    plan_tags(fill, plan);
    struct purge_verdict purge = record_find_purge(fill->cache, object_record(fill->cache, fill->stale), fill->purge_sequence);
    if (purge.is_hard && plan->store)
        refuse(plan, DETAIL_PURGED);
    if (purge.is_soft)
        plan->parts.stale_since_s = purge.stale_since_s;
}
