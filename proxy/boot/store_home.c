#include "proxy/boot/store_home.h"

static void run(struct store_home *home)
{
    store_run(home->store, loop_now(home->loop), loop_wall(home->loop));
}

static void store_asks(struct mail *mail)
{
    run(LIST_OWNER(mail, struct store_home, mail));
}

static void tick(struct deadline *deadline)
{
    struct store_home *home = LIST_OWNER(deadline, struct store_home, tick);
    run(home);
    loop_set_deadline(home->loop, &home->tick, STORE_TICK_MS, tick);
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

bool store_home_drain(struct store_home *home)
{
    return home->store == NULL || store_drain(home->store, loop_now(home->loop), loop_wall(home->loop));
}
