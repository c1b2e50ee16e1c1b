/* The resolver helper: names to addresses, many questions at once. */
#include "base/clock.h"
#include "helpers/helper_loop.h"
#include "helpers/helper_main.h"
#include "helpers/names.h"
#include "helpers/sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum { BATCH = 64 };

static void take_control(void *context, const struct control_message *message)
{
    if (message->message.type == MESSAGE_RESOLVER_SETTINGS)
        names_configure(context, message->message.payload, message->message.tail, clock_monotonic());
}

static bool take_question(void *context, struct channel *from, const struct message *message)
{
    const struct message_resolve *question = message->payload;
    names_ask(context, message->tail, from, question->request, clock_monotonic());
    return true;
}

/* A client never has more questions under way than answers fit: one that does loses answers, and only its own. */
static void send_answer(void *asker, const struct message_resolved *answer)
{
    struct channel *channel = asker;
    channel_send(channel, MESSAGE_RESOLVED, answer, BYTES_NONE);
    channel_flush(channel);
}

static void forget_channel(void *context, struct channel *channel)
{
    names_forget(context, channel);
}

static void end_turn(void *context)
{
    names_process(context, clock_monotonic());
}

static int wait_for_answers(void *context, short *events)
{
    *events = POLLIN;
    return names_fd(context);
}

static int time_to_next(void *context)
{
    return names_timeout_ms(context, clock_monotonic());
}

/* c-ares looks at the system's files again and again; /etc/resolv.conf may be a link to where it is written. */
static void lock_up(void)
{
    static const char *const paths[] = {"/etc",         "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager",
                                        "/run/connman", "/dev/urandom"};
    int readable[sizeof paths / sizeof *paths];
    unsigned count = 0;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        int file = open(paths[i], O_PATH | O_CLOEXEC);
        if (file >= 0)
            readable[count++] = file;
    }
    sandbox_enter(ROLE_RESOLVER, readable, count);
    while (count > 0)
        close(readable[--count]);
}

void resolver_main(int control)
{
    lock_up();
    struct helper_engine engine = {.role = ROLE_RESOLVER,
                                   .context = names_new(send_answer),
                                   .batch = BATCH,
                                   .control = take_control,
                                   .message = take_question,
                                   .closed = forget_channel,
                                   .turn = end_turn,
                                   .wait_for = wait_for_answers,
                                   .timeout_ms = time_to_next};
    helper_loop_run(control, &engine);
}
