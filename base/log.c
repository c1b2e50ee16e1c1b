/* See log.h. A line is built whole on the stack and handed over in one call, so that lines of several threads never mix. */
#include "base/log.h"

#include "base/http_date.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_LINE_MAX_BYTES = 4096, /* PIPE_BUF: a line of this size reaches a pipe in one piece */
    LOG_TEXT_MAX_BYTES = 3072,
};

static const char *log_role = "outrigger";
static _Atomic int log_threshold = LOG_LEVEL_INFO;
static log_sink *process_sink;
static void *process_sink_context;
static __thread log_sink *thread_sink;
static __thread void *thread_sink_context;

static const struct bytes level_names[] = {
    [LOG_LEVEL_ERROR] = {"error", 5},
    [LOG_LEVEL_WARN] = {"warn", 4},
    [LOG_LEVEL_INFO] = {"info", 4},
    [LOG_LEVEL_DEBUG] = {"debug", 5},
};

void log_init(const char *role, enum log_level threshold)
{
    log_role = role;
    log_set_level(threshold);
}

void log_set_process_sink(log_sink *sink, void *context)
{
    process_sink_context = context;
    process_sink = sink;
}

void log_set_thread_sink(log_sink *sink, void *context)
{
    thread_sink = sink;
    thread_sink_context = context;
}

void log_set_level(enum log_level threshold)
{
    atomic_store_explicit(&log_threshold, (int)threshold, memory_order_relaxed);
}

bool log_level_parse(struct bytes name, enum log_level *level)
{
    for (enum log_level i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        if (bytes_equal(name, level_names[i])) {
            *level = i;
            return true;
        }
    }
    return false;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

/* Escapes control bytes and what `more` holds; stops before an escape or a byte that does not fit whole. */
static size_t escape(char *out, size_t size, struct bytes text, struct bytes more)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t used = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (!is_control(c) && bytes_find(more, c) == more.len) {
            if (used == size)
                break;
            out[used++] = c;
            continue;
        }
        if (size - used < 4)
            break;
        out[used++] = '\\';
        out[used++] = 'x';
        out[used++] = digits[(unsigned char)c >> 4];
        out[used++] = digits[(unsigned char)c & 15];
    }
    return used;
}

size_t log_escape(char *out, size_t size, struct bytes text)
{
    return escape(out, size, text, BYTES("\\\""));
}

/* "2026-01-31T12:00:00.123Z level role[pid] area: " */
static size_t format_prefix(char *out, size_t size, enum log_level level, const char *area)
{
    struct timespec now;
    size_t used = ISO_DATE_LEN;
    clock_gettime(CLOCK_REALTIME, &now);
    iso_date_format((struct wall_seconds){now.tv_sec}, out);
    int more = snprintf(out + used, size - used, ".%03ldZ %s %s[%d] %s: ", now.tv_nsec / 1000000, level_names[level].at, log_role,
                        (int)getpid(), area);
    used += more > 0 ? (size_t)more : 0;
    return used < size ? used : size - 1;
}

static size_t format_line(char line[LOG_LINE_MAX_BYTES], enum log_level level, const char *area, const char *format, va_list arguments)
{
    char text[LOG_TEXT_MAX_BYTES];
    int length = vsnprintf(text, sizeof(text), format, arguments);
    size_t text_len = length < 0 ? 0 : (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    size_t used = format_prefix(line, LOG_LINE_MAX_BYTES - LOG_TEXT_MAX_BYTES, level, area);
    used += escape(line + used, LOG_LINE_MAX_BYTES - used - 1, bytes_from(text, text_len), BYTES_NONE);
    line[used++] = '\n';
    return used;
}

static void write_line(struct bytes line)
{
    if (process_sink) {
        process_sink(process_sink_context, line);
        return;
    }
    /* Nowhere to report that stderr fails. */
    ssize_t ignored = write(STDERR_FILENO, line.at, line.len);
    (void)ignored;
}

void log_pass(struct bytes line)
{
    if (thread_sink)
        thread_sink(thread_sink_context, line);
    else
        write_line(line);
}

static bool is_wanted(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

void log_write(enum log_level level, const char *area, const char *format, ...)
{
    if (!is_wanted(level))
        return;
    int saved_errno = errno; /* callers log before they look at it, too */
    va_list arguments;
    char line[LOG_LINE_MAX_BYTES];
    va_start(arguments, format);
    struct bytes whole = bytes_from(line, format_line(line, level, area, format, arguments));
    va_end(arguments);
    log_pass(whole);
    errno = saved_errno;
}

void log_write_from_handler(enum log_level level, const char *area, const char *format, ...)
{
    if (!is_wanted(level))
        return;
    int saved_errno = errno;
    va_list arguments;
    char line[LOG_LINE_MAX_BYTES];
    va_start(arguments, format);
    write_line(bytes_from(line, format_line(line, level, area, format, arguments)));
    va_end(arguments);
    errno = saved_errno;
}

bool log_may(struct log_quota *quota, struct wall_seconds now, unsigned lines_a_second, unsigned *left_out)
{
    if (quota->second != now.s)
        quota->written = 0;
    quota->second = now.s;
    if (quota->written == lines_a_second) {
        quota->left_out++;
        return false;
    }
    quota->written++;
    *left_out = quota->left_out;
    quota->left_out = 0;
    return true;
}
