#include "proxy/boot/store_home.h"

/* Purges that came before cache_leave are to be written; those after it are told that they came too late. False: there are some. */
static bool let_go(struct store_home *home)
{
    if (!home->has_left) {
        home->has_left = true;
        cache_leave(home->cache, true);
        if (home->store != NULL)
            store_begin_drain(home->store);
    }
    if (home->store != NULL && !store_drain(home->store, loop_now(home->loop), loop_wall(home->loop), false))
        return false;
    home->is_released = true;
    if (home->store != NULL) {
        deadline_clear(&home->tick);
        store_release(home->store); /* its waker may still be called: nothing comes of it */
    }
    return true;
}

static void run(struct store_home *home)
{
    void (*drained)(void) = home->drained;
    if (home->store == NULL || home->is_released) {
        return;
    } else if (drained == NULL) {
        store_run(home->store, loop_now(home->loop), loop_wall(home->loop));
    } else if (store_drain(home->store, loop_now(home->loop), loop_wall(home->loop), home->syncs_at_end)) {
        if (home->is_releasing && !let_go(home))
            return;
        home->drained = NULL;
        drained();
    }
}

static void store_asks(struct mail *mail)
{
    run(LIST_OWNER(mail, struct store_home, mail));
}

static void tick(struct deadline *deadline)
{
    struct store_home *home = LIST_OWNER(deadline, struct store_home, tick);
    loop_set_deadline(home->loop, &home->tick, STORE_TICK_MS, tick);
    run(home);
}

void store_home_start(struct store_home *home, struct store *store, struct disk_io *io, struct loop *loop)
{
    *home = (struct store_home){.store = store, .loop = loop};
    if (store == NULL)
        return;
    mail_init(&home->mail, loop, store_asks);
    store_start(store, io, &home->mail.waker);
    loop_set_deadline(loop, &home->tick, STORE_TICK_MS, tick);
}

void store_home_drain(struct store_home *home, bool with_sync, void (*drained)(void))
{
    home->syncs_at_end = with_sync;
    home->drained = drained;
    if (home->store != NULL && !home->is_released)
        run(home);
    else
        drained();
}

void store_home_release(struct store_home *home, struct cache *cache, void (*released)(void))
{
    home->is_releasing = true;
    home->cache = cache;
    if (home->store == NULL)
        let_go(home);
    store_home_drain(home, false, released);
}

void store_home_resume(struct store_home *home)
{
    if (!home->is_releasing)
        return;
    home->is_releasing = home->has_left = home->is_released = false;
    home->drained = NULL;
    cache_leave(home->cache, false);
    if (home->store == NULL)
        return;
    store_resume(home->store);
    loop_set_deadline(home->loop, &home->tick, STORE_TICK_MS, tick);
}
