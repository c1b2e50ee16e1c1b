#include "helpers/resolver_client.h"

#include <stdlib.h>

enum {
    QUEUE_MAX = 65536,    /* a question a configured origin, and no more: a bound that is never met */
    PER_HELPER_MAX = 128, /* so many answers fit one ring: see resolver_main.c */
    NAME_MAX_BYTES = 255,
};
_Static_assert(PER_HELPER_MAX *(WIRE_HEADER_BYTES + sizeof(struct message_resolved)) <= CHANNEL_RING_BYTES, "answers fit");

struct resolver_client {
    struct helper_set set;
};

static struct resolve_request *request_of(struct helper_call *call)
{
    return (struct resolve_request *)((char *)call - offsetof(struct resolve_request, call));
}

static bool send_request(struct channel *channel, struct helper_call *call)
{
    return channel_send(channel, MESSAGE_RESOLVE, &(struct message_resolve){call->id}, request_of(call)->name);
}

static bool is_valid(const struct message_resolved *answer)
{
    if (answer->status > RESOLVE_FAILED || answer->count > RESOLVE_ADDRESSES_MAX || (answer->status == RESOLVE_OK) != (answer->count > 0))
        return false;
    for (unsigned i = 0; i < answer->count; i++) {
        if (answer->addresses[i].family != 4 && answer->addresses[i].family != 6)
            return false;
    }
    return true;
}

static bool take_answer(struct helper_call *call, const struct message *message)
{
    struct resolve_request *request = request_of(call);
    const struct message_resolved *answer = message->payload;
    if (!is_valid(answer))
        return false;
    request->status = answer->status;
    request->count = answer->count;
    memcpy(request->addresses, answer->addresses, answer->count * sizeof(answer->addresses[0]));
    request->done(request);
    return true;
}

static void fail_request(struct helper_call *call, enum helper_failure failure)
{
    struct resolve_request *request = request_of(call);
    request->status = failure == HELPERS_TOO_LARGE ? RESOLVE_NOT_FOUND : RESOLVE_FAILED;
    request->count = 0;
    request->done(request);
}

struct resolver_client *resolver_client_new(const struct helper_hooks *hooks, int64_t deadline_ms)
{
    struct resolver_client *client = calloc(1, sizeof(*client));
    if (!client)
        abort();
    helper_set_init(&client->set,
                    &(struct helper_plan){.role = ROLE_RESOLVER,
                                          .deadline_ms = deadline_ms,
                                          .queue_max = QUEUE_MAX,
                                          .per_helper_max = PER_HELPER_MAX,
                                          .may_expire = true,
                                          .send = send_request,
                                          .answer = take_answer,
                                          .fail = fail_request},
                    hooks);
    return client;
}

void resolver_client_free(struct resolver_client **client)
{
    if (!*client)
        return;
    helper_set_end(&(*client)->set);
    free(*client);
    *client = NULL;
}

void resolver_client_attach(struct resolver_client *client, unsigned helper, unsigned generation, struct channel *channel)
{
    helper_set_attach(&client->set, helper, generation, channel);
}

void resolver_client_lost(struct resolver_client *client, unsigned helper, unsigned generation)
{
    helper_set_lost(&client->set, helper, generation);
}

void resolver_client_resolve(struct resolver_client *client, struct resolve_request *request, struct monotonic_ms now)
{
    if (request->name.len > NAME_MAX_BYTES)
        helper_set_refuse(&client->set, &request->call, HELPERS_TOO_LARGE);
    else
        helper_set_submit(&client->set, &request->call, now);
}

void resolver_client_cancel(struct resolver_client *client, struct resolve_request *request)
{
    helper_set_cancel(&client->set, &request->call);
}

bool resolver_client_receive(struct resolver_client *client, unsigned helper, struct monotonic_ms now)
{
    return helper_set_receive(&client->set, helper, now);
}

void resolver_client_flush(struct resolver_client *client)
{
    helper_set_flush(&client->set);
}

void resolver_client_tick(struct resolver_client *client, struct monotonic_ms now)
{
    helper_set_tick(&client->set, now);
}

void resolver_client_stats(const struct resolver_client *client, struct helper_stats *stats)
{
    helper_set_stats(&client->set, stats);
}
