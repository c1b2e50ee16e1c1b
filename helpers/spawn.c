/* Starting our processes.
 *
 * DESIGN. The child is the running binary, even when the file on disk was replaced meanwhile: /proc/self/exe. Everything that can fail for want of
 * information (the user's groups) is looked up before the fork; between fork and exec there are only system calls. Their order matters: groups
 * before user; the parent-death signal after the change of user, which clears it; the check of the parent after that, for it may have died before.
 */
#include "helpers/spawn.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GROUPS_MAX = 64, EXIT_CANNOT_START = 127, TITLE_MAX = 32 };

#define ROLE_OPTION   "--role="
#define NUMBER_OPTION "--number="
#define LEVEL_OPTION  "--log-level="

struct identity {
    bool is_set;
    uid_t user;
    gid_t groups[GROUPS_MAX]; /* [0] the primary one */
    int count;
};

static int look_up(const char *user, struct identity *identity)
{
    *identity = (struct identity){0};
    if (!user || geteuid() != 0)
        return 0;
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (!entry) {
        errno = errno ? errno : ENOENT;
        return -1;
    }
    identity->is_set = true;
    identity->user = entry->pw_uid;
    identity->count = GROUPS_MAX;
    if (getgrouplist(user, entry->pw_gid, identity->groups, &identity->count) < 0)
        identity->count = GROUPS_MAX; /* a member of more groups than that keeps the first ones */
    identity->groups[0] = entry->pw_gid;
    return 0;
}

static void give_up(const char *what)
{
    dprintf(STDERR_FILENO, "outrigger: cannot start a process: %s: %s\n", what, strerror(errno));
    _exit(EXIT_CANNOT_START);
}

static void drop_privileges(const struct identity *identity)
{
    if (!identity->is_set)
        return;
    if (setgroups(identity->count, identity->groups) < 0)
        give_up("setgroups");
    if (setresgid(identity->groups[0], identity->groups[0], identity->groups[0]) < 0)
        give_up("setresgid");
    if (setresuid(identity->user, identity->user, identity->user) < 0)
        give_up("setresuid");
    if (identity->user != 0 && setuid(0) == 0) {
        errno = EPERM;
        give_up("root could be had again");
    }
}

/* The two descriptors to their places, everything else above 2 closed. Via copies above both places, so that neither overwrites the other. */
static void arrange_descriptors(int control, int slab)
{
    int control_copy = fcntl(control, F_DUPFD_CLOEXEC, SPAWN_SLAB_FD + 1);
    int slab_copy = slab < 0 ? -1 : fcntl(slab, F_DUPFD_CLOEXEC, SPAWN_SLAB_FD + 1);
    if (control_copy < 0 || dup2(control_copy, SPAWN_CONTROL_FD) < 0 || (slab >= 0 && dup2(slab_copy, SPAWN_SLAB_FD) < 0))
        give_up("descriptors");
    if (close_range(slab < 0 ? SPAWN_SLAB_FD : SPAWN_SLAB_FD + 1, ~0u, 0) < 0)
        give_up("close_range");
}

/* Ignored signals stay ignored across exec: handlers alone go by themselves. */
static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void __attribute__((noreturn))
become(const struct spawn_settings *settings, const struct identity *identity, pid_t parent, char *const argv[])
{
    reset_signals();
    arrange_descriptors(settings->control, settings->slab);
    drop_privileges(identity);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        give_up("no_new_privs");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        give_up("parent-death signal");
    if (getppid() != parent)
        _exit(0);
    execv("/proc/self/exe", argv);
    give_up("/proc/self/exe");
    __builtin_unreachable();
}

pid_t spawn_process(const struct spawn_settings *settings)
{
    char title[TITLE_MAX], role[TITLE_MAX], number[TITLE_MAX], level[TITLE_MAX];
    char *const argv[] = {title, role, number, level, NULL};
    struct identity identity;
    if (look_up(settings->user, &identity) < 0)
        return -1;
    snprintf(title, sizeof(title), "outrigger: %s", role_name(settings->role));
    snprintf(role, sizeof(role), ROLE_OPTION "%s", role_name(settings->role));
    snprintf(number, sizeof(number), NUMBER_OPTION "%u", settings->number);
    snprintf(level, sizeof(level), LEVEL_OPTION "%s", settings->log_level ? settings->log_level : "");
    pid_t parent = getpid(), child = fork();
    if (child == 0)
        become(settings, &identity, parent, argv);
    return child;
}

/* The value of argv[at] when it is that option, else NULL. */
static const char *option_value(int argc, char **argv, int at, const char *option)
{
    size_t len = strlen(option);
    return at < argc && strncmp(argv[at], option, len) == 0 ? argv[at] + len : NULL;
}

bool spawn_is_child(int argc, char **argv, enum role *role, unsigned *number)
{
    const char *role_text = option_value(argc, argv, 1, ROLE_OPTION), *number_text = option_value(argc, argv, 2, NUMBER_OPTION);
    struct stat control;
    uint64_t value;
    if (argc != 4 || !role_text || !number_text || !bytes_parse_u64(bytes_from_string(number_text), &value))
        return false;
    /* Typed by hand there is no control socket: let main say that it knows no such option. */
    if (fstat(SPAWN_CONTROL_FD, &control) < 0 || !S_ISSOCK(control.st_mode))
        return false;
    for (enum role candidate = ROLE_PROXY; candidate < ROLE_COUNT; candidate++) {
        if (strcmp(role_text, role_name(candidate)) == 0) {
            *role = candidate;
            *number = value;
            return true;
        }
    }
    return false;
}

const char *spawn_log_level(int argc, char **argv)
{
    const char *level = option_value(argc, argv, 3, LEVEL_OPTION);
    return level && *level ? level : NULL;
}

void spawn_set_title(int argc, char **argv, const char *title)
{
    /* The arguments lie one behind the other: that is the room there is. */
    char *end = argv[argc - 1] + strlen(argv[argc - 1]);
    snprintf(argv[0], end - argv[0] + 1, "%s", title);
    size_t len = strlen(argv[0]);
    memset(argv[0] + len, 0, end - argv[0] - len);
    prctl(PR_SET_NAME, title);
}
