/* `outriggerctl stats` and `outriggerctl store` for people: the figures of /stats as a table. */
#ifndef ADMIN_CTL_STATS_H
#define ADMIN_CTL_STATS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

void ctl_print_stats(const json_t *stats, FILE *out);
/* The disk tier. False: there is none. */
bool ctl_print_store(const json_t *stats, FILE *out);

#endif
