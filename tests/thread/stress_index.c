/* Visitors of crowded buckets: chains are lengthened, shortened and split under them all the time, and tags are the same for many. What is found is what was
 * looked for, and what is stored is found by who has the lock. stress_visitor has too few objects for that. A plain program, so that it runs under TSan.
 * Usage: stress_index [seconds]. */
#include "cache/cache_state.h"
#include "tests/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SLAB_BYTES = 8 * 1024 * 1024, /* nothing is evicted */
    KEYS = 1400,                  /* all in one shard: more than make it split */
    TAGS = 3,
    CHANGERS = 2, /* each has its part of the keys */
    VISITORS = 2,
    BODY_BYTES = 200,
};

struct thread {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    uint64_t found, missed, changed;
    struct object *stored[KEYS]; /* a changer's; the index's reference */
};

static struct cache *cache;
static _Atomic bool stop;

/* Half of the keys share four buckets, until these are split; the others fill the table. */
static struct object_name name_of(unsigned key, char text[16])
{
    uint64_t bucket = key % 2 == 0 ? key / 2 % 4 : key;
    int length = snprintf(text, 16, "key %u", key);
    return (struct object_name){
        .hash = (uint64_t)(key % TAGS) << 48 | (uint64_t)key << 32 | bucket << INDEX_SHARD_BITS,
        .key = bytes_from(text, (size_t)length),
    };
}

static struct shard *the_shard(void)
{
    return shard_of(cache, 0);
}

static struct object *make(const struct object_name *name)
{
    const struct record_parts parts = {.key = name->key, .stale_since_s = META_ABSENT, .length_known = true, .body_bytes = BODY_BYTES};
    struct object *object = object_new(cache, OBJECT_RESPONSE, &parts);
    CHECK(object != NULL);
    struct iovec body;
    int count = 1;
    object_body_iov(cache, object, 0, BODY_BYTES, &body, &count);
    for (size_t i = 0; i < BODY_BYTES; i++)
        ((char *)body.iov_base)[i] = name->key.at[i % name->key.len];
    object->hash = name->hash;
    return object;
}

static void check_body(const struct object *object, const struct object_name *name)
{
    struct iovec body;
    int count = 1;
    CHECK(bytes_equal(record_key(object_record(cache, object)), name->key));
    object_body_iov(cache, object, 0, BODY_BYTES, &body, &count);
    CHECK(body.iov_len == BODY_BYTES);
    for (size_t i = 0; i < BODY_BYTES; i++)
        CHECK(((const char *)body.iov_base)[i] == name->key.at[i % name->key.len]);
}

/* Stores it, or takes it away. */
static void change(struct thread *thread, unsigned key)
{
    char text[16];
    struct object_name name = name_of(key, text);
    struct shard *shard = the_shard();
    struct object *before = thread->stored[key], *object = before == NULL ? make(&name) : NULL;
    shard_lock_to_insert(cache, shard);
    CHECK(shard_find(cache, shard, &name) == before);
    if (before != NULL)
        shard_delist(cache, shard, before, OBJECT_UNLISTED);
    else
        shard_insert(cache, shard, object);
    CHECK(shard_find(cache, shard, &name) == object);
    pthread_mutex_unlock(&shard->lock);
    thread->stored[key] = object;
    struct object *done = before != NULL ? before : object; /* the index's reference, or the maker's */
    object_unref(cache, &done);
    thread->changed++;
}

static void *run_changer(void *context)
{
    struct thread *thread = context;
    while (!atomic_load(&stop))
        change(thread, random_number(&thread->random, KEYS / CHANGERS) * CHANGERS + thread->number);
    for (unsigned key = 0; key < KEYS; key++) {
        if (thread->stored[key] != NULL)
            change(thread, key);
    }
    return NULL;
}

static void *run_visitor(void *context)
{
    struct thread *thread = context;
    struct visitor *visitor = visitor_new(cache);
    CHECK(visitor != NULL);
    while (!atomic_load(&stop)) {
        char text[16];
        struct object_name name = name_of(random_number(&thread->random, KEYS), text);
        struct object *object = index_visit_name(cache, &the_shard()->index, &name, visitor);
        if (object == NULL) {
            thread->missed++;
            continue;
        }
        check_body(object, &name);
        visit_end(cache, visitor);
        thread->found++;
    }
    visitor_free(cache, &visitor);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct thread threads[CHANGERS + VISITORS];
    struct slab *slab = slab_new(SLAB_BYTES);
    struct hash_key hash_key;
    CHECK(slab != NULL);
    hash_key_derive(&hash_key, (const unsigned char[HASH_KEY_BYTES]){1});
    cache = cache_new(&(struct cache_settings){.slab = slab, .object_max_bytes = SLAB_BYTES / 4, .variants_max = 1}, &hash_key);
    CHECK(cache != NULL);
    for (unsigned i = 0; i < CHANGERS + VISITORS; i++) {
        threads[i].number = i;
        threads[i].random = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
        CHECK(pthread_create(&threads[i].thread, NULL, i < CHANGERS ? run_changer : run_visitor, &threads[i]) == 0);
    }
    nanosleep(&(struct timespec){.tv_sec = argc > 1 ? atol(argv[1]) : 2}, NULL);
    atomic_store(&stop, true);
    uint64_t found = 0, missed = 0, changed = 0;
    for (unsigned i = 0; i < CHANGERS + VISITORS; i++) {
        pthread_join(threads[i].thread, NULL);
        found += threads[i].found;
        missed += threads[i].missed;
        changed += threads[i].changed;
    }
    printf("found %lu, not found %lu, changes %lu, buckets %lu\n", (unsigned long)found, (unsigned long)missed, (unsigned long)changed,
           (unsigned long)the_shard()->index.bucket_count);
    CHECK(found > 0 && missed > 0 && changed > KEYS && the_shard()->index.bucket_count > INDEX_SEGMENT_MIN_BUCKETS);
    CHECK(the_shard()->index.entries_count == 0);
    cache_free(&cache);
    struct slab_stats left;
    slab_stats(slab, &left);
    CHECK(left.allocated == 0);
    slab_free(&slab);
    return 0;
}
