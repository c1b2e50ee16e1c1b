#include "helpers/helper_set.h"

#include <assert.h>
#include <stddef.h>

#define CALL(node) LIST_OWNER(node, struct helper_call, link)

/* Every answer begins with the id of its call. */
_Static_assert(offsetof(struct message_file_answer, request) == 0 && offsetof(struct message_resolved, request) == 0, "answers");
_Static_assert(offsetof(struct message_store_read_done, request) == 0 && offsetof(struct message_store_scan_done, request) == 0 &&
                   offsetof(struct message_store_done, request) == 0,
               "answers");

void helper_set_init(struct helper_set *set, const struct helper_plan *plan, const struct helper_hooks *hooks)
{
    *set = (struct helper_set){.plan = *plan, .hooks = *hooks};
    list_init(&set->waiting);
    list_init(&set->failed);
    for (unsigned i = 0; i < HELPERS_MAX; i++)
        list_init(&set->slots[i].sent);
}

void helper_set_end(struct helper_set *set)
{
    for (unsigned i = 0; i < HELPERS_MAX; i++)
        channel_close(&set->slots[i].channel);
}

static void enter(struct helper_set *set, struct helper_slot *slot, enum helper_state state)
{
    slot->state = state;
    slot->since = set->now;
}

static void end_call(struct helper_set *set, struct helper_call *call, enum helper_failure failure)
{
    list_remove(&call->link);
    set->calls--;
    set->stats.failures++;
    set->plan.fail(call, failure);
}

static void report_hung(struct helper_set *set, struct helper_slot *slot)
{
    if (slot->state == HELPER_HUNG || slot->state == HELPER_ABANDONED)
        return;
    enter(set, slot, HELPER_HUNG);
    set->hooks.report_hung(set->hooks.context, set->plan.role, slot - set->slots, slot->generation);
}

void helper_set_prefer(struct helper_set *set, unsigned helper)
{
    set->has_preferred = true;
    set->preferred = helper;
}

/* NULL: any helper will do. */
static struct helper_slot *preferred_for(struct helper_set *set, struct helper_call *call)
{
    if (!set->has_preferred || set->slots_end == 0 || !set->plan.goes_with_others(call))
        return NULL;
    struct helper_slot *slot = &set->slots[set->preferred % set->slots_end];
    return slot->state == HELPER_ALIVE && slot->under_way < TOGETHER_MAX ? slot : NULL;
}

/* The preferred helper, or the one with the fewest under way; NULL when none can take a call now. */
static struct helper_slot *choose(struct helper_set *set, struct helper_call *call)
{
    struct helper_slot *best = preferred_for(set, call);
    if (best)
        return best;
    for (unsigned i = 0; i < HELPERS_MAX; i++) {
        struct helper_slot *slot = &set->slots[(set->next + i) % HELPERS_MAX];
        if (slot->state == HELPER_ALIVE && slot->under_way < set->plan.per_helper_max && (!best || slot->under_way < best->under_way))
            best = slot;
    }
    return best;
}

/* Hands out what waits, as far as helpers take it. */
static void send_waiting(struct helper_set *set)
{
    struct helper_slot *slot;
    while (!list_is_empty(&set->waiting) && (slot = choose(set, CALL(set->waiting.next)))) {
        struct helper_call *call = CALL(set->waiting.next);
        if (!set->plan.send(slot->channel, call)) {
            if (slot->under_way > 0)
                return;             /* answers will make room */
            report_hung(set, slot); /* an empty ring that refuses is a broken one */
            continue;
        }
        if (slot->under_way++ == 0)
            slot->since = set->now;
        call->position = channel_sent(slot->channel);
        list_remove(&call->link);
        list_push_back(&slot->sent, &call->link);
        set->next = slot - set->slots + 1;
    }
}

void helper_set_submit(struct helper_set *set, struct helper_call *call, struct monotonic_ms now)
{
    set->now = now;
    if (set->calls >= set->plan.queue_max || !set->was_attached) {
        helper_set_refuse(set, call, set->was_attached ? HELPERS_OVERLOADED : HELPERS_UNAVAILABLE);
        return;
    }
    *call = (struct helper_call){
        .id = ++set->last_id,
        .deadline = monotonic_add(now, set->plan.deadline_ms),
        .asked_us = set->hooks.report_answer ? clock_monotonic_us() : 0,
    };
    list_push_back(&set->waiting, &call->link);
    set->calls++;
    set->stats.requests++;
    send_waiting(set);
}

