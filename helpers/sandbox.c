#include "helpers/sandbox.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Sanitizers read /proc, open what their reports name, and trace us to find leaks: such a build is for tests; it has every path and some calls more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZED
#endif
#endif

enum {
    CALLS_MAX = 512, /* numbers of system calls that the log names */
    CALL_NAME_MAX = 32,
};

static struct {
    enum role role;
    char names[CALLS_MAX][CALL_NAME_MAX]; /* looked up before: a signal handler cannot */
    _Atomic unsigned refused[CALLS_MAX];  /* [0] those beyond, for read(2) is never refused */
} sandbox;

/* ---- what becomes of a refused call -------------------------------------------------------------------------------------------------------- */

static bool is_power_of_two(unsigned number)
{
    return (number & (number - 1)) == 0;
}

/* A call that is tried again and again is told the 1st, 2nd, 4th, 8th … time. */
static void tell(int number)
{
    int at = number > 0 && number < CALLS_MAX ? number : 0;
    unsigned times = atomic_fetch_add_explicit(&sandbox.refused[at], 1, memory_order_relaxed) + 1;
    if (is_power_of_two(times))
        log_write_from_handler(LOG_LEVEL_ERROR, "sandbox", "%s: system call %s (%d) refused, %u so far", role_name(sandbox.role),
                               sandbox.names[at], number, times);
}

#if defined(__x86_64__)
#define CALL_RESULT(machine) ((machine)->gregs[REG_RAX])
#elif defined(__aarch64__)
#define CALL_RESULT(machine) ((machine)->regs[0])
#endif

#ifdef CALL_RESULT
#define REFUSE SCMP_ACT_TRAP

static void on_refused(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    tell(info->si_syscall);
    CALL_RESULT(&((ucontext_t *)context)->uc_mcontext) = -EPERM;
}
#else /* refused all the same, but only auditd tells of it */
#define REFUSE SCMP_ACT_ERRNO(EPERM)

static void on_refused(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    tell(info->si_syscall);
}
#endif

static void look_up_names(void)
{
    for (int number = 0; number < CALLS_MAX; number++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
        snprintf(sandbox.names[number], CALL_NAME_MAX, "%s", name && number > 0 ? name : "unknown");
        free(name);
    }
}

/* ---- system calls -------------------------------------------------------------------------------------------------------------------------- */

enum {
    P = 1 << ROLE_PROXY,
    D = 1 << ROLE_DISK,
    S = 1 << ROLE_STORE,
    R = 1 << ROLE_RESOLVER,
    L = 1 << ROLE_LOG,
    EVERY = P | D | S | R | L,
};

/* Calls that this machine or this libseccomp does not know cannot be made either, or are refused. */
static void add(scmp_filter_ctx filter, uint32_t action, const char *name, const struct scmp_arg_cmp *condition)
{
    int number = seccomp_syscall_resolve_name(name);
    if (number < 0)
        return;
    int result = condition ? seccomp_rule_add_array(filter, action, number, 1, condition) : seccomp_rule_add(filter, action, number, 0);
    if (result < 0)
        log_warn("sandbox", "%s: %s", name, strerror(-result));
}

