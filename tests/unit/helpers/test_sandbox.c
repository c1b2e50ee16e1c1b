/* Each role in a process of its own, which locks itself up and then tries what an intruder would. */
#include "helpers/control.h"
#include "helpers/sandbox.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static const enum role helpers[] = {ROLE_PROXY, ROLE_DISK, ROLE_STORE, ROLE_RESOLVER, ROLE_LOG};
enum { HELPERS = sizeof helpers / sizeof *helpers };

/* What the child found: its exit status says whether, its stderr is `said`. */
struct outcome {
    bool is_good;
    char said[16384];
};

#define EXPECT(condition)                                                                                                                  \
    do {                                                                                                                                   \
        if (!(condition)) {                                                                                                                \
            dprintf(STDERR_FILENO, "%s:%d: %s: errno %d\n", __FILE__, __LINE__, #condition, errno);                                        \
            _exit(1);                                                                                                                      \
        }                                                                                                                                  \
    } while (0)

static struct outcome in_role(enum role role, const char *readable, void (*probe)(void))
{
    struct outcome outcome = {0};
    int ends[2], status;
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        int file = readable ? open(readable, O_PATH) : -1;
        sandbox_enter(role, &file, file >= 0);
        probe();
        _exit(0);
    }
    close(ends[1]);
    for (size_t len = 0; len < sizeof outcome.said - 1;) {
        ssize_t got = read(ends[0], outcome.said + len, sizeof outcome.said - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    close(ends[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    outcome.is_good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return outcome;
}

static void expect_good(enum role role, const struct outcome *outcome)
{
    cr_expect(outcome->is_good, "%s: %s", role_name(role), outcome->said);
}

static void expect_told(enum role role, const struct outcome *outcome, const char *call)
{
    char line[128];
    snprintf(line, sizeof line, "error outrigger[");
    cr_expect(strstr(outcome->said, line), "%s: no line of the log: %s", role_name(role), outcome->said);
    snprintf(line, sizeof line, "sandbox: %s: system call %s (", role_name(role), call);
    cr_expect(strstr(outcome->said, line), "%s: nothing of %s in: %s", role_name(role), call, outcome->said);
}

static bool is_refused(long result)
{
    return result == -1 && errno == EPERM;
}

/* ---- what nobody may -------------------------------------------------------------------------------------------------------------------- */

static void try_to_run_a_program(void)
{
    char *argv[] = {"true", NULL};
    EXPECT(is_refused(execve("/bin/true", argv, NULL)));
    EXPECT(is_refused(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, NULL, 0)));
}

Test(sandbox, nobody_runs_programs)
{
    for (unsigned i = 0; i < HELPERS; i++) {
        struct outcome outcome = in_role(helpers[i], NULL, try_to_run_a_program);
        expect_good(helpers[i], &outcome);
        expect_told(helpers[i], &outcome, "execve");
        expect_told(helpers[i], &outcome, "execveat");
    }
}

static void try_to_reach_others(void)
{
    EXPECT(is_refused(syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0)));
    EXPECT(is_refused(syscall(SYS_pidfd_open, getpid(), 0)));
    EXPECT(is_refused(syscall(SYS_tgkill, 1, 1, 0)));
    EXPECT(is_refused(syscall(SYS_setuid, 0)));
    EXPECT(is_refused(syscall(SYS_unshare, 0)));
    EXPECT(is_refused(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL)));
    EXPECT(is_refused(syscall(SYS_bpf, 0, NULL, 0)));
    EXPECT(is_refused(syscall(SYS_memfd_create, "x", 0)));
    EXPECT(is_refused(syscall(SYS_io_uring_setup, 8, NULL)));
    EXPECT(is_refused(syscall(SYS_chmod, "/", 0777)));
    EXPECT(is_refused(syscall(SYS_unlink, "/nothing")));
    EXPECT(is_refused(syscall(SYS_mkdir, "/nothing", 0)));
}

Test(sandbox, nobody_reaches_other_processes_or_the_kernel)
{
    for (unsigned i = 0; i < HELPERS; i++) {
        struct outcome outcome = in_role(helpers[i], NULL, try_to_reach_others);
        /* Sanitizers' runs know getppid, which is refused otherwise: then it is −1 here, and as good. */
        expect_good(helpers[i], &outcome);
        expect_told(helpers[i], &outcome, "mount");
    }
}

static void try_what_sanitizers_may(void)
{
    EXPECT(is_refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)));
    EXPECT(is_refused(syscall(SYS_fork)));
    EXPECT(is_refused(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0)));
    EXPECT(is_refused(syscall(SYS_kill, 1, 0)));
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT(page != MAP_FAILED);
    EXPECT(is_refused(mprotect(page, 4096, PROT_READ | PROT_EXEC)));
    EXPECT(is_refused(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)));
}

