/* See upgrade.h. */
#include "proxy/boot/upgrade.h"

#include "base/log.h"
#include "cache/handover.h"
#include "helpers/control.h"
#include "proxy/boot/notify.h"
#include "proxy/boot/pid_file.h"
#include "proxy/boot/supervisor.h"
#include "proxy/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENVIRONMENT     "OUTRIGGER_UPGRADE"     /* our socket */
#define ENVIRONMENT_KEY "OUTRIGGER_UPGRADE_KEY" /* a pipe with the hash key; an older version does not know it */

enum {
    START_MS = 60000, /* for the new one to be ready, and then for the disks to take what waits; nobody waits for either */
    FIRST_FD = 3,     /* sd_listen_fds(3) */
    EXIT_CANNOT_START = 127,
};

static const char ready[] = "R", take[] = "T", taken[] = "S";

/* −1: we were given none. */
static int take_descriptor(const char *name)
{
    const char *text = getenv(name);
    uint64_t fd;
    bool is_one = text && bytes_parse_u64(bytes_from_string(text), &fd) && fd <= INT32_MAX && fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0;
    unsetenv(name);
    return is_one ? (int)fd : -1;
}

static void take_hash_key(struct upgrade *upgrade)
{
    struct hash_key fresh;
    int pipe = take_descriptor(ENVIRONMENT_KEY);
    bool is_given = pipe >= 0 && read(pipe, upgrade->hash_key, sizeof upgrade->hash_key) == sizeof upgrade->hash_key;
    if (pipe >= 0)
        close(pipe);
    if (is_given)
        return;
    hash_key_random(&fresh);
    memcpy(upgrade->hash_key, fresh.material, sizeof upgrade->hash_key);
}

void upgrade_init(struct upgrade *upgrade)
{
    *upgrade = (struct upgrade){.socket = -1, .list = -1};
    if (readlink("/proc/self/exe", upgrade->binary, sizeof upgrade->binary - 1) < 0)
        upgrade->binary[0] = '\0';
    upgrade->old = take_descriptor(ENVIRONMENT);
    take_hash_key(upgrade);
}

/* ---- the old one: starting --------------------------------------------------------------------------------------------------------------- */

static void set_number(const char *name, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(name, text, 1);
}

static void name_sockets(const struct listening_set *sockets)
{
    char names[LISTENING_MAX * sizeof LISTENING_OWN];
    size_t len = 0;
    for (unsigned i = 0; i < sockets->count; i++)
        len +=
            (size_t)snprintf(names + len, sizeof names - len, "%s%s", i > 0 ? ":" : "", sockets->at[i].is_inherited ? "" : LISTENING_OWN);
    setenv("LISTEN_FDNAMES", names, 1);
}

/* Listening sockets from FIRST_FD on, then our socket and the key's pipe; nothing else. Via copies above all their places, so that none overwrites another. */
static bool arrange_descriptors(const struct listening_set *sockets, int socket, int key)
{
    int count = (int)sockets->count, all = count + 2, copies[LISTENING_MAX + 2];
    for (int i = 0; i < all; i++) {
        copies[i] = fcntl(i < count ? sockets->at[i].fd : i == count ? socket : key, F_DUPFD_CLOEXEC, FIRST_FD + all);
        if (copies[i] < 0)
            return false;
    }
    for (int i = 0; i < all; i++)
        if (dup2(copies[i], FIRST_FD + i) < 0)
            return false;
    return close_range((unsigned)(FIRST_FD + all), ~0u, 0) == 0;
}

/* A pipe that has the key to be read; −1: there is none to be had. */
static int write_hash_key(const struct upgrade *upgrade)
{
    int pair[2];
    if (pipe2(pair, O_CLOEXEC) < 0)
        return -1;
    bool is_written = write(pair[1], upgrade->hash_key, sizeof upgrade->hash_key) == sizeof upgrade->hash_key;
    close(pair[1]);
    if (is_written)
        return pair[0];
    close(pair[0]);
    return -1;
}

static void __attribute__((noreturn)) become(struct supervisor *s, int socket)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    set_number("LISTEN_PID", (int)getpid());
    set_number("LISTEN_FDS", (int)s->sockets.count);
    set_number(ENVIRONMENT, FIRST_FD + (int)s->sockets.count);
    set_number(ENVIRONMENT_KEY, FIRST_FD + (int)s->sockets.count + 1);
    name_sockets(&s->sockets);
    if (arrange_descriptors(&s->sockets, socket, write_hash_key(&s->upgrade)))
        execv(s->upgrade.binary, s->argv);
    dprintf(STDERR_FILENO, "outrigger: %s: %s\n", s->upgrade.binary, strerror(errno));
    _exit(EXIT_CANNOT_START);
}

