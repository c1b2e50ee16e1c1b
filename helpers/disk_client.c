#include "helpers/disk_client.h"

#include <stdlib.h>

/* So many answers fit one ring, whatever happens: see disk_main.c. */
enum { PER_HELPER_MAX = 2048 };
_Static_assert(PER_HELPER_MAX *(WIRE_HEADER_BYTES + sizeof(struct message_file_answer)) <= CHANNEL_RING_BYTES, "answers fit");

struct disk_client {
    struct helper_set set;
};

static struct file_request *request_of(struct helper_call *call)
{
    return (struct file_request *)((char *)call - offsetof(struct file_request, call));
}

static bool send_request(struct channel *channel, struct helper_call *call)
{
    const struct file_request *request = request_of(call);
    struct message_file_read message = {
        .request = call->id,
        .offset = request->offset,
        .length = request->length,
        .slab_offset = request->slab_offset,
        .inode = request->inode,
        .size = request->size,
        .mtime_ns = request->mtime_ns,
        .ahead = request->ahead,
    };
    char target[MESSAGE_TAIL_MAX];
    size_t root_bytes = strlen(request->root) + 1, path_bytes = strlen(request->path);
    memcpy(target, request->root, root_bytes);
    memcpy(target + root_bytes, request->path, path_bytes);
    return channel_send(channel, MESSAGE_FILE_READ, &message, bytes_from(target, root_bytes + path_bytes));
}

static bool take_answer(struct helper_call *call, const struct message *message)
{
    struct file_request *request = request_of(call);
    const struct message_file_answer *answer = message->payload;
    if (answer->status > FILE_IO_ERROR || answer->bytes_read > request->length)
        return false;
    request->answer = *answer;
    request->error = ERROR_OK;
    request->destination_lost = false;
    request->done(request);
    return true;
}

static void fail_request(struct helper_call *call, enum helper_failure failure)
{
    static const enum error errors[] = {
        [HELPERS_UNAVAILABLE] = ERROR_HELPER_UNAVAILABLE,
        [HELPERS_OVERLOADED] = ERROR_OVERLOADED,
        [HELPERS_TOO_LARGE] = ERROR_OK,
        [HELPERS_DESTINATION_LOST] = ERROR_DISK,
    };
    struct file_request *request = request_of(call);
    request->answer = (struct message_file_answer){.status = FILE_MISSING}; /* a path that no message carries is longer than any file's */
    request->error = errors[failure];
    request->destination_lost = failure == HELPERS_DESTINATION_LOST;
    request->done(request);
}

struct disk_client *disk_client_new(const struct helper_hooks *hooks, int64_t deadline_ms, unsigned queue_max)
{
    struct disk_client *client = calloc(1, sizeof(*client));
    if (!client)
        abort();
    helper_set_init(&client->set,
                    &(struct helper_plan){.role = ROLE_DISK,
                                          .deadline_ms = deadline_ms,
                                          .queue_max = queue_max,
                                          .per_helper_max = PER_HELPER_MAX,
                                          .send = send_request,
                                          .answer = take_answer,
                                          .fail = fail_request},
                    hooks);
    return client;
}

void disk_client_free(struct disk_client **client)
{
    if (!*client)
        return;
    helper_set_end(&(*client)->set);
    free(*client);
    *client = NULL;
}

void disk_client_attach(struct disk_client *client, unsigned helper, unsigned generation, struct channel *channel)
{
    helper_set_attach(&client->set, helper, generation, channel);
}

void disk_client_lost(struct disk_client *client, unsigned helper, unsigned generation)
{
    helper_set_lost(&client->set, helper, generation);
}

void disk_client_read(struct disk_client *client, struct file_request *request, struct monotonic_ms now)
{
    if (strlen(request->root) + 1 + strlen(request->path) > MESSAGE_TAIL_MAX)
        helper_set_refuse(&client->set, &request->call, HELPERS_TOO_LARGE);
    else
        helper_set_submit(&client->set, &request->call, now);
}

bool disk_client_receive(struct disk_client *client, unsigned helper, struct monotonic_ms now)
{
    return helper_set_receive(&client->set, helper, now);
}

void disk_client_flush(struct disk_client *client)
{
    helper_set_flush(&client->set);
}

void disk_client_tick(struct disk_client *client, struct monotonic_ms now)
{
    helper_set_tick(&client->set, now);
}

void disk_client_stats(const struct disk_client *client, struct helper_stats *stats)
{
    helper_set_stats(&client->set, stats);
}
