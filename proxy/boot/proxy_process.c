/* The control loop.
 *
 * Phases: wait for the first CONFIG (blocking: there is nothing else to do; channels that come before it wait in a list) → build everything, start the
 * workers → serve control messages, admin requests and the loops' orders → drained, or stopped: connections are cut, and what waits for a disk is
 * written. Nothing else needs to be done then: what was logged is in shared memory, where the log helper finds it. */
#include "proxy/admin/why.h"
#include "proxy/boot/config_files.h"
#include "proxy/boot/heir.h"
#include "proxy/boot/prepare.h"
#include "proxy/boot/proxy_process.h"
#include "proxy/boot/slices.h"
#include "proxy/boot/tls_setup.h"

#include "base/log.h"
#include "cache/policy/key_rules.h"
#include "helpers/control.h"
#include "helpers/sandbox.h"
#include "helpers/store_engine.h"
#include "proxy/net/tls.h"
#include "proxy/origin/origin_tls.h"
#include "proxy/request/routes.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DRAIN_TICK_MS = 50, CONTROL_PAUSE_MS = 100 };

static struct proxy proxy; /* a process has one; static, so that a leak checker sees what it holds */

static void __attribute__((noreturn)) give_up(const char *what)
{
    log_error("proxy", "%s", what);
    exit(EXIT_FAILURE); /* the supervisor starts another */
}

static void tell_supervisor(enum message_type type, const void *payload)
{
    if (control_send(proxy.control, type, payload, BYTES_NONE, NULL, 0) < 0)
        log_error("proxy", "telling the supervisor %s: %s", message_name(type), strerror(errno));
}

static void tell_heir(struct bytes key, struct bytes group)
{
    heir_tell(proxy.control, key, group);
}

/* ---- orders to loops -------------------------------------------------------------------------------------------------------------------- */

static void order_all(enum order_kind kind, unsigned loops, const struct message_channel *about, struct generation *generation)
{
    for (unsigned i = 0; i < loops; i++) {
        struct order *order = order_new(kind);
        order->generation = generation;
        if (about)
            order->about = *about;
        proxy_loop_order(&proxy.loops[i], order);
    }
}

static void memory_level_changed(enum memory_level level)
{
    for (unsigned i = 0; i < proxy.worker_count; i++) {
        struct order *order = order_new(ORDER_MEMORY);
        order->memory_level = level;
        proxy_loop_order(&proxy.loops[i], order);
    }
}

/* NULL: not something a loop can take. */
static struct order *channel_order(struct control_message *received)
{
    const struct message_channel *about = received->message.payload;
    bool is_helper = about->role == ROLE_DISK || about->role == ROLE_STORE || about->role == ROLE_RESOLVER ||
                     (about->role == ROLE_LOG && about->helper == 0);
    if (!is_helper || about->helper >= HELPERS_MAX) {
        log_error("proxy", "a channel of role %u, helper %u is none that we know", about->role, about->helper);
        close(received->fds[0]);
        close(received->fds[1]);
        return NULL;
    }
    struct order *order = order_new(ORDER_CHANNEL);
    order->about = *about;
    order->memory = received->fds[0];
    order->bell = received->fds[1];
    return order;
}

static void give_channel(struct order *order)
{
    if (order->about.loop <= proxy.worker_count) {
        proxy_loop_order(&proxy.loops[order->about.loop], order);
        return;
    }
    close(order->memory);
    close(order->bell);
    free(order);
}

static void helper_gone(const struct message_helper *gone)
{
    struct message_channel about = {.role = gone->role, .helper = gone->helper, .generation = gone->generation};
    if (gone->role >= ROLE_COUNT || gone->helper >= HELPERS_MAX)
        return;
    proxy.restarts[gone->role]++;
    order_all(ORDER_GONE, proxy.worker_count + 1, &about, NULL);
}

/* ---- configuration ---------------------------------------------------------------------------------------------------------------------- */

static void keep_socket(struct control_message *received)
{
    const struct message_listener *listener = received->message.payload;
    struct bytes text = received->message.tail;
    struct shared_socket *socket = calloc(1, sizeof *socket);
    if (!socket)
        abort();
    if (proxy.socket_count == LISTENING_MAX || listener->kind > LISTENER_ADMIN_SOCKET || text.len >= sizeof socket->text)
        give_up("more listening sockets than there is room for");
    ref_init(&socket->ref);
    socket->fd = received->fds[0];
    socket->kind = listener->kind;
    memcpy(socket->text, text.at, text.len);
    proxy.sockets[proxy.socket_count++] = socket;
}