/* NULL, or why there can be no upgrade. */
static const char *find_obstacle(const struct supervisor *s)
{
    if (s->ending != ENDING_NOT)
        return "the server is shutting down";
    if (s->upgrade.pid != 0 || upgrade_is_guest(&s->upgrade))
        return "another one is under way";
    if (s->config->concurrency == CONCURRENCY_MP)
        return "there is none with concurrency: mp";
    if (getpid() == 1)
        return "this is process 1, with whose end everything ends: replace the container";
    return NULL;
}

void upgrade_begin(struct supervisor *s)
{
    const char *obstacle = find_obstacle(s);
    int pair[2];
    if (obstacle || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        log_error("upgrade", "no upgrade: %s", obstacle ? obstacle : strerror(errno));
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        become(s, pair[1]);
    close(pair[1]);
    if (pid < 0) {
        log_error("upgrade", "no upgrade: %s", strerror(errno));
        close(pair[0]);
        return;
    }
    log_info("upgrade", "starting %s as process %d", s->upgrade.binary, (int)pid);
    s->upgrade.pid = pid;
    s->upgrade.socket = pair[0];
    s->upgrade.is_ready = s->upgrade.is_offered = s->upgrade.is_outdated = false;
    s->upgrade.deadline = monotonic_add(clock_monotonic(), START_MS);
}

/* ---- the old one: handing over ------------------------------------------------------------------------------------------------------------ */

static void close_list(struct upgrade *upgrade)
{
    if (upgrade->list >= 0)
        close(upgrade->list);
    upgrade->list = -1;
}

static void forget(struct upgrade *upgrade)
{
    close_list(upgrade);
    if (upgrade->socket >= 0)
        close(upgrade->socket);
    upgrade->socket = -1;
    upgrade->pid = 0;
}

/* It has everything. */
static void retire(struct supervisor *s)
{
    notify_close();
    if (s->upgrade.is_outdated)
        kill(s->upgrade.pid, SIGHUP);
    for (unsigned i = 0; i < s->sockets.count; i++)
        s->sockets.at[i].is_inherited = true; /* the files of Unix sockets are not ours any more */
    s->upgrade.is_done = true;
    log_info("upgrade", "handed over to process %d", (int)s->upgrade.pid);
    forget(&s->upgrade);
}

/* Its word for the next step, and no other. False: it breaks the rules, or ends. */
static bool hear_word(struct upgrade *upgrade, char byte)
{
    if (byte == ready[0] && !upgrade->is_ready) {
        log_info("upgrade", "the new binary is ready");
        upgrade->is_ready = true;
        upgrade->deadline = monotonic_add(clock_monotonic(), START_MS);
        return true;
    }
    return byte == taken[0] && upgrade->is_offered;
}

void upgrade_hear(struct supervisor *s)
{
    char byte = 0;
    ssize_t got = recv(s->upgrade.socket, &byte, 1, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got != 1 || !hear_word(&s->upgrade, byte)) {
        close(s->upgrade.socket); /* its end is told when it is reaped */
        s->upgrade.socket = -1;
        kill(s->upgrade.pid, SIGKILL);
    } else if (s->upgrade.is_offered) {
        retire(s);
    } else {
        upgrade_release(s);
    }
}

/* Where the proxy lists what it has in memory. */
static void send_list(struct supervisor *s)
{
    close_list(&s->upgrade);
    int fd = memfd_create("outrigger-list", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)handover_list_bytes(slab_bytes(s->slab))) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        log_warn("upgrade", "the memory tier is not handed over: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return;
    }
    s->upgrade.list = fd;
    child_send(&s->proxy, MESSAGE_MEMORY_LIST, &(struct message_empty){0}, BYTES_NONE, &fd, 1);
}

void upgrade_release(struct supervisor *s)
{
    if (!s->upgrade.is_ready || s->upgrade.pid == 0 || s->proxy.pid <= 0)
        return;
    send_list(s);
    child_send(&s->proxy, MESSAGE_STORE_RELEASE, &(struct message_empty){0}, BYTES_NONE, NULL, 0);
}

void upgrade_note_reload(struct supervisor *s)
{
    s->upgrade.is_outdated |= s->upgrade.pid != 0;
}

