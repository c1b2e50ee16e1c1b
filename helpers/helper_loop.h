/* What every helper process does: wait for its control socket and its channels, take messages fairly, end when the supervisor ends.
 *
 * DESIGN. Channels come by control messages, one from each loop of the proxy; a channel that ends or breaks a rule is removed, the others go on.
 * Messages are taken one from each channel in turn, so that no loop starves another. While there is work the loop looks at the control socket every
 * `batch` messages; without work it sleeps in poll.
 */
#ifndef HELPERS_HELPER_LOOP_H
#define HELPERS_HELPER_LOOP_H

#include "helpers/channel.h"
#include "helpers/control.h"

struct helper_engine {
    enum role role;
    void     *context;
    unsigned  batch; /* messages between two looks at the control socket */
    /* After a turn with messages, look again this long later instead of being woken: under load the proxy then never rings. 0: off. */
    int  nap_ms;
    bool drains; /* what a channel holds when its peer ends is still worth handling */

    /* A control message other than CHANNEL. Descriptors are the engine's. NULL: none is expected. */
    void (*control)(void *context, const struct control_message *message);
    /* False: the message broke a rule, the channel is closed. */
    bool (*message)(void *context, struct channel *from, const struct message *message);
    /* About to be closed: forget it. NULL: nothing to forget. */
    void (*closed)(void *context, struct channel *channel);
    /* After each turn, and before the end of the process. NULL: nothing to do. */
    void (*turn)(void *context);
    /* The process is about to end: what was taken and is under way ends first. NULL: nothing ever is. */
    void (*finish)(void *context);
    /* A descriptor of the engine's own to wait for; −1: none now. `events` as in poll(2). NULL: never. */
    int (*wait_for)(void *context, short *events);
    /* How long the loop may sleep, −1: no limit. NULL: no limit. */
    int (*timeout_ms)(void *context);
};

/* From engine->message: takes what the supervisor has said by now, which may be what the message rests on. May end the process: a message that is not to end
 * with it has been given back, and is received again afterwards. */
void helper_loop_look_at_control(void);

/* Ends the process with status 0 when the control socket is closed. */
void helper_loop_run(int control, const struct helper_engine *engine) __attribute__((noreturn));

#endif