void helper_set_refuse(struct helper_set *set, struct helper_call *call, enum helper_failure failure)
{
    *call = (struct helper_call){.failure = failure};
    list_push_back(&set->failed, &call->link);
    set->calls++;
    set->stats.requests++;
}

void helper_set_cancel(struct helper_set *set, struct helper_call *call)
{
    assert(set->plan.may_expire && list_is_linked(&call->link));
    list_remove(&call->link);
    set->calls--;
}

static struct helper_call *find_call(struct helper_slot *slot, uint64_t id)
{
    LIST_FOR_EACH(node, &slot->sent)
    {
        if (CALL(node)->id == id)
            return CALL(node);
    }
    return NULL;
}

/* False: it breaks a rule. */
static bool take_answer(struct helper_set *set, struct helper_slot *slot, const struct message *message)
{
    uint64_t id;
    memcpy(&id, message->payload, sizeof(id));
    struct helper_call *call = find_call(slot, id);
    if (slot->under_way == 0 || (!call && !set->plan.may_expire))
        return false;
    slot->under_way--;
    if (slot->state == HELPER_ALIVE)
        slot->since = set->now;
    if (!call)
        return true; /* expired or cancelled meanwhile */
    list_remove(&call->link);
    set->calls--;
    uint64_t asked_us = call->asked_us;
    if (set->plan.answer(call, message)) {
        if (set->hooks.report_answer)
            set->hooks.report_answer(set->hooks.context, set->plan.role, clock_monotonic_us() - asked_us);
        return true;
    }
    list_push_front(&slot->sent, &call->link);
    set->calls++;
    return false;
}

/* All answers that are there. False: a rule was broken. */
static bool take_answers(struct helper_set *set, struct helper_slot *slot)
{
    struct message message;
    enum channel_event event;
    while ((event = channel_receive(slot->channel, &message)) == CHANNEL_MESSAGE) {
        if (!take_answer(set, slot, &message))
            return false;
    }
    return event == CHANNEL_EMPTY;
}

bool helper_set_receive(struct helper_set *set, unsigned helper, struct monotonic_ms now)
{
    assert(helper < HELPERS_MAX);
    struct helper_slot *slot = &set->slots[helper];
    set->now = now;
    if (slot->state != HELPER_ALIVE && slot->state != HELPER_HUNG)
        return false;
    bool is_there = channel_answer_bell(slot->channel);
    if (!take_answers(set, slot)) {
        report_hung(set, slot);
        is_there = false;
    } else if (!is_there && slot->state == HELPER_ALIVE) {
        enter(set, slot, HELPER_ENDED);
    }
    send_waiting(set);
    return is_there;
}

/* Back to the queue, before what was never sent, in the old order. */
static void requeue(struct helper_set *set, struct helper_slot *slot)
{
    while (!list_is_empty(&slot->sent)) {
        struct helper_call *call = CALL(slot->sent.prev);
        list_remove(&call->link);
        list_push_front(&set->waiting, &call->link);
        call->deadline = monotonic_add(set->now, set->plan.deadline_ms);
        set->stats.retries++;
    }
}

void helper_set_lost(struct helper_set *set, unsigned helper, unsigned generation)
{
    assert(helper < HELPERS_MAX);
    struct helper_slot *slot = &set->slots[helper];
    if (slot->state == HELPER_EMPTY || slot->generation != generation)
        return;
    /* What it answered before it died counts, unless it had broken the rules: then nothing is lost by asking again. */
    if (slot->state != HELPER_ABANDONED)
        (void)take_answers(set, slot);
    uint64_t taken = channel_taken(slot->channel);
    enter(set, slot, HELPER_EMPTY);
    channel_close(&slot->channel);
    slot->under_way = 0;
    LIST_FOR_EACH_SAFE(node, &slot->sent)
    {
        struct helper_call *call = CALL(node);
        if (call->position <= taken && ++call->deaths >= CALL_DEATHS_MAX) {
            list_remove(&call->link);
            call->failure = HELPERS_UNAVAILABLE;
            list_push_back(&set->failed, &call->link);
        }
    }
    requeue(set, slot);
    send_waiting(set);
}

