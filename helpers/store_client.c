#include "helpers/store_client.h"

#include "base/slab.h"
#include "base/store_format.h"

#include <assert.h>
#include <stdlib.h>

/* Enough to keep a disk busy; what waits for more waits here, where another helper may take it. So many answers fit one ring, whatever happens. */
enum {
    PER_HELPER_MAX = 256,
    SMALL_READ_BYTES = 64 * 1024, /* others cost so much that a wake-up does not matter, and the small ones would wait for them */
};
_Static_assert(PER_HELPER_MAX *(WIRE_HEADER_BYTES + sizeof(struct message_store_read_done)) <= CHANNEL_RING_BYTES, "answers fit");
_Static_assert(sizeof(struct store_header) == sizeof((struct message_store_read_done){0}.header), "the header in an answer");

struct store_client {
    struct helper_set set;
};

static struct store_call *store_call_of(struct helper_call *call)
{
    return (struct store_call *)((char *)call - offsetof(struct store_call, call));
}

static bool send_call(struct channel *channel, struct helper_call *helper_call)
{
    struct store_call *call = store_call_of(helper_call);
    memcpy(&call->ask, &helper_call->id, sizeof helper_call->id); /* `request`, the first member of each */
    return channel_send(channel, call->type, &call->ask, call->tail);
}

static bool is_plausible_read(const struct store_call *call, const struct message_store_read_done *answer)
{
    struct store_header header;
    memcpy(&header, answer->header, sizeof header);
    if (answer->status != STORE_OK)
        return true;
    if (header.front_bytes > call->ask.read.front_capacity)
        return false;
    uint64_t room =
        answer->body_follows ? call->ask.read.front_capacity - header.front_bytes : call->tail.len / sizeof(uint32_t) * SLAB_PAGE_BYTES;
    return header.body_bytes <= room;
}

static bool is_plausible_scan(const struct store_call *call, const struct message_store_scan_done *answer)
{
    const struct message_store_scan *scan = &call->ask.scan;
    bool goes_on = answer->next > scan->offset || answer->next == scan->end;
    return goes_on && answer->next <= scan->end && answer->count <= SLAB_PAGE_BYTES / sizeof(struct store_footer_entry);
}

/* Whether it is the answer that this call can get. */
static bool is_plausible(const struct store_call *call, const struct message *message)
{
    switch (message->type) {
    case MESSAGE_STORE_READ_DONE: {
        const struct message_store_read_done *answer = message->payload;
        return call->type == MESSAGE_STORE_READ && answer->status <= STORE_ERROR && is_plausible_read(call, answer);
    }
    case MESSAGE_STORE_SCAN_DONE: {
        const struct message_store_scan_done *answer = message->payload;
        return call->type == MESSAGE_STORE_SCAN && answer->status <= STORE_ERROR && is_plausible_scan(call, answer);
    }
    default: {
        const struct message_store_done *answer = message->payload;
        return (call->type == MESSAGE_STORE_WRITE || call->type == MESSAGE_STORE_ORDER) && answer->status <= STORE_ERROR;
    }
    }
}

static bool take_answer(struct helper_call *helper_call, const struct message *message)
{
    struct store_call *call = store_call_of(helper_call);
    if (!is_plausible(call, message))
        return false;
    memcpy(&call->answer, message->payload, message_payload_size(message->type));
    call->error = ERROR_OK;
    call->destination_lost = false;
    call->done(call);
    return true;
}

static bool is_small_read(struct helper_call *helper_call)
{
    const struct store_call *call = store_call_of(helper_call);
    return call->type == MESSAGE_STORE_READ && call->ask.read.bytes <= SMALL_READ_BYTES;
}

static void fail_call(struct helper_call *helper_call, enum helper_failure failure)
{
    struct store_call *call = store_call_of(helper_call);
    memset(&call->answer, 0, sizeof call->answer);
    call->error = failure == HELPERS_OVERLOADED ? ERROR_OVERLOADED : ERROR_HELPER_UNAVAILABLE;
    call->destination_lost = failure == HELPERS_DESTINATION_LOST;
    call->done(call);
}

struct store_client *store_client_new(const struct helper_hooks *hooks, int64_t deadline_ms, unsigned queue_max)
{
    struct store_client *client = calloc(1, sizeof(*client));
    if (!client)
        abort();
    helper_set_init(&client->set,
                    &(struct helper_plan){.role = ROLE_STORE,
                                          .deadline_ms = deadline_ms,
                                          .queue_max = queue_max,
                                          .per_helper_max = PER_HELPER_MAX,
                                          .goes_with_others = is_small_read,
                                          .send = send_call,
                                          .answer = take_answer,
                                          .fail = fail_call},
                    hooks);
    client->set.was_attached =
        true; /* recovery begins before the first helper is there: it waits for it, as for one that is being replaced */
    return client;
}

void store_client_prefer(struct store_client *client, unsigned helper)
{
    helper_set_prefer(&client->set, helper);
}

void store_client_free(struct store_client **client)
{
    if (!*client)
        return;
    helper_set_end(&(*client)->set);
    free(*client);
    *client = NULL;
}

void store_client_attach(struct store_client *client, unsigned helper, unsigned generation, struct channel *channel)
{
    helper_set_attach(&client->set, helper, generation, channel);
}

void store_client_lost(struct store_client *client, unsigned helper, unsigned generation)
{
    helper_set_lost(&client->set, helper, generation);
}

void store_client_submit(struct store_client *client, struct store_call *call, struct monotonic_ms now)
{
    assert(call->type == MESSAGE_STORE_READ || call->type == MESSAGE_STORE_WRITE || call->type == MESSAGE_STORE_SCAN ||
           call->type == MESSAGE_STORE_ORDER);
    helper_set_submit(&client->set, &call->call, now);
}

bool store_client_receive(struct store_client *client, unsigned helper, struct monotonic_ms now)
{
    return helper_set_receive(&client->set, helper, now);
}

void store_client_flush(struct store_client *client)
{
    helper_set_flush(&client->set);
}

void store_client_tick(struct store_client *client, struct monotonic_ms now)
{
    helper_set_tick(&client->set, now);
}

void store_client_stats(const struct store_client *client, struct helper_stats *stats)
{
    helper_set_stats(&client->set, stats);
}
