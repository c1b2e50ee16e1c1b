/* The store helper: records from and to the cache's store files. */
#include "base/log.h"
#include "base/slab.h"
#include "helpers/helper_loop.h"
#include "helpers/helper_main.h"
#include "helpers/sandbox.h"
#include "helpers/store_engine.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BATCH = 32, /* messages between two looks at the control socket; with io_uring, operations begun by one system call */
    UNFLUSHED_MAX = 64,
};

struct store_helper {
    struct slab *slab;
    struct store_engine *engine;
    struct channel *unflushed[UNFLUSHED_MAX]; /* got answers, and no bell yet */
    unsigned unflushed_count;
    bool is_locked;
};

static void flush(struct store_helper *helper)
{
    while (helper->unflushed_count > 0)
        channel_flush(helper->unflushed[--helper->unflushed_count]);
}

/* A client never has more calls under way than answers fit: one that does loses answers, and only its own. */
static void send_answer(void *context, void *asker, enum message_type type, const void *payload)
{
    struct store_helper *helper = context;
    channel_send(asker, type, payload, BYTES_NONE);
    for (unsigned i = 0; i < helper->unflushed_count; i++) {
        if (helper->unflushed[i] == asker)
            return;
    }
    if (helper->unflushed_count == UNFLUSHED_MAX)
        flush(helper);
    helper->unflushed[helper->unflushed_count++] = asker;
}

static void take_control(void *context, const struct control_message *message)
{
    struct store_helper *helper = context;
    if (message->message.type == MESSAGE_STORE_DIRECTORY && !store_engine_open(helper->engine, message->message.payload, message->fds[0]))
        log_error("store", "malformed directory");
    if (!helper->is_locked) /* the first directory has made the ring: no other is needed */
        sandbox_enter(ROLE_STORE, NULL, 0);
    helper->is_locked = true;
}

static bool take_request(void *context, struct channel *from, const struct message *message)
{
    struct store_helper *helper = context;
    bool is_good = store_engine_take(helper->engine, from, message);
    if (store_engine_fd(helper->engine) < 0)
        flush(helper); /* now: the next one may take long */
    return is_good;
}

static void forget_channel(void *context, struct channel *channel)
{
    struct store_helper *helper = context;
    flush(helper);
    store_engine_forget(helper->engine, channel);
}

static void end_turn(void *context)
{
    struct store_helper *helper = context;
    store_engine_turn(helper->engine);
    flush(helper);
}

static void finish(void *context)
{
    struct store_helper *helper = context;
    store_engine_finish(helper->engine);
    flush(helper);
}

static int wait_for_disk(void *context, short *events)
{
    *events = POLLIN;
    return store_engine_fd(((struct store_helper *)context)->engine);
}

static int time_to_retry(void *context)
{
    return store_engine_timeout_ms(((struct store_helper *)context)->engine);
}

void store_main(int control, int slab_fd)
{
    struct store_helper helper = {.slab = slab_attach(slab_fd)};
    if (!helper.slab) {
        log_error("slab", "cannot be mapped: %m");
        exit(1);
    }
    char *memory = slab_at(helper.slab, (struct extent){.unit = 0, .capacity = SLAB_UNIT_BYTES});
    helper.engine = store_engine_new(memory, slab_bytes(helper.slab), send_answer, &helper);
    struct helper_engine engine = {.role = ROLE_STORE,
                                   .context = &helper,
                                   .batch = BATCH,
                                   .control = take_control,
                                   .message = take_request,
                                   .closed = forget_channel,
                                   .turn = end_turn,
                                   .finish = finish,
                                   .wait_for = wait_for_disk,
                                   .timeout_ms = time_to_retry};
    helper_loop_run(control, &engine);
}