Test(sandbox, nobody_forks_traces_or_makes_code, .disabled = SANITIZED)
{
    for (unsigned i = 0; i < HELPERS; i++) {
        struct outcome outcome = in_role(helpers[i], NULL, try_what_sanitizers_may);
        expect_good(helpers[i], &outcome);
        expect_told(helpers[i], &outcome, "ptrace");
    }
}

static int to_supervisor;

static void try_with_a_supervisor(void)
{
    control_log_to(to_supervisor);
    EXPECT(is_refused(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL)));
}

Test(sandbox, what_is_refused_is_told_to_the_supervisor)
{
    static struct control_message message;
    for (unsigned i = 0; i < HELPERS; i++) {
        int pair[2];
        cr_assert_eq(control_make(pair), 0);
        to_supervisor = pair[1];
        struct outcome outcome = in_role(helpers[i], NULL, try_with_a_supervisor);
        expect_good(helpers[i], &outcome);
        cr_expect_str_empty(outcome.said);
        cr_assert_eq(control_receive(pair[0], ROLE_SUPERVISOR, helpers[i], false, &message), CONTROL_MESSAGE, "%s", role_name(helpers[i]));
        cr_assert_eq(message.message.type, MESSAGE_ERROR_LINE);
        struct bytes line = message.message.tail;
        cr_expect(memmem(line.at, line.len, "system call mount (", 19), "%.*s", BYTES_FMT(line));
        close(pair[0]);
        close(pair[1]);
    }
}

static void look_at_status(void)
{
    char text[4096];
    int status = open("/proc/self/status", O_RDONLY);
    sandbox_enter(ROLE_LOG, NULL, 0);
    EXPECT(status >= 0);
    ssize_t len = read(status, text, sizeof text - 1);
    text[len < 0 ? 0 : len] = '\0';
    for (const char *const *line = (const char *const[]){"NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000",
                                                         "CapPrm:\t0000000000000000", "CapInh:\t0000000000000000", NULL};
         *line; line++)
        EXPECT(strstr(text, *line));
}

Test(sandbox, no_privilege_is_left)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        look_at_status();
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
}

/* ---- sockets ------------------------------------------------------------------------------------------------------------------------------ */

static void try_sockets(void)
{
    EXPECT(is_refused(socket(AF_INET, SOCK_STREAM, 0)));
    EXPECT(is_refused(socket(AF_UNIX, SOCK_STREAM, 0)));
}

Test(sandbox, the_disk_the_store_and_the_log_have_no_sockets)
{
    static const enum role roles[] = {ROLE_DISK, ROLE_STORE, ROLE_LOG};
    for (unsigned i = 0; i < sizeof roles / sizeof *roles; i++) {
        struct outcome outcome = in_role(roles[i], NULL, try_sockets);
        expect_good(roles[i], &outcome);
        expect_told(roles[i], &outcome, "socket");
    }
}

static void try_other_sockets(void)
{
    int own = socket(AF_INET, SOCK_DGRAM, 0);
    EXPECT(own >= 0);
    EXPECT(is_refused(socket(AF_UNIX, SOCK_STREAM, 0)));
    EXPECT(is_refused(socket(AF_PACKET, SOCK_RAW, 0)));
    EXPECT(is_refused(socket(AF_NETLINK, SOCK_RAW, 0)));
    EXPECT(is_refused(listen(own, 1)));
    EXPECT(is_refused(syscall(SYS_bind, own, NULL, 0)));
}

Test(sandbox, the_resolver_asks_and_does_not_listen)
{
    struct outcome outcome = in_role(ROLE_RESOLVER, NULL, try_other_sockets);
    expect_good(ROLE_RESOLVER, &outcome);
    expect_told(ROLE_RESOLVER, &outcome, "listen");
}

/* ---- files -------------------------------------------------------------------------------------------------------------------------------- */

