#include "proxy/boot/listening.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,           /* connections that the kernel accepts while the proxy is being replaced; net.core.somaxconn caps it */
    INHERITED_FIRST = 3,      /* sd_listen_fds(3) */
    UNIX_SOCKET_UMASK = 0117, /* owner and group may talk to it */
    PASSED_MAX = 253,         /* the kernel's SCM_MAX_FD */
};

static void append(struct listening_set *set, const struct listening *listening)
{
    struct listening *more = realloc(set->at, (set->count + 1) * sizeof *more);
    if (!more)
        abort();
    set->at = more;
    set->at[set->count++] = *listening;
}

static bool is_any_address(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET)
        return ((const struct sockaddr_in *)address)->sin_addr.s_addr == htonl(INADDR_ANY);
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static in_port_t port_of(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET ? ((const struct sockaddr_in *)address)->sin_port
                                         : ((const struct sockaddr_in6 *)address)->sin6_port;
}

/* `wide`: every-address of IPv4 and of IPv6 count as the same, for systemd's ListenStream=8080 listens on both by the latter. */
static bool is_same_address(const struct listening *a, const struct listening *b, bool wide)
{
    const struct sockaddr_storage *x = &a->address, *y = &b->address;
    if (x->ss_family == AF_UNIX || y->ss_family == AF_UNIX)
        return x->ss_family == y->ss_family &&
               strcmp(((const struct sockaddr_un *)x)->sun_path, ((const struct sockaddr_un *)y)->sun_path) == 0;
    if (port_of(x) != port_of(y))
        return false;
    if (wide && is_any_address(x) && is_any_address(y))
        return true;
    if (x->ss_family != y->ss_family)
        return false;
    if (x->ss_family == AF_INET)
        return ((const struct sockaddr_in *)x)->sin_addr.s_addr == ((const struct sockaddr_in *)y)->sin_addr.s_addr;
    const struct sockaddr_in6 *x6 = (const struct sockaddr_in6 *)x, *y6 = (const struct sockaddr_in6 *)y;
    return IN6_ARE_ADDR_EQUAL(&x6->sin6_addr, &y6->sin6_addr) && x6->sin6_scope_id == y6->sin6_scope_id;
}

static const struct listening *find_same(const struct listening_set *set, const struct listening *wanted, bool wide)
{
    for (unsigned i = 0; i < set->count; i++)
        if (is_same_address(&set->at[i], wanted, wide))
            return &set->at[i];
    return NULL;
}

void listening_inherit(struct listening_set *set)
{
    const char *pid = getenv("LISTEN_PID"), *count_text = getenv("LISTEN_FDS");
    uint64_t owner, count;
    *set = (struct listening_set){0};
    if (!pid || !count_text || !bytes_parse_u64(bytes_from_string(pid), &owner) || owner != (uint64_t)getpid() ||
        !bytes_parse_u64(bytes_from_string(count_text), &count))
        return;
    const char *names = getenv("LISTEN_FDNAMES");
    for (int fd = INHERITED_FIRST; fd < INHERITED_FIRST + (int)count; fd++) {
        struct listening listening = {.fd = fd, .length = sizeof listening.address};
        size_t name_len = names ? strcspn(names, ":") : 0;
        snprintf(listening.text, sizeof listening.text, "%.*s", (int)name_len, names ? names : "");
        listening.is_lent = strcmp(listening.text, LISTENING_OWN) == 0;
        listening.is_inherited = !listening.is_lent;
        names = names && names[name_len] ? names + name_len + 1 : NULL;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        if (getsockname(fd, (struct sockaddr *)&listening.address, &listening.length) == 0)
            append(set, &listening);
        else
            log_warn("listen", "inherited descriptor %d (%s) is not a socket", fd, listening.text);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

/* ---- to and from another binary, while it takes over -------------------------------------------------------------------------------------- */

union passed {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int) * PASSED_MAX)];
};

bool listening_send(int channel, char byte, const struct listening_set *set, const struct listening_files *files)
{
    union passed passed = {0};
    unsigned count = files->count + set->count < PASSED_MAX ? files->count + set->count : PASSED_MAX;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = &passed;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        passed.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * count)};
        for (unsigned i = 0; i < count; i++)
            memcpy(CMSG_DATA(&passed.header) + i * sizeof(int), i < files->count ? &files->at[i] : &set->at[i - files->count].fd,
                   sizeof(int));
    }
    return sendmsg(channel, &message, MSG_NOSIGNAL) == 1;
}

static void take_passed(int fd, struct listening_set *set, struct listening_files *files)
{
    struct listening listening = {.fd = fd, .length = sizeof listening.address};
    if (getsockname(fd, (struct sockaddr *)&listening.address, &listening.length) == 0)
        append(set, &listening);
    else if (files->count < LISTENING_FILES_MAX)
        files->at[files->count++] = fd;
    else
        close(fd);
}

ssize_t listening_receive(int channel, char *byte, struct listening_set *set, struct listening_files *files)
{
    union passed passed;
    struct iovec data = {byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &passed, .msg_controllen = sizeof passed};
    *set = (struct listening_set){0};
    files->count = 0;
    ssize_t got = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    for (struct cmsghdr *header = got < 0 ? NULL : CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        size_t count = header->cmsg_type == SCM_RIGHTS ? (header->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            take_passed(fd, set, files);
        }
    }
    return got;
}

