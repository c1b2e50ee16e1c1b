#include "base/slab.h"
#include "helpers/disk_client.h"
#include "tests/unit/helpers/helper_process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static char root[] = "/tmp/outrigger-test-XXXXXX";
static struct slab *slab;
static struct helper_process helper;

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void set_up(void)
{
    struct message_roots roots = {.count = 1};
    cr_assert_not_null(mkdtemp(root));
    put("page", "from the disk");
    slab = slab_new(16 * SLAB_PAGE_BYTES);
    cr_assert_not_null(slab);
    helper = start_helper(ROLE_DISK, slab_fd(slab));
    cr_assert_eq(control_send(helper.control, MESSAGE_ROOTS, &roots, bytes_from(root, sizeof(root)), NULL, 0), 0);
}

static void tear_down(void)
{
    drop_channels();
    char path[128];
    snprintf(path, sizeof(path), "%s/page", root);
    unlink(path);
    rmdir(root);
}

TestSuite(disk_main, .init = set_up, .fini = tear_down, .timeout = 30);

static bool ask(struct channel *channel, uint64_t request, const char *path, uint64_t length, uint64_t slab_offset)
{
    char target[256];
    struct message_file_read message = {.request = request, .length = length, .slab_offset = slab_offset};
    memcpy(target, root, sizeof(root));
    strcpy(target + sizeof(root), path);
    bool sent = channel_send(channel, MESSAGE_FILE_READ, &message, bytes_from(target, sizeof(root) + strlen(path)));
    channel_flush(channel);
    return sent;
}

Test(disk_main, a_file_is_read_into_the_shared_slab)
{
    struct channel *channel = connect_loop(&helper, 0);
    struct extent extent = slab_alloc(slab, 100, 0);
    struct message message;
    cr_assert(ask(channel, 1, "page", 100, extent_offset(extent)));
    cr_assert(wait_for_message(channel, &message));
    const struct message_file_answer *answer = message.payload;
    cr_assert_eq(answer->request, 1);
    cr_assert_eq(answer->status, FILE_OK);
    cr_assert_eq(answer->bytes_read, 13);
    cr_assert_arr_eq(slab_at(slab, extent), "from the disk", 13);
    cr_assert_eq(end_helper(&helper), 0);
}

Test(disk_main, a_request_beyond_the_slab_closes_that_channel_only)
{
    struct channel *bad = connect_loop(&helper, 0), *good = connect_loop(&helper, 1);
    struct message message;
    cr_assert(ask(bad, 1, "page", 100, slab_bytes(slab) - 99));
    cr_assert_not(wait_for_message(bad, &message));
    cr_assert(ask(good, 2, "page", 100, slab_bytes(slab) - 100));
    cr_assert(wait_for_message(good, &message));
    cr_assert_eq(((const struct message_file_answer *)message.payload)->status, FILE_OK);
    cr_assert_eq(end_helper(&helper), 0);
}

Test(disk_main, channels_come_and_go)
{
    struct message message;
    for (unsigned i = 0; i < 100; i++) {
        struct channel *channel = connect_loop(&helper, i);
        cr_assert(ask(channel, i, "page", 64, 0));
        cr_assert(wait_for_message(channel, &message));
        if (i % 2)
            cr_assert(ask(channel, i, "page", 64, 0)); /* left behind */
        drop_channel(&channel);
    }
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/20", helper.pid);
    struct channel *last = connect_loop(&helper, 0);
    cr_assert(ask(last, 1, "page", 64, 0));
    cr_assert(wait_for_message(last, &message));
    cr_assert_neq(access(path, F_OK), 0, "closed channels leave no descriptors");
    cr_assert_eq(end_helper(&helper), 0);
}

