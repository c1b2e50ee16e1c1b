/* One loop's view of the helpers of one role: their channels, which of them are alive, and the calls under way at each. Shared by the disk and the
 * resolver client. Belongs to one loop.
 *
 * DESIGN. A call waits until a helper can take it, is sent to the helper with the fewest under way, and ends with its answer. Calls that a helper does many of
 * at once go to one and the same (helper_set_prefer), though others may have fewer: it is woken once for all of them, and answers with one wake-up.
 * What can go wrong:
 *
 *     helper dies        EMPTY ← helper_set_lost: calls go back to the front of the queue. Only those that the helper had taken out of the ring can
 *                        have killed it: those end after CALL_DEATHS_MAX helpers.
 *     helper is silent   ALIVE → HUNG: it has calls and answered none for a deadline. It is reported, once, and the supervisor kills it.
 *     channel ends       ALIVE → ENDED: its death will be told; if not within a deadline, HUNG.
 *     rule broken        → HUNG at once.
 *     it does not die    HUNG → ABANDONED after one more deadline (a process in an uninterruptible wait): its calls end as HELPERS_DESTINATION_LOST.
 *
 * A slow disk with a long queue is not a hung helper: as long as answers come, silence is what counts, not the age of a call.
 */
#ifndef HELPERS_HELPER_SET_H
#define HELPERS_HELPER_SET_H

#include "base/clock.h"
#include "base/list.h"
#include "helpers/channel.h"

enum {
    HELPERS_MAX = 16,
    CALL_DEATHS_MAX = 3,
    TOGETHER_MAX = 32, /* calls under way at the preferred helper, which do for a batch; what comes beyond goes to others, too */
};

struct helper_hooks {
    void *context;
    /* Not to be trusted any more: have it killed. Called at most once a generation. MUST NOT call back into the client. */
    void (*report_hung)(void *context, enum role role, unsigned helper, unsigned generation);
    /* A call was answered, so many microseconds after it was submitted. NULL: nobody wants to know. MUST NOT call back into the client. */
    void (*report_answer)(void *context, enum role role, uint64_t took_us);
};

enum helper_failure {
    HELPERS_UNAVAILABLE,      /* none there, or none came back in time */
    HELPERS_OVERLOADED,       /* queue full */
    HELPERS_TOO_LARGE,        /* no message can carry it */
    HELPERS_DESTINATION_LOST, /* a helper that cannot be stopped may still work on it */
};

/* Embedded in a client's request. */
struct helper_call {
    struct list         link;
    uint64_t            id;       /* what the answer names */
    struct monotonic_ms deadline; /* while it waits for a helper; with `may_expire` also afterwards */
    uint64_t            position; /* in the channel, when sent */
    unsigned            deaths;   /* helpers that died having taken it */
    uint64_t            asked_us; /* clock_monotonic_us, where answers are reported */
    enum helper_failure failure;  /* while it is in `failed` */
};

struct helper_plan {
    enum role role;
    int64_t   deadline_ms;
    unsigned  queue_max;      /* calls in all */
    unsigned  per_helper_max; /* calls under way at one helper: so many answers fit its ring */
    bool      may_expire;     /* a call may end at its deadline while a helper still works on it: nothing of ours is written by the helper */
    /* Whether the call goes to the helper that is preferred, if one is. NULL: none does. */
    bool (*goes_with_others)(struct helper_call *call);
    /* False: the ring has no room. */
    bool (*send)(struct channel *channel, struct helper_call *call);
    /* The call is over; calls the owner's `done`. False, without `done`: the message breaks a rule. */
    bool (*answer)(struct helper_call *call, const struct message *message);
    /* The call is over; calls the owner's `done`. */
    void (*fail)(struct helper_call *call, enum helper_failure failure);
};

enum helper_state { HELPER_EMPTY, HELPER_ALIVE, HELPER_ENDED, HELPER_HUNG, HELPER_ABANDONED };

struct helper_slot {
    struct channel     *channel; /* NULL when EMPTY */
    enum helper_state   state;
    unsigned            generation;
    unsigned            under_way; /* answers to come; more than are in `sent` when calls expired or were cancelled */
    struct list         sent;      /* oldest first */
    struct monotonic_ms since;     /* ALIVE: silent since; else: in this state since */
};

struct helper_stats {
    uint64_t requests, retries, failures, timeouts;
    unsigned queue_depth, helpers_alive;
};

struct helper_set {
    struct helper_plan  plan;
    struct helper_hooks hooks;
    struct helper_slot  slots[HELPERS_MAX];
    struct list         waiting, failed; /* failed: `fail` comes with the next tick */
    struct monotonic_ms now;             /* as last told */
    uint64_t            last_id;
    unsigned            calls, next;     /* next: who is asked first among equals */
    unsigned            slots_end;       /* slots from here on never had a helper */
    bool                has_preferred;
    unsigned            preferred;       /* modulo slots_end: which one */
    bool                was_attached;
    struct helper_stats stats;
};

void helper_set_init(struct helper_set *set, const struct helper_plan *plan, const struct helper_hooks *hooks);
/* Closes the channels; calls are forgotten without a word. */
void helper_set_end(struct helper_set *set);

/* Calls that go with others go to this helper (where there are fewer: counted round), as long as it is alive and has less than TOGETHER_MAX. */
void helper_set_prefer(struct helper_set *set, unsigned helper);

/* Takes the channel. The earlier generation, if any, counts as lost. */
void helper_set_attach(struct helper_set *set, unsigned helper, unsigned generation, struct channel *channel);
/* Closes the channel: the caller no longer polls it. May end calls. */
void helper_set_lost(struct helper_set *set, unsigned helper, unsigned generation);

/* Ends the call later, never from inside. */
void helper_set_submit(struct helper_set *set, struct helper_call *call, struct monotonic_ms now);
/* The same for a call that is known to fail. */
void helper_set_refuse(struct helper_set *set, struct helper_call *call, enum helper_failure failure);
/* The owner wants no end of it. Only where `may_expire`. */
void helper_set_cancel(struct helper_set *set, struct helper_call *call);

/* False: nothing more comes through this channel, stop polling it (it stays open until lost or replaced). */
bool helper_set_receive(struct helper_set *set, unsigned helper, struct monotonic_ms now);
void helper_set_flush(struct helper_set *set);
void helper_set_tick(struct helper_set *set, struct monotonic_ms now);
void helper_set_stats(const struct helper_set *set, struct helper_stats *stats);

#endif
