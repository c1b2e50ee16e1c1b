/* Names.
 *
 * DESIGN. A question is one name being looked up; everybody who asks for that name meanwhile waits for the same question. It is two lookups, A and
 * AAAA, apart from each other, so that a server that fails for one is not mistaken for a name without addresses:
 *
 *     any address → OK | else a lookup failed (SERVFAIL, timeout, garbage) → FAILED | else → NOT_FOUND
 *
 * Once one family has addresses the other gets OTHER_FAMILY_MS more (RFC 8305 §3). A question is answered by its deadline at the latest; it is freed
 * when c-ares has called back for both lookups, which may be later.
 * Invariants: 1. `lookups` counts callbacks still to come; 2. a question with `is_answered` set has no askers and gets none.
 */
#include "helpers/names.h"

#include "base/list.h"
#include "base/log.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAME_MAX_BYTES = 255,
    OTHER_FAMILY_MS = 300,
    EVENTS_PER_TURN = 64,
    SERVERS_MAX = 1024,
    TTL_LOCALHOST_S = 3600,
    EDNS_BYTES = 1232, /* the largest answer that no path fragments; longer ones come by TCP */
};

static const struct message_resolver_settings DEFAULTS = {.timeout_ms = 1000, .tries = 2, .question_ms = 5000, .hosts_file = 1};

struct asker {
    struct list link;
    void *who;
    uint64_t request;
};

struct question {
    struct list link;
    struct names *names;
    char name[NAME_MAX_BYTES + 1];
    struct list askers;
    struct monotonic_ms deadline;
    unsigned lookups;
    bool is_answered, has_failed;
    struct message_resolved v4, v6;
};

struct names {
    names_answer *answer;
    ares_channel ares;
    int epoll;
    struct message_resolver_settings settings;
    char servers[SERVERS_MAX + 1];
    struct timespec resolv_conf; /* mtime when c-ares read it */
    struct list questions;
    struct monotonic_ms now;
};

/* c-ares tells which sockets it waits for. */
static void watch_socket(void *context, ares_socket_t socket, int readable, int writable)
{
    struct names *names = context;
    struct epoll_event event = {.events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0), .data.fd = socket};
    if (event.events == 0)
        epoll_ctl(names->epoll, EPOLL_CTL_DEL, socket, NULL);
    else if (epoll_ctl(names->epoll, EPOLL_CTL_MOD, socket, &event) < 0)
        epoll_ctl(names->epoll, EPOLL_CTL_ADD, socket, &event);
}

static struct timespec resolv_conf_mtime(void)
{
    struct stat file;
    return stat("/etc/resolv.conf", &file) == 0 ? file.st_mtim : (struct timespec){0};
}

static void start_ares(struct names *names)
{
    struct ares_options options = {
        .timeout = names->settings.timeout_ms,
        .tries = names->settings.tries,
        .sock_state_cb = watch_socket,
        .sock_state_cb_data = names,
        .lookups = names->settings.hosts_file ? "fb" : "b",
        /* The system's search domains belong to the system's servers. */
        .flags = ARES_FLAG_EDNS | (*names->servers ? ARES_FLAG_NOSEARCH : 0),
        .ednspsz = EDNS_BYTES,
    };
    int given = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS | ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ;
    names->resolv_conf = resolv_conf_mtime();
    int status = ares_init_options(&names->ares, &options, given);
    if (status == ARES_SUCCESS && *names->servers && ares_set_servers_ports_csv(names->ares, names->servers) != ARES_SUCCESS)
        log_error("names", "not a list of servers: \"%s\"; the system's are asked", names->servers);
    if (status != ARES_SUCCESS) {
        log_error("names", "c-ares does not start: %s", ares_strerror(status));
        exit(1);
    }
}

struct names *names_new(names_answer *answer)
{
    struct names *names = calloc(1, sizeof(*names));
    if (!names)
        abort();
    names->answer = answer;
    names->settings = DEFAULTS;
    names->epoll = epoll_create1(EPOLL_CLOEXEC);
    list_init(&names->questions);
    if (names->epoll < 0 || ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        log_error("names", "cannot start: %m");
        exit(1);
    }
    start_ares(names);
    return names;
}

void names_free(struct names **names)
{
    if (!*names)
        return;
    LIST_FOR_EACH(node, &(*names)->questions)
    LIST_OWNER(node, struct question, link)->is_answered = true;
    ares_destroy((*names)->ares); /* calls every lookup back: the questions free themselves */
    ares_library_cleanup();
    close((*names)->epoll);
    free(*names);
    *names = NULL;
}

