#include "proxy/boot/pid_file.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *name_of(pid_t owner)
{
    static char name[64];
    snprintf(name, sizeof name, "/tmp/pid-file-test-%d.pid", (int)owner);
    return name;
}

/* Whether `test` returns true in another process (a process does not see its own locks). */
static bool elsewhere(bool (*test)(pid_t), pid_t argument)
{
    pid_t child = fork();
    if (child == 0)
        _exit(test(argument) ? 0 : 1);
    int status;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool reads(pid_t expected)
{
    return pid_file_read(name_of(expected)) == expected;
}

static bool cannot_create(pid_t owner)
{
    return !pid_file_create(name_of(owner));
}

static bool finds_nobody(pid_t owner)
{
    return pid_file_read(name_of(owner)) == 0;
}

Test(pid_file, is_found_while_its_process_lives_and_kept_from_a_second_one)
{
    const char *name = name_of(getpid());
    cr_redirect_stderr();
    cr_assert(pid_file_create(name));
    cr_assert(elsewhere(reads, getpid()));
    cr_assert(elsewhere(cannot_create, getpid()));
    pid_file_remove();
    cr_assert(access(name, F_OK) != 0);
}

Test(pid_file, a_number_left_behind_is_nobody)
{
    const char *name = name_of(getpid());
    cr_redirect_stderr();
    FILE *file = fopen(name, "w");
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
    cr_assert(elsewhere(finds_nobody, getpid()));
    unlink(name);
    cr_assert(elsewhere(finds_nobody, getpid()));
}
