#include "helpers/log_client.h"

#include <stdlib.h>

struct log_client {
    struct channel *channel; /* NULL until the first helper */
    unsigned generation;
    bool is_lost;           /* its helper has died: nobody takes what is in the ring */
    uint64_t dropped_lines; /* since they were last collected */
};

struct log_client *log_client_new(void)
{
    struct log_client *client = calloc(1, sizeof(*client));
    if (!client)
        abort();
    return client;
}

void log_client_free(struct log_client **client)
{
    if (!*client)
        return;
    channel_close(&(*client)->channel);
    free(*client);
    *client = NULL;
}

void log_client_attach(struct log_client *client, unsigned generation, struct channel *channel)
{
    client->dropped_lines = log_client_collect_dropped(client);
    /* A helper that lives takes what is in its ring before it lets go. */
    if (client->channel && client->is_lost)
        client->dropped_lines += channel_adopt_backlog(channel, client->channel);
    channel_close(&client->channel);
    client->channel = channel;
    client->generation = generation;
    client->is_lost = false;
    channel_flush(channel);
}

void log_client_lost(struct log_client *client, unsigned generation)
{
    if (client->generation == generation)
        client->is_lost = true;
}

bool log_client_write(struct log_client *client, enum log_kind kind, struct bytes lines)
{
    struct message_log_line message = {.kind = kind};
    if (client->channel && lines.len <= MESSAGE_TAIL_MAX && channel_send(client->channel, MESSAGE_LOG_LINE, &message, lines))
        return true;
    for (size_t at = 0; at < lines.len; at += bytes_find(bytes_from(lines.at + at, lines.len - at), '\n') + 1)
        client->dropped_lines++;
    return false;
}

void log_client_flush(struct log_client *client)
{
    if (client->channel)
        channel_flush(client->channel);
}

uint64_t log_client_collect_dropped(struct log_client *client)
{
    struct message message;
    while (client->channel && channel_receive_awake(client->channel, &message) == CHANNEL_MESSAGE)
        client->dropped_lines += ((const struct message_log_dropped *)message.payload)->lines;
    uint64_t lines = client->dropped_lines;
    client->dropped_lines = 0;
    return lines;
}

size_t log_client_backlog(const struct log_client *client)
{
    return client->channel ? channel_backlog(client->channel) : 0;
}
