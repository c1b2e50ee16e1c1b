/* The supervisor's main: command line, signals, messages of the children, the end. */
#include "proxy/boot/supervisor.h"

#include "base/log.h"
#include "helpers/control.h"
#include "helpers/sandbox.h"
#include "helpers/store_check.h"
#include "proxy/boot/config_files.h"
#include "proxy/boot/families.h"
#include "proxy/boot/file_watch.h"
#include "proxy/boot/notify.h"
#include "proxy/boot/pid_file.h"
#include "proxy/boot/tls_setup.h"
#include "proxy/boot/version.h"
#include "proxy/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 2,
    STOP_MS = 2000,           /* from TERM to KILL */
    DRAIN_EXTRA_MS = 2000,    /* the proxy itself keeps to timeouts.drain; this is for a proxy that does not */
    DESCRIPTORS_BESIDE = 256, /* of the proxy, besides one a client: channels, origins, files of its own */
};

/* ---- what the command line asks for ----------------------------------------------------------------------------------------------------- */

static int show_config(const struct options *options)
{
    bool only_test = options->action == ACTION_TEST;
    struct bytes name, text;
    struct config *config = NULL;
    if (reload_text(options, stderr, &name, &text))
        config = only_test ? config_test(name, text, stderr) : config_show(name, text, stderr, stdout);
    bool has_logs = !config || !only_test || log_files_check(config, text, stderr);
    bool is_valid = config && config_files_read(config, text, stderr) && tls_setup_check(config, text, stderr) && has_logs;
    if (is_valid && only_test)
        printf("configuration %.*s is valid\n", BYTES_FMT(name));
    config_unref(&config);
    free((char *)text.at);
    return is_valid ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int send_signal(const struct options *options)
{
    pid_t pid = pid_file_read(options->pid_file);
    if (pid == 0)
        return EXIT_FAILURE;
    if (kill(pid, options->signal) == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "outrigger: process %d: %s\n", (int)pid, strerror(errno));
    return EXIT_FAILURE;
}

/* ---- before the first child ------------------------------------------------------------------------------------------------------------- */

/* A descriptor of ours must not take the place of a standard stream that was closed. */
static void open_standard_streams(void)
{
    int fd;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd <= STDERR_FILENO)
        ;
    if (fd > STDERR_FILENO)
        close(fd);
}

static void raise_limits(const struct config *config)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur == RLIM_INFINITY)
        return;
    if (files.rlim_cur < (rlim_t)config->connections_max + DESCRIPTORS_BESIDE)
        log_warn("supervisor", "limits.connections is %u, but this process may open only %llu descriptors: raise LimitNOFILE or ulimit -n",
                 config->connections_max, (unsigned long long)files.rlim_cur);
}

