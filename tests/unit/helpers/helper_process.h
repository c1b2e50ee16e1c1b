/* A helper's main in a process of its own; the test is its supervisor and its proxy. */
#ifndef TESTS_HELPER_PROCESS_H
#define TESTS_HELPER_PROCESS_H

#include "helpers/control.h"
#include "helpers/helper_main.h"
#include "tests/unit/helpers/channels.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

struct helper_process {
    enum role role;
    pid_t pid;
    int control; /* the supervisor's end */
};

/* Supervisor's ends: a helper that inherited another's would keep it from ending. */
static int controls[1024];

static inline void close_controls(void)
{
    for (unsigned i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
        if (controls[i])
            close(controls[i]);
    }
}

static inline struct helper_process start_helper(enum role role, int slab)
{
    int pair[2];
    struct helper_process helper = {.role = role};
    cr_assert_eq(control_make(pair), 0);
    helper.control = pair[0];
    helper.pid = fork();
    if (helper.pid == 0) {
        close(pair[0]);
        close_controls();
        if (role == ROLE_DISK)
            disk_main(pair[1], slab);
        else if (role == ROLE_STORE)
            store_main(pair[1], slab);
        else if (role == ROLE_RESOLVER)
            resolver_main(pair[1]);
        else
            log_main(pair[1]);
    }
    close(pair[1]);
    controls[pair[0]] = pair[0];
    return helper;
}

/* A loop's channel to it. */
static inline struct channel *connect_loop(const struct helper_process *helper, unsigned loop)
{
    struct channel_fds fds;
    struct message_channel about = {.role = ROLE_PROXY, .loop = loop};
    cr_assert_eq(channel_make(&fds), 0);
    cr_assert_eq(control_send(helper->control, MESSAGE_CHANNEL, &about, BYTES_NONE, (int[]){fds.memory, fds.bell[1]}, 2), 0);
    close(fds.bell[1]);
    return keep_channel(channel_open(fds.memory, fds.bell[0], ROLE_PROXY, helper->role));
}

/* The next message, waited for. False: the channel has ended. */
static inline bool wait_for_message(struct channel *channel, struct message *message)
{
    for (bool is_there = true;;) {
        enum channel_event event = channel_receive(channel, message);
        if (event == CHANNEL_MESSAGE)
            return true;
        cr_assert_eq(event, CHANNEL_EMPTY);
        if (!is_there)
            return false;
        struct pollfd bell = {.fd = channel_fd(channel), .events = POLLIN};
        cr_assert_eq(poll(&bell, 1, 10000), 1, "the helper does not answer");
        is_there = channel_answer_bell(channel);
    }
}

static inline void let_go(struct helper_process *helper)
{
    controls[helper->control] = 0;
    close(helper->control);
}

/* Closes the control socket; the helper's exit status, −1 when it was killed by a signal. */
static inline int end_helper(struct helper_process *helper)
{
    int status;
    let_go(helper);
    cr_assert_eq(waitpid(helper->pid, &status, 0), helper->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
