#include "proxy/boot/log_files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
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
