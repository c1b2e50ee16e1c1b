#include "helpers/helper_loop.h"
#include "tests/unit/helpers/channels.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOPS = 3, SEEN_MAX = 1000 };

/* What the helper's process saw, shared with the test. */
static struct seen {
    unsigned count, turns, closed, settings;
    uint64_t requests[SEEN_MAX];
} * seen;

static bool note_request(void *context, struct channel *from, const struct message *message)
{
    (void)context, (void)from;
    uint64_t request = ((const struct message_resolve *)message->payload)->request;
    if (request == UINT64_MAX)
        return false;
    seen->requests[seen->count++] = request;
    return true;
}

static void note_close(void *context, struct channel *channel)
{
    (void)context, (void)channel;
    seen->closed++;
}

static void note_turn(void *context)
{
    (void)context;
    seen->turns++;
}

static int pair[2];
static struct channel *loops[LOOPS];

/* Channels are sent, and written to, before the helper starts: it finds everything at once. */
static void connect_all(void)
{
    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(seen, MAP_FAILED);
    cr_assert_eq(control_make(pair), 0);
    for (unsigned i = 0; i < LOOPS; i++) {
        struct channel_fds fds;
        struct message_channel about = {.role = ROLE_PROXY, .loop = i};
        cr_assert_eq(channel_make(&fds), 0);
        cr_assert_eq(control_send(pair[0], MESSAGE_CHANNEL, &about, BYTES_NONE, (int[]){fds.memory, fds.bell[1]}, 2), 0);
        close(fds.bell[1]);
        loops[i] = keep_channel(channel_open(fds.memory, fds.bell[0], ROLE_PROXY, ROLE_RESOLVER));
    }
}

TestSuite(helper_loop, .init = connect_all, .fini = drop_channels, .timeout = 20);

static void send_request(unsigned loop, uint64_t request)
{
    cr_assert(channel_send(loops[loop], MESSAGE_RESOLVE, &(struct message_resolve){request}, BYTES_NONE));
}

