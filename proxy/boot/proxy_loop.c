#include "proxy/boot/proxy_loop.h"

#include "base/log.h"
#include "proxy/client/h1.h"
#include "proxy/client/h2.h"
#include "proxy/greeting.h"
#include "proxy/request/routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    TICK_MS = 50,          /* deadlines of the helpers' clients, gauges */
    LOOK_MS = 500,         /* at the origins, which may be many */
    SIZING_MS = 3600000,   /* what is told of other sizes is of this window and the one before it */
    DISK_QUEUE_MAX = 4096, /* reads under way for one loop: beyond that a request is told "overloaded" */
};

void shared_socket_unref(struct shared_socket *socket)
{
    if (!ref_drop(&socket->ref))
        return;
    close(socket->fd);
    free(socket);
}

struct order *order_new(enum order_kind kind)
{
    struct order *order = calloc(1, sizeof *order);
    if (!order)
        abort();
    list_init(&order->link);
    order->kind = kind;
    return order;
}

void proxy_loop_order(struct proxy_loop *loop, struct order *order)
{
    pthread_mutex_lock(&loop->lock);
    list_push_back(&loop->orders, &order->link);
    pthread_mutex_unlock(&loop->lock);
    mail_post(&loop->mail);
}

/* ---- helpers ---------------------------------------------------------------------------------------------------------------------------- */

static void end_is_readable(void *context)
{
    struct helper_end *end = context;
    struct worker *worker = &end->loop->worker;
    struct monotonic_ms now = loop_now(worker->loop);
    bool more = end->role == ROLE_DISK    ? disk_client_receive(worker->disk, end->number, now)
                : end->role == ROLE_STORE ? store_client_receive(end->loop->disk_port.client, end->number, now)
                                          : resolver_client_receive(worker->resolver, end->number, now);
    if (!more) /* HELPER_GONE follows, or a new channel */
        watch_free(&end->watch);
}

static void report_hung(void *context, enum role role, unsigned helper, unsigned generation)
{
    struct proxy_loop *loop = context;
    struct order *order = order_new(ORDER_HUNG);
    order->about = (struct message_channel){.role = role, .helper = helper, .generation = generation};
    proxy_loop_order(loop->control ? loop->control : loop, order);
}

/* The channel's descriptor may be closed by whoever takes it, thus watched anew each time. */
static void attach_channel(struct proxy_loop *loop, const struct order *order)
{
    const struct message_channel *about = &order->about;
    struct worker *worker = &loop->worker;
    struct helper_end *end = &loop->ends[about->role][about->helper];
    struct channel *channel = channel_open(order->memory, order->bell, ROLE_PROXY, about->role);
    if (!channel) {
        log_error("helpers", "channel of %s helper %u: %s", role_name(about->role), about->helper, strerror(errno));
        return;
    }
    if (end->watch)
        watch_free(&end->watch);
    if (about->role != ROLE_LOG) /* which never answers */
        end->watch = loop_watch(worker->loop, channel_fd(channel), end_is_readable, end);
    if (about->role == ROLE_DISK)
        disk_client_attach(worker->disk, about->helper, about->generation, channel);
    else if (about->role == ROLE_STORE)
        store_client_attach(loop->disk_port.client, about->helper, about->generation, channel);
    else if (about->role == ROLE_RESOLVER)
        resolver_client_attach(worker->resolver, about->helper, about->generation, channel);
    else
        log_client_attach(worker->log, about->generation, channel);
}

static void lose_helper(struct proxy_loop *loop, const struct message_channel *about)
{
    struct worker *worker = &loop->worker;
    struct helper_end *end = &loop->ends[about->role][about->helper];
    if (end->watch)
        watch_free(&end->watch);
    if (about->role == ROLE_DISK)
        disk_client_lost(worker->disk, about->helper, about->generation);
    else if (about->role == ROLE_STORE)
        store_client_lost(loop->disk_port.client, about->helper, about->generation);
    else if (about->role == ROLE_RESOLVER)
        resolver_client_lost(worker->resolver, about->helper, about->generation);
    else
        log_client_lost(worker->log, about->generation);
}

