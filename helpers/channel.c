/* Rings and bells.
 *
 * DESIGN. The memory file holds two rings; a side is the producer of one and the consumer of the other.
 *
 *     producer                                        consumer
 *     writes the message behind `head`                loads `head` (acquire)
 *     stores `head` (release): it is visible          copies header, then message; stores `tail` (release): room again
 *     channel_flush: fence, loads `sleeping`          nothing left: stores `sleeping` = 1, fence, loads `head` again
 *       set: clears it and rings the bell               still nothing: sleeps on the bell
 *
 * No wake-up is lost. The two fences are sequentially consistent, so they have an order. Consumer's first: the producer's load sees `sleeping` and
 * rings. Producer's first: the consumer's second load sees the new `head` and does not sleep. A ring starts with `sleeping` set, so that what is
 * sent before the consumer first looked rings as well. A bell without a message is possible and harmless.
 *
 * Invariants: 1. head and tail only grow, tail ≤ head ≤ tail + CHANNEL_RING_BYTES; 2. both are multiples of 8, so that a header never wraps; 3. each
 * side keeps its own counter in private memory and never reads it back: the peer can write anywhere in the file; 4. every value read from the file is
 * checked once, on a private copy. A producer killed at any moment leaves `head` at the end of a whole message.
 * The file is sealed against shrinking: no access ends in SIGBUS.
 */
#include "helpers/channel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct ring {
    _Alignas(64) _Atomic uint64_t head;     /* producer's: bytes ever sent */
    _Alignas(64) _Atomic uint64_t tail;     /* consumer's: bytes ever taken */
    _Alignas(64) _Atomic uint32_t sleeping; /* set by the consumer, cleared by the producer that rings */
    _Alignas(64) char bytes[CHANNEL_RING_BYTES];
};

struct rings {
    struct ring to_helper, to_proxy;
};

_Static_assert((CHANNEL_RING_BYTES & (CHANNEL_RING_BYTES - 1)) == 0, "positions are masked");
_Static_assert(WIRE_MESSAGE_MAX <= CHANNEL_RING_BYTES / 8, "a full ring holds several messages");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "atomics in shared memory");

struct channel {
    struct rings *rings;
    struct ring *out, *in;
    int bell;
    enum role self, peer;
    uint64_t out_head;      /* what we published */
    uint64_t out_tail_seen; /* the consumer's tail when we last had to look */
    uint64_t in_tail;       /* what we took */
    uint64_t in_last;       /* where the last message began */
    bool unflushed, broken;
    _Alignas(8) char message[WIRE_MESSAGE_MAX]; /* the copy that is checked and lent out */
};

static int make_memory(void)
{
    uint32_t sleeping = 1;
    int memory = memfd_create("outrigger channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0)
        return -1;
    if (ftruncate(memory, sizeof(struct rings)) < 0 ||
        pwrite(memory, &sleeping, sizeof(sleeping), offsetof(struct rings, to_helper.sleeping)) < 0 ||
        pwrite(memory, &sleeping, sizeof(sleeping), offsetof(struct rings, to_proxy.sleeping)) < 0 ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int error = errno;
        close(memory);
        errno = error;
        return -1;
    }
    return memory;
}

int channel_make(struct channel_fds *fds)
{
    fds->memory = make_memory();
    if (fds->memory < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds->bell) < 0) {
        int error = errno;
        close(fds->memory);
        errno = error;
        return -1;
    }
    return 0;
}