static bool has_landlock(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

static void try_files(void)
{
    EXPECT(is_refused(open("/etc/passwd", O_RDONLY)));
    EXPECT(is_refused(open("/tmp/written", O_WRONLY | O_CREAT, 0600)));
}

Test(sandbox, the_proxy_the_store_and_the_log_open_no_file, .disabled = SANITIZED)
{
    static const enum role roles[] = {ROLE_PROXY, ROLE_STORE, ROLE_LOG};
    for (unsigned i = 0; i < sizeof roles / sizeof *roles; i++) {
        struct outcome outcome = in_role(roles[i], NULL, try_files);
        expect_good(roles[i], &outcome);
        expect_told(roles[i], &outcome, "openat");
    }
}

static char inside[] = "/tmp/sandbox-XXXXXX";

static void try_other_directories(void)
{
    char path[64];
    snprintf(path, sizeof path, "%s/file", inside);
    int file = open(path, O_RDONLY);
    EXPECT(file >= 0 && write(STDERR_FILENO, "", 1) == 1);
    EXPECT(open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES);
    snprintf(path, sizeof path, "%s/../../etc/passwd", inside);
    EXPECT(open(path, O_RDONLY) < 0 && errno == EACCES);
    snprintf(path, sizeof path, "%s/link", inside);
    EXPECT(open(path, O_RDONLY) < 0 && errno == EACCES);
    snprintf(path, sizeof path, "%s/file", inside);
    EXPECT(open(path, O_WRONLY) < 0 && (errno == EACCES || errno == EPERM));
    EXPECT(open(path, O_RDONLY | O_TRUNC) < 0 && (errno == EACCES || errno == EPERM));
}

Test(sandbox, the_disk_helper_reads_its_directories_and_nothing_else, .disabled = SANITIZED)
{
    char path[64];
    if (!has_landlock())
        cr_skip_test("this kernel has no Landlock");
    cr_assert(mkdtemp(inside));
    snprintf(path, sizeof path, "%s/file", inside);
    close(open(path, O_WRONLY | O_CREAT, 0644));
    snprintf(path, sizeof path, "%s/link", inside);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    struct outcome outcome = in_role(ROLE_DISK, inside, try_other_directories);
    expect_good(ROLE_DISK, &outcome);
}

/* ---- the rest ----------------------------------------------------------------------------------------------------------------------------- */

static void *be_a_thread(void *context)
{
    return context;
}

static void start_a_thread(void)
{
    pthread_t thread;
    void *result = NULL;
    char here;
    EXPECT(pthread_create(&thread, NULL, be_a_thread, &here) == 0);
    EXPECT(pthread_join(thread, &result) == 0 && result == &here);
}

Test(sandbox, the_proxy_has_threads)
{
    struct outcome outcome = in_role(ROLE_PROXY, NULL, start_a_thread);
    expect_good(ROLE_PROXY, &outcome);
    cr_expect_str_empty(outcome.said);
}

static void try_a_hundred_times(void)
{
    for (int i = 0; i < 100; i++)
        EXPECT(is_refused(syscall(SYS_setuid, 0)));
}

Test(sandbox, a_call_that_is_tried_again_and_again_does_not_fill_the_log)
{
    struct outcome outcome = in_role(ROLE_LOG, NULL, try_a_hundred_times);
    unsigned lines = 0;
    for (const char *at = outcome.said; (at = strchr(at, '\n')); at++)
        lines++;
    expect_good(ROLE_LOG, &outcome);
    cr_expect_eq(lines, 7, "%s", outcome.said); /* 1, 2, 4 … 64 */
}

static void work_as_a_supervisor(void)
{
    int status;
    EXPECT(is_refused(syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL)));
    EXPECT(is_refused(syscall(SYS_bpf, 0, NULL, 0)));
    EXPECT(is_refused(syscall(SYS_unshare, 0)));
    EXPECT(open("/etc/passwd", O_RDONLY) >= 0);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
}

Test(sandbox, the_supervisor_starts_processes_and_changes_no_kernel)
{
    struct outcome outcome = in_role(ROLE_SUPERVISOR, NULL, work_as_a_supervisor);
    expect_good(ROLE_SUPERVISOR, &outcome);
    expect_told(ROLE_SUPERVISOR, &outcome, "mount");
}