static void keep_store_file(const struct control_message *received)
{
    if (proxy.files.count == STORE_DIRECTORIES)
        give_up("more cache directories than there is room for");
    const struct message_store_directory *directory = received->message.payload;
    proxy.files.at[proxy.files.count++] = (struct disk_file){*directory, received->fds[0]};
}

static struct config *read_config(struct control_message *received)
{
    int fd = received->fds[0];
    struct stat status;
    if (fstat(fd, &status) < 0)
        give_up("the configuration's memory file cannot be read");
    size_t size = (size_t)status.st_size;
    char *text = size ? mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0) : "";
    char *errors = NULL;
    size_t errors_size;
    FILE *stream = open_memstream(&errors, &errors_size);
    struct config *config =
        text == MAP_FAILED || !stream ? NULL : config_parse_again(received->message.tail, bytes_from(text, size), stream);
    fclose(stream);
    if (!config)
        give_up(errors); /* the supervisor has checked it: this cannot be */
    free(errors);
    if (size)
        munmap(text, size);
    close(fd);
    if (!config_files_take(config, received->fds[1]))
        give_up("the memory file of the configuration's files does not fit it");
    return config;
}

/* Takes the sockets that came before. */
static struct generation *new_generation(const struct message_config *message, struct config *config)
{
    struct generation *generation = calloc(1, sizeof *generation);
    if (!generation)
        abort();
    generation->serial = message->serial;
    generation->config = config;
    generation->tls = tls_setup_server(config, proxy.tickets);
    generation->origin_tls = tls_setup_origins(config);
    if (!generation->origin_tls)
        give_up("the TLS settings of an origin cannot be used, though the supervisor has found them good");
    memcpy(generation->sockets, proxy.sockets, sizeof proxy.sockets);
    generation->socket_count = proxy.socket_count;
    proxy.socket_count = 0;
    atomic_init(&generation->untaken, proxy.worker_count + 1);
    return generation;
}

static void serve_by(struct control_message *received, struct config *config)
{
    log_set_level(config->log_level);
    order_all(ORDER_CONFIGURE, proxy.worker_count + 1, NULL, new_generation(received->message.payload, config));
}

static void generation_taken(struct generation *generation)
{
    struct message_config taken = {.serial = generation->serial};
    bool is_first = proxy.serial == 0;
    proxy.serial = generation->serial;
    proxy.drain_ms = generation->config->drain_timeout_ms;
    config_unref(&generation->config);
    tls_server_unref(&generation->tls);
    origin_tls_free(&generation->origin_tls);
    for (unsigned i = 0; i < generation->socket_count; i++)
        shared_socket_unref(generation->sockets[i]);
    free(generation);
    tell_supervisor(MESSAGE_CONFIG_TAKEN, &taken);
    if (is_first)
        tell_supervisor(MESSAGE_READY, &(struct message_empty){0});
}

static void take_order(const struct order *order)
{
    struct message_helper hung = {.role = order->about.role, .helper = order->about.helper, .generation = order->about.generation};
    if (order->kind == ORDER_TAKEN)
        generation_taken(order->generation);
    else
        tell_supervisor(MESSAGE_HELPER_HUNG, &hung);
}

/* ---- the end ---------------------------------------------------------------------------------------------------------------------------- */

static bool has_drained(void)
{
    for (unsigned i = 0; i < proxy.worker_count; i++) {
        struct loop_gauges *gauges = &proxy.loops[i].gauges;
        if (!atomic_load_explicit(&gauges->is_draining, memory_order_acquire) ||
            atomic_load_explicit(&gauges->connections, memory_order_relaxed) > 0)
            return false;
    }
    return connections_parting() == 0;
}

static void end(void)
{
    loop_stop(proxy.control_loop->worker.loop);
}

static void drained(void)
{
    log_info("proxy", "drained");
    end();
}

static void drain_tick(struct deadline *deadline)
{
    struct loop *loop = proxy.control_loop->worker.loop;
    if (has_drained()) {
        store_home_drain(&proxy.store_home, true, drained);
        return;
    }
    if (monotonic_since(loop_now(loop), proxy.drain_deadline) >= 0) {
        log_warn("proxy", "timeouts.drain has passed: closing the connections that are left");
        order_all(ORDER_CUT, proxy.worker_count, NULL, NULL);
        proxy.drain_deadline = monotonic_add(loop_now(loop), INT32_MAX);
    }
    loop_set_deadline(loop, deadline, DRAIN_TICK_MS, drain_tick);
}