static struct rings *map_rings(int memory)
{
    struct stat file;
    if (fstat(memory, &file) < 0)
        return NULL;
    if (file.st_size != sizeof(struct rings)) {
        errno = EINVAL;
        return NULL;
    }
    void *mapping = mmap(NULL, sizeof(struct rings), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    return mapping == MAP_FAILED ? NULL : mapping;
}

struct channel *channel_open(int memory, int bell, enum role self, enum role peer)
{
    assert((self == ROLE_PROXY) != (peer == ROLE_PROXY));
    struct rings *rings = map_rings(memory);
    int error = errno;
    close(memory); /* the mapping keeps it */
    struct channel *channel = rings ? aligned_alloc(64, (sizeof(*channel) + 63) & ~(size_t)63) : NULL;
    if (!channel) {
        if (rings) {
            munmap(rings, sizeof(*rings));
            error = ENOMEM;
        }
        close(bell);
        errno = error;
        return NULL;
    }
    *channel = (struct channel){.rings = rings, .bell = bell, .self = self, .peer = peer};
    channel->out = self == ROLE_PROXY ? &rings->to_helper : &rings->to_proxy;
    channel->in = self == ROLE_PROXY ? &rings->to_proxy : &rings->to_helper;
    return channel;
}

void channel_close(struct channel **channel)
{
    if (!*channel)
        return;
    munmap((*channel)->rings, sizeof(struct rings));
    close((*channel)->bell);
    free(*channel);
    *channel = NULL;
}

int channel_fd(const struct channel *channel)
{
    return channel->bell;
}

/* The acquire makes the consumer's reads of those bytes end before we overwrite them. */
static bool has_room(struct channel *channel, size_t size)
{
    if (CHANNEL_RING_BYTES - (channel->out_head - channel->out_tail_seen) >= size)
        return true;
    uint64_t tail = atomic_load_explicit(&channel->out->tail, memory_order_acquire);
    if (channel->out_head - tail > CHANNEL_RING_BYTES) {
        channel->broken = true;
        return false;
    }
    channel->out_tail_seen = tail;
    return CHANNEL_RING_BYTES - (channel->out_head - tail) >= size;
}

bool channel_send(struct channel *channel, enum message_type type, const void *payload, struct bytes tail)
{
    assert(message_is_valid(type, channel->self, channel->peer, message_payload_size(type), tail.len, 0));
    size_t size = wire_size(type, tail.len);
    if (channel->broken || !has_room(channel, size))
        return false;
    size_t at = channel->out_head % CHANNEL_RING_BYTES, until_wrap = CHANNEL_RING_BYTES - at;
    if (size <= until_wrap) {
        wire_encode(channel->out->bytes + at, type, payload, tail);
    } else {
        _Alignas(8) char whole[WIRE_MESSAGE_MAX];
        wire_encode(whole, type, payload, tail);
        memcpy(channel->out->bytes + at, whole, until_wrap);
        memcpy(channel->out->bytes, whole + until_wrap, size - until_wrap);
    }
    channel->out_head += size;
    atomic_store_explicit(&channel->out->head, channel->out_head, memory_order_release);
    channel->unflushed = true;
    return true;
}

void channel_flush(struct channel *channel)
{
    if (!channel->unflushed)
        return;
    channel->unflushed = false;
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&channel->out->sleeping, memory_order_relaxed))
        return;
    atomic_store_explicit(&channel->out->sleeping, 0, memory_order_relaxed);
    /* A full socket means bells not yet answered, a closed one shows as end of file: neither needs a word here. */
    (void)!send(channel->bell, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* `out` gets `size` bytes of the stream from `position`. */
static void copy_from_ring(const struct ring *ring, uint64_t position, char *out, size_t size)
{
    size_t at = position % CHANNEL_RING_BYTES, until_wrap = CHANNEL_RING_BYTES - at;
    size_t first = size < until_wrap ? size : until_wrap;
    memcpy(out, ring->bytes + at, first);
    memcpy(out + first, ring->bytes, size - first);
}

/* Takes the message at *tail of a ring that holds `available` bytes from there. False: a rule is broken. */
static bool take_message(const struct ring *ring, uint64_t *tail, uint64_t available, enum role sender, enum role receiver, char *copy,
                         struct message *message)
{
    if (available > CHANNEL_RING_BYTES || available < WIRE_HEADER_BYTES || available % 8)
        return false;
    copy_from_ring(ring, *tail, copy, WIRE_HEADER_BYTES);
    size_t size = wire_announced_size(copy), used;
    if (size == 0 || size > available)
        return false;
    copy_from_ring(ring, *tail + WIRE_HEADER_BYTES, copy + WIRE_HEADER_BYTES, size - WIRE_HEADER_BYTES);
    if (!wire_decode(bytes_from(copy, size), sender, receiver, 0, message, &used))
        return false;
    *tail += used;
    return true;
}

static uint64_t bytes_waiting(const struct channel *channel)
{
    return atomic_load_explicit(&channel->in->head, memory_order_acquire) - channel->in_tail;
}

enum channel_event channel_receive_awake(struct channel *channel, struct message *message)
{
    if (channel->broken)
        return CHANNEL_BROKEN;
    uint64_t available = bytes_waiting(channel);
    if (available == 0)
        return CHANNEL_EMPTY;
    /* Awake: spare the peer its bells. */
    if (atomic_load_explicit(&channel->in->sleeping, memory_order_relaxed))
        atomic_store_explicit(&channel->in->sleeping, 0, memory_order_relaxed);
    channel->in_last = channel->in_tail;
    if (!take_message(channel->in, &channel->in_tail, available, channel->peer, channel->self, channel->message, message)) {
        channel->broken = true;
        return CHANNEL_BROKEN;
    }
    atomic_store_explicit(&channel->in->tail, channel->in_tail, memory_order_release);
    return CHANNEL_MESSAGE;
}

enum channel_event channel_receive(struct channel *channel, struct message *message)
{
    enum channel_event event = channel_receive_awake(channel, message);
    if (event != CHANNEL_EMPTY)
        return event;
    atomic_store_explicit(&channel->in->sleeping, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return bytes_waiting(channel) == 0 ? CHANNEL_EMPTY : channel_receive_awake(channel, message);
}

/* The producer may have written over it by now: it looks at nothing but our counter, and sends the message again from what it has kept. */
void channel_give_back(struct channel *channel)
{
    channel->in_tail = channel->in_last;
    atomic_store_explicit(&channel->in->tail, channel->in_tail, memory_order_release);
}

bool channel_answer_bell(struct channel *channel)
{
    char bells[64];
    ssize_t count;
    do
        count = recv(channel->bell, bells, sizeof(bells), MSG_DONTWAIT);
    while (count == (ssize_t)sizeof(bells) || (count < 0 && errno == EINTR));
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
}

uint64_t channel_sent(const struct channel *channel)
{
    return channel->out_head;
}

uint64_t channel_taken(const struct channel *channel)
{
    uint64_t tail = atomic_load_explicit(&channel->out->tail, memory_order_acquire);
    return channel->out_head - tail > CHANNEL_RING_BYTES ? channel->out_head : tail;
}

size_t channel_backlog(const struct channel *channel)
{
    return channel_sent(channel) - channel_taken(channel);
}

size_t channel_adopt_backlog(struct channel *channel, struct channel *dead)
{
    assert(channel->self == dead->self && channel->peer == dead->peer && channel != dead);
    struct message message;
    uint64_t at = channel_taken(dead);
    size_t left = 0;
    /* The dead peer could write in this ring too, so that what we once sent is checked again. */
    while (at != dead->out_head && take_message(dead->out, &at, dead->out_head - at, dead->self, dead->peer, dead->message, &message)) {
        if (left > 0 || !channel_send(channel, message.type, message.payload, message.tail))
            left++;
    }
    return left;
}
