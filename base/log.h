/* The error log: one line a cause. Where lines go is decided once by the process's main: the supervisor writes them where error_log says, a proxy loop hands
 * them to the log helper and never blocks, everybody else tells the supervisor. Before that, and when it cannot be done: to stderr.
 *
 * Format: `2026-01-31T12:00:00.123Z level role[pid] area: text`. Control bytes in the text are escaped as \xNN (HARDENING: logs). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/bytes.h"
#include "base/clock.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Called with a whole line, newline included, on the thread that logs. MUST NOT block and MUST NOT log. */
typedef void log_sink(void *context, struct bytes line);

/* `role` is borrowed for the life of the process ("proxy", "disk"…). Not thread-safe: call before threads start. */
void log_init(const char *role, enum log_level threshold);
/* Of threads without a sink of their own, and of signal handlers: MUST be async-signal-safe and may be called by several threads at once. NULL: stderr. */
void log_set_process_sink(log_sink *sink, void *context);
/* Sink of the calling thread; NULL restores the process's. */
void log_set_thread_sink(log_sink *sink, void *context);
void log_set_level(enum log_level threshold);
bool log_level_parse(struct bytes name, enum log_level *level);

void log_write(enum log_level level, const char *area, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* For signal handlers: to the process's sink whatever the thread's, which may be what the signal interrupted. Numbers and strings only. */
void log_write_from_handler(enum log_level level, const char *area, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A line that another process has made, newline included: to the calling thread's sink, as it is. */
void log_pass(struct bytes line);

#define log_error(area, ...) log_write(LOG_LEVEL_ERROR, area, __VA_ARGS__)
#define log_warn(area, ...)  log_write(LOG_LEVEL_WARN, area, __VA_ARGS__)
#define log_info(area, ...)  log_write(LOG_LEVEL_INFO, area, __VA_ARGS__)
#define log_debug(area, ...) log_write(LOG_LEVEL_DEBUG, area, __VA_ARGS__)

/* So many lines a second of what others can cause without end (HARDENING: logs). Of one thread; zeroed: nothing was written yet. */
struct log_quota {
    int64_t  second;
    unsigned written, left_out;
};

/* Whether one more line may be written; *left_out is then how many were not since the last one that was. */
bool log_may(struct log_quota *quota, struct wall_seconds now, unsigned lines_a_second, unsigned *left_out);

/* Copies `text` to `out` with control bytes, DEL, backslash and `"` escaped as \xNN; cuts at `size`. Returns bytes written. */
size_t log_escape(char *out, size_t size, struct bytes text);

#endif