/* `loops`: those that accept no more. */
static void begin_drain(unsigned loops)
{
    struct loop *loop = proxy.control_loop->worker.loop;
    if (proxy.is_draining)
        return;
    proxy.is_draining = true;
    proxy.drain_deadline = monotonic_add(loop_now(loop), proxy.drain_ms);
    order_all(ORDER_DRAIN, loops, NULL, NULL);
    loop_set_deadline(loop, &proxy.drain_tick, DRAIN_TICK_MS, drain_tick);
}

/* Clients see their connections end; what was stored, or purged, gets to the disks, but nobody waits for them to sync. */
static void begin_stop(void)
{
    if (proxy.is_stopping)
        return;
    proxy.is_draining = proxy.is_stopping = true;
    deadline_clear(&proxy.drain_tick);
    order_all(ORDER_DRAIN, proxy.worker_count, NULL, NULL);
    order_all(ORDER_CUT, proxy.worker_count, NULL, NULL);
    store_home_drain(&proxy.store_home, false, end);
}

/* ---- both tiers, between two instances --------------------------------------------------------------------------------------------------- */

static void begin_store(void)
{
    bool had_left = cache_has_left(proxy.cache);
    memory_home_unlist(&proxy.memory_home);
    if (proxy.store_home.loop != NULL)
        store_home_resume(&proxy.store_home);
    else
        store_home_start(&proxy.store_home, cache_store(proxy.cache), &proxy.control_loop->disk_port.io, proxy.control_loop->worker.loop);
    if (had_left)
        log_info("upgrade", "purges are taken again"); /* the supervisor's line says why, but may come before this */
}

static void memory_listed(void)
{
    tell_supervisor(MESSAGE_STORE_RELEASED, &(struct message_empty){0});
}

static void store_released(void)
{
    int list = proxy.memory_list;
    proxy.memory_list = -1;
    if (list >= 0)
        memory_home_list(&proxy.memory_home, list, memory_listed);
    else
        memory_listed();
}

static void keep_memory_list(int fd)
{
    if (proxy.memory_list >= 0)
        close(proxy.memory_list);
    proxy.memory_list = fd;
}

/* One that has handed over itself meanwhile passes it on. */
static void invalidate_here(const struct message_invalidated *about, struct bytes tail)
{
    if (heir_heed(proxy.cache, about, tail, clock_wall()) && cache_has_left(proxy.cache))
        control_try_send(proxy.control, MESSAGE_INVALIDATED, about, tail);
}

/* ---- control messages ------------------------------------------------------------------------------------------------------------------- */

static void take_message(struct control_message *received)
{
    const void *payload = received->message.payload;
    switch (received->message.type) {
    case MESSAGE_CHANNEL: {
        struct order *order = channel_order(received);
        if (order)
            give_channel(order);
        break;
    }
    case MESSAGE_HELPER_GONE:
        helper_gone(payload);
        break;
    case MESSAGE_LISTENER:
        keep_socket(received);
        break;
    case MESSAGE_CONFIG:
        serve_by(received, read_config(received));
        break;
    case MESSAGE_STORE_BEGIN:
        begin_store();
        break;
    case MESSAGE_STORE_RELEASE:
        store_home_release(&proxy.store_home, proxy.cache, store_released);
        break;
    case MESSAGE_MEMORY_LIST:
        keep_memory_list(received->fds[0]);
        break;
    case MESSAGE_MEMORY_TAKE:
        memory_home_take(&proxy.memory_home, received->fds[0], received->fds[1]);
        break;
    case MESSAGE_INVALIDATE:
        invalidate_here(payload, received->message.tail);
        break;
    case MESSAGE_DRAIN:
        begin_drain(proxy.worker_count);
        break;
    case MESSAGE_RETIRE:
        begin_drain(proxy.worker_count + 1);
        break;
    case MESSAGE_STOP:
        begin_stop();
        break;
    case MESSAGE_RELOAD_RESULT: {
        const struct message_reload *result = payload;
        admin_reloaded(proxy.admin, result->request, result->accepted, received->message.tail);
        break;
    }
    default:
        break;
    }
}

static void control_is_readable(void *context);

