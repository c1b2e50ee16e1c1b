#include "helpers/helper_loop.h"

#include "base/log.h"

#include <assert.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FIXED_POLLS = 2,
    CHANNELS_MAX = 1026,     /* one a loop of the proxy, for a moment two while it is replaced */
    SHORT_MS = 100,          /* until the supervisor's packet is asked for again for whose descriptors there was no room */
    LAST_MESSAGES = 1 << 16, /* what was sent before the end is handled; a sender that never stops does not keep us alive */
};

struct peer {
    struct channel *channel;
    bool ended; /* its process has gone */
};

struct helper_loop {
    int control;
    const struct helper_engine *engine;
    struct peer peers[CHANNELS_MAX];
    unsigned count, next; /* next: whose turn it is */
    bool is_busy;         /* messages may be waiting: do not sleep */
    bool is_napping;      /* nobody will wake us: sleep briefly */
    bool is_short;        /* of descriptors: what the supervisor sent stays readable and would wake us for ever */
};

/* A terminal's Ctrl-C goes to the whole group: what it means is the supervisor's to say. A reader of our output that goes away is an error to
 * handle, not a reason to die. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
}

static void remove_peer(struct helper_loop *loop, unsigned at)
{
    if (loop->engine->closed)
        loop->engine->closed(loop->engine->context, loop->peers[at].channel);
    channel_close(&loop->peers[at].channel);
    loop->peers[at] = loop->peers[--loop->count];
}

static void add_channel(struct helper_loop *loop, struct control_message *message)
{
    const struct message_channel *about = message->message.payload;
    if (about->role != ROLE_PROXY || loop->count == CHANNELS_MAX) {
        log_error("channel", "refused: from role %u, %u channels are open", about->role, loop->count);
        close(message->fds[0]);
        close(message->fds[1]);
        return;
    }
    struct channel *channel = channel_open(message->fds[0], message->fds[1], loop->engine->role, ROLE_PROXY);
    if (!channel) {
        log_error("channel", "cannot be opened: %m");
        return;
    }
    loop->peers[loop->count++] = (struct peer){.channel = channel};
    loop->is_busy = true;
}

/* One message of one channel. False: it has none. The channel may be gone afterwards. */
static bool serve_one(struct helper_loop *loop, unsigned at, bool stay_awake)
{
    const struct helper_engine *engine = loop->engine;
    struct peer *peer = &loop->peers[at];
    struct message message;
    enum channel_event event = stay_awake ? channel_receive_awake(peer->channel, &message) : channel_receive(peer->channel, &message);
    if (peer->ended && (!engine->drains || event != CHANNEL_MESSAGE)) {
        remove_peer(loop, at);
        return false;
    }
    if (event == CHANNEL_EMPTY)
        return false;
    if (event == CHANNEL_MESSAGE && engine->message(engine->context, peer->channel, &message))
        return true;
    log_error("channel", "closed: its peer broke the protocol");
    remove_peer(loop, at);
    return false;
}

/* Up to a batch of messages, one a channel in turn. Returns how many. */
static unsigned serve_messages(struct helper_loop *loop, bool stay_awake)
{
    unsigned served = 0, silent = 0;
    while (silent < loop->count && served < loop->engine->batch) {
        if (loop->next >= loop->count)
            loop->next = 0;
        unsigned before = loop->count;
        bool got_one = serve_one(loop, loop->next, stay_awake);
        served += got_one;
        silent = got_one || loop->count != before ? 0 : silent + 1; /* a removal moves the others: ask them all again */
        loop->next += loop->count == before;
    }
    loop->is_busy = silent < loop->count;
    return served;
}

static void end_of_turn(const struct helper_engine *engine)
{
    if (engine->turn)
        engine->turn(engine->context);
}

static void __attribute__((noreturn)) finish(struct helper_loop *loop)
{
    for (unsigned served = 1, total = 0; loop->engine->drains && served > 0 && total < LAST_MESSAGES; total += served) {
        served = serve_messages(loop, true);
        end_of_turn(loop->engine);
    }
    end_of_turn(loop->engine);
    if (loop->engine->finish)
        loop->engine->finish(loop->engine->context);
    exit(0);
}

static void note_shortage(struct helper_loop *loop)
{
    if (!loop->is_short)
        log_error("control", "no descriptor left for what the supervisor sends: it waits (raise the limit of open files)");
    loop->is_short = true;
}

static void serve_control(struct helper_loop *loop)
{
    struct control_message message;
    for (;;) {
        switch (control_receive(loop->control, loop->engine->role, ROLE_SUPERVISOR, false, &message)) {
        case CONTROL_AGAIN:
            loop->is_short = false;
            return;
        case CONTROL_NO_DESCRIPTORS:
            note_shortage(loop);
            return;
        case CONTROL_CLOSED:
            finish(loop);
        case CONTROL_MESSAGE:
            if (message.message.type == MESSAGE_CHANNEL) {
                add_channel(loop, &message);
            } else {
                assert(loop->engine->control);
                loop->engine->control(loop->engine->context, &message);
            }
        }
    }
}

static int sleep_limit(const struct helper_loop *loop)
{
    const struct helper_engine *engine = loop->engine;
    if (loop->is_busy)
        return 0;
    int limit = engine->timeout_ms ? engine->timeout_ms(engine->context) : -1;
    if (loop->is_napping && (limit < 0 || limit > engine->nap_ms))
        limit = engine->nap_ms;
    if (loop->is_short && (limit < 0 || limit > SHORT_MS))
        limit = SHORT_MS;
    return limit;
}

static void wait_for_work(struct helper_loop *loop)
{
    const struct helper_engine *engine = loop->engine;
    static struct pollfd polls[FIXED_POLLS + CHANNELS_MAX];
    short events = POLLIN;
    unsigned polled = loop->count;
    polls[0] = (struct pollfd){.fd = loop->is_short ? -1 : loop->control, .events = POLLIN};
    polls[1].fd = engine->wait_for ? engine->wait_for(engine->context, &events) : -1;
    polls[1].events = events;
    for (unsigned i = 0; i < polled; i++)
        polls[FIXED_POLLS + i] = (struct pollfd){.fd = loop->peers[i].ended ? -1 : channel_fd(loop->peers[i].channel), .events = POLLIN};
    int ready = poll(polls, FIXED_POLLS + polled, sleep_limit(loop));
    for (unsigned i = 0; i < polled && ready > 0; i++) {
        if (polls[FIXED_POLLS + i].revents && !channel_answer_bell(loop->peers[i].channel))
            loop->peers[i].ended = true;
    }
    if (loop->is_short || (ready > 0 && polls[0].revents))
        serve_control(loop);
}

static struct helper_loop loop; /* large, and one a process */

void helper_loop_look_at_control(void)
{
    serve_control(&loop);
}

void helper_loop_run(int control, const struct helper_engine *engine)
{
    loop = (struct helper_loop){.control = control, .engine = engine};
    ignore_signals();
    for (;;) {
        wait_for_work(&loop);
        unsigned served = serve_messages(&loop, engine->nap_ms > 0);
        if (engine->nap_ms > 0) {
            if (served == 0)
                served = serve_messages(&loop, false);
            loop.is_napping = served > 0;
        }
        end_of_turn(engine);
    }
}
