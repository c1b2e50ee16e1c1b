/* See logged.h. */
#include "cache/disk/logged.h"

bool logged_has(const struct directory *directory, uint64_t position)
{
    bool is_empty = directory->tombstones.count == 0 && directory->purges.count == 0;
    return is_empty || directory->logged >= position || directory_is_bypassed(directory) || directory->has_overflowed;
}

/* With the lock held. */
static bool all_have_logged(const struct store *store, uint64_t position)
{
    for (unsigned i = 0; i < store->directory_count; i++) {
        if (!logged_has(&store->directories[i], position))
            return false;
    }
    return true;
}

uint64_t store_log_position(const struct store *store)
{
    return atomic_load_explicit(&store->log_position, memory_order_relaxed);
}

static void begin(struct store *store, struct store_wait *wait)
{
    list_push_back(&store->log_waits, &wait->link);
    for (unsigned i = 0; i < store->directory_count; i++) {
        struct directory *directory = &store->directories[i];
        directory->is_urgent |= !logged_has(directory, wait->position);
    }
}

bool store_await_logged(struct store *store, struct store_wait *wait)
{
    pthread_mutex_lock(&store->lock);
    if (wait->position == 0) {
        wait->position = store_log_position(store);
        list_init(&wait->link);
    }
    bool is_logged = all_have_logged(store, wait->position), begins = !is_logged && !list_is_linked(&wait->link);
    if (is_logged)
        list_remove(&wait->link);
    if (begins)
        begin(store, wait);
    pthread_mutex_unlock(&store->lock);
    if (begins)
        store_wake(store);
    return is_logged;
}

void store_wait_close(struct store *store, struct store_wait *wait)
{
    if (wait->position == 0)
        return;
    pthread_mutex_lock(&store->lock);
    list_remove(&wait->link);
    pthread_mutex_unlock(&store->lock);
    wait->position = 0;
}

void logged_wake(struct store *store)
{
    pthread_mutex_lock(&store->lock);
    LIST_FOR_EACH_SAFE(node, &store->log_waits)
    {
        struct store_wait *wait = LIST_OWNER(node, struct store_wait, link);
        if (!all_have_logged(store, wait->position))
            continue;
        list_remove(node);
        waker_wake(wait->waker);
    }
    pthread_mutex_unlock(&store->lock);
}
