/* The supervisor's children.
 *
 * A helper that ends is told to the proxy (HELPER_GONE), started again after its backoff, and gets new channels to every loop under the next generation.
 * When the proxy ends its helpers are dismissed and everybody is started again, with a fresh slab and the same listening sockets. */
#include "proxy/boot/supervisor.h"
#include "proxy/reload.h"

#include "base/log.h"
#include "helpers/control.h"
#include "helpers/helper_main.h"
#include "helpers/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SERVERS_MAX_BYTES = 1024, /* of RESOLVER_SETTINGS, see messages.tbl */
    SEND_TRIES = 5,           /* of a second each: a process that just starts on a loaded machine may take that long to read */
    LEAVE_MS = 1000,          /* for a dismissed helper to write what it still has */
};

/* ---- sending ---------------------------------------------------------------------------------------------------------------------------- */

void child_kill(struct child *child)
{
    if (child->pid > 0)
        kill(child->pid, SIGKILL); /* the rest follows when it is reaped */
}

void child_send(struct child *child, enum message_type type, const void *payload, struct bytes tail, const int *fds, unsigned fd_count)
{
    if (child->pid == 0 || child->control < 0)
        return;
    for (int tries = 0; tries < SEND_TRIES; tries++) {
        if (control_send(child->control, type, payload, tail, fds, fd_count) == 0)
            return;
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != ETOOMANYREFS) /* each of which was waited for */
            break;
    }
    log_warn("supervisor", "%s %u (%d) does not take %s: %s; killing it", role_name(child->role), child->number, (int)child->pid,
             message_name(type), strerror(errno));
    child_kill(child);
    close(child->control);
    child->control = -1;
}

/* To a store helper, or to the proxy where that does the helpers' work itself. */
static void send_directories(struct supervisor *s, struct child *child)
{
    for (uint32_t i = 0; i < s->stores.count; i++) {
        struct message_store_directory directory = {
            .number = i,
            .is_direct = s->stores.at[i].is_direct,
            .engine = child->role == ROLE_PROXY ? STORE_ENGINE_BLOCKING : (uint32_t)s->started->disk_engine,
            .delay_us = (uint32_t)(s->started->disk_read_delay_ms * 1000),
        };
        child_send(child, MESSAGE_STORE_DIRECTORY, &directory, BYTES_NONE, &s->stores.at[i].fd, 1);
    }
}

static void send_settings(struct supervisor *s, struct child *helper)
{
    if (helper->role == ROLE_DISK) {
        struct message_roots roots = {0};
        for (size_t i = 0; i < s->roots_len; i++)
            roots.count += s->roots[i] == '\0';
        child_send(helper, MESSAGE_ROOTS, &roots, bytes_from(s->roots, s->roots_len), NULL, 0);
    } else if (helper->role == ROLE_STORE) {
        send_directories(s, helper);
    } else if (helper->role == ROLE_RESOLVER) {
        /* Two tries, the second twice as long, end before the clients' deadline: else a slow name server looks like a hung helper. */
        uint32_t deadline = (uint32_t)s->started->helper_deadline_ms;
        struct message_resolver_settings settings = {
            .timeout_ms = deadline / 4, .tries = 2, .question_ms = deadline / 4 * 3, .hosts_file = 1};
        struct bytes servers = s->config->resolver_servers;
        if (servers.len > SERVERS_MAX_BYTES) /* more than anybody asks in turn */
            servers.len = (size_t)((const char *)memrchr(servers.at, ',', SERVERS_MAX_BYTES) - servers.at);
        child_send(helper, MESSAGE_RESOLVER_SETTINGS, &settings, servers.at ? servers : BYTES(""), NULL, 0);
    } else if (helper->role == ROLE_LOG) {
        for (uint32_t kind = 0; kind < LOG_KIND_COUNT; kind++) {
            if (s->logs.fd[kind] < 0)
                continue;
            struct message_log_file file = {.kind = kind};
            child_send(helper, MESSAGE_LOG_FILE, &file, bytes_from_string(log_file_path(s->config, kind)), &s->logs.fd[kind], 1);
        }
    }
}

