/* A loop's log lines, on their way to the log helper. Never blocks: a full ring drops the line and counts it. While the helper is being replaced, lines
 * wait in the old one's ring and move to the new one. The channel needs no polling: all that comes back is how many lines the helper itself had to drop,
 * which log_client_collect_dropped fetches. */
#ifndef HELPERS_LOG_CLIENT_H
#define HELPERS_LOG_CLIENT_H

#include "helpers/helper_set.h"

struct log_client;

struct log_client *log_client_new(void);
void log_client_free(struct log_client **client);
/* Takes the channel. */
void log_client_attach(struct log_client *client, unsigned generation, struct channel *channel);
/* The process is certainly dead. */
void log_client_lost(struct log_client *client, unsigned generation);
/* Whole lines with their newlines, at most MESSAGE_TAIL_MAX bytes. False: dropped and counted. */
bool     log_client_write(struct log_client *client, enum log_kind kind, struct bytes lines);
void     log_client_flush(struct log_client *client);
/* How many lines were dropped since the last call, here or by the helper. */
uint64_t log_client_collect_dropped(struct log_client *client);
size_t   log_client_backlog(const struct log_client *client);

#endif