void names_configure(struct names *names, const struct message_resolver_settings *settings, struct bytes servers, struct monotonic_ms now)
{
    struct message_resolver_settings wanted = *settings;
    wanted.timeout_ms = wanted.timeout_ms ? wanted.timeout_ms : DEFAULTS.timeout_ms;
    wanted.tries = wanted.tries ? wanted.tries : DEFAULTS.tries;
    wanted.question_ms = wanted.question_ms ? wanted.question_ms : DEFAULTS.question_ms;
    if (servers.len > SERVERS_MAX ||
        (memcmp(&wanted, &names->settings, sizeof(wanted)) == 0 && bytes_equal(servers, bytes_from_string(names->servers))))
        return;
    names->now = now;
    names->settings = wanted;
    memcpy(names->servers, servers.at, servers.len);
    names->servers[servers.len] = '\0';
    ares_destroy(names->ares);
    start_ares(names);
}

static void append(struct message_resolved *to, const struct message_resolved *from, unsigned limit)
{
    for (unsigned i = 0; i < from->count && i < limit; i++)
        to->addresses[to->count++] = from->addresses[i];
}

static void answer(struct question *question)
{
    /* Both families keep a share when there are too many. */
    const struct message_resolved *v4 = &question->v4, *v6 = &question->v6;
    struct message_resolved all = {0};
    unsigned half = RESOLVE_ADDRESSES_MAX / 2;
    append(&all, v4, v6->count < half ? RESOLVE_ADDRESSES_MAX - v6->count : half);
    append(&all, v6, RESOLVE_ADDRESSES_MAX - all.count);
    bool is_failure = question->has_failed || question->lookups > 0;
    all.status = all.count > 0 ? RESOLVE_OK : is_failure ? RESOLVE_FAILED : RESOLVE_NOT_FOUND;
    question->is_answered = true;
    for (struct list *node; (node = list_pop_front(&question->askers));) {
        struct asker *asker = LIST_OWNER(node, struct asker, link);
        all.request = asker->request;
        question->names->answer(asker->who, &all);
        free(asker);
    }
}

static uint32_t ttl_of(const struct ares_addrinfo *found, const struct ares_addrinfo_node *node)
{
    int ttl = node->ai_ttl;
    for (const struct ares_addrinfo_cname *alias = found->cnames; alias; alias = alias->next)
        ttl = alias->ttl < ttl ? alias->ttl : ttl;
    return ttl < 0 ? 0 : ttl; /* RFC 2181 §8: the top bit set means zero */
}

static void collect(struct message_resolved *into, const struct ares_addrinfo *found)
{
    for (const struct ares_addrinfo_node *node = found->nodes; node && into->count < RESOLVE_ADDRESSES_MAX; node = node->ai_next) {
        struct resolved_address *address = &into->addresses[into->count];
        if (node->ai_family == AF_INET) {
            address->family = 4;
            memcpy(address->bytes, &((const struct sockaddr_in *)node->ai_addr)->sin_addr, 4);
        } else if (node->ai_family == AF_INET6) {
            address->family = 6;
            memcpy(address->bytes, &((const struct sockaddr_in6 *)node->ai_addr)->sin6_addr, 16);
        } else {
            continue;
        }
        address->ttl_s = ttl_of(found, node);
        into->count++;
    }
}

/* One of the two lookups has ended. */
static void end_lookup(struct question *question, struct message_resolved *into, int status, struct ares_addrinfo *found)
{
    if (status == ARES_SUCCESS && found)
        collect(into, found);
    else if (status != ARES_ENOTFOUND && status != ARES_ENODATA && status != ARES_EBADNAME)
        question->has_failed = true;
    if (found)
        ares_freeaddrinfo(found);
    question->lookups--;
    if (!question->is_answered && question->lookups == 0)
        answer(question);
    if (!question->is_answered && into->count > 0) {
        struct monotonic_ms soon = monotonic_add(question->names->now, OTHER_FAMILY_MS);
        if (monotonic_since(question->deadline, soon) > 0)
            question->deadline = soon;
    }
    if (question->lookups == 0) {
        list_remove(&question->link);
        free(question);
    }
}

static void end_lookup_v4(void *context, int status, int timeouts, struct ares_addrinfo *found)
{
    (void)timeouts;
    struct question *question = context;
    end_lookup(question, &question->v4, status, found);
}

static void end_lookup_v6(void *context, int status, int timeouts, struct ares_addrinfo *found)
{
    (void)timeouts;
    struct question *question = context;
    end_lookup(question, &question->v6, status, found);
}

static struct question *find_question(struct names *names, struct bytes name)
{
    LIST_FOR_EACH(node, &names->questions)
    {
        struct question *question = LIST_OWNER(node, struct question, link);
        if (!question->is_answered && bytes_equal_nocase(bytes_from_string(question->name), name))
            return question;
    }
    return NULL;
}