static void watch_control(struct deadline *pause)
{
    struct loop *loop = proxy.control_loop->worker.loop;
    proxy.control_watch = loop_watch(loop, proxy.control, control_is_readable, NULL);
    if (proxy.control_watch == NULL)
        loop_set_deadline(loop, pause, CONTROL_PAUSE_MS, watch_control);
}

static void pause_control(void)
{
    if (!proxy.is_short)
        log_error("proxy", "no descriptor left for what the supervisor sends: it waits (raise the limit of open files)");
    proxy.is_short = true;
    watch_free(&proxy.control_watch);
    loop_set_deadline(proxy.control_loop->worker.loop, &proxy.control_pause, CONTROL_PAUSE_MS, watch_control);
}

static void control_is_readable(void *context)
{
    struct control_message received;
    enum control_event event;
    (void)context;
    while ((event = control_receive(proxy.control, ROLE_PROXY, ROLE_SUPERVISOR, false, &received)) == CONTROL_MESSAGE ||
           (event == CONTROL_NO_DESCRIPTORS && reserve_give_up(&proxy.reserve)))
        if (event == CONTROL_MESSAGE)
            take_message(&received);
    if (event == CONTROL_CLOSED)
        _exit(EXIT_FAILURE); /* without a supervisor there is nobody to serve for */
    if (event == CONTROL_NO_DESCRIPTORS)
        pause_control();
    else
        proxy.is_short = false;
    reserve_open(&proxy.reserve);
}

/* ---- admin ------------------------------------------------------------------------------------------------------------------------------ */

static void size(void *context, struct sizing_report *report)
{
    const struct proxy *self = context;
    cache_sizing(self->cache, report);
}

enum { TOP_ROWS = 20 };

static void top(void *context, struct arena *arena, struct top_lists *lists)
{
    const struct proxy *self = context;
    struct top **tops = arena_alloc(arena, self->worker_count * sizeof(struct top *));
    for (unsigned i = 0; i < self->worker_count; i++)
        tops[i] = self->loops[i].worker.top;
    top_merge(tops, self->worker_count, TOP_ROWS, arena, lists);
}

static struct bytes name_site(void *context, struct bytes host)
{
    const struct proxy *self = context;
    const struct site *site = routes_find(self->control_loop->worker.routes, host);
    return site != NULL ? site->config->hosts[0] : BYTES_NONE;
}

static struct live_viewer *watch_live(void *context, const struct live_filter *filter)
{
    const struct proxy *self = context;
    return live_watch(self->lives, self->worker_count, filter);
}

static void ask_reload(void *context, uint32_t ticket)
{
    (void)context;
    tell_supervisor(MESSAGE_RELOAD_REQUEST, &(struct message_reload){.request = ticket});
}

static void ask_drain(void *context)
{
    (void)context;
    tell_supervisor(MESSAGE_DRAIN_REQUEST, &(struct message_empty){0});
}

static bool is_draining(void *context)
{
    (void)context;
    return proxy.is_draining;
}

/* "http://host[:port]/path?query"; the fragment is no part of a request. */
static bool split_url(struct bytes url, struct bytes *scheme, struct bytes *host, struct bytes *path, struct bytes *query)
{
    static const char delimiter[] = "://";
    const char *colon = memmem(url.at, url.len, delimiter, strlen(delimiter));
    if (!colon)
        return false;
    *scheme = bytes_from(url.at, (size_t)(colon - url.at));
    struct bytes rest = bytes_from(colon + strlen(delimiter), url.len - scheme->len - strlen(delimiter));
    rest.len = bytes_find(rest, '#');
    size_t query_at = bytes_find(rest, '?');
    *query = query_at < rest.len ? bytes_from(rest.at + query_at + 1, rest.len - query_at - 1) : BYTES_NONE;
    rest.len = query_at;
    size_t path_at = bytes_find(rest, '/');
    *host = bytes_from(rest.at, path_at);
    *path = path_at < rest.len ? bytes_from(rest.at + path_at, rest.len - path_at) : BYTES("/");
    return host->len > 0 && (bytes_equal_nocase(*scheme, BYTES("http")) || bytes_equal_nocase(*scheme, BYTES("https")));
}

