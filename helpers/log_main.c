/* The log helper: the only process that a slow or full log disk can stop. */
#include "base/clock.h"
#include "helpers/helper_loop.h"
#include "helpers/helper_main.h"
#include "helpers/log_output.h"
#include "helpers/sandbox.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH = 256,
    NAP_MS = 5, /* under load: lines are fetched this often, and no loop rings for any. A ring holds this much up to 50 MB/s */
};

struct log_writer {
    struct log_output outputs[LOG_KIND_COUNT];
    uint64_t said_lines; /* of those that the outputs dropped */
};

static void take_control(void *context, const struct control_message *message)
{
    struct log_output *outputs = ((struct log_writer *)context)->outputs;
    if (message->message.type != MESSAGE_LOG_FILE)
        return;
    const struct message_log_file *file = message->message.payload;
    if (file->kind < LOG_KIND_COUNT)
        log_output_replace(&outputs[file->kind], message->fds[0], message->message.tail, clock_monotonic());
    else
        close(message->fds[0]);
}

/* What could not be said for want of room is said with the next drop. The proxy looks from time to time: no bell. */
static void say_dropped(struct log_writer *writer, struct channel *to)
{
    uint64_t dropped = 0;
    for (unsigned kind = 0; kind < LOG_KIND_COUNT; kind++)
        dropped += writer->outputs[kind].dropped_lines;
    struct message_log_dropped message = {.lines = dropped - writer->said_lines};
    if (message.lines > 0 && channel_send(to, MESSAGE_LOG_DROPPED, &message, BYTES_NONE))
        writer->said_lines = dropped;
}

static bool take_lines(void *context, struct channel *from, const struct message *message)
{
    struct log_writer *writer = context;
    const struct message_log_line *line = message->payload;
    if (line->kind >= LOG_KIND_COUNT)
        return false;
    log_output_add(&writer->outputs[line->kind], message->tail, clock_monotonic());
    say_dropped(writer, from);
    return true;
}

static void end_turn(void *context)
{
    struct log_output *outputs = ((struct log_writer *)context)->outputs;
    for (unsigned kind = 0; kind < LOG_KIND_COUNT; kind++)
        log_output_flush(&outputs[kind], clock_monotonic());
}

/* One is enough: the other is tried with every turn as well, at the latest when the timeout ends. */
static int wait_for_room(void *context, short *events)
{
    struct log_output *outputs = ((struct log_writer *)context)->outputs;
    *events = POLLOUT;
    for (unsigned kind = 0; kind < LOG_KIND_COUNT; kind++) {
        if (log_output_awaits_room(&outputs[kind]))
            return outputs[kind].fd;
    }
    return -1;
}

static int time_to_retry(void *context)
{
    struct log_output *outputs = ((struct log_writer *)context)->outputs;
    int soonest = -1;
    for (unsigned kind = 0; kind < LOG_KIND_COUNT; kind++) {
        int timeout = log_output_timeout_ms(&outputs[kind], clock_monotonic());
        if (timeout >= 0 && (soonest < 0 || timeout < soonest))
            soonest = timeout;
    }
    return soonest;
}

void log_main(int control)
{
    struct log_writer writer = {.said_lines = 0};
    log_output_init(&writer.outputs[LOG_KIND_ACCESS], "access", -1);
    log_output_init(&writer.outputs[LOG_KIND_ERROR], "error", STDERR_FILENO);
    writer.outputs[LOG_KIND_ERROR].has_levels = true;
    tzset(); /* reads a file: what local daemons get is in local time */
    sandbox_enter(ROLE_LOG, NULL, 0);
    struct helper_engine engine = {.role = ROLE_LOG,
                                   .context = &writer,
                                   .batch = BATCH,
                                   .nap_ms = NAP_MS,
                                   .drains = true,
                                   .control = take_control,
                                   .message = take_lines,
                                   .turn = end_turn,
                                   .wait_for = wait_for_room,
                                   .timeout_ms = time_to_retry};
    helper_loop_run(control, &engine);
}
