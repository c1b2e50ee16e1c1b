/* What is said of logs that cannot be written, before anybody opens them. The command line's tests have the paths; here is who may write. */
#include "proxy/boot/log_files.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static char directory[] = "/tmp/log-files-XXXXXX";

/* Whether it may be written; `said` is malloc'ed. */
static bool check(const char *name, char **said)
{
    char text[256];
    size_t length;
    snprintf(text, sizeof text, "sites: [{hosts: a, origin: http://b}]\nerror_log: %s/%s\n", directory, name);
    FILE *errors = open_memstream(said, &length);
    struct config *config = config_parse(BYTES("t.yaml"), bytes_from_string(text), errors);
    cr_assert(config);
    bool is_good = log_files_check(config, bytes_from_string(text), errors);
    fclose(errors);
    config_unref(&config);
    return is_good;
}

static bool warns_of(const char *name, const char *words)
{
    char *said;
    bool is_good = check(name, &said);
    bool is_as_expected =
        is_good && strstr(said, "t.yaml:2:12: warning: error_log.path: ") && strstr(said, words) && strstr(said, "hint: ");
    if (!is_as_expected)
        fprintf(stderr, "%s", said);
    free(said);
    return is_as_expected;
}

Test(log_files, what_another_user_may_write_is_a_warning_for_this_one)
{
    char path[64];
    int status;
    cr_assert(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/log", directory);
    FILE *file = fopen(path, "w");
    cr_assert(file);
    fclose(file);
    cr_assert(chmod(path, 0400) == 0 && chmod(directory, 0555) == 0);
    pid_t child = fork();
    if (child == 0) {
        bool is_nobody = geteuid() != 0 || setuid(NOBODY) == 0;
        _exit(is_nobody && warns_of("log", "log cannot be written by this user: Permission denied") &&
                      warns_of("new", "new cannot be written by this user: /tmp/log-files-")
                  ? 0
                  : 1);
    }
    cr_assert(child > 0 && waitpid(child, &status, 0) == child);
    cr_expect_eq(status, 0);
    chmod(directory, 0755);
    unlink(path);
    rmdir(directory);
}

Test(log_files, nothing_is_said_of_logs_that_are_no_files)
{
    static const char *const texts[] = {
        "sites: [{hosts: a, origin: http://b}]\n",
        "sites: [{hosts: a, origin: http://b}]\naccess_log: off\nerror_log: \"-\"\n",
        "sites: [{hosts: a, origin: http://b}]\naccess_log: syslog:server=192.0.2.1\nerror_log: journald:server=unix:/nonexistent/log\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *said;
        size_t length;
        FILE *errors = open_memstream(&said, &length);
        struct config *config = config_parse(BYTES("t.yaml"), bytes_from_string(texts[i]), errors);
        cr_assert(config);
        cr_expect(log_files_check(config, bytes_from_string(texts[i]), errors));
        fclose(errors);
        cr_expect_str_eq(said, "");
        free(said);
        config_unref(&config);
    }
}