static bool purge_url(struct bytes url, enum purge_kind kind, bool *found)
{
    struct bytes scheme, host, path, query;
    struct arena arena;
    if (!split_url(url, &scheme, &host, &path, &query))
        return false;
    arena_init(&arena);
    scheme = scheme.len == strlen("https") ? BYTES("https") : BYTES("http");
    const struct site *site = routes_find(proxy.control_loop->worker.routes, host);
    if (site != NULL)
        query = query_apply_rules(query, &site->rules.query, &arena);
    struct cache_key key = cache_key_build(cache_hash_key(proxy.cache), &arena, scheme, host, path, query);
    *found = cache_purge(proxy.cache, &key, kind, clock_wall());
    arena_free(&arena);
    return true;
}

static bool purge(void *context, const struct admin_purge *what, bool *found)
{
    (void)context;
    enum purge_kind kind = what->is_soft ? PURGE_SOFT : PURGE_HARD;
    *found = true;
    switch (what->by) {
    case ADMIN_PURGE_URL:
        return purge_url(what->name, kind, found);
    case ADMIN_PURGE_TAG:
        cache_purge_tag(proxy.cache, what->name, kind, clock_wall());
        break;
    case ADMIN_PURGE_HOST:
        cache_purge_host(proxy.cache, what->name, kind, clock_wall());
        break;
    case ADMIN_PURGE_ALL:
        cache_purge_all(proxy.cache, kind, clock_wall());
        break;
    }
    return true;
}

