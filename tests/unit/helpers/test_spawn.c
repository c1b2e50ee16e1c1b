#include "helpers/control.h"
#include "helpers/spawn.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the re-executed binary, this very test, finds out about itself. */
struct found {
    enum role role;
    unsigned number;
    char level[16], cmdline[64], comm[32];
    unsigned descriptors; /* above 2 */
    bool has_slab, ignores_usr1, blocks_usr2;
    uid_t user;
    gid_t group;
    int group_count;
    int no_new_privs, death_signal;
};

static void read_line(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t len = read(fd, out, size - 1);
    out[len < 0 ? 0 : len] = '\0';
    close(fd);
}

static unsigned count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.' && atoi(entry->d_name) > 2 && atoi(entry->d_name) != dirfd(directory);
    closedir(directory);
    return count;
}

static void look_around(int argc, char **argv, struct found *found)
{
    struct sigaction action;
    sigset_t mask;
    const char *level = spawn_log_level(argc, argv);
    snprintf(found->level, sizeof(found->level), "%s", level ? level : "-");
    spawn_set_title(argc, argv, "outrigger: disk");
    read_line("/proc/self/cmdline", found->cmdline, sizeof(found->cmdline));
    read_line("/proc/self/comm", found->comm, sizeof(found->comm));
    found->descriptors = count_descriptors();
    found->has_slab = fcntl(SPAWN_SLAB_FD, F_GETFD) >= 0;
    sigaction(SIGUSR1, NULL, &action);
    found->ignores_usr1 = action.sa_handler == SIG_IGN;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    found->blocks_usr2 = sigismember(&mask, SIGUSR2);
    found->user = geteuid();
    found->group = getegid();
    found->group_count = getgroups(0, NULL);
    found->no_new_privs = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
    prctl(PR_GET_PDEATHSIG, &found->death_signal);
}

/* Runs before Criterion's main, with main's arguments: in a spawned process, instead of it. */
static void __attribute__((constructor)) be_child(int argc, char **argv)
{
    struct found found = {0};
    if (!spawn_is_child(argc, argv, &found.role, &found.number))
        return;
    look_around(argc, argv, &found);
    if (write(SPAWN_CONTROL_FD, &found, sizeof(found)) < 0)
        _exit(1);
    char byte;
    (void)!read(SPAWN_CONTROL_FD, &byte, 1); /* until the parent closes */
    _exit(0);
}

static int control = -1;

static pid_t spawn(struct spawn_settings settings, struct found *found)
{
    int pair[2];
    cr_assert_eq(control_make(pair), 0);
    control = pair[0];
    settings.control = pair[1];
    pid_t child = spawn_process(&settings);
    cr_assert_gt(child, 0);
    close(pair[1]);
    cr_assert_eq(read(control, found, sizeof(*found)), sizeof(*found));
    return child;
}

