/* The supervisor: reads the configuration, binds, starts the processes of DESIGN §2, replaces those that end, and tells them what changes.
 *
 * DESIGN. One thread, one poll over a signalfd and the control sockets of the children. It knows no request and touches no client's byte, so that hardly
 * anything can go wrong in it; it never waits for a child, except for control_send's second. What lasts lives here: listening sockets, log files, the
 * checked configuration, the generation of each helper.
 *
 *   supervisor.c  command line, signals, messages, the end
 *   family.c      the children: start, channels, death, restart
 *   file_watch.c  certificates that change
 *   families.c    several of them, for comparison
 *   reload.c      a new configuration: check, take over, tell
 *   upgrade.c     another binary
 *   heir.c        what that one is told later
 */
#ifndef BOOT_SUPERVISOR_H
#define BOOT_SUPERVISOR_H

#include "base/slab.h"
#include "helpers/helper_set.h"
#include "proxy/boot/backoff.h"
#include "proxy/boot/heir.h"
#include "proxy/boot/listening.h"
#include "proxy/boot/log_files.h"
#include "proxy/boot/options.h"
#include "proxy/boot/store_files.h"
#include "proxy/boot/upgrade.h"

int supervisor_main(int argc, char **argv);

struct child {
    enum role           role;
    unsigned            number; /* within the role */
    unsigned            generation, restarts;
    pid_t               pid;    /* 0: not running */
    int                 control; /* −1: closed */
    struct monotonic_ms started;
    bool                is_due; /* to be started at `due` */
    struct monotonic_ms due;
    struct backoff      backoff;
    bool                is_condemned; /* killed because it hangs … */
    struct monotonic_ms given_up;     /* … and if it is still there then, it hangs in the kernel: another takes its place */
};

/* A process that was told to go (its control socket is closed) and is killed when it is still there at the deadline. */
struct leaver {
    pid_t               pid;
    struct monotonic_ms deadline;
};

enum {
    CHILDREN_MAX = 3 * HELPERS_MAX + 1, /* disk, store and resolver helpers, the log helper */
    LEAVERS_MAX = 4 * CHILDREN_MAX,
    ASKERS_MAX = 16,
};

enum ending { ENDING_NOT, ENDING_DRAIN, ENDING_STOP };

/* See file_watch.h. */
struct file_watch {
    uint64_t            known, last; /* how the files looked when they were read, and at the last look */
    uint32_t            serial;      /* of the configuration that `known` belongs to */
    struct monotonic_ms next;
};

struct supervisor {
    struct options options;
    int            signals; /* signalfd */
    pid_t          main_pid; /* what the service manager knows us by */
    int            argc;
    char         **argv; /* for the title */

    /* configuration */
    struct config       *config;     /* the last good one */
    struct config       *started;    /* the one that the running processes were started with: what a reload cannot change is as it says */
    struct bytes         text;       /* of `config`; malloc'ed */
    int                  text_fd;    /* the same in a sealed memory file, for the proxy; −1: none yet */
    char                *roots;      /* each with its NUL: of `config` and of the one before, whose requests may still be under way */
    size_t               roots_len;
    uint32_t             serial;     /* of `config`; grows with each reload */
    struct file_watch    file_watch;
    uint32_t             taken;      /* the last that the proxy said it serves */
    struct listening_set sockets;    /* of `config` */
    struct listening_set retiring;   /* of the one before, until `config` is taken */
    struct log_files     logs;
    struct store_files   stores;     /* of the configuration at the start */
    bool                 stores_are_lent; /* another instance has them */
    struct upgrade       upgrade;
    struct heir          heir;
    uint32_t             askers[ASKERS_MAX]; /* tickets of RELOAD_REQUESTs that wait for `config` to be taken, or for a reload after it */
    unsigned             asker_count;
    bool                 is_reloading; /* `config` came by a reload and is not taken yet */
    bool                 reload_again; /* asked while one was under way */

    /* processes */
    struct slab  *slab;
    struct child  proxy, helpers[CHILDREN_MAX];
    unsigned      helper_count;
    unsigned      loops; /* of the proxy: its workers and its control loop */
    struct leaver leavers[LEAVERS_MAX];
    unsigned      leaver_count;

    enum ending         ending;
    struct monotonic_ms ending_deadline; /* everybody is killed then */
    unsigned            forced;          /* how often that was done */
    bool                has_failed;      /* the end was nobody's wish */
};

/* family.c */

/* Starts everybody with s->config. False (logged): not even the slab could be made. */
bool family_start(struct supervisor *s);
/* Takes the exit statuses of the dead and does what their deaths ask for. */
void family_reap(struct supervisor *s);
/* Starts what is due and kills what should be gone; returns milliseconds until the next such moment, −1: none. */
int  family_tick(struct supervisor *s, struct monotonic_ms now);
/* Asks the helpers to leave. The proxy is gone. */
void family_dismiss(struct supervisor *s);
/* To a running child; one that does not take its messages is killed. */
void child_send(struct child *child, enum message_type type, const void *payload, struct bytes tail, const int *fds, unsigned fd_count);
void child_kill(struct child *child);
/* A helper that does not answer: killed, and replaced even if that does not end it. */
void family_condemn(struct supervisor *s, struct child *helper);
/* LOG_FILE to the log helper, ROOTS and RESOLVER_SETTINGS to theirs. */
void family_send_settings(struct supervisor *s);
struct child *family_find(struct supervisor *s, enum role role, unsigned number);

#endif