static bool explain(void *context, struct bytes url, const struct headers *fields, struct arena *arena, struct admin_why *why)
{
    struct bytes scheme, host, path, query;
    (void)context;
    if (!split_url(url, &scheme, &host, &path, &query))
        return false;
    const struct site *site = routes_find(proxy.control_loop->worker.routes, host);
    if (site == NULL)
        return true;
    scheme = scheme.len == strlen("https") ? BYTES("https") : BYTES("http");
    query = query_apply_rules(query, &site->rules.query, arena);
    struct lookup lookup = {
        .key = cache_key_build(cache_hash_key(proxy.cache), arena, scheme, host, path, query),
        .method = METHOD_GET,
        .fields = fields,
        .rules = &site->rules,
        .now = clock_wall(),
    };
    cache_explain(proxy.cache, &lookup, arena, &why->explanation);
    why->site = site->config->hosts[0];
    why->key = cache_key_url(lookup.key.encoded, arena);
    why->key_hash = lookup.key.hash.low;
    why->now = lookup.now;
    why->grace_s = site->rules.grace_s;
    why->memory = proxy.memory_watch.look;
    why->memory_level = proxy.memory_watch.ladder.level;
    return true;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------- */

static void describe_store(const struct config *config, struct store_settings *settings)
{
    settings->directory_count = proxy.geometry.count;
    settings->admission = config->disk_admission == DISK_ADMIT_ALWAYS ? STORE_ADMIT_ALWAYS : STORE_ADMIT_SECOND_HIT;
    settings->queue_max_bytes = config->disk_queue_bytes;
    for (uint32_t i = 0; i < proxy.geometry.count && i < STORE_DIRECTORIES_MAX; i++) {
        settings->directories[i].segment_bytes = proxy.geometry.directories[i].segment_bytes;
        settings->directories[i].segment_count = proxy.geometry.directories[i].segment_count;
        memcpy(settings->directories[i].identity, proxy.geometry.directories[i].identity, sizeof settings->directories[i].identity);
    }
}

/* Greater than any that was given before a restart, unless there were more than one a nanosecond. */
static uint64_t first_number(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void build(struct config *config)
{
    struct hash_key hash_key;
    struct store_settings store = {.directory_count = 0};
    struct cache_settings settings = {
        .slab = proxy.slab,
        .object_max_bytes = config->cache_object_max_bytes,
        .variants_max = config->cache_variants_max,
        .searches_footers = config->without == WITHOUT_INDEX || config->without == WITHOUT_ALL,
        .keeps_no_pages = config->without == WITHOUT_PAGES || config->without == WITHOUT_ALL,
        .numbers_from = first_number(),
    };
    struct admin_ports ports = {.collect = proxy_collect,
                                .purge = purge,
                                .explain = explain,
                                .size = size,
                                .top = top,
                                .site = name_site,
                                .watch = watch_live,
                                .reload = ask_reload,
                                .is_draining = is_draining,
                                .drain = ask_drain,
                                .context = &proxy};
    hash_key_derive(&hash_key, proxy.geometry.hash_key);
    describe_store(config, &store);
    settings.store = &store;
    proxy.started = clock_wall();
    proxy.cache = cache_new(&settings, &hash_key);
    proxy.worker_count = config_loops(config);
    proxy.loops = calloc(proxy.worker_count + 1, sizeof *proxy.loops);
    proxy.lives = calloc(proxy.worker_count, sizeof(struct live *));
    if (!proxy.cache || !proxy.loops || !proxy.lives)
        give_up("out of memory");
    proxy.control_loop = &proxy.loops[proxy.worker_count];
    for (unsigned i = 0; i <= proxy.worker_count; i++) {
        bool is_control = i == proxy.worker_count;
        struct proxy_loop_settings loop_settings = {.number = i,
                                                    .cache = proxy.cache,
                                                    .config = config,
                                                    .control = is_control ? NULL : proxy.control_loop,
                                                    .slab = proxy.slab,
                                                    .has_store = proxy.geometry.count > 0,
                                                    .has_rings = proxy.may_ring && config->disk_engine != DISK_ENGINE_BLOCKING,
                                                    .tell_heir = tell_heir,
                                                    .files = &proxy.files};
        proxy_loop_init(&proxy.loops[i], &loop_settings);
    }
    for (unsigned i = 0; i < proxy.worker_count; i++)
        proxy.lives[i] = proxy.loops[i].worker.live;
    proxy.control_loop->take_order = take_order;
    memory_home_init(&proxy.memory_home, proxy.cache, proxy.control_loop->worker.loop);
    const struct memory_watch_settings watch = {.cache = proxy.cache,
                                                .slab = proxy.slab,
                                                .loop = proxy.control_loop->worker.loop,
                                                .config = &proxy.control_loop->worker.config,
                                                .changed = memory_level_changed};
    memory_watch_start(&proxy.memory_watch, &watch);
    if (!proxy.geometry.is_lent)
        begin_store();
    proxy.admin = admin_new(&ports);
    proxy.control_loop->worker.admin = proxy.admin;
    reserve_init(&proxy.reserve);
    watch_control(&proxy.control_pause);
}

/* Up to the first CONFIG; the channels that came before it are given to the loops, which exist then. */
static void begin(void)
{
    struct control_message received;
    struct list channels;
    list_init(&channels);
    for (;;) {
        enum control_event event = control_receive(proxy.control, ROLE_PROXY, ROLE_SUPERVISOR, true, &received);
        if (event == CONTROL_NO_DESCRIPTORS) /* before any client: it is not going to be better */
            give_up("may not open as many descriptors as it has channels (raise the limit of open files)");
        if (event != CONTROL_MESSAGE)
            _exit(EXIT_FAILURE);
        if (received.message.type == MESSAGE_CONFIG)
            break;
        if (received.message.type == MESSAGE_STOP)
            _exit(EXIT_SUCCESS);
        if (received.message.type == MESSAGE_LISTENER)
            keep_socket(&received);
        if (received.message.type == MESSAGE_STORE_DIRECTORY)
            keep_store_file(&received);
        if (received.message.type == MESSAGE_STORE_GEOMETRY)
            proxy.geometry = *(const struct message_store_geometry *)received.message.payload;
        if (received.message.type != MESSAGE_CHANNEL)
            continue;
        struct order *order = channel_order(&received);
        if (order)
            list_push_back(&channels, &order->link);
    }
    struct config *config = read_config(&received);
    build(config);
    for (struct list *link; (link = list_pop_front(&channels)) != NULL;)
        give_channel(LIST_OWNER(link, struct order, link));
    serve_by(&received, config);
}

void proxy_main(int control, int slab)
{
    proxy.control = control;
    proxy.memory_list = -1;
    proxy.slab = slab_adopt(slab);
    if (!proxy.slab)
        give_up("the slab cannot be mapped");
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* private keys and what clients said are not for core dumps */
    proxy.tickets = tls_tickets_new();
    prepare_for_sandbox();
    slices_shorten();
    proxy.may_ring = store_engine_may_ring(); /* as a helper may, which is the same user */
    sandbox_enter(ROLE_PROXY, NULL, 0);
    begin();
    for (unsigned i = 0; i < proxy.worker_count; i++)
        proxy_loop_start(&proxy.loops[i]);
    proxy_loop_run(proxy.control_loop);
    for (unsigned i = 0; i < proxy.worker_count; i++) {
        loop_stop(proxy.loops[i].worker.loop);
        pthread_join(proxy.loops[i].thread, NULL);
    }
    memory_home_stop(&proxy.memory_home);
    exit(EXIT_SUCCESS);
}
