#include "proxy/boot/store_home.h"

static void let_go(struct store_home *home)
{
    deadline_clear(&home->tick);
    store_release(home->store);
    home->store = NULL; /* its waker may still be called: nothing comes of it */
}

static void run(struct store_home *home)
{
    void (*drained)(void) = home->drained;
    if (home->store == NULL) {
        return;
    } else if (drained == NULL) {
        store_run(home->store, loop_now(home->loop), loop_wall(home->loop));
    } else if (store_drain(home->store, loop_now(home->loop), loop_wall(home->loop), home->syncs_at_end)) {
        home->drained = NULL;
        if (home->is_releasing)
            let_go(home);
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
    if (home->store != NULL)
        run(home);
    else
        drained();
}

void store_home_release(struct store_home *home, void (*released)(void))
{
    home->is_releasing = true;
    store_home_drain(home, false, released);
}