void family_send_settings(struct supervisor *s)
{
    for (unsigned i = 0; i < s->helper_count; i++)
        send_settings(s, &s->helpers[i]);
}

/* ---- starting --------------------------------------------------------------------------------------------------------------------------- */

static bool start_process(struct supervisor *s, struct child *child)
{
    static const char *const level_names[] = {"error", "warn", "info", "debug"};
    int pair[2];
    child->is_due = child->is_condemned = false;
    child->started = clock_monotonic();
    child->control = -1;
    if (control_make(pair) < 0) {
        log_error("supervisor", "cannot start %s %u: %s", role_name(child->role), child->number, strerror(errno));
        return false;
    }
    struct spawn_settings settings = {
        .role = child->role,
        .number = child->number,
        .control = pair[1],
        .slab = child->role == ROLE_PROXY || child->role == ROLE_DISK || child->role == ROLE_STORE ? slab_fd(s->slab) : -1,
        .user = s->started->user,
        .log_level = level_names[s->config->log_level],
    };
    pid_t pid = spawn_process(&settings);
    close(pair[1]);
    if (pid < 0) {
        log_error("supervisor", "cannot start %s %u: %s", role_name(child->role), child->number, strerror(errno));
        close(pair[0]);
        return false;
    }
    child->pid = pid;
    child->control = pair[0];
    return true;
}

/* A channel between each loop and this helper. */
static void connect_helper(struct supervisor *s, struct child *helper)
{
    for (unsigned loop = 0; loop < s->loops; loop++) {
        struct channel_fds fds;
        if (channel_make(&fds) < 0) {
            log_error("supervisor", "channel to %s %u: %s", role_name(helper->role), helper->number, strerror(errno));
            child_kill(helper);
            return;
        }
        struct message_channel to_proxy = {helper->role, helper->number, loop, helper->generation};
        struct message_channel to_helper = {ROLE_PROXY, helper->number, loop, helper->generation};
        child_send(helper, MESSAGE_CHANNEL, &to_helper, BYTES_NONE, (int[]){fds.memory, fds.bell[1]}, 2);
        child_send(&s->proxy, MESSAGE_CHANNEL, &to_proxy, BYTES_NONE, (int[]){fds.memory, fds.bell[0]}, 2);
        close(fds.memory);
        close(fds.bell[0]);
        close(fds.bell[1]);
    }
}

/* Returns after how many milliseconds. */
static int64_t schedule(struct child *child)
{
    struct monotonic_ms now = clock_monotonic();
    int64_t delay_ms = backoff_delay(&child->backoff, monotonic_since(now, child->started));
    child->is_due = true;
    child->due = monotonic_add(now, delay_ms);
    return delay_ms;
}

static void start_helper(struct supervisor *s, struct child *helper)
{
    helper->generation++;
    if (!start_process(s, helper)) {
        schedule(helper);
        return;
    }
    send_settings(s, helper);
    connect_helper(s, helper);
}

static void add_helpers(struct supervisor *s, enum role role, unsigned count)
{
    for (unsigned number = 0; number < count && number < HELPERS_MAX; number++)
        s->helpers[s->helper_count++] = (struct child){.role = role, .number = number, .control = -1};
}

/* Without a directory the key is the supervisor's, so that it lasts as long as the instance and those that take over from it. */
static void send_geometry(struct supervisor *s)
{
    struct message_store_geometry geometry;
    store_files_describe(&s->stores, &geometry);
    if (geometry.count == 0)
        memcpy(geometry.hash_key, s->upgrade.hash_key, sizeof geometry.hash_key);
    geometry.is_lent = geometry.count > 0 && s->stores_are_lent;
    child_send(&s->proxy, MESSAGE_STORE_GEOMETRY, &geometry, BYTES_NONE, NULL, 0);
}

