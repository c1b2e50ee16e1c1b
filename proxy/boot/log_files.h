/* The log files, and the sockets to logging daemons: opened by the supervisor, which has the right to, written by the log helper. The supervisor's own error lines go to the same file. */
#ifndef BOOT_LOG_FILES_H
#define BOOT_LOG_FILES_H

#include "base/log_target.h"
#include "helpers/messages.h"
#include "proxy/config/config.h"

#include <stdio.h>

struct log_files {
    int fd[LOG_KIND_COUNT]; /* −1: off */
    struct log_target target[LOG_KIND_COUNT];
};

/* Opens what `config` names; false, each failure a line on `errors` and nothing left open. */
bool log_files_open(struct log_files *files, const struct config *config, FILE *errors);
void log_files_close(struct log_files *files);

/* Whether that would work for the files, as far as it can be seen without making or changing anything; `text` is what `config` was made of. False: what stands
 * against it is on `errors`, as other mistakes are. What only this process may not do, but root, who may start the server, may, is a warning. */
bool log_files_check(const struct config *config, struct bytes text, FILE *errors);

/* A line of the supervisor's own, or that a child has told it: to the error log, which is open, or to stderr when that takes it not. Waits for no reader. */
void log_files_write_error(const struct log_files *files, struct bytes line);

/* The path of that log in `config`; NULL: off. */
const char *log_file_path(const struct config *config, enum log_kind kind);

#endif
