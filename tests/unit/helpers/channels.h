/* The channels that a test opened, so that its end closes what is left: leak checkers then tell of real leaks only. */
#ifndef TESTS_CHANNELS_H
#define TESTS_CHANNELS_H

#include "helpers/channel.h"

#include <criterion/criterion.h>

static struct channel *open_channels[1200];

static inline struct channel *keep_channel(struct channel *channel)
{
    cr_assert_not_null(channel);
    for (unsigned i = 0;; i++) {
        cr_assert_lt(i, sizeof(open_channels) / sizeof(open_channels[0]));
        if (!open_channels[i])
            return open_channels[i] = channel;
    }
}

/* Another owner closes it. */
static inline void forget_channel(const struct channel *channel)
{
    for (unsigned i = 0; i < sizeof(open_channels) / sizeof(open_channels[0]); i++) {
        if (open_channels[i] == channel)
            open_channels[i] = NULL;
    }
}

static inline void drop_channel(struct channel **channel)
{
    forget_channel(*channel);
    channel_close(channel);
}

static inline void drop_channels(void)
{
    for (unsigned i = 0; i < sizeof(open_channels) / sizeof(open_channels[0]); i++)
        channel_close(&open_channels[i]);
}

#endif