bool family_start(struct supervisor *s)
{
    config_unref(&s->started);
    s->started = config_ref(s->config);
    s->slab = slab_new(s->started->cache_memory_bytes);
    if (!s->slab) {
        log_error("supervisor", "cache.memory: %llu MiB cannot be had: %s", (unsigned long long)(s->started->cache_memory_bytes >> 20),
                  strerror(errno));
        return false;
    }
    s->loops = config_loops(s->started) + 1;
    s->proxy.role = ROLE_PROXY;
    s->helper_count = 0;
    add_helpers(s, ROLE_DISK, s->started->disk_helpers);
    bool has_store_helpers = s->started->concurrency == CONCURRENCY_AMPED;
    if (s->stores.count > 0 && has_store_helpers)
        add_helpers(s, ROLE_STORE, s->started->store_helpers);
    add_helpers(s, ROLE_RESOLVER, s->started->resolver_helpers);
    add_helpers(s, ROLE_LOG, 1);
    if (!start_process(s, &s->proxy)) {
        slab_free(&s->slab);
        return false;
    }
    send_geometry(s);
    if (!has_store_helpers)
        send_directories(s, &s->proxy);
    for (unsigned i = 0; i < s->helper_count; i++)
        start_helper(s, &s->helpers[i]);
    reload_send_config(s);
    return true;
}

/* ---- ending ----------------------------------------------------------------------------------------------------------------------------- */

static void add_leaver(struct supervisor *s, pid_t pid)
{
    if (s->leaver_count == LEAVERS_MAX) {
        kill(pid, SIGKILL);
        return;
    }
    s->leavers[s->leaver_count++] = (struct leaver){pid, monotonic_add(clock_monotonic(), LEAVE_MS)};
}

void family_dismiss(struct supervisor *s)
{
    for (unsigned i = 0; i < s->helper_count; i++) {
        struct child *helper = &s->helpers[i];
        if (helper->pid > 0)
            add_leaver(s, helper->pid);
        if (helper->control >= 0)
            close(helper->control);
    }
    s->helper_count = 0;
    slab_free(&s->slab);
}

static void describe(char *out, size_t size, int status)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "exited with status %d", WEXITSTATUS(status));
}

static void proxy_ended(struct supervisor *s, const char *how)
{
    family_dismiss(s);
    if (s->ending != ENDING_NOT) {
        s->ending_deadline = monotonic_add(clock_monotonic(), 2 * LEAVE_MS); /* only the leavers are waited for */
        return;
    }
    if (upgrade_is_guest(&s->upgrade)) { /* another instance serves: better that one than this */
        log_error("supervisor", "the proxy %s before it took over: giving up", how);
        s->has_failed = true;
        s->ending = ENDING_STOP;
        s->ending_deadline = monotonic_add(clock_monotonic(), 2 * LEAVE_MS);
        return;
    }
    s->taken = 0;
    s->asker_count = 0;
    s->proxy.restarts++;
    log_error("supervisor", "the proxy %s; starting everything again in %lld ms (restart %u)", how, (long long)schedule(&s->proxy),
              s->proxy.restarts);
}

static void helper_ended(struct supervisor *s, struct child *helper, pid_t pid, bool is_outdated, const char *how)
{
    if (s->ending == ENDING_STOP)
        return;
    helper->restarts++;
    struct message_helper gone = {helper->role, helper->number, helper->generation, helper->restarts};
    child_send(&s->proxy, MESSAGE_HELPER_GONE, &gone, BYTES_NONE, NULL, 0);
    int64_t delay_ms = schedule(helper);
    if (is_outdated) {
        log_info("supervisor", "%s helper %u (%d) makes room for one that knows the directories as they are now", role_name(helper->role),
                 helper->number, (int)pid);
        return;
    }
    log_warn("supervisor", "%s helper %u (%d) %s; starting another in %lld ms (restart %u)", role_name(helper->role), helper->number,
             (int)pid, how, (long long)delay_ms, helper->restarts);
}

