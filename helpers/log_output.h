/* Where one kind of log lines goes: a file, a pipe, a terminal, a logging daemon (base/log_target.h). Gathers lines and writes them in large pieces; never fails for its caller.
 *
 * A pipe or terminal that takes no more is not waited for; a full or broken disk, or a daemon that is away, is tried again every second, and one whose queue is
 * full soon. Meanwhile lines are kept up to
 * LOG_OUTPUT_BYTES, and after that dropped and counted, with an error line at most once a minute.
 */
#ifndef HELPERS_LOG_OUTPUT_H
#define HELPERS_LOG_OUTPUT_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log_target.h"

enum { LOG_OUTPUT_BYTES = 1024 * 1024 };

struct log_output {
    const char *name; /* of the kind, for messages */
    char       *path; /* where it goes, for messages */
    int         fd;   /* −1: nowhere, lines are dropped without a word */
    struct log_target target;
    bool        has_levels; /* its lines are those of an error log */
    bool        blocks; /* a regular file: a write ends, so it may be of any size */
    char       *buffer;
    size_t      filled, written; /* buffer[written … filled) waits */
    uint64_t    dropped_lines; /* since the start */
    /* trouble */
    int                 error;    /* of the last write, 0: none */
    struct monotonic_ms retry_at; /* while error is set */
    int64_t             full_ms;  /* the last wait for a daemon's queue; 0: it had room */
    uint64_t            told_lines; /* dropped_lines when last told */
    struct monotonic_ms tell_at;
};

/* `fd` is borrowed for the life of the output or until log_output_replace; −1: none yet. */
void log_output_init(struct log_output *output, const char *name, int fd);
void log_output_free(struct log_output *output);

/* Lines from now on go to `fd`, which is taken; what came before goes to the old one first, as far as that takes it without waiting. */
void log_output_replace(struct log_output *output, int fd, struct bytes path, struct monotonic_ms now);

/* Whole lines. */
void log_output_add(struct log_output *output, struct bytes lines, struct monotonic_ms now);
/* Writes what the destination takes, and tells of trouble when it is time to. */
void log_output_flush(struct log_output *output, struct monotonic_ms now);

/* After a flush: whether a descriptor must become writable first (true), or how long to wait for the next try. */
bool log_output_awaits_room(const struct log_output *output);
int  log_output_timeout_ms(const struct log_output *output, struct monotonic_ms now); /* −1: nothing to wait for */

#endif