void helper_set_attach(struct helper_set *set, unsigned helper, unsigned generation, struct channel *channel)
{
    assert(helper < HELPERS_MAX);
    struct helper_slot *slot = &set->slots[helper];
    helper_set_lost(set, helper, slot->generation);
    slot->channel = channel;
    slot->generation = generation;
    set->was_attached = true;
    enter(set, slot, HELPER_ALIVE);
    if (set->slots_end <= helper)
        set->slots_end = helper + 1;
    send_waiting(set);
}

void helper_set_flush(struct helper_set *set)
{
    for (unsigned i = 0; i < set->slots_end; i++) { /* every turn of a loop comes by here */
        if (set->slots[i].state == HELPER_ALIVE)
            channel_flush(set->slots[i].channel);
    }
}

static unsigned count_calls(const struct list *list)
{
    unsigned count = 0;
    LIST_FOR_EACH(node, list)
    count++;
    return count;
}

static bool is_over(const struct helper_set *set, struct monotonic_ms since)
{
    return monotonic_since(set->now, since) >= set->plan.deadline_ms;
}

static void check_helper(struct helper_set *set, struct helper_slot *slot)
{
    /* A loop that was held up itself looks for answers before it complains. */
    if (slot->state == HELPER_ALIVE && slot->under_way > 0 && is_over(set, slot->since) && !take_answers(set, slot)) {
        report_hung(set, slot);
        return;
    }
    bool is_over_due = is_over(set, slot->since);
    if ((slot->state == HELPER_ALIVE && slot->under_way > 0 && is_over_due) || (slot->state == HELPER_ENDED && is_over_due)) {
        if (!set->plan.may_expire)
            set->stats.timeouts += count_calls(&slot->sent);
        report_hung(set, slot);
    } else if (slot->state == HELPER_HUNG && is_over_due) {
        enter(set, slot, HELPER_ABANDONED);
        for (struct list *node; !set->plan.may_expire && (node = slot->sent.next) != &slot->sent;)
            end_call(set, CALL(node), HELPERS_DESTINATION_LOST);
    }
}

/* The first call of the list past its deadline; the lists are not sorted by it, since a retry gets a new one. */
static struct helper_call *find_expired(const struct helper_set *set, const struct list *list)
{
    LIST_FOR_EACH(node, list)
    {
        if (monotonic_since(set->now, CALL(node)->deadline) >= 0)
            return CALL(node);
    }
    return NULL;
}

/* Restarts after each end: `fail` may submit, and cancel, other calls. */
static void expire(struct helper_set *set, struct list *list)
{
    struct helper_call *call;
    while ((call = find_expired(set, list))) {
        set->stats.timeouts++;
        end_call(set, call, HELPERS_UNAVAILABLE);
    }
}

void helper_set_tick(struct helper_set *set, struct monotonic_ms now)
{
    set->now = now;
    /* Only those that are there now: an owner that tries again from its `done` waits for the next tick. */
    for (unsigned left = count_calls(&set->failed); left > 0 && !list_is_empty(&set->failed); left--) {
        struct helper_call *call = CALL(set->failed.next);
        end_call(set, call, call->failure);
    }
    for (unsigned i = 0; i < HELPERS_MAX; i++) {
        struct helper_slot *slot = &set->slots[i];
        check_helper(set, slot);
        if (set->plan.may_expire)
            expire(set, &slot->sent);
    }
    expire(set, &set->waiting);
    send_waiting(set);
}

void helper_set_stats(const struct helper_set *set, struct helper_stats *stats)
{
    *stats = set->stats;
    stats->queue_depth = set->calls;
    stats->helpers_alive = 0;
    for (unsigned i = 0; i < HELPERS_MAX; i++)
        stats->helpers_alive += set->slots[i].state == HELPER_ALIVE;
}