static void child_ended(struct supervisor *s, struct child *child, int status)
{
    char how[96];
    pid_t pid = child->pid;
    describe(how, sizeof how, status);
    child->pid = 0;
    if (child->control >= 0)
        close(child->control);
    child->control = -1;
    if (child == &s->proxy)
        proxy_ended(s, how);
    else
        helper_ended(s, child, pid, WIFEXITED(status) && WEXITSTATUS(status) == HELPER_EXIT_OUTDATED, how);
}

void family_condemn(struct supervisor *s, struct child *helper)
{
    log_warn("supervisor", "%s helper %u (%d) does not answer: killing it", role_name(helper->role), helper->number, (int)helper->pid);
    child_kill(helper);
    if (helper->is_condemned)
        return;
    /* By then every loop has given up what this helper may still write into (helper_set.h: ABANDONED). */
    helper->is_condemned = true;
    helper->given_up = monotonic_add(clock_monotonic(), 2 * s->started->helper_deadline_ms + LEAVE_MS);
}

/* HELPER_GONE is not sent: it means that the process is certainly dead. */
static void replace_undead(struct supervisor *s, struct child *helper)
{
    log_error("supervisor", "%s helper %u (%d) hangs in the kernel and does not die; starting another beside it", role_name(helper->role),
              helper->number, (int)helper->pid);
    add_leaver(s, helper->pid);
    if (helper->control >= 0)
        close(helper->control);
    helper->control = -1;
    helper->pid = 0;
    helper->restarts++;
    schedule(helper);
}

static struct child *find_pid(struct supervisor *s, pid_t pid)
{
    if (s->proxy.pid == pid)
        return &s->proxy;
    for (unsigned i = 0; i < s->helper_count; i++)
        if (s->helpers[i].pid == pid)
            return &s->helpers[i];
    return NULL;
}

struct child *family_find(struct supervisor *s, enum role role, unsigned number)
{
    for (unsigned i = 0; i < s->helper_count; i++)
        if (s->helpers[i].role == role && s->helpers[i].number == number)
            return &s->helpers[i];
    return NULL;
}

void family_reap(struct supervisor *s)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *child = find_pid(s, pid);
        if (child) {
            child_ended(s, child, status);
        } else {
            char how[96];
            describe(how, sizeof how, status);
            upgrade_child_ended(s, pid, how);
        }
        for (unsigned i = 0; i < s->leaver_count; i++)
            if (s->leavers[i].pid == pid)
                s->leavers[i--] = s->leavers[--s->leaver_count];
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------------------------------- */

/* Whether `moment` has come; else *wait is shortened to it. */
static bool has_come(struct monotonic_ms moment, struct monotonic_ms now, int *wait)
{
    int64_t left = monotonic_since(moment, now);
    if (left <= 0)
        return true;
    if (*wait < 0 || left < *wait)
        *wait = (int)left;
    return false;
}

static void start_proxy(struct supervisor *s, int *wait)
{
    s->proxy.is_due = false;
    if (family_start(s))
        return;
    s->proxy.started = clock_monotonic();
    schedule(&s->proxy);
    *wait = 0;
}

int family_tick(struct supervisor *s, struct monotonic_ms now)
{
    int wait = -1;
    for (unsigned i = 0; i < s->leaver_count; i++) {
        if (has_come(s->leavers[i].deadline, now, &wait)) {
            kill(s->leavers[i].pid, SIGKILL);
            s->leavers[i].deadline = monotonic_add(now, LEAVE_MS);
        }
    }
    if (s->ending == ENDING_STOP)
        return wait;
    for (unsigned i = 0; i < s->helper_count; i++) {
        struct child *helper = &s->helpers[i];
        if (helper->pid > 0 && helper->is_condemned && has_come(helper->given_up, now, &wait))
            replace_undead(s, helper);
        if (helper->is_due && has_come(helper->due, now, &wait))
            start_helper(s, helper);
    }
    if (s->ending == ENDING_NOT && s->proxy.is_due && has_come(s->proxy.due, now, &wait))
        start_proxy(s, &wait);
    return wait;
}
