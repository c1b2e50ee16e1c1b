#include "proxy/boot/heir.h"

#include "base/log.h"
#include "helpers/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING_MAX_BYTES = 1024 * 1024 }; /* between the release of the disk tier and TAKE: some milliseconds */

/* On the stream, before the tail. Versions far apart have it in common. */
struct frame {
    char word; /* WORD */
    uint8_t is_group;
    uint16_t key_bytes, tail_bytes;
};

_Static_assert(sizeof(struct frame) == 6, "the layout of the stream");

static const char WORD = 'I';

/* ---- the proxies -------------------------------------------------------------------------------------------------------------------------- */

static bool tell(int control, struct bytes key, struct bytes group)
{
    char tail[HEIR_TAIL_MAX];
    struct message_invalidated about = {.key_bytes = (uint32_t)key.len, .is_group = group.at != NULL};
    if (key.len + group.len > sizeof tail) {
        errno = EMSGSIZE;
        return false;
    }
    memcpy(tail, key.at, key.len);
    if (group.at != NULL)
        memcpy(tail + key.len, group.at, group.len);
    return control_try_send(control, MESSAGE_INVALIDATED, &about, bytes_from(tail, key.len + group.len)) == 0;
}

void heir_tell(int control, struct bytes key, struct bytes group)
{
    if (!tell(control, key, group))
        log_warn("upgrade", "the binary that has taken over is not told of what a request made invalid: %s", strerror(errno));
}

bool heir_heed(struct cache *cache, const struct message_invalidated *about, struct bytes tail, struct wall_seconds now)
{
    struct bytes scheme, host, path, query;
    struct arena arena;
    if (about->key_bytes > tail.len || !cache_key_parts(bytes_from(tail.at, about->key_bytes), &scheme, &host, &path, &query))
        return false;
    arena_init(&arena);
    if (about->is_group) {
        struct bytes group = bytes_from(tail.at + about->key_bytes, tail.len - about->key_bytes);
        cache_purge_group(cache, scheme, host, group, PURGE_HARD, now);
    } else {
        struct cache_key key = cache_key_build(cache_hash_key(cache), &arena, scheme, host, path, query);
        cache_purge(cache, &key, PURGE_HARD, now);
    }
    arena_free(&arena);
    return true;
}

/* ---- the old supervisor ------------------------------------------------------------------------------------------------------------------- */

void heir_init(struct heir *heir)
{
    *heir = (struct heir){.to = -1, .from = -1};
}

static void put_off(struct heir *heir, const char *at, size_t size)
{
    char *more = heir->waiting_bytes + size <= WAITING_MAX_BYTES ? realloc(heir->waiting, heir->waiting_bytes + size) : NULL;
    if (more == NULL) {
        log_warn("upgrade", "too much was made invalid to tell the new binary of all of it");
        return;
    }
    memcpy(more + heir->waiting_bytes, at, size);
    heir->waiting = more;
    heir->waiting_bytes += size;
}

void heir_pass(struct heir *heir, const struct message_invalidated *about, struct bytes tail)
{
    char whole[sizeof(struct frame) + HEIR_TAIL_MAX];
    struct frame frame = {WORD, about->is_group != 0, (uint16_t)about->key_bytes, (uint16_t)tail.len};
    if (about->key_bytes > tail.len || tail.len > HEIR_TAIL_MAX)
        return;
    memcpy(whole, &frame, sizeof frame);
    memcpy(whole + sizeof frame, tail.at, tail.len);
    if (heir->to < 0)
        put_off(heir, whole, sizeof frame + tail.len);
    else if (send(heir->to, whole, sizeof frame + tail.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EPIPE)
        log_warn("upgrade", "the new binary is not told of what a request made invalid: %s", strerror(errno));
}

void heir_open(struct heir *heir, int stream)
{
    heir->to = fcntl(stream, F_DUPFD_CLOEXEC, 0);
    if (heir->to >= 0 && heir->waiting_bytes > 0 && send(heir->to, heir->waiting, heir->waiting_bytes, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        log_warn("upgrade", "the new binary is not told of what requests made invalid: %s", strerror(errno));
    free(heir->waiting);
    heir->waiting = NULL;
    heir->waiting_bytes = 0;
}

void heir_forget(struct heir *heir)
{
    if (heir->to >= 0)
        close(heir->to);
    free(heir->waiting);
    *heir = (struct heir){.to = -1, .from = heir->from};
}

/* ---- the new supervisor ------------------------------------------------------------------------------------------------------------------- */

static bool close_stream(struct heir *heir)
{
    close(heir->from);
    heir->from = -1;
    return false;
}

bool heir_hear(struct heir *heir, struct message_invalidated *about, struct bytes *tail, char buffer[HEIR_TAIL_MAX])
{
    struct frame frame;
    if (heir->from < 0)
        return false;
    ssize_t got = recv(heir->from, &frame, sizeof frame, MSG_DONTWAIT | MSG_PEEK);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0 || frame.word != WORD)
        return close_stream(heir);
    /* What is sent at once is there at once, but for what is larger than the socket's room: the rest of that comes without delay. */
    if (recv(heir->from, &frame, sizeof frame, MSG_WAITALL) != sizeof frame || frame.tail_bytes > HEIR_TAIL_MAX ||
        frame.key_bytes > frame.tail_bytes || recv(heir->from, buffer, frame.tail_bytes, MSG_WAITALL) != frame.tail_bytes)
        return close_stream(heir);
    *about = (struct message_invalidated){.key_bytes = frame.key_bytes, .is_group = frame.is_group};
    *tail = bytes_from(buffer, frame.tail_bytes);
    return true;
}