/* ---- binding ------------------------------------------------------------------------------------------------------------------------------- */

/* A file left behind by a server that was killed may go; one on which somebody answers, or that is no socket, may not. */
static bool make_way(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT;
    if (!S_ISSOCK(status.st_mode)) {
        errno = ENOTSOCK;
        return false;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    int result = connect(probe, (const struct sockaddr *)address, sizeof *address);
    bool is_stale = result < 0 && errno == ECONNREFUSED;
    close(probe);
    if (!is_stale) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(address->sun_path) == 0;
}

static int bind_unix(const struct listening *listening)
{
    if (!make_way((const struct sockaddr_un *)&listening->address))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(UNIX_SOCKET_UMASK);
    int result = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)&listening->address, listening->length);
    umask(before);
    if (result == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int bind_tcp(const struct listening *listening)
{
    int one = 1;
    int fd = socket(listening->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 &&
        (listening->address.ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) == 0) &&
        bind(fd, (const struct sockaddr *)&listening->address, listening->length) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static const char *advice(const struct listening *listening)
{
    if (errno == EACCES && listening->address.ss_family != AF_UNIX && ntohs(port_of(&listening->address)) < 1024)
        return " (ports below 1024 need root or CAP_NET_BIND_SERVICE)";
    if (errno == EADDRINUSE)
        return " (another server listens there)";
    if (errno == ENOTSOCK)
        return " (the file is in the way)";
    return "";
}

/* −1 with errno. */
static int bind_new(const struct listening *wanted)
{
    int fd = wanted->kind == LISTENER_ADMIN_SOCKET ? bind_unix(wanted) : bind_tcp(wanted);
    if (fd < 0 || listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool open_one(struct listening_set *set, struct listening *wanted, const struct listening_set *before,
                     const struct listening_set *inherited, FILE *errors)
{
    if (find_same(set, wanted, false))
        return true; /* named twice */
    if (set->count == LISTENING_MAX) {
        fprintf(errors, "listen %s: more than %d addresses\n", wanted->text, LISTENING_MAX);
        return false;
    }
    const struct listening *ready = find_same(before, wanted, false);
    if (!ready)
        ready = find_same(inherited, wanted, false);
    if (!ready)
        ready = find_same(inherited, wanted, true);
    wanted->fd = ready ? ready->fd : bind_new(wanted);
    wanted->is_inherited = ready && ready->is_inherited;
    wanted->is_lent = ready && ready->is_lent;
    if (wanted->fd < 0) {
        fprintf(errors, "listen %s: %s%s\n", wanted->text, strerror(errno), advice(wanted));
        return false;
    }
    append(set, wanted);
    return true;
}

static bool open_tcp(struct listening_set *set, enum listener_kind kind, const struct config_address *address,
                     const struct listening_set *before, const struct listening_set *inherited, FILE *errors)
{
    struct listening wanted = {.kind = kind, .address = address->address, .length = address->length};
    snprintf(wanted.text, sizeof wanted.text, "%.*s", BYTES_FMT(address->text));
    return open_one(set, &wanted, before, inherited, errors);
}

static bool open_unix(struct listening_set *set, const char *path, const struct listening_set *before,
                      const struct listening_set *inherited, FILE *errors)
{
    struct listening wanted = {.kind = LISTENER_ADMIN_SOCKET, .length = sizeof(struct sockaddr_un)};
    struct sockaddr_un *address = (struct sockaddr_un *)&wanted.address;
    snprintf(wanted.text, sizeof wanted.text, "%s", path);
    if (strlen(path) >= sizeof address->sun_path) {
        fprintf(errors, "listen %s: the path of a Unix socket has at most %zu bytes\n", path, sizeof address->sun_path - 1);
        return false;
    }
    address->sun_family = AF_UNIX;
    strcpy(address->sun_path, path);
    return open_one(set, &wanted, before, inherited, errors);
}

bool listening_open(struct listening_set *set, const struct config *config, const struct listening_set *before,
                    const struct listening_set *inherited, FILE *errors)
{
    bool good = true;
    *set = (struct listening_set){0};
    for (unsigned i = 0; i < config->listener_count; i++)
        good &= open_tcp(set, LISTENER_PUBLIC, &config->listeners[i].address, before, inherited, errors);
    if (config->admin_listen.length)
        good &= open_tcp(set, LISTENER_ADMIN, &config->admin_listen, before, inherited, errors);
    if (config->admin_socket)
        good &= open_unix(set, config->admin_socket, before, inherited, errors);
    if (!good)
        listening_close(set, before);
    return good;
}

void listening_close(struct listening_set *set, const struct listening_set *keep)
{
    for (unsigned i = 0; i < set->count; i++) {
        struct listening *listening = &set->at[i];
        bool is_kept = false;
        for (unsigned k = 0; keep && k < keep->count; k++)
            is_kept |= keep->at[k].fd == listening->fd;
        if (is_kept)
            continue;
        if (listening->kind == LISTENER_ADMIN_SOCKET && !listening->is_inherited && !listening->is_lent)
            unlink(((struct sockaddr_un *)&listening->address)->sun_path);
        close(listening->fd);
    }
    free(set->at);
    *set = (struct listening_set){0};
}
