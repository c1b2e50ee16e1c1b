#include "cache_rig.h"

static struct rig rig;
static struct index table;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void setup(void)
{
    rig = rig_new(16 * RIG_MIB, RIG_MIB, 4);
    index_init(&table, &rig.cache->object_space, &rig.cache->bucket_space);
}

static void drop(struct cache *cache, struct object *object)
{
    object_unref(cache, &object);
}

static void teardown(void)
{
    index_drain(&table, drop, rig.cache);
    index_free(&table, &rig.cache->buckets);
    rig_free(&rig);
}

TestSuite(index, .init = setup, .fini = teardown);

static struct object_name name_of(uint64_t hash, unsigned number)
{
    return (struct object_name){.hash = hash, .key = arena_printf(&rig.arena, "key %u", number)};
}

static struct object *insert(uint64_t hash, unsigned number)
{
    const struct record_parts parts = {.key = name_of(hash, number).key, .length_known = true};
    struct object *object = object_new(rig.cache, OBJECT_RESPONSE, &parts);
    cr_assert_not_null(object);
    object->hash = hash;
    if (!index_is_ready(&table))
        index_stock(&table, &lock, &rig.cache->buckets);
    index_insert(&table, object);
    return object;
}

/* In both ways. */
static struct object *find(uint64_t hash, unsigned number)
{
    struct object_name name = name_of(hash, number);
    struct object *object = index_find(rig.cache, &table, &name);
    cr_assert_eq(index_visit_name(rig.cache, &table, &name, rig.visitor), object, "a visitor finds the same");
    visit_end(rig.cache, rig.visitor);
    return object;
}

static void take_out(struct object *object)
{
    index_remove(&table, object, &rig.cache->buckets);
    object_unref(rig.cache, &object);
}

static uint64_t mix(uint64_t x)
{
    x = (x + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 29;
}

Test(index, finds_what_was_inserted)
{
    cr_assert_null(find(1, 1));
    struct object *object = insert(1, 1);
    cr_assert_eq(find(1, 1), object);
    cr_assert_null(find(2, 1));
}

Test(index, compares_the_whole_key_after_the_hash)
{
    struct object *a = insert(77, 1), *b = insert(77, 2);
    cr_assert_eq(find(77, 1), a);
    cr_assert_eq(find(77, 2), b);
    cr_assert_null(find(77, 3));
}

Test(index, many_of_one_bucket_overflow_and_come_back)
{
    struct object *objects[100];
    for (unsigned i = 0; i < 100; i++)
        objects[i] = insert(UINT64_C(5) << 60 | 3 << INDEX_SHARD_BITS, i);
    cr_assert_gt(cells_in_use(&rig.cache->buckets), 5);
    for (unsigned i = 0; i < 100; i += 2) {
        take_out(objects[i]);
        for (unsigned j = 0; j < 100; j++)
            cr_assert_eq(find(UINT64_C(5) << 60 | 3 << INDEX_SHARD_BITS, j), j > i || j % 2 == 1 ? objects[j] : NULL);
    }
    for (unsigned i = 1; i < 100; i += 2)
        take_out(objects[i]);
    cr_assert_leq(cells_in_use(&rig.cache->buckets), 1 + 15, "overflow buckets are given back, spares of splits aside");
    cr_assert_eq(table.entries_count, 0);
}

Test(index, growth_loses_nothing)
{
    enum { COUNT = 20000 };
    static struct object *objects[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        objects[i] = insert(mix(i), i);
        if (i % 997 == 0) {
            for (unsigned j = 0; j <= i; j++)
                cr_assert_eq(find(mix(j), j), objects[j]);
        }
    }
    cr_assert_eq(table.entries_count, COUNT);
    cr_assert_geq(table.bucket_count * INDEX_LOAD, COUNT);
    for (unsigned i = 0; i < COUNT; i += 3)
        take_out(objects[i]);
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_eq(find(mix(i), i), i % 3 == 0 ? NULL : objects[i]);
}

Test(index, overhead_of_a_small_object_is_within_44_bytes)
{
    enum { COUNT = 20000 };
    for (unsigned i = 0; i < COUNT; i++)
        insert(mix(i), i);
    uint64_t bytes = objects_bytes(rig.cache) + (cells_in_use(&rig.cache->buckets) + table.bucket_count) * sizeof(struct bucket);
    cr_assert_leq(bytes, 44 * COUNT, "%lu", (unsigned long)bytes / COUNT);
}