static void expect_end(pid_t child)
{
    int status;
    close(control);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(spawn, a_process_knows_its_role_number_and_level, .timeout = 20)
{
    struct found found;
    pid_t child = spawn((struct spawn_settings){.role = ROLE_RESOLVER, .number = 3, .slab = -1, .log_level = "debug"}, &found);
    cr_assert_eq(found.role, ROLE_RESOLVER);
    cr_assert_eq(found.number, 3);
    cr_assert_str_eq(found.level, "debug");
    cr_assert_str_eq(found.cmdline, "outrigger: disk", "the title replaces the arguments");
    cr_assert_str_eq(found.comm, "outrigger: disk\n");
    expect_end(child);
}

Test(spawn, without_a_level_there_is_none, .timeout = 20)
{
    struct found found;
    pid_t child = spawn((struct spawn_settings){.role = ROLE_PROXY, .slab = -1}, &found);
    cr_assert_eq(found.role, ROLE_PROXY);
    cr_assert_str_eq(found.level, "-");
    expect_end(child);
}

Test(spawn, nothing_is_inherited_but_control_and_slab, .timeout = 20)
{
    struct found found;
    for (int i = 0; i < 20; i++)
        cr_assert_geq(dup(STDERR_FILENO), 0); /* not close-on-exec */
    pid_t child = spawn((struct spawn_settings){.role = ROLE_LOG, .slab = -1}, &found);
    cr_assert_eq(found.descriptors, 1);
    cr_assert_not(found.has_slab);
    expect_end(child);

    int slab = open("/dev/null", O_RDWR | O_CLOEXEC);
    child = spawn((struct spawn_settings){.role = ROLE_DISK, .slab = slab}, &found);
    cr_assert_eq(found.descriptors, 2);
    cr_assert(found.has_slab);
    expect_end(child);
}

/* In a process of its own, for the framework has descriptors in these places: control where the slab goes, and the other way round. */
static bool swap_places(void)
{
    struct found found;
    int pair[2];
    if (control_make(pair) < 0)
        return false;
    int peer = fcntl(pair[0], F_DUPFD_CLOEXEC, 100), own = fcntl(pair[1], F_DUPFD_CLOEXEC, 100), slab = open("/dev/null", O_RDWR);
    slab = fcntl(slab, F_DUPFD_CLOEXEC, 100);
    dup3(slab, SPAWN_CONTROL_FD, O_CLOEXEC);
    dup3(own, SPAWN_SLAB_FD, O_CLOEXEC);
    struct spawn_settings settings = {.role = ROLE_DISK, .control = SPAWN_SLAB_FD, .slab = SPAWN_CONTROL_FD};
    return spawn_process(&settings) > 0 && read(peer, &found, sizeof(found)) == sizeof(found) && found.has_slab && found.descriptors == 2;
}

static bool runs_apart(bool (*what)(void))
{
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(what() ? 0 : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Test(spawn, descriptors_find_their_places_even_when_they_stand_in_each_others, .timeout = 20)
{
    cr_assert(runs_apart(swap_places));
}

Test(spawn, signals_start_as_usual, .timeout = 20)
{
    struct found found;
    sigset_t mask;
    signal(SIGUSR1, SIG_IGN);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    pid_t child = spawn((struct spawn_settings){.role = ROLE_DISK, .slab = -1}, &found);
    cr_assert_not(found.ignores_usr1);
    cr_assert_not(found.blocks_usr2);
    expect_end(child);
}

Test(spawn, privileges_are_dropped_and_cannot_come_back, .timeout = 20)
{
    struct found found;
    const struct passwd *nobody = getpwnam("nobody");
    pid_t child = spawn((struct spawn_settings){.role = ROLE_DISK, .slab = -1, .user = geteuid() == 0 ? "nobody" : NULL}, &found);
    cr_assert_eq(found.no_new_privs, 1);
    cr_assert_eq(found.death_signal, SIGKILL, "set after the change of user, which clears it");
    if (geteuid() == 0) {
        cr_assert_eq(found.user, nobody->pw_uid);
        cr_assert_eq(found.group, nobody->pw_gid);
        cr_assert_eq(found.group_count, 1, "none of root's groups");
    }
    expect_end(child);
}

Test(spawn, an_unknown_user_starts_nothing)
{
    if (geteuid() != 0)
        cr_skip_test("only root changes users");
    struct spawn_settings settings = {.role = ROLE_DISK, .control = 0, .slab = -1, .user = "nobody-of-this-name"};
    cr_assert_eq(spawn_process(&settings), -1);
}

Test(spawn, children_die_with_their_parent, .timeout = 20)
{
    int pair[2];
    char byte;
    pid_t grandchild;
    cr_assert_eq(control_make(pair), 0);
    int report[2];
    cr_assert_eq(pipe2(report, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct spawn_settings settings = {.role = ROLE_DISK, .control = pair[1], .slab = -1};
        struct found found;
        grandchild = spawn_process(&settings);
        bool is_up = read(pair[0], &found, sizeof(found)) == sizeof(found);
        (void)!write(report[1], &grandchild, sizeof(grandchild));
        (void)is_up;
        pause();
    }
    close(pair[1]);
    close(report[1]);
    cr_assert_eq(read(report[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
    kill(parent, SIGKILL);
    cr_assert_eq(waitpid(parent, NULL, 0), parent);
    /* pair[0] is still open here: it is not the end of the control socket that it dies of, but its own end shows there. */
    cr_assert_eq(read(pair[0], &byte, 1), 0);
}

static bool tells_children_from_options(void)
{
    char *full[] = {"outrigger", "--role=disk", "--number=7", "--log-level=", NULL};
    char *unknown[] = {"outrigger", "--role=cook", "--number=0", "--log-level=", NULL};
    char *unnumbered[] = {"outrigger", "--role=disk", "--number=x", "--log-level=", NULL};
    char *none[] = {"outrigger", NULL};
    enum role role;
    unsigned number;
    int pair[2];
    close(SPAWN_CONTROL_FD);
    bool without_socket = spawn_is_child(4, full, &role, &number);
    if (control_make(pair) < 0 || dup2(pair[1], SPAWN_CONTROL_FD) < 0)
        return false;
    return !without_socket && spawn_is_child(4, full, &role, &number) && role == ROLE_DISK && number == 7 &&
           !spawn_is_child(4, unknown, &role, &number) && !spawn_is_child(4, unnumbered, &role, &number) &&
           !spawn_is_child(1, none, &role, &number) && !spawn_is_child(3, full, &role, &number);
}

Test(spawn, options_typed_by_hand_are_not_a_child)
{
    cr_assert(runs_apart(tells_children_from_options));
}