void upgrade_hand_over(struct supervisor *s)
{
    if (!s->upgrade.is_ready || s->upgrade.is_offered || s->upgrade.pid == 0 || s->ending != ENDING_NOT)
        return;
    s->upgrade.is_offered = true;
    s->stores_are_lent = s->stores.count > 0;
    store_files_give(&s->stores);
    pid_file_give();
    notify_manager("MAINPID=%d\nSTATUS=Another binary takes over\n", (int)s->upgrade.pid);
    static const struct listening_set none = {0};
    const struct listening_files memory = {s->upgrade.list >= 0 && s->slab != NULL ? 2 : 0,
                                           {s->slab ? slab_fd(s->slab) : -1, s->upgrade.list}};
    if (!listening_send(s->upgrade.socket, take[0], s->upgrade.is_outdated ? &s->sockets : &none, &memory))
        kill(s->upgrade.pid, SIGKILL); /* its end is told when it is reaped */
    heir_open(&s->heir, s->upgrade.socket);
}

/* ---- the old one: when it fails ----------------------------------------------------------------------------------------------------------- */

void upgrade_child_ended(struct supervisor *s, pid_t pid, const char *how)
{
    if (pid != s->upgrade.pid)
        return;
    forget(&s->upgrade);
    heir_forget(&s->heir);
    if (s->ending != ENDING_NOT)
        return;
    if (s->upgrade.is_offered) {
        pid_file_create(s->options.pid_file);
        s->stores_are_lent = !store_files_take(&s->stores, s->started);
        notify_manager("MAINPID=%d\n", (int)s->main_pid);
    }
    if (s->upgrade.is_ready && !s->stores_are_lent)
        child_send(&s->proxy, MESSAGE_STORE_BEGIN, &(struct message_empty){0}, BYTES_NONE, NULL, 0);
    s->upgrade.is_ready = s->upgrade.is_offered = false;
    log_error("upgrade", "the new binary %s; the old one keeps serving", how);
    notify_manager("READY=1\nSTATUS=Serving; the last upgrade failed\n");
}

int upgrade_tick(struct supervisor *s, struct monotonic_ms now)
{
    if (s->upgrade.pid == 0)
        return -1;
    int64_t left = monotonic_since(s->upgrade.deadline, now);
    if (left > 0)
        return (int)left;
    log_error("upgrade", "the new binary %s after %d s: killing it",
              s->upgrade.is_ready ? "cannot be given the disk tier" : "does not serve", START_MS / 1000);
    kill(s->upgrade.pid, SIGKILL);
    s->upgrade.deadline = monotonic_add(now, START_MS);
    return START_MS;
}

void upgrade_abandon(struct supervisor *s)
{
    if (s->upgrade.pid > 0)
        kill(s->upgrade.pid, SIGTERM);
}

/* ---- the new one -------------------------------------------------------------------------------------------------------------------------- */

void upgrade_tell_ready(struct supervisor *s)
{
    if (upgrade_is_guest(&s->upgrade) && send(s->upgrade.old, ready, 1, MSG_NOSIGNAL) != 1)
        log_warn("upgrade", "the old server does not hear us: %s", strerror(errno)); /* its end is seen, too */
}

/* Slab and list, before the proxy lets clients in: it must know from then on that something is to come (cache_await_adoption). */
static void take_memory(struct supervisor *s, const struct listening_files *memory)
{
    if (memory->count == 2)
        child_send(&s->proxy, MESSAGE_MEMORY_TAKE, &(struct message_empty){0}, BYTES_NONE, memory->at, 2);
    else
        log_warn("upgrade", "memory tier not taken over: the old server does not hand it over");
    for (unsigned i = 0; i < memory->count; i++)
        close(memory->at[i]);
}

void upgrade_old_spoke(struct supervisor *s)
{
    char byte;
    struct listening_set sockets;
    struct listening_files memory;
    ssize_t got = listening_receive(s->upgrade.old, &byte, &sockets, &memory);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    int old = s->upgrade.old;
    s->upgrade.old = -1;
    for (unsigned i = 0; i < s->sockets.count; i++)
        s->sockets.at[i].is_lent = false;
    pid_file_create(s->options.pid_file);
    s->stores_are_lent = s->stores.count > 0 && !store_files_take(&s->stores, s->started);
    if (got != 1 || send(old, taken, 1, MSG_NOSIGNAL) != 1)
        log_warn("upgrade", "the old server ended before it handed over");
    s->heir.from = old; /* what else it says; its end, too */
    take_memory(s, &memory);
    if (!s->stores_are_lent && s->stores.count > 0)
        child_send(&s->proxy, MESSAGE_STORE_BEGIN, &(struct message_empty){0}, BYTES_NONE, NULL, 0);
    reload_send_config(s);
    if (sockets.count > 0)
        reload_adopting(s, &sockets);
    log_info("upgrade", "this binary has taken over");
    notify_manager("READY=1\nSTATUS=Serving\nMAINPID=%d\n", (int)s->main_pid);
}