/* ---- configuration ---------------------------------------------------------------------------------------------------------------------- */

static bool is_same_socket(const struct shared_socket *a, const struct shared_socket *b)
{
    return a->kind == b->kind && strcmp(a->text, b->text) == 0;
}

static bool listens_on(const struct proxy_loop *loop, const struct shared_socket *socket)
{
    for (unsigned i = 0; i < loop->listener_count; i++)
        if (is_same_socket(loop->listeners[i].socket, socket))
            return true;
    return false;
}

static bool names_socket(const struct generation *generation, const struct shared_socket *socket)
{
    for (unsigned i = 0; i < generation->socket_count; i++)
        if (is_same_socket(generation->sockets[i], socket))
            return true;
    return false;
}

static void stop_listener(struct proxy_loop *loop, unsigned at)
{
    listener_stop(&loop->listeners[at].listener);
    shared_socket_unref(loop->listeners[at].socket);
    loop->listeners[at] = loop->listeners[--loop->listener_count];
}

/* Clients are the workers' business, operators the control loop's. */
static bool is_for(const struct proxy_loop *loop, const struct shared_socket *socket)
{
    return (socket->kind == LISTENER_PUBLIC) == (loop->control != NULL);
}

/* For those who come next. */
static void open_listeners(struct proxy_loop *loop)
{
    bool is_open = loop->memory_level < MEMORY_STOPS_ACCEPTING && (!loop->worker.serves_one || loop->worker.connections == 0);
    for (unsigned i = 0; i < loop->listener_count; i++)
        if (loop->listeners[i].listener)
            listener_open(loop->listeners[i].listener, is_open);
}

static void configure(struct proxy_loop *loop, struct generation *generation)
{
    loop->worker.origin_tls = generation->origin_tls;
    worker_configure(&loop->worker, generation->config);
    loop->worker.origin_tls = NULL;
    tls_server_unref(&loop->worker.tls);
    loop->worker.tls = generation->tls ? tls_server_ref(generation->tls) : NULL;
    for (unsigned i = loop->listener_count; i-- > 0;)
        if (!names_socket(generation, loop->listeners[i].socket))
            stop_listener(loop, i);
        else if (loop->listeners[i].listener)
            listener_configure(loop->listeners[i].listener);
    for (unsigned i = 0; i < generation->socket_count; i++) {
        struct shared_socket *socket = generation->sockets[i];
        if (loop->worker.draining || !is_for(loop, socket) || listens_on(loop, socket))
            continue;
        ref_take(&socket->ref);
        loop->listeners[loop->listener_count++] =
            (struct listening_loop){socket, listener_start(&loop->worker, socket->fd, socket->kind, socket->text)};
    }
    open_listeners(loop);
    if (atomic_fetch_sub(&generation->untaken, 1) == 1) {
        struct order *order = order_new(ORDER_TAKEN);
        order->generation = generation;
        proxy_loop_order(loop->control ? loop->control : loop, order);
    }
}

static void end_keep_alive(struct worker *worker)
{
    worker->ends_keep_alive = true;
    h1_drain(worker);
    h2_drain(worker);
}

static void publish(_Atomic uint64_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}

/* What each rung gives up, those above it included. Of the cache and of malloc, memory_watch.c. */
static void take_memory_level(struct proxy_loop *loop, enum memory_level level)
{
    struct worker *worker = &loop->worker;
    loop->memory_level = level;
    worker->refuses_misses = level >= MEMORY_REFUSES_MISSES;
    if (level >= MEMORY_ENDS_KEEP_ALIVE && !worker->ends_keep_alive)
        end_keep_alive(worker);
    worker->ends_keep_alive = worker->draining || level >= MEMORY_ENDS_KEEP_ALIVE;
    open_listeners(loop);
    publish(&loop->gauges.memory_level, level);
}

static void drain(struct proxy_loop *loop)
{
    loop->worker.draining = true;
    while (loop->listener_count > 0)
        stop_listener(loop, loop->listener_count - 1);
    greeting_drain(&loop->worker);
    end_keep_alive(&loop->worker);
}