static void add_allowed(scmp_filter_ctx filter, unsigned role)
{
#define CALL(name, roles)                                                                                                                  \
    if ((roles)&role)                                                                                                                      \
        add(filter, SCMP_ACT_ALLOW, #name, NULL);
#define CALL_IF(name, roles, argument, mask, value)                                                                                        \
    if ((roles)&role)                                                                                                                      \
        add(filter, SCMP_ACT_ALLOW, #name, &(struct scmp_arg_cmp){argument, SCMP_CMP_MASKED_EQ, mask, value});
#define CALL_ANSWERED(name, roles, error)                                                                                                  \
    if ((roles)&role)                                                                                                                      \
        add(filter, SCMP_ACT_ERRNO(error), #name, NULL);
#define CALL_REFUSED(name)
#include "helpers/sandbox.tbl"
#undef CALL
#undef CALL_IF
#undef CALL_ANSWERED
#undef CALL_REFUSED
}

static void add_refused(scmp_filter_ctx filter)
{
#define CALL(name, roles)
#define CALL_IF(name, roles, argument, mask, value)
#define CALL_ANSWERED(name, roles, error)
#define CALL_REFUSED(name) add(filter, REFUSE, #name, NULL);
#include "helpers/sandbox.tbl"
#undef CALL
#undef CALL_IF
#undef CALL_ANSWERED
#undef CALL_REFUSED
}

static void hear_of_refusals(enum role role)
{
    struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};
    sandbox.role = role;
    look_up_names();
    sigaction(SIGSYS, &action, NULL);
}

static void filter_calls(enum role role)
{
    bool is_supervisor = role == ROLE_SUPERVISOR;
    scmp_filter_ctx filter = seccomp_init(is_supervisor ? SCMP_ACT_ALLOW : REFUSE);
    if (!filter)
        abort();
    /* We run no stranger's code that could speculate: no need to slow the process down for that. Then: a tree, for a table this long. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (is_supervisor)
        add_refused(filter);
    else
        add_allowed(filter, 1u << role);
    int result = seccomp_load(filter);
    seccomp_release(filter);
    if (result < 0)
        log_warn("sandbox", "%s: every system call stays allowed: the kernel takes no filter: %s", role_name(role), strerror(-result));
}

/* ---- capabilities -------------------------------------------------------------------------------------------------------------------------- */

/* To bind low ports, open what belongs to others, give a store to its user, change to that user and end processes of it. */
static const uint64_t SUPERVISOR_CAPABILITIES = 1u << CAP_NET_BIND_SERVICE | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH |
                                                1u << CAP_CHOWN | 1u << CAP_FOWNER | 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL;

static void drop_capabilities(uint64_t kept)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &header, data) < 0)
        return;
    for (unsigned long number = 0; number < 64; number++) {
        if (!(kept >> number & 1))
            prctl(PR_CAPBSET_DROP, number, 0, 0, 0); /* only root can, and only root needs to */
    }
    for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        data[i].permitted &= (uint32_t)(kept >> 32 * i);
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    if (syscall(SYS_capset, &header, data) < 0)
        log_warn("sandbox", "capabilities cannot be dropped: %s", strerror(errno));
}

/* ---- paths --------------------------------------------------------------------------------------------------------------------------------- */

/* As of Linux 6.12; the headers may be older than the kernel. The kernel is told as much of it as its version knows. */
struct landlock_rules {
    uint64_t handled_access_fs, handled_access_net, scoped;
};

enum {
    LANDLOCK_VERSIONS = 7,
    NETWORK_SINCE = 4,
    SCOPES_SINCE = 6,
    NETWORK_ALL = 1 << 0 | 1 << 1, /* TCP: bind, connect */
    SCOPES_ALL = 1 << 0 | 1 << 1,  /* abstract sockets and signals of others */
};

/* Kinds of access to files that a version can refuse: all of them, each time. */
static const uint64_t FILE_ACCESS[LANDLOCK_VERSIONS] = {
    0, (1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1, (1 << 16) - 1};

static bool confine_paths(enum role role, const int *readable, unsigned count)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return false;
    bool has_sockets = role == ROLE_PROXY || role == ROLE_RESOLVER;
    struct landlock_rules rules = {
        .handled_access_fs = FILE_ACCESS[version < LANDLOCK_VERSIONS ? version : LANDLOCK_VERSIONS - 1],
        .handled_access_net = has_sockets ? 0 : NETWORK_ALL,
        .scoped = SCOPES_ALL,
    };
    size_t size = version >= SCOPES_SINCE    ? sizeof rules
                  : version >= NETWORK_SINCE ? offsetof(struct landlock_rules, scoped)
                                             : offsetof(struct landlock_rules, handled_access_net);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    bool good = ruleset >= 0;
    for (unsigned i = 0; good && i < count; i++) {
        struct stat file;
        struct landlock_path_beneath_attr beneath = {.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = readable[i]};
        if (fstat(readable[i], &file) == 0 && S_ISDIR(file.st_mode))
            beneath.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
        good = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0;
    }
    good = good && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    if (!good)
        log_warn("sandbox", "%s: paths stay unconfined: %s", role_name(role), strerror(errno));
    if (ruleset >= 0)
        close(ruleset);
    return good;
}

/* -------------------------------------------------------------------------------------------------------------------------------------------- */

bool sandbox_enter(enum role role, const int *readable, unsigned count)
{
    bool is_confined = false;
    hear_of_refusals(role);
    drop_capabilities(role == ROLE_SUPERVISOR ? SUPERVISOR_CAPABILITIES : 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        log_warn("sandbox", "no_new_privs: %s", strerror(errno));
#ifndef SANDBOX_SANITIZED
    if (role != ROLE_SUPERVISOR)
        is_confined = confine_paths(role, readable, count);
#else
    (void)confine_paths, (void)readable, (void)count;
#endif
    filter_calls(role);
    return is_confined;
}

void sandbox_keep(enum role role)
{
    hear_of_refusals(role);
}