static void add_asker(struct question *question, void *who, uint64_t request)
{
    struct asker *asker = calloc(1, sizeof(*asker));
    if (!asker)
        abort();
    *asker = (struct asker){.who = who, .request = request};
    list_push_back(&question->askers, &asker->link);
}

static void start_question(struct names *names, struct bytes name, void *asker, uint64_t request)
{
    struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct question *question = calloc(1, sizeof(*question));
    if (!question)
        abort();
    question->names = names;
    question->lookups = 2;
    question->deadline = monotonic_add(names->now, names->settings.question_ms);
    memcpy(question->name, name.at, name.len);
    list_init(&question->askers);
    add_asker(question, asker, request);
    list_push_back(&names->questions, &question->link);
    ares_getaddrinfo(names->ares, question->name, NULL, &hints, end_lookup_v4, question);
    hints.ai_family = AF_INET6;
    ares_getaddrinfo(names->ares, question->name, NULL, &hints, end_lookup_v6, question); /* may be freed now */
}

/* c-ares reads /etc/resolv.conf once; the system may get other servers while we live. */
static void follow_resolv_conf(struct names *names)
{
    struct timespec mtime = resolv_conf_mtime();
    if (*names->servers || !list_is_empty(&names->questions) ||
        (mtime.tv_sec == names->resolv_conf.tv_sec && mtime.tv_nsec == names->resolv_conf.tv_nsec))
        return;
    ares_destroy(names->ares);
    start_ares(names);
}

/* RFC 6761 §6.3: these names are never asked of a server. */
static bool is_localhost(struct bytes name)
{
    struct bytes last = BYTES("localhost");
    if (name.len > 0 && name.at[name.len - 1] == '.')
        name.len--;
    if (name.len > last.len && name.at[name.len - last.len - 1] == '.')
        name = bytes_from(name.at + name.len - last.len, last.len);
    return bytes_equal_nocase(name, last);
}

static void answer_localhost(struct names *names, void *asker, uint64_t request)
{
    struct message_resolved loopback = {
        .request = request,
        .status = RESOLVE_OK,
        .count = 2,
        .addresses = {{.family = 4, .ttl_s = TTL_LOCALHOST_S, .bytes = {127, 0, 0, 1}},
                      {.family = 6, .ttl_s = TTL_LOCALHOST_S, .bytes = {[15] = 1}}},
    };
    names->answer(asker, &loopback);
}

void names_ask(struct names *names, struct bytes name, void *asker, uint64_t request, struct monotonic_ms now)
{
    names->now = now;
    if (is_localhost(name)) {
        answer_localhost(names, asker, request);
        return;
    }
    if (name.len == 0 || name.len > NAME_MAX_BYTES || memchr(name.at, '\0', name.len)) {
        struct message_resolved nothing = {.request = request, .status = RESOLVE_NOT_FOUND};
        names->answer(asker, &nothing);
        return;
    }
    struct question *question = find_question(names, name);
    if (question) {
        add_asker(question, asker, request);
        return;
    }
    follow_resolv_conf(names);
    start_question(names, name, asker, request);
}

void names_forget(struct names *names, const void *asker)
{
    LIST_FOR_EACH(node, &names->questions)
    {
        struct question *question = LIST_OWNER(node, struct question, link);
        LIST_FOR_EACH_SAFE(waiting, &question->askers)
        {
            struct asker *candidate = LIST_OWNER(waiting, struct asker, link);
            if (candidate->who != asker)
                continue;
            list_remove(&candidate->link);
            free(candidate);
        }
    }
}

int names_fd(const struct names *names)
{
    return names->epoll;
}

int names_timeout_ms(struct names *names, struct monotonic_ms now)
{
    struct timeval left, *next = ares_timeout(names->ares, NULL, &left);
    int64_t soonest = next ? next->tv_sec * 1000 + (next->tv_usec + 999) / 1000 : -1;
    LIST_FOR_EACH(node, &names->questions)
    {
        struct question *question = LIST_OWNER(node, struct question, link);
        int64_t wait = monotonic_since(question->deadline, now);
        if (!question->is_answered && (soonest < 0 || wait < soonest))
            soonest = wait < 0 ? 0 : wait;
    }
    return soonest;
}

void names_process(struct names *names, struct monotonic_ms now)
{
    struct epoll_event events[EVENTS_PER_TURN];
    names->now = now;
    int count = epoll_wait(names->epoll, events, EVENTS_PER_TURN, 0);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        ares_process_fd(names->ares, events[i].events & ~EPOLLOUT ? fd : ARES_SOCKET_BAD,
                        events[i].events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
    }
    ares_process_fd(names->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* its timeouts */
    LIST_FOR_EACH(node, &names->questions)
    {
        struct question *question = LIST_OWNER(node, struct question, link);
        if (!question->is_answered && monotonic_since(now, question->deadline) >= 0)
            answer(question);
    }
}