/* ---- orders ----------------------------------------------------------------------------------------------------------------------------- */

static void carry_out(struct proxy_loop *loop, struct order *order)
{
    switch (order->kind) {
    case ORDER_CHANNEL:
        attach_channel(loop, order);
        break;
    case ORDER_GONE:
        lose_helper(loop, &order->about);
        break;
    case ORDER_CONFIGURE:
        configure(loop, order->generation);
        break;
    case ORDER_DRAIN:
        drain(loop);
        break;
    case ORDER_CUT:
        greeting_cut(&loop->worker);
        h1_cut(&loop->worker);
        h2_cut(&loop->worker);
        break;
    case ORDER_MEMORY:
        take_memory_level(loop, order->memory_level);
        break;
    case ORDER_TAKEN:
    case ORDER_HUNG:
        loop->take_order(order);
        break;
    }
    free(order);
}

static void deliver_orders(struct mail *mail)
{
    struct proxy_loop *loop = LIST_OWNER(mail, struct proxy_loop, mail);
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        struct list *link = list_pop_front(&loop->orders);
        pthread_mutex_unlock(&loop->lock);
        if (!link)
            return;
        carry_out(loop, LIST_OWNER(link, struct order, link));
    }
}

/* ---- turns ------------------------------------------------------------------------------------------------------------------------------ */

static void publish_role(struct role_gauges *gauges, const struct helper_stats *stats)
{
    publish(&gauges->requests, stats->requests);
    publish(&gauges->retries, stats->retries);
    publish(&gauges->failures, stats->failures);
    publish(&gauges->timeouts, stats->timeouts);
    publish(&gauges->queue_depth, stats->queue_depth);
    publish(&gauges->helpers_alive, stats->helpers_alive);
}

static void report_answer(void *context, enum role role, uint64_t took_us)
{
    struct counters *counters = ((struct proxy_loop *)context)->worker.counters;
    histogram_add(role == ROLE_DISK    ? &counters->helper_disk
                  : role == ROLE_STORE ? &counters->helper_store
                                       : &counters->helper_resolver,
                  took_us);
}

static void publish_gauges(struct proxy_loop *loop)
{
    struct worker *worker = &loop->worker;
    struct loop_gauges *gauges = &loop->gauges;
    struct helper_stats stats;
    disk_client_stats(worker->disk, &stats);
    publish_role(&gauges->disk, &stats);
    store_client_stats(loop->disk_port.client, &stats);
    publish_role(&gauges->store, &stats);
    resolver_client_stats(worker->resolver, &stats);
    publish_role(&gauges->resolver, &stats);
    publish(&gauges->log_backlog_bytes, log_client_backlog(worker->log));
    counter_add(worker->counters, COUNTER_LOG_LINES_DROPPED, log_client_collect_dropped(worker->log));
    publish(&gauges->connections, worker->connections);
    atomic_store_explicit(&gauges->is_draining, worker->draining, memory_order_release);
}

static void publish_origins(struct proxy_loop *loop)
{
    const struct routes *routes = loop->worker.routes;
    struct origin_stats sum = {0};
    for (unsigned i = 0; routes && i < routes->site_count; i++) {
        struct origin_stats one;
        if (routes->sites[i].origin == NULL)
            continue;
        origin_stats(routes->sites[i].origin, &one);
        sum.connections_idle += one.connections_idle;
        sum.addresses += one.addresses;
        sum.addresses_down += one.addresses_down;
    }
    publish(&loop->gauges.origin_idle, sum.connections_idle);
    publish(&loop->gauges.origin_addresses, sum.addresses);
    publish(&loop->gauges.origin_addresses_down, sum.addresses_down);
}

/* By the control loop. */
static void turn_sizing(struct proxy_loop *loop, struct monotonic_ms now)
{
    if (loop->next_sizing.ms != 0 && monotonic_since(now, loop->next_sizing) < 0)
        return;
    if (loop->next_sizing.ms != 0)
        cache_turn_sizing(loop->worker.cache);
    loop->next_sizing = monotonic_add(now, SIZING_MS);
}

