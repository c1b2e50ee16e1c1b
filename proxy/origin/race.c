/* See race.h. */
#include "proxy/origin/race.h"

#include "base/log.h"
#include "proxy/net/tls.h"

#include <stdio.h>

static void begin_more(struct race *race);

static struct loop *loop_of(const struct race *race)
{
    return race->endpoints[0]->settings->loop;
}

static void mark_failed(struct race *race, struct endpoint *endpoint, enum error error)
{
    if (health_fail(&endpoint->health, loop_now(loop_of(race)), race->down_ms))
        log_warn("origin", "%s: %s%s%s; skipped for %lld ms", endpoint->text, error_text(error), race->reason[0] ? ": " : "", race->reason,
                 (long long)race->down_ms);
}

static void end_attempt(struct race_attempt *attempt)
{
    upstream_close(&attempt->upstream);
    attempt->race->under_way--;
}

void race_stop(struct race *race, bool timed_out)
{
    deadline_clear(&race->stagger);
    for (unsigned i = 0; i < race->next; i++) {
        if (!race->attempts[i].upstream)
            continue;
        if (timed_out)
            mark_failed(race, race->endpoints[i], ERROR_ORIGIN_CONNECT_TIMEOUT);
        end_attempt(&race->attempts[i]);
    }
    for (unsigned i = 0; i < race->count; i++)
        endpoint_unref(&race->endpoints[i]);
    race->count = race->next = 0;
}

static void lose(struct race *race, enum error error)
{
    race_stop(race, false);
    race->done(race, NULL, error);
}

/* Those that were begun earlier and have not answered yet are slower by the stagger at least: the next request need not wait for them. */
static void win(struct race *race, struct race_attempt *winner)
{
    struct upstream *upstream = winner->upstream;
    winner->upstream = NULL;
    race->under_way--;
    race->reason[0] = '\0';
    for (struct race_attempt *earlier = race->attempts; earlier < winner; earlier++)
        if (earlier->upstream)
            mark_failed(race, earlier->upstream->endpoint, ERROR_ORIGIN_CONNECT_TIMEOUT);
    if (upstream->endpoint->health.failed)
        log_info("origin", "%s: connects again", upstream->endpoint->text);
    health_succeed(&upstream->endpoint->health);
    race_stop(race, false);
    race->done(race, upstream, ERROR_OK);
}

/* HARDENING: not a byte of a request, or of an answer, is taken before the handshake is over. */
static bool begin_handshake(struct race_attempt *attempt)
{
    const struct pool_settings *settings = attempt->upstream->endpoint->settings;
    attempt->is_shaking_hands = true;
    return connection_start_tls_client(attempt->upstream->connection, settings->tls, settings->tls_name);
}

static void count_handshake(const struct race_attempt *attempt, enum error error)
{
    const struct tls_facts *facts = error == ERROR_OK ? connection_tls(attempt->upstream->connection) : NULL;
    counter_add(attempt->upstream->endpoint->settings->counters,
                !facts           ? COUNTER_ORIGIN_TLS_FAILED
                : facts->resumed ? COUNTER_ORIGIN_TLS_RESUMED
                                 : COUNTER_ORIGIN_TLS_FULL,
                1);
}

static void connected(void *owner, enum error error)
{
    struct race_attempt *attempt = owner;
    struct race *race = attempt->race;
    if (attempt->is_shaking_hands)
        count_handshake(attempt, error);
    if (error == ERROR_OK && attempt->upstream->endpoint->settings->tls && !attempt->is_shaking_hands) {
        if (begin_handshake(attempt))
            return;
        error = ERROR_OVERLOADED;
    }
    if (error == ERROR_OK) {
        win(race, attempt);
        return;
    }
    race->error = error;
    snprintf(race->reason, sizeof(race->reason), "%s",
             attempt->is_shaking_hands ? connection_tls_failure(attempt->upstream->connection) : "");
    mark_failed(race, attempt->upstream->endpoint, error);
    end_attempt(attempt);
    begin_more(race);
    if (race->under_way == 0)
        lose(race, race->error);
}

static const struct connection_events race_events = {.connected = connected};

static void stagger_over(struct deadline *deadline)
{
    begin_more(LIST_OWNER(deadline, struct race, stagger));
}

/* One more attempt, if there is an address left. */
static void begin_more(struct race *race)
{
    bool begun = false;
    while (race->next < race->count && !begun) {
        struct race_attempt *attempt = &race->attempts[race->next];
        attempt->race = race;
        attempt->upstream = upstream_connect(race->endpoints[race->next], &race_events, attempt);
        begun = attempt->upstream != NULL;
        race->next++;
    }
    if (begun)
        race->under_way++;
    else
        race->error = race->error ? race->error : ERROR_OVERLOADED;
    if (race->next < race->count)
        loop_set_deadline(loop_of(race), &race->stagger, RACE_STAGGER_MS, stagger_over);
    else
        deadline_clear(&race->stagger);
}

bool race_start(struct race *race, struct endpoint *const *endpoints, unsigned count, int64_t down_ms,
                void (*done)(struct race *race, struct upstream *upstream, enum error error))
{
    *race = (struct race){.down_ms = down_ms, .done = done};
    race->count = count < RACE_ATTEMPTS_MAX ? count : RACE_ATTEMPTS_MAX;
    for (unsigned i = 0; i < race->count; i++)
        race->endpoints[i] = endpoint_ref(endpoints[i]);
    begin_more(race);
    if (race->under_way == 0)
        race_stop(race, false);
    return race->count > 0;
}
