/* An open loop: a group with a rate asks when it is time, whether what it asked before was answered or not, and a latency counts from that time on: a server
 * that stalls makes those wait that would have asked meanwhile, and they are counted. At most as many ask at once as there are connections; the others' time
 * has come, too, and goes by.
 *
 * The first request's time is when the group begins, the others' follow in equal steps, those of one tick together: being woken for each would take the
 * client more time than asking. Connections without a request are in a queue, so that all take turns. */
#include "load.h"

static const uint64_t SECOND_NS = 1000000000, TICK_NS = 250000;

static uint64_t time_of_next(const struct group *g)
{
    uint64_t step = (uint64_t)((double)g->pace.asked * (double)SECOND_NS / g->pace.rate);
    return g->pace.began_ns + (step + TICK_NS - 1) / TICK_NS * TICK_NS;
}

bool pace_may_ask(struct connection *c, uint64_t *now)
{
    struct pace *pace = &c->group->pace;
    if (pace->rate == 0) {
        return true;
    }
    if (pace->began_ns == 0) {
        pace->began_ns = *now;
    }
    uint64_t due = time_of_next(c->group);
    if (due <= *now) {
        pace->asked++;
        *now = due;
        return true;
    }
    c->idle = true;
    c->idle_next = NULL;
    *(pace->first ? &pace->last->idle_next : &pace->first) = c;
    pace->last = c;
    return false;
}

void pace_ask(struct group *g, uint64_t now)
{
    while (g->pace.first && time_of_next(g) <= now) {
        struct connection *c = g->pace.first;
        g->pace.first = c->idle_next;
        c->idle = false;
        http1_ask(c, now);
    }
}

uint64_t pace_wait_ns(const struct group *g, uint64_t now, uint64_t most)
{
    if (!g->pace.first) {
        return most;
    }
    uint64_t due = time_of_next(g), left = due > now ? due - now : 0;
    return left < most ? left : most;
}
