#include "helpers/log_output.h"

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RETRY_MS = 1000,
    FULL_RETRY_MS = 1, /* a daemon's queue: nothing tells when it has room; twice as long each time… */
    FULL_RETRY_MAX_MS = 64,
    TELL_MS = 60 * 1000,
    /* poll says that a pipe is writable when this much fits (PIPE_BUF): more would wait for the reader, and we with it. */
    UNREGULAR_PIECE_BYTES = 4096,
};

static void set_fd(struct log_output *output, int fd)
{
    struct stat file;
    output->fd = fd;
    output->blocks = fd >= 0 && fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
    output->error = 0;
}

void log_output_init(struct log_output *output, const char *name, int fd)
{
    *output = (struct log_output){.name = name, .buffer = malloc(LOG_OUTPUT_BYTES)};
    if (!output->buffer)
        abort();
    set_fd(output, fd);
}

void log_output_free(struct log_output *output)
{
    free(output->path);
    free(output->buffer);
    *output = (struct log_output){.fd = -1};
}

static uint64_t count_lines(const char *at, const char *end)
{
    uint64_t lines = 0;
    for (; at < end && (at = memchr(at, '\n', end - at)); at++)
        lines++;
    return lines;
}

static void drop(struct log_output *output, const char *at, const char *end)
{
    output->dropped_lines += count_lines(at, end);
}

void log_output_replace(struct log_output *output, int fd, struct bytes path, struct monotonic_ms now)
{
    output->retry_at = now; /* a last try, whatever happened before */
    log_output_flush(output, now);
    /* What the old one did not take goes to the new one: a rotated log on a full disk loses nothing. A line cut in two is dropped whole. */
    if (output->written > 0 && output->filled > output->written && output->buffer[output->written - 1] != '\n') {
        const char *end = memchr(output->buffer + output->written, '\n', output->filled - output->written);
        size_t after = end ? (size_t)(end + 1 - output->buffer) : output->filled;
        drop(output, output->buffer + output->written, output->buffer + after);
        output->written = after;
    }
    if (output->fd > STDERR_FILENO)
        close(output->fd);
    free(output->path);
    output->path = strndup(path.at, path.len);
    log_target_parse(path, &output->target); /* which the supervisor has found good */
    set_fd(output, fd);
    log_output_flush(output, now);
}

/* Room by moving what waits to the front. */
static size_t make_room(struct log_output *output)
{
    if (output->written > 0) {
        memmove(output->buffer, output->buffer + output->written, output->filled - output->written);
        output->filled -= output->written;
        output->written = 0;
    }
    return LOG_OUTPUT_BYTES - output->filled;
}

void log_output_add(struct log_output *output, struct bytes lines, struct monotonic_ms now)
{
    if (output->fd < 0)
        return;
    if (LOG_OUTPUT_BYTES - output->filled < lines.len) {
        log_output_flush(output, now);
        if (make_room(output) < lines.len) {
            drop(output, lines.at, lines.at + lines.len);
            return;
        }
    }
    memcpy(output->buffer + output->filled, lines.at, lines.len);
    output->filled += lines.len;
}

static bool is_writable(int fd)
{
    struct pollfd descriptor = {.fd = fd, .events = POLLOUT};
    return poll(&descriptor, 1, 0) == 1;
}

static bool try_again_in(struct log_output *output, int error, int64_t ms, struct monotonic_ms now)
{
    output->error = error;
    output->retry_at = monotonic_add(now, ms);
    return false;
}

/* To a daemon. Returns whether the next one may follow: this one was taken, or is lost. */
static bool send_line(struct log_output *output, struct monotonic_ms now)
{
    const char *line = output->buffer + output->written;
    const char *end = memchr(line, '\n', output->filled - output->written);
    size_t length = end ? (size_t)(end + 1 - line) : output->filled - output->written;
    int error = log_target_send(&output->target, output->fd, bytes_from(line, length), output->has_levels);
    bool is_away = error == ECONNREFUSED || error == EPERM || error == EHOSTUNREACH || error == ENETUNREACH || error == ENETDOWN;
    if (error == EAGAIN || error == ENOBUFS) {
        output->full_ms = output->full_ms == 0                  ? FULL_RETRY_MS
                          : output->full_ms < FULL_RETRY_MAX_MS ? output->full_ms * 2
                                                                : output->full_ms;
        return try_again_in(output, EAGAIN, output->full_ms, now);
    }
    if (error != 0 && error != EMSGSIZE && error != EINTR && (log_target_is_local(&output->target) || !is_away))
        return try_again_in(output, error, RETRY_MS, now);
    if (error == EINTR)
        return true;
    if (error != 0) /* too long; or the network says that one before it did not arrive: there it is not known which do */
        drop(output, line, line + length);
    output->written += length;
    output->error = 0;
    output->full_ms = 0;
    return true;
}

/* Returns whether it made progress and may be called again. */
static bool write_piece(struct log_output *output, struct monotonic_ms now)
{
    size_t size = output->filled - output->written;
    if (output->target.kind != LOG_TARGET_FILE)
        return send_line(output, now);
    if (!output->blocks) {
        if (!is_writable(output->fd)) {
            output->error = 0; /* no trouble: a reader that is slower than we are */
            return false;
        }
        size = size < UNREGULAR_PIECE_BYTES ? size : UNREGULAR_PIECE_BYTES;
    }
    ssize_t count = write(output->fd, output->buffer + output->written, size);
    if (count > 0) {
        output->written += count;
        output->error = 0;
        return true;
    }
    if (count < 0 && errno == EINTR)
        return true;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        output->error = 0;
        return false;
    }
    return try_again_in(output, count < 0 ? errno : ENOSPC, RETRY_MS, now);
}

static void tell(struct log_output *output, struct monotonic_ms now)
{
    int error = output->error == EAGAIN ? 0 : output->error;
    if ((output->dropped_lines == output->told_lines && error == 0) || monotonic_since(output->tell_at, now) > 0)
        return;
    log_error("log", "%s log%s%s: %s; %llu lines dropped so far", output->name, output->path ? " " : "", output->path ? output->path : "",
              error ? strerror(error) : "its reader is too slow", (unsigned long long)output->dropped_lines);
    output->told_lines = output->dropped_lines;
    output->tell_at = monotonic_add(now, TELL_MS);
}

void log_output_flush(struct log_output *output, struct monotonic_ms now)
{
    if (output->fd < 0)
        return;
    if (output->error == 0 || monotonic_since(now, output->retry_at) >= 0) {
        while (output->written < output->filled && write_piece(output, now))
            continue;
    }
    if (output->written == output->filled)
        output->written = output->filled = 0;
    tell(output, now);
}

bool log_output_awaits_room(const struct log_output *output)
{
    return output->fd >= 0 && output->error == 0 && output->written < output->filled;
}

int log_output_timeout_ms(const struct log_output *output, struct monotonic_ms now)
{
    if (output->fd < 0 || output->written == output->filled)
        return -1;
    if (output->error == 0)
        return RETRY_MS; /* room may come unseen, when another output's descriptor is the one waited for */
    int64_t left = monotonic_since(output->retry_at, now);
    return left > 0 ? (int)left : 0;
}
