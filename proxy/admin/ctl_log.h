/* outriggerctl log: requests as they end. */
#ifndef ADMIN_CTL_LOG_H
#define ADMIN_CTL_LOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* `target`: of GET /log. Goes on until the server ends or a signal comes; the exit status, errors are on stderr. */
int ctl_log(const char *socket, bool as_json, const char *target);

/* One line of /log for people. */
void ctl_log_print(const json_t *line, FILE *out);

#endif
