/* See balance.h. */
#include "proxy/origin/balance.h"

bool health_is_down(const struct health *health, struct monotonic_ms now)
{
    return health->failed && monotonic_since(health->until, now) > 0;
}

bool health_fail(struct health *health, struct monotonic_ms now, int64_t down_ms)
{
    bool is_news = !health->failed;
    health->failed = true;
    health->until = monotonic_add(now, down_ms);
    return is_news;
}

void health_succeed(struct health *health)
{
    health->failed = false;
}

bool balance_order(struct health *const *healths, unsigned count, unsigned *cursor, struct monotonic_ms now, int64_t down_ms,
                   unsigned *order)
{
    if (count == 0)
        return true;
    unsigned first = *cursor % count;
    *cursor = first + 1;
    unsigned used = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned index = (first + i) % count;
        if (!health_is_down(healths[index], now))
            order[used++] = index;
    }
    bool all_down = used == 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned index = (first + i) % count;
        if (health_is_down(healths[index], now))
            order[used++] = index;
    }
    struct health *tried = healths[order[0]];
    if (tried->failed && !all_down)
        tried->until = monotonic_add(now, down_ms);
    return all_down;
}