static void turn_end(void *context)
{
    struct proxy_loop *loop = context;
    struct worker *worker = &loop->worker;
    struct monotonic_ms now = loop_now(worker->loop);
    if (monotonic_since(now, loop->next_tick) >= 0) {
        loop->next_tick = monotonic_add(now, TICK_MS);
        disk_client_tick(worker->disk, now);
        resolver_client_tick(worker->resolver, now);
        store_client_tick(loop->disk_port.client, now);
        publish_gauges(loop);
        top_tick(worker->top, now);
        if (monotonic_since(now, loop->next_look) >= 0) {
            loop->next_look = monotonic_add(now, LOOK_MS);
            publish_origins(loop);
            if (worker->routes && loop->control != NULL)
                origin_gauges_publish(&loop->origins, worker->config, worker->routes);
            if (loop->control == NULL)
                turn_sizing(loop, now);
        }
    }
    if (worker->serves_one)
        open_listeners(loop);
    disk_client_flush(worker->disk);
    resolver_client_flush(worker->resolver);
    store_client_flush(loop->disk_port.client);
    log_client_flush(worker->log);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------- */

void proxy_loop_init(struct proxy_loop *loop, const struct proxy_loop_settings *settings)
{
    struct worker *worker = &loop->worker;
    struct helper_hooks hooks = {.context = loop, .report_hung = report_hung, .report_answer = report_answer};
    int64_t deadline_ms = settings->config->helper_deadline_ms;
    *loop = (struct proxy_loop){.control = settings->control};
    pthread_mutex_init(&loop->lock, NULL);
    list_init(&loop->orders);
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        for (unsigned i = 0; i < HELPERS_MAX; i++)
            loop->ends[role][i] = (struct helper_end){loop, NULL, role, i};
    worker->loop = loop_new(settings->number);
    if (!worker->loop) {
        log_error("proxy", "loop %u: %s", settings->number, strerror(errno));
        abort();
    }
    worker->cache = settings->cache;
    worker->tell_heir = settings->tell_heir;
    worker->counters = counters_new();
    worker->top = top_new();
    worker->live = live_new();
    worker->disk = disk_client_new(&hooks, deadline_ms, DISK_QUEUE_MAX);
    worker->resolver = resolver_client_new(&hooks, deadline_ms);
    struct disk_inline *made_here = settings->files->count > 0 ? disk_inline_new(worker->loop, settings->slab, settings->files) : NULL;
    disk_port_init(&loop->disk_port, worker->loop, worker->counters, &hooks, deadline_ms, made_here);
    if (settings->has_rings)
        store_client_prefer(loop->disk_port.client, settings->number);
    worker->disk_io = settings->has_store ? &loop->disk_port.io : NULL;
    worker->log = log_client_new();
    worker->serves_one = settings->control != NULL && settings->config->concurrency >= CONCURRENCY_MT;
    worker->composes_heads = settings->config->without == WITHOUT_HEADER || settings->config->without == WITHOUT_ALL;
    worker_init(worker);
    mail_init(&loop->mail, worker->loop, deliver_orders);
    loop_at_turn_end(worker->loop, turn_end, loop);
}

static void log_to_helper(void *context, struct bytes line)
{
    struct proxy_loop *loop = context;
    log_client_write(loop->worker.log, LOG_KIND_ERROR, line);
}

void proxy_loop_run(struct proxy_loop *loop)
{
    log_set_thread_sink(log_to_helper, loop);
    loop_run(loop->worker.loop);
    log_set_thread_sink(NULL, NULL);
}

static void *thread_main(void *context)
{
    char name[16];
    snprintf(name, sizeof name, "loop-%u", loop_number(((struct proxy_loop *)context)->worker.loop));
    pthread_setname_np(pthread_self(), name); /* by the thread itself: another would write into /proc */
    proxy_loop_run(context);
    return NULL;
}

void proxy_loop_start(struct proxy_loop *loop)
{
    int error = pthread_create(&loop->thread, NULL, thread_main, loop);
    if (error) {
        log_error("proxy", "thread of loop %u: %s", loop_number(loop->worker.loop), strerror(error));
        abort();
    }
}