static int watch_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < 7; i++)
        sigaddset(&signals, (const int[]){SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD}[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void refuse_strangers(struct listening_set *inherited, const struct listening_set *used)
{
    for (unsigned i = 0; i < inherited->count; i++) {
        bool is_used = false;
        for (unsigned k = 0; k < used->count; k++)
            is_used |= used->at[k].fd == inherited->at[i].fd;
        if (!is_used)
            log_warn("listen", "inherited socket %u (%s) has no address of the configuration: closed", i, inherited->at[i].text);
    }
    listening_close(inherited, used);
}

static bool prepare(struct supervisor *s)
{
    struct listening_set inherited;
    bool is_guest = upgrade_is_guest(&s->upgrade);
    listening_inherit(&inherited);
    if (!is_guest && !pid_file_create(s->options.pid_file))
        return false;
    for (unsigned kind = 0; kind < LOG_KIND_COUNT; kind++)
        s->logs.fd[kind] = -1;
    if (!reload_first(s, &inherited)) {
        listening_close(&inherited, NULL);
        pid_file_remove();
        return false;
    }
    if (!(s->config->concurrency == CONCURRENCY_MP ? families_prepare(s) : store_files_open(&s->stores, s->config, is_guest))) {
        listening_close(&inherited, &s->sockets);
        pid_file_remove();
        return false;
    }
    s->stores_are_lent = is_guest;
    refuse_strangers(&inherited, &s->sockets);
    raise_limits(s->config);
    s->main_pid = getpid();
    s->signals = watch_signals();
    if (is_guest)
        sandbox_keep(ROLE_SUPERVISOR);
    else
        sandbox_enter(ROLE_SUPERVISOR, NULL, 0);
    return true;
}

/* ---- the end ---------------------------------------------------------------------------------------------------------------------------- */

static void begin_stop(struct supervisor *s)
{
    if (s->ending == ENDING_STOP)
        return;
    struct message_empty empty = {0};
    log_info("supervisor", "stopping");
    notify_manager("STOPPING=1\nSTATUS=Stopping\n");
    upgrade_abandon(s);
    s->ending = ENDING_STOP;
    s->ending_deadline = monotonic_add(clock_monotonic(), STOP_MS);
    listening_close(&s->retiring, &s->sockets);
    listening_close(&s->sockets, NULL);
    if (s->proxy.pid > 0)
        child_send(&s->proxy, MESSAGE_STOP, &empty, BYTES_NONE, NULL, 0); /* the helpers are dismissed when it is gone */
    else
        family_dismiss(s);
}

static void begin_drain(struct supervisor *s)
{
    if (s->ending != ENDING_NOT)
        return;
    if (s->proxy.pid == 0) {
        begin_stop(s);
        return;
    }
    struct message_empty empty = {0};
    enum message_type how = s->upgrade.is_done ? MESSAGE_RETIRE : MESSAGE_DRAIN;
    log_info("supervisor", "draining: no new connections, at most %lld ms for what is under way", (long long)s->config->drain_timeout_ms);
    notify_manager("STOPPING=1\nSTATUS=Finishing what is under way\n");
    s->ending = ENDING_DRAIN;
    s->ending_deadline = monotonic_add(clock_monotonic(), s->config->drain_timeout_ms + DRAIN_EXTRA_MS);
    child_send(&s->proxy, how, &empty, BYTES_NONE, NULL, 0);
    listening_close(&s->retiring, &s->sockets);
    listening_close(&s->sockets, NULL);
}

static bool has_ended(const struct supervisor *s)
{
    /* What survives KILL hangs in the kernel: it dies when it can, without us. */
    return s->ending != ENDING_NOT && s->proxy.pid == 0 && (s->leaver_count == 0 || s->forced > 1);
}

/* Milliseconds until it is time to be rude; the rudeness when it is. */
static int end_by_force(struct supervisor *s, struct monotonic_ms now)
{
    if (s->ending == ENDING_NOT)
        return -1;
    int64_t left = monotonic_since(s->ending_deadline, now);
    if (left > 0)
        return (int)left;
    s->forced++;
    child_kill(&s->proxy);
    for (unsigned i = 0; i < s->leaver_count; i++)
        kill(s->leavers[i].pid, SIGKILL);
    s->ending_deadline = monotonic_add(now, STOP_MS);
    return STOP_MS;
}

/* ---- signals and messages --------------------------------------------------------------------------------------------------------------- */

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            family_reap(s);
            break;
        case SIGHUP:
            log_info("supervisor", "SIGHUP: reading the configuration again");
            upgrade_note_reload(s);
            reload_begin(s);
            break;
        case SIGUSR1:
            log_info("supervisor", "SIGUSR1: opening the log files again");
            reload_reopen_logs(s);
            break;
        case SIGUSR2:
            log_info("supervisor", "SIGUSR2: starting another binary");
            upgrade_begin(s);
            break;
        case SIGQUIT:
            upgrade_abandon(s);
            begin_drain(s);
            break;
        default:
            begin_stop(s);
        }
    }
}

static void helper_hung(struct supervisor *s, const struct message_helper *hung)
{
    struct child *helper = family_find(s, hung->role, hung->helper);
    if (!helper || helper->generation != hung->generation || helper->pid == 0)
        return;
    family_condemn(s, helper);
}

static void log_serving(const struct supervisor *s)
{
    static const char *const kinds[] = {[LISTENER_PUBLIC] = "", [LISTENER_ADMIN] = " (admin)", [LISTENER_ADMIN_SOCKET] = " (admin)"};
    for (unsigned i = 0; i < s->sockets.count; i++)
        log_info("supervisor", "listening on %s%s", s->sockets.at[i].text, kinds[s->sockets.at[i].kind]);
}

static void hand_over(struct supervisor *s)
{
    upgrade_hand_over(s);
    if (s->upgrade.is_done)
        begin_drain(s);
}

static void hear_new_binary(struct supervisor *s)
{
    upgrade_hear(s);
    if (s->upgrade.is_done)
        begin_drain(s);
}

static void take_line(const struct child *child, const struct message *message)
{
    unsigned left_out = ((const struct message_error_line *)message->payload)->left_out;
    if (left_out > 0)
        log_warn("supervisor", "%s %u (%d): %u more lines than its log may have in a second", role_name(child->role), child->number,
                 (int)child->pid, left_out);
    log_pass(message->tail);
}

/* Of the messages that wire.c lets through. */
static void take_message(struct supervisor *s, const struct child *child, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_ERROR_LINE:
        take_line(child, message);
        break;
    case MESSAGE_HELPER_HUNG:
        helper_hung(s, message->payload);
        break;
    case MESSAGE_CONFIG_TAKEN:
        reload_taken(s, ((const struct message_config *)message->payload)->serial);
        break;
    case MESSAGE_INVALIDATED:
        heir_pass(&s->heir, message->payload, message->tail);
        break;
    case MESSAGE_READY:
        if (!upgrade_is_guest(&s->upgrade))
            log_serving(s);
        upgrade_tell_ready(s);
        upgrade_release(s); /* it is another proxy than the one that was asked */
        break;
    case MESSAGE_STORE_RELEASED:
        hand_over(s);
        break;
    case MESSAGE_DRAIN_REQUEST:
        log_info("supervisor", "outriggerctl drain: draining");
        upgrade_abandon(s);
        begin_drain(s);
        break;
    case MESSAGE_RELOAD_REQUEST:
        upgrade_note_reload(s);
        reload_ask(s, ((const struct message_reload *)message->payload)->request);
        break;
    default:
        break;
    }
}

