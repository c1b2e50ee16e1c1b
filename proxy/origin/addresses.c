/* See addresses.h. */
#include "proxy/origin/addresses.h"

#include "base/log.h"

#include <arpa/inet.h>

static void resolve(struct addresses *addresses);

static bool parse_literal(struct bytes host, uint16_t port, union socket_address *address, socklen_t *length)
{
    char text[INET6_ADDRSTRLEN];
    if (host.len >= sizeof(text))
        return false;
    memcpy(text, host.at, host.len);
    text[host.len] = '\0';
    *address = (union socket_address){0};
    if (inet_pton(AF_INET, text, &address->in.sin_addr) == 1) {
        address->in.sin_family = AF_INET;
        address->in.sin_port = htons(port);
        *length = sizeof(address->in);
        return true;
    }
    if (inet_pton(AF_INET6, text, &address->in6.sin6_addr) == 1) {
        address->in6.sin6_family = AF_INET6;
        address->in6.sin6_port = htons(port);
        *length = sizeof(address->in6);
        return true;
    }
    return false;
}

static void renewal_due(struct deadline *deadline)
{
    resolve(LIST_OWNER(deadline, struct addresses, renewal));
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static bool is_usable(const struct resolved_address *resolved)
{
    return resolved->family == 4 || resolved->family == 6;
}

static bool is_at(const struct endpoint *endpoint, const struct resolved_address *resolved)
{
    if (resolved->family == 4)
        return endpoint->address.any.sa_family == AF_INET && memcmp(&endpoint->address.in.sin_addr, resolved->bytes, 4) == 0;
    return endpoint->address.any.sa_family == AF_INET6 && memcmp(&endpoint->address.in6.sin6_addr, resolved->bytes, 16) == 0;
}

static struct endpoint *find(struct endpoint *const *endpoints, unsigned count, const struct resolved_address *resolved)
{
    for (unsigned i = 0; i < count; i++)
        if (is_at(endpoints[i], resolved))
            return endpoints[i];
    return NULL;
}

static struct endpoint *make(struct addresses *addresses, const struct resolved_address *resolved)
{
    union socket_address address = {0};
    socklen_t length;
    if (resolved->family == 4) {
        address.in.sin_family = AF_INET;
        address.in.sin_port = htons(addresses->port);
        memcpy(&address.in.sin_addr, resolved->bytes, 4);
        length = sizeof(address.in);
    } else {
        address.in6.sin6_family = AF_INET6;
        address.in6.sin6_port = htons(addresses->port);
        memcpy(&address.in6.sin6_addr, resolved->bytes, 16);
        length = sizeof(address.in6);
    }
    return endpoint_new(addresses->pool, &address, length);
}

/* The next answer of that family from *at on, or NULL. */
static const struct resolved_address *next_of(const struct resolve_request *request, uint8_t family, unsigned *at)
{
    while (*at < request->count) {
        const struct resolved_address *resolved = &request->addresses[(*at)++];
        if (resolved->family == family)
            return resolved;
    }
    return NULL;
}

/* RFC 8305 §4: the resolver's order, but the families take turns, so that a broken one costs one attempt. */
static unsigned interleave(const struct resolve_request *request, const struct resolved_address **out)
{
    unsigned used = 0, at[2] = {0, 0};
    uint8_t family = 0;
    for (unsigned i = 0; i < request->count && !family; i++)
        if (is_usable(&request->addresses[i]))
            family = request->addresses[i].family;
    if (!family)
        return 0;
    uint8_t families[2] = {family, family == 4 ? 6 : 4};
    for (unsigned turn = 0, misses = 0; misses < 2; turn ^= 1) {
        const struct resolved_address *resolved = next_of(request, families[turn], &at[turn]);
        misses = resolved ? 0 : misses + 1;
        if (resolved)
            out[used++] = resolved;
    }
    return used;
}

/* Endpoints that stay keep their connections and their health; those that are gone close what is idle. */
static void replace(struct addresses *addresses, const struct resolve_request *request)
{
    const struct resolved_address *ordered[RESOLVE_ADDRESSES_MAX];
    unsigned ordered_count = interleave(request, ordered), count = 0;
    struct endpoint *endpoints[RESOLVE_ADDRESSES_MAX];
    for (unsigned i = 0; i < ordered_count; i++) {
        if (find(endpoints, count, ordered[i]))
            continue;
        struct endpoint *kept = find(addresses->endpoints, addresses->count, ordered[i]);
        endpoints[count++] = kept ? endpoint_ref(kept) : make(addresses, ordered[i]);
    }
    for (unsigned i = 0; i < addresses->count; i++) {
        bool stays = false;
        for (unsigned j = 0; j < count; j++)
            stays |= endpoints[j] == addresses->endpoints[i];
        if (!stays)
            endpoint_retire(addresses->endpoints[i]);
        endpoint_unref(&addresses->endpoints[i]);
    }
    for (unsigned i = 0; i < count; i++)
        addresses->endpoints[i] = endpoints[i];
    addresses->count = count;
}

static int64_t lifetime_s(const struct addresses *addresses, const struct resolve_request *request)
{
    int64_t ttl = addresses->settings->ttl_max_s;
    for (unsigned i = 0; i < request->count; i++)
        if (request->addresses[i].ttl_s < ttl)
            ttl = request->addresses[i].ttl_s;
    return clamp(ttl, addresses->settings->ttl_min_s, addresses->settings->ttl_max_s);
}

/* A tenth of its lifetime before an answer ends, so that nobody waits for the next one. */
static int64_t renewal_ms(int64_t ttl_s)
{
    int64_t ms = ttl_s * 900;
    return ms < 1000 ? 1000 : ms;
}

static void tell_waiters(struct addresses *addresses)
{
    /* The last of them may end the origin, and `addresses` with it. */
    struct list waiters, *node;
    list_init(&waiters);
    while ((node = list_pop_front(&addresses->waiters)))
        list_push_back(&waiters, node);
    while ((node = list_pop_front(&waiters))) {
        struct addresses_waiter *waiter = LIST_OWNER(node, struct addresses_waiter, link);
        waiter->known(waiter);
    }
}

static void resolved(struct resolve_request *request)
{
    struct addresses *addresses = request->context;
    const struct addresses_settings *settings = addresses->settings;
    addresses->resolving = false;
    enum resolve_status status = request->status;
    if (status == RESOLVE_OK && request->count > RESOLVE_ADDRESSES_MAX)
        request->count = RESOLVE_ADDRESSES_MAX;
    const struct resolved_address *ordered[RESOLVE_ADDRESSES_MAX];
    if (status == RESOLVE_OK && interleave(request, ordered) == 0)
        status = RESOLVE_NOT_FOUND;

    int64_t again_ms = settings->failure_ttl_s * 1000;
    if (status == RESOLVE_OK) {
        replace(addresses, request);
        addresses->state = ADDRESSES_KNOWN;
        again_ms = renewal_ms(lifetime_s(addresses, request));
    } else {
        counter_add(addresses->pool->counters, COUNTER_NAME_LOOKUP_FAILURES, 1);
        /* RFC 8767 §4: stale answers stand in for missing ones, not for the answer that there is nothing. */
        if (status == RESOLVE_NOT_FOUND)
            replace(addresses, &(struct resolve_request){0});
        addresses->state = addresses->count > 0 ? ADDRESSES_KNOWN : ADDRESSES_FAILED;
        if (!addresses->failing)
            log_warn("origin", "%.*s: %s%s", BYTES_FMT(addresses->host),
                     status == RESOLVE_NOT_FOUND ? "the name does not resolve" : "the name could not be resolved",
                     addresses->count > 0 ? "; its last known addresses stay in use" : "");
    }
    if (status == RESOLVE_OK && addresses->failing)
        log_info("origin", "%.*s: the name resolves again", BYTES_FMT(addresses->host));
    addresses->failing = status != RESOLVE_OK;
    if (!addresses->pool->closed)
        loop_set_deadline(addresses->pool->loop, &addresses->renewal, again_ms < 1000 ? 1000 : again_ms, renewal_due);
    tell_waiters(addresses);
}

static void resolve(struct addresses *addresses)
{
    if (addresses->resolving)
        return;
    addresses->resolving = true;
    addresses->request = (struct resolve_request){.name = addresses->host, .done = resolved, .context = addresses};
    counter_add(addresses->pool->counters, COUNTER_NAME_LOOKUPS, 1);
    resolver_client_resolve(addresses->settings->resolver, &addresses->request, loop_now(addresses->pool->loop));
}

void addresses_init(struct addresses *addresses, struct pool_settings *pool, const struct addresses_settings *settings, struct bytes host,
                    uint16_t port)
{
    *addresses = (struct addresses){.pool = pool, .settings = settings, .host = host, .port = port};
    list_init(&addresses->waiters);
    union socket_address address;
    socklen_t length;
    if (parse_literal(host, port, &address, &length)) {
        addresses->endpoints[addresses->count++] = endpoint_new(pool, &address, length);
        addresses->state = ADDRESSES_KNOWN;
        return;
    }
    resolve(addresses);
}

void addresses_inherit(struct addresses *addresses, const struct addresses *before)
{
    if (addresses->count > 0 || addresses->port != before->port || !bytes_equal_nocase(addresses->host, before->host))
        return;
    for (; addresses->count < before->count; addresses->count++) {
        const struct endpoint *known = before->endpoints[addresses->count];
        addresses->endpoints[addresses->count] = endpoint_new(addresses->pool, &known->address, known->length);
        addresses->endpoints[addresses->count]->health = known->health;
    }
    if (addresses->count > 0)
        addresses->state = ADDRESSES_KNOWN;
}

void addresses_retire(struct addresses *addresses)
{
    deadline_clear(&addresses->renewal);
    for (unsigned i = 0; i < addresses->count; i++)
        pool_close_idle(addresses->endpoints[i]);
}

void addresses_clear(struct addresses *addresses)
{
    addresses_retire(addresses);
    if (addresses->resolving)
        resolver_client_cancel(addresses->settings->resolver, &addresses->request);
    for (unsigned i = 0; i < addresses->count; i++)
        endpoint_unref(&addresses->endpoints[i]);
    addresses->count = 0;
}

void addresses_wait(struct addresses *addresses, struct addresses_waiter *waiter)
{
    list_push_back(&addresses->waiters, &waiter->link);
}

void addresses_leave(struct addresses_waiter *waiter)
{
    list_remove(&waiter->link);
}

unsigned addresses_order(struct addresses *addresses, int64_t down_ms, struct endpoint *out[RESOLVE_ADDRESSES_MAX])
{
    struct health *healths[RESOLVE_ADDRESSES_MAX];
    unsigned order[RESOLVE_ADDRESSES_MAX];
    for (unsigned i = 0; i < addresses->count; i++)
        healths[i] = &addresses->endpoints[i]->health;
    balance_order(healths, addresses->count, &addresses->cursor, loop_now(addresses->pool->loop), down_ms, order);
    for (unsigned i = 0; i < addresses->count; i++)
        out[i] = addresses->endpoints[order[i]];
    return addresses->count;
}
