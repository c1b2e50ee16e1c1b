#include "proxy/boot/families.h"

#include "base/log.h"
#include "helpers/spawn.h"
#include "proxy/reload.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MEMORY_MIN_BYTES = 1024 * 1024 }; /* of a family; as cache.memory */

static struct families {
    struct family {
        struct config_disk disks[DISKS_MAX];
        struct store_files stores;
        pid_t pid; /* 0: not running */
        struct monotonic_ms started, due;
        struct backoff backoff;
    } * at;
    unsigned count, running;
    uint64_t memory_bytes; /* of each */
    bool is_ending;
} families;

/* ---- shares ----------------------------------------------------------------------------------------------------------------------------- */

static bool open_stores(struct supervisor *s, unsigned number)
{
    struct family *family = &families.at[number];
    struct config share = *s->config;
    share.disks = family->disks;
    for (unsigned i = 0; i < share.disk_count; i++) {
        const struct config_disk *whole = &s->config->disks[i];
        mkdir(whole->path, 0755); /* where it cannot be made, making the one in it says why */
        family->disks[i] = (struct config_disk){.path = arena_printf(&s->config->arena, "%s/%u", whole->path, number).at,
                                                .size_bytes = whole->size_bytes / families.count};
    }
    return store_files_open(&family->stores, &share, false);
}

bool families_prepare(struct supervisor *s)
{
    families.count = s->config->workers;
    families.memory_bytes = s->config->cache_memory_bytes / families.count;
    families.at = calloc(families.count, sizeof *families.at);
    if (families.at == NULL)
        abort();
    if (families.memory_bytes < MEMORY_MIN_BYTES) {
        log_error("supervisor", "concurrency: mp: cache.memory divided among %u workers is less than 1 MiB for each", families.count);
        return false;
    }
    for (unsigned i = 0; i < families.count; i++)
        if (!open_stores(s, i))
            return false;
    return true;
}

/* ---- starting --------------------------------------------------------------------------------------------------------------------------- */

static void drop_admin_sockets(struct listening_set *set)
{
    for (unsigned i = 0; i < set->count;) {
        if (set->at[i].kind == LISTENER_PUBLIC) {
            i++;
            continue;
        }
        close(set->at[i].fd);
        set->at[i] = set->at[--set->count];
    }
}

/* In the new process. */
static void become(struct supervisor *s, unsigned number, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    spawn_set_title(s->argc, s->argv, "outrigger: supervisor");
    if (number > 0) {
        unsetenv("NOTIFY_SOCKET");
        drop_admin_sockets(&s->sockets);
    }
    s->config->cache_memory_bytes = families.memory_bytes;
    s->config->disks = families.at[number].disks;
    s->stores = families.at[number].stores;
}

static void start(struct supervisor *s, unsigned number, int (*serve)(struct supervisor *s))
{
    struct family *family = &families.at[number];
    pid_t parent = getpid();
    family->started = clock_monotonic();
    family->pid = fork();
    if (family->pid == 0) {
        become(s, number, parent);
        exit(serve(s));
    }
    if (family->pid < 0) {
        log_error("supervisor", "cannot start family %u: %s", number, strerror(errno));
        family->pid = 0;
        family->due = monotonic_add(family->started, BACKOFF_MOST_MS);
        return;
    }
    families.running++;
}

/* Milliseconds until the next start; −1: none is due. */
static int start_due(struct supervisor *s, int (*serve)(struct supervisor *s))
{
    int64_t wait = -1;
    for (unsigned i = 0; i < families.count && !families.is_ending; i++) {
        int64_t left = monotonic_since(families.at[i].due, clock_monotonic());
        if (families.at[i].pid == 0 && left <= 0)
            start(s, i, serve);
        else if (families.at[i].pid == 0 && (wait < 0 || left < wait))
            wait = left;
    }
    return (int)wait;
}

/* ---- signals ---------------------------------------------------------------------------------------------------------------------------- */

static void reap(void)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (unsigned i = 0; i < families.count; i++) {
            struct family *family = &families.at[i];
            if (family->pid != pid)
                continue;
            struct monotonic_ms now = clock_monotonic();
            family->pid = 0;
            family->due = monotonic_add(now, backoff_delay(&family->backoff, monotonic_since(now, family->started)));
            families.running--;
            if (!families.is_ending)
                log_error("supervisor", "family %u (%d) ended; starting it again", i, (int)pid);
        }
    }
}

static void pass_on(int number)
{
    for (unsigned i = 0; i < families.count; i++)
        if (families.at[i].pid > 0)
            kill(families.at[i].pid, number);
}

static void take_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            reap();
            break;
        case SIGHUP:
            reload_begin(s);
            break;
        case SIGUSR1:
            reload_reopen_logs(s);
            pass_on(SIGUSR1);
            break;
        default:
            families.is_ending = true;
            listening_close(&s->sockets, NULL); /* with those of the families: clients are refused from now on */
            pass_on((int)info.ssi_signo);
        }
    }
}

void families_run(struct supervisor *s, int (*serve)(struct supervisor *s))
{
    while (!families.is_ending || families.running > 0) {
        struct pollfd polled = {s->signals, POLLIN, 0};
        int wait = start_due(s, serve);
        if (poll(&polled, 1, wait) > 0)
            take_signals(s);
    }
    for (unsigned i = 0; i < families.count; i++)
        store_files_close(&families.at[i].stores);
    free(families.at);
}
