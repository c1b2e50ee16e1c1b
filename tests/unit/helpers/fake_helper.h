/* The far end of a client's channel, in the test's own hands. */
#ifndef TESTS_FAKE_HELPER_H
#define TESTS_FAKE_HELPER_H

#include "tests/unit/helpers/channels.h"

#include <criterion/criterion.h>
#include <unistd.h>

/* Opens a channel; *end is the helper's, the client's is returned. */
static inline struct channel *make_channel(enum role role, struct channel **end)
{
    struct channel_fds fds;
    cr_assert_eq(channel_make(&fds), 0);
    int memory = dup(fds.memory);
    *end = keep_channel(channel_open(fds.memory, fds.bell[1], role, ROLE_PROXY));
    struct channel *client = channel_open(memory, fds.bell[0], ROLE_PROXY, role);
    cr_assert_not_null(client);
    return client;
}

/* The next message at the helper, copied, so that a test can look at several. The tail is NUL-terminated. */
struct taken {
    bool is_there;
    enum message_type type;
    uint64_t id;
    char payload[256], tail[MESSAGE_TAIL_MAX + 1];
    size_t tail_len;
};

static inline struct taken take(struct channel *end)
{
    struct message message;
    struct taken taken = {0};
    if (channel_receive(end, &message) != CHANNEL_MESSAGE)
        return taken;
    taken.is_there = true;
    taken.type = message.type;
    taken.tail_len = message.tail.len;
    memcpy(&taken.id, message.payload, sizeof(taken.id));
    memcpy(taken.payload, message.payload, message_payload_size(message.type));
    memcpy(taken.tail, message.tail.at, message.tail.len);
    return taken;
}

/* What was reported as hung. */
struct reports {
    unsigned count, helper, generation;
    enum role role;
};

static inline void note_report(void *context, enum role role, unsigned helper, unsigned generation)
{
    struct reports *reports = context;
    *reports = (struct reports){reports->count + 1, helper, generation, role};
}

static inline struct monotonic_ms at_ms(int64_t ms)
{
    return (struct monotonic_ms){1000000 + ms};
}

#endif
