#include "proxy/boot/log_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_FILE_MODE = 0640 };

const char *log_file_path(const struct config *config, enum log_kind kind)
{
    return kind == LOG_KIND_ACCESS ? config->access_log : config->error_log;
}

/* A FIFO that nobody reads fails here (ENXIO) instead of stopping us; later writes may block, the log helper is there for that. */
static int open_log(const char *path, int standard)
{
    if (strcmp(path, "-") == 0)
        return fcntl(standard, F_DUPFD_CLOEXEC, 0);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, LOG_FILE_MODE);
    if (fd >= 0)
        fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

bool log_files_open(struct log_files *files, const struct config *config, FILE *errors)
{
    static const int standard[LOG_KIND_COUNT] = {[LOG_KIND_ACCESS] = STDOUT_FILENO, [LOG_KIND_ERROR] = STDERR_FILENO};
    bool good = true;
    for (unsigned kind = 0; kind < LOG_KIND_COUNT; kind++) {
        const char *path = log_file_path(config, kind);
        log_target_parse(bytes_from_string(path ? path : "-"), &files->target[kind]);
        files->fd[kind] = !path                                         ? -1
                          : files->target[kind].kind == LOG_TARGET_FILE ? open_log(path, standard[kind])
                                                                        : log_target_open(&files->target[kind]);
        if (path && files->fd[kind] < 0) {
            fprintf(errors, "%s %s: %s\n", kind == LOG_KIND_ACCESS ? "access_log" : "error_log", path, strerror(errno));
            good = false;
        }
    }
    if (!good)
        log_files_close(files);
    return good;
}

/* ---- without opening them ---------------------------------------------------------------------------------------------------------------- */

/* 0, or why the file at `path`, which is absolute, cannot be opened; where it is its directory that is in the way, that is in `directory` (PATH_MAX). */
static int find_obstacle(const char *path, char *directory)
{
    struct stat status;
    directory[0] = '\0';
    if (stat(path, &status) == 0)
        return S_ISDIR(status.st_mode) ? EISDIR : S_ISSOCK(status.st_mode) ? ENXIO : access(path, W_OK) == 0 ? 0 : errno;
    if (errno != ENOENT)
        return errno;
    if (lstat(path, &status) == 0)
        return 0; /* a link: the file may be made where it leads to */
    size_t len = (size_t)(strrchr(path, '/') - path);
    snprintf(directory, PATH_MAX, "%.*s", (int)(len > 0 ? len : 1), path);
    if (stat(directory, &status) < 0)
        return errno;
    return !S_ISDIR(status.st_mode) ? ENOTDIR : access(directory, W_OK | X_OK) == 0 ? 0 : errno;
}

static void check_log(struct report *report, struct place place, const char *name, const char *path)
{
    char directory[PATH_MAX];
    struct log_target target;
    log_target_parse(bytes_from_string(path ? path : "-"), &target);
    if (!path || target.kind != LOG_TARGET_FILE || strcmp(path, "-") == 0)
        return;
    int error = find_obstacle(path, directory);
    const char *separator = directory[0] ? ": " : "";
    if (error == 0)
        return;
    if (error == EACCES && geteuid() != 0)
        report_warning(report, place, "%s: %s cannot be written by this user: %s%s%s", name, path, directory, separator, strerror(error));
    else
        report_error(report, place, "%s: %s cannot be written: %s%s%s", name, path, directory, separator, strerror(error));
    report_hint(report, "%s",
                error == ENOENT                      ? "make the directory, or correct the path"
                : error == EISDIR                    ? "name a file in it"
                : error == ENXIO || error == ENOTDIR ? "correct the path"
                                                     : "logs are opened by the user who starts the server: let that one write there");
}

bool log_files_check(const struct config *config, struct bytes text, FILE *errors)
{
    struct arena arena;
    struct report report;
    arena_init(&arena);
    report_init(&report, &arena, config->name, text);
    check_log(&report, config->access_log_place, "access_log.path", config->access_log);
    check_log(&report, config->error_log_place, "error_log.path", config->error_log);
    report_print(&report, errors);
    arena_free(&arena);
    return report.errors == 0;
}

/* ---- the error log ----------------------------------------------------------------------------------------------------------------------- */

/* A pipe or terminal that nobody reads must not stop the supervisor. */
static bool write_if_room(int fd, struct bytes line)
{
    struct pollfd descriptor = {.fd = fd, .events = POLLOUT};
    return poll(&descriptor, 1, 0) == 1 && (descriptor.revents & POLLOUT) && write(fd, line.at, line.len) == (ssize_t)line.len;
}

void log_files_write_error(const struct log_files *files, struct bytes line)
{
    int fd = files->fd[LOG_KIND_ERROR];
    const struct log_target *target = &files->target[LOG_KIND_ERROR];
    if (target->kind == LOG_TARGET_FILE ? !write_if_room(fd, line) : log_target_send(target, fd, line, true) != 0)
        write_if_room(STDERR_FILENO, line); /* it may be seen there; nowhere to report that this fails, too */
}

void log_files_close(struct log_files *files)
{
    for (unsigned kind = 0; kind < LOG_KIND_COUNT; kind++) {
        if (files->fd[kind] >= 0)
            close(files->fd[kind]);
        files->fd[kind] = -1;
    }
}