static int run_engine(struct helper_engine engine)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (!engine.control)
            close(pair[0]);
        for (unsigned i = 0; i < LOOPS; i++)
            close(channel_fd(loops[i]));
        helper_loop_run(pair[1], &engine);
    }
    close(pair[1]);
    for (unsigned i = 0; i < LOOPS; i++)
        channel_flush(loops[i]);
    close(pair[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Runs a helper to its end: the control socket closes behind what was sent. Its exit status. */
static int run(bool drains, unsigned batch)
{
    return run_engine((struct helper_engine){
        .role = ROLE_RESOLVER, .batch = batch, .drains = drains, .message = note_request, .closed = note_close, .turn = note_turn});
}

static void note_settings(void *context, const struct control_message *message)
{
    (void)context;
    seen->settings += message->message.type == MESSAGE_RESOLVER_SETTINGS;
}

/* While it is looked at the supervisor says what it rests on. */
static bool look_at_control(void *context, struct channel *from, const struct message *message)
{
    (void)context, (void)message;
    struct message_resolver_settings settings = {.timeout_ms = 100, .tries = 1, .question_ms = 100};
    channel_give_back(from);
    if (control_send(pair[0], MESSAGE_RESOLVER_SETTINGS, &settings, BYTES("127.0.0.1:53"), NULL, 0) < 0)
        _exit(2);
    helper_loop_look_at_control();
    struct message again;
    if (seen->settings != 1 || channel_receive_awake(from, &again) != CHANNEL_MESSAGE)
        _exit(3);
    close(pair[0]);
    return note_request(context, from, &again);
}

Test(helper_loop, a_message_may_rest_on_what_the_supervisor_says_meanwhile)
{
    send_request(1, 4711);
    cr_assert_eq(
        run_engine((struct helper_engine){.role = ROLE_RESOLVER, .batch = 16, .control = note_settings, .message = look_at_control}), 0);
    cr_assert_eq(seen->count, 1);
    cr_assert_eq(seen->requests[0], 4711);
    cr_assert_eq(seen->settings, 1);
}

Test(helper_loop, messages_are_taken_from_the_channels_in_turn)
{
    for (uint64_t i = 0; i < 100; i++)
        send_request(0, i);
    send_request(1, 1000);
    send_request(2, 2000);
    send_request(2, 2001);
    cr_assert_eq(run(true, 16), 0);
    cr_assert_eq(seen->count, 103);
    unsigned last = 0;
    for (unsigned i = 0; i < seen->count; i++)
        last = seen->requests[i] >= 1000 ? i : last;
    cr_assert_lt(last, 2 * LOOPS, "a short queue waits for its turns, not for a long queue");
}

Test(helper_loop, what_one_channel_sent_stays_in_order)
{
    for (uint64_t i = 0; i < 500; i++)
        send_request(i % LOOPS, i);
    cr_assert_eq(run(true, 7), 0);
    cr_assert_eq(seen->count, 500);
    uint64_t next[LOOPS] = {0, 1, 2};
    for (unsigned i = 0; i < seen->count; i++) {
        cr_assert_eq(seen->requests[i], next[seen->requests[i] % LOOPS]);
        next[seen->requests[i] % LOOPS] += LOOPS;
    }
}

Test(helper_loop, a_message_that_breaks_a_rule_costs_its_channel_only)
{
    send_request(0, UINT64_MAX);
    for (uint64_t i = 0; i < 50; i++) {
        send_request(0, 1000 + i);
        send_request(1, i);
        send_request(2, i);
    }
    cr_assert_eq(run(true, 16), 0);
    cr_assert_eq(seen->count, 100);
    cr_assert_eq(seen->closed, 1);
    cr_assert_not(channel_answer_bell(loops[0]), "its end is told");
}

Test(helper_loop, a_channel_of_the_wrong_kind_is_refused)
{
    struct channel_fds fds;
    struct message_channel about = {.role = ROLE_DISK};
    cr_assert_eq(channel_make(&fds), 0);
    cr_assert_eq(control_send(pair[0], MESSAGE_CHANNEL, &about, BYTES_NONE, (int[]){fds.memory, fds.bell[1]}, 2), 0);
    close(fds.bell[1]);
    struct channel *refused = keep_channel(channel_open(fds.memory, fds.bell[0], ROLE_PROXY, ROLE_RESOLVER));
    send_request(1, 5);
    cr_assert_eq(run(true, 16), 0);
    cr_assert_eq(seen->count, 1);
    cr_assert_not(channel_answer_bell(refused));
}

static struct rlimit files;

static void raise_limit(int number)
{
    (void)number;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* From the first turn on there is no room for a descriptor, until a moment has passed. */
static int be_short(void *context)
{
    static const struct itimerval moment = {.it_value = {.tv_usec = 300000}};
    (void)context;
    if (files.rlim_cur > 0)
        return -1;
    getrlimit(RLIMIT_NOFILE, &files);
    struct rlimit less = {0, files.rlim_max};
    while (fcntl((int)less.rlim_cur, F_GETFD) >= 0)
        less.rlim_cur++;
    signal(SIGALRM, raise_limit);
    if (setrlimit(RLIMIT_NOFILE, &less) < 0 || setitimer(ITIMER_REAL, &moment, NULL) < 0)
        _exit(2);
    return -1;
}

Test(helper_loop, a_channel_for_which_no_descriptor_is_left_waits_and_so_does_the_helper)
{
    send_request(0, 1);
    send_request(2, 3);
    cr_assert_eq(run_engine((struct helper_engine){.role = ROLE_RESOLVER,
                                                   .batch = 16,
                                                   .drains = true,
                                                   .message = note_request,
                                                   .closed = note_close,
                                                   .turn = note_turn,
                                                   .timeout_ms = be_short}),
                 0);
    cr_assert_eq(seen->count, 2);
    cr_assert_lt(seen->turns, 50, "%u turns: it does not spin", seen->turns);
}