static void hear_old_binary(struct supervisor *s)
{
    char buffer[HEIR_TAIL_MAX];
    struct message_invalidated about;
    struct bytes tail;
    while (heir_hear(&s->heir, &about, &tail, buffer))
        child_send(&s->proxy, MESSAGE_INVALIDATE, &about, tail, NULL, 0);
}

static void take_messages(struct supervisor *s, struct child *child)
{
    struct control_message received;
    enum control_event event;
    while (child->control >= 0 &&
           (event = control_receive(child->control, ROLE_SUPERVISOR, child->role, false, &received)) != CONTROL_AGAIN) {
        if (event == CONTROL_MESSAGE) {
            take_message(s, child, &received.message);
            continue;
        }
        /* It died, or broke a rule and must: nothing that a child may say comes with descriptors, which we might lack (wire.c). */
        close(child->control);
        child->control = -1;
        child_kill(child);
    }
}

/* Of two waits in milliseconds; −1: for ever. */
static int sooner(int a, int b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void run(struct supervisor *s)
{
    enum { BESIDE_HELPERS = 5 };
    while (!has_ended(s)) {
        struct monotonic_ms now = clock_monotonic();
        int wait = sooner(sooner(family_tick(s, now), end_by_force(s, now)), sooner(upgrade_tick(s, now), file_watch_tick(s, now)));
        unsigned helpers = s->helper_count;
        struct pollfd polled[CHILDREN_MAX + BESIDE_HELPERS] = {{s->signals, POLLIN, 0},
                                                               {s->proxy.pid > 0 ? s->proxy.control : -1, POLLIN, 0},
                                                               {s->upgrade.socket, POLLIN, 0},
                                                               {s->upgrade.old, POLLIN, 0},
                                                               {s->heir.from, POLLIN, 0}};
        for (unsigned i = 0; i < helpers; i++)
            polled[BESIDE_HELPERS + i] = (struct pollfd){s->helpers[i].pid > 0 ? s->helpers[i].control : -1, POLLIN, 0};
        if (poll(polled, BESIDE_HELPERS + helpers, wait) <= 0)
            continue;
        if (polled[1].revents)
            take_messages(s, &s->proxy);
        if (polled[2].revents && s->upgrade.socket >= 0)
            hear_new_binary(s);
        if (polled[3].revents)
            upgrade_old_spoke(s);
        if (polled[4].revents)
            hear_old_binary(s);
        for (unsigned i = 0; i < helpers && i < s->helper_count; i++)
            if (polled[BESIDE_HELPERS + i].revents)
                take_messages(s, &s->helpers[i]);
        if (polled[0].revents)
            take_signals(s);
    }
}

static void clean_up(struct supervisor *s)
{
    listening_close(&s->retiring, &s->sockets);
    listening_close(&s->sockets, NULL);
    log_info("supervisor", "stopped");
    log_set_thread_sink(NULL, NULL);
    log_files_close(&s->logs);
    config_unref(&s->started);
    config_unref(&s->config);
    free((char *)s->text.at);
    close(s->text_fd);
    free(s->roots);
    close(s->signals);
    pid_file_remove();
}

static int serve_alone(struct supervisor *s)
{
    if (!family_start(s))
        return EXIT_FAILURE;
    run(s);
    return s->has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int serve(struct supervisor *s)
{
    int status = EXIT_SUCCESS;
    open_standard_streams();
    log_init("supervisor", LOG_LEVEL_INFO);
    s->text_fd = -1;
    upgrade_init(&s->upgrade);
    heir_init(&s->heir);
    if (!prepare(s))
        return EXIT_FAILURE;
    if (s->config->concurrency == CONCURRENCY_MP)
        families_run(s, serve_alone);
    else
        status = serve_alone(s);
    clean_up(s);
    return status;
}

int supervisor_main(int argc, char **argv)
{
    static struct supervisor supervisor;
    supervisor.argc = argc;
    supervisor.argv = argv;
    char error[OPTIONS_ERROR_BYTES];
    if (!options_parse(&supervisor.options, argc, argv, error)) {
        fprintf(stderr, "outrigger: %s; outrigger -h lists the options\n", error);
        return EXIT_USAGE;
    }
    switch (supervisor.options.action) {
    case ACTION_HELP:
        fputs(options_help, stdout);
        return EXIT_SUCCESS;
    case ACTION_VERSION:
        printf("outrigger %s\nbuilt with %s\n", version_number, version_build);
        return EXIT_SUCCESS;
    case ACTION_TEST:
    case ACTION_PRINT:
        return show_config(&supervisor.options);
    case ACTION_CHECK_STORE:
        return store_check(supervisor.options.store, stdout) ? EXIT_SUCCESS : EXIT_FAILURE;
    case ACTION_SIGNAL:
        return send_signal(&supervisor.options);
    default:
        return serve(&supervisor);
    }
}