Test(disk_main, the_signals_of_a_terminal_are_ignored)
{
    struct channel *channel = connect_loop(&helper, 0);
    struct message message;
    int status;
    cr_assert(ask(channel, 1, "page", 64, 0));
    cr_assert(wait_for_message(channel, &message));
    static const int ignored[] = {SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        cr_assert_eq(kill(helper.pid, ignored[i]), 0);
    cr_assert(ask(channel, 2, "page", 64, 0));
    cr_assert(wait_for_message(channel, &message));
    cr_assert_eq(kill(helper.pid, SIGTERM), 0);
    cr_assert_eq(waitpid(helper.pid, &status, 0), helper.pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

Test(disk_main, a_bad_control_message_ends_it)
{
    int status;
    cr_assert_eq(write(helper.control, "nonsense", 8), 8);
    cr_assert_eq(waitpid(helper.pid, &status, 0), helper.pid);
    cr_assert(WIFEXITED(status));
}

Test(disk_main, roots_can_be_taken_away)
{
    struct channel *channel = connect_loop(&helper, 0);
    struct message_roots none = {0};
    struct message message;
    cr_assert_eq(control_send(helper.control, MESSAGE_ROOTS, &none, BYTES_NONE, NULL, 0), 0);
    do /* the control message is looked at before or after the first requests */
        cr_assert(ask(channel, 1, "page", 64, 0) && wait_for_message(channel, &message));
    while (((const struct message_file_answer *)message.payload)->status == FILE_OK);
    cr_assert_eq(((const struct message_file_answer *)message.payload)->status, FILE_FORBIDDEN);
    cr_assert_eq(end_helper(&helper), 0);
}

enum { HELPERS = 2, IN_FLIGHT = 20, KILLS = 300 };

static struct disk_client *client;
static unsigned good_answers, bad_answers;

static void check_answer(struct file_request *request)
{
    bool is_good = request->error == ERROR_OK && request->answer.status == FILE_OK && request->answer.bytes_read == 13;
    good_answers += is_good;
    bad_answers += !is_good;
    cr_expect(is_good, "%s: status %u, %u bytes", error_text(request->error), request->answer.status, request->answer.bytes_read);
    disk_client_read(client, request, clock_monotonic());
}

static void never_hung(void *context, enum role role, unsigned number, unsigned generation)
{
    (void)context, (void)role, (void)number, (void)generation;
    cr_assert_fail("nobody hangs here");
}

/* Replaces helper `number`, as supervisor and boot would do. */
static void replace(struct helper_process *process, unsigned number, unsigned generation)
{
    struct message_roots roots = {.count = 1};
    if (generation > 1) {
        let_go(process);
        cr_assert_eq(waitpid(process->pid, NULL, 0), process->pid);
        disk_client_lost(client, number, generation - 1);
    }
    *process = start_helper(ROLE_DISK, slab_fd(slab));
    cr_assert_eq(control_send(process->control, MESSAGE_ROOTS, &roots, bytes_from(root, sizeof(root)), NULL, 0), 0);
    struct channel *channel = connect_loop(process, 0);
    forget_channel(channel);
    disk_client_attach(client, number, generation, channel);
}

static struct file_request requests[IN_FLIGHT];

/* One more death would end a request, rightly: for all that is known it kills whoever takes it. */
static bool is_one_suspected(void)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        if (requests[i].call.deaths >= CALL_DEATHS_MAX - 1)
            return true;
    }
    return false;
}

/* Lets requests run until `count` more have been answered. */
static void run_requests(unsigned count)
{
    for (unsigned until = good_answers + bad_answers + count; good_answers + bad_answers < until || is_one_suspected();) {
        disk_client_flush(client);
        for (unsigned i = 0; i < HELPERS; i++)
            disk_client_receive(client, i, clock_monotonic());
        disk_client_tick(client, clock_monotonic());
    }
}

Test(disk_main, helpers_killed_at_any_moment_fail_no_request)
{
    struct helper_process processes[HELPERS];
    unsigned generations[HELPERS];
    client = disk_client_new(&(struct helper_hooks){.context = NULL, .report_hung = never_hung}, 10000, 1000);
    for (unsigned i = 0; i < HELPERS; i++)
        replace(&processes[i], i, generations[i] = 1);
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        requests[i] = (struct file_request){.root = root, .path = "page", .length = 64, .slab_offset = 64 * i, .done = check_answer};
        disk_client_read(client, &requests[i], clock_monotonic());
    }
    for (unsigned kills = 0; kills < KILLS; kills++) {
        unsigned victim = kills % HELPERS;
        run_requests(1 + kills * 7 % 50);
        kill(processes[victim].pid, SIGKILL);
        if (kills % 3 == 0)
            kill(processes[!victim].pid, SIGKILL); /* both at once */
        if (kills % 5 == 0)
            disk_client_receive(client, victim, clock_monotonic()); /* its end may be seen before the word of its death */
        replace(&processes[victim], victim, ++generations[victim]);
        if (kills % 3 == 0)
            replace(&processes[!victim], !victim, ++generations[!victim]);
    }
    run_requests(1000);
    cr_assert_eq(bad_answers, 0);
    disk_client_free(&client);
    for (unsigned i = 0; i < HELPERS; i++)
        cr_assert_eq(end_helper(&processes[i]), 0);
}
