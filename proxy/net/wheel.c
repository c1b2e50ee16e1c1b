/* See wheel.h. */
#include "proxy/net/wheel.h"

void wheel_init(struct wheel *wheel, struct monotonic_ms now)
{
    wheel->tick = now.ms / LOOP_TICK_MS;
    for (unsigned i = 0; i < WHEEL_SLOTS; i++)
        list_init(&wheel->slots[i]);
}

static void wheel_file(struct wheel *wheel, struct deadline *deadline)
{
    int64_t tick = (deadline->when.ms + LOOP_TICK_MS - 1) / LOOP_TICK_MS;
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    list_push_back(&wheel->slots[tick % WHEEL_SLOTS], &deadline->link);
}

void wheel_set(struct wheel *wheel, struct deadline *deadline, struct monotonic_ms when)
{
    bool stays = deadline_is_set(deadline) && when.ms >= deadline->when.ms;
    if (!stays)
        deadline_clear(deadline);
    deadline->when = when;
    if (!stays)
        wheel_file(wheel, deadline);
}

static void wheel_work_off(struct wheel *wheel, struct list *slot, struct monotonic_ms now)
{
    /* Taken over into a list of our own, since what is put back may belong into this very slot. */
    struct list due, *node;
    list_init(&due);
    while ((node = list_pop_front(slot)))
        list_push_back(&due, node);
    while ((node = list_pop_front(&due))) {
        struct deadline *deadline = LIST_OWNER(node, struct deadline, link);
        if (deadline->when.ms > now.ms)
            wheel_file(wheel, deadline);
        else
            deadline->expired(deadline);
    }
}

void wheel_advance(struct wheel *wheel, struct monotonic_ms now)
{
    int64_t target = now.ms / LOOP_TICK_MS;
    if (target - wheel->tick > WHEEL_SLOTS) /* the process was stopped: once round is all */
        wheel->tick = target - WHEEL_SLOTS;
    while (wheel->tick < target) {
        wheel->tick++;
        struct list *slot = &wheel->slots[wheel->tick % WHEEL_SLOTS];
        if (!list_is_empty(slot))
            wheel_work_off(wheel, slot, now);
    }
}

void deadline_clear(struct deadline *deadline)
{
    if (deadline_is_set(deadline))
        list_remove(&deadline->link);
}

bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->link.next && list_is_linked(&deadline->link);
}
