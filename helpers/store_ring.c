#include "helpers/store_ring.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REAPED_AT_ONCE = 64 };

struct store_ring {
    struct io_uring uring;
};

/* The kernel finishes operations when we enter it, be it to wait, and does not interrupt us (Linux 5.19). IORING_SETUP_DEFER_TASKRUN would put that off until
 * io_uring_enter(2), and then its poll(2) does not always wake us (seen on 6.18, for what a worker of the kernel's does). */
static int make_ring(struct io_uring *uring, unsigned depth)
{
    int result = io_uring_queue_init(depth, uring, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED);
    return result == -EINVAL ? io_uring_queue_init(depth, uring, IORING_SETUP_R_DISABLED) : result;
}

/* What goes through a ring passes no seccomp filter: the ring itself takes nothing but what we ask of it (Linux 5.10). */
static int restrict_ring(struct io_uring *uring)
{
    static const unsigned char operations[] = {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FALLOCATE, IORING_OP_FSYNC, IORING_OP_TIMEOUT};
    struct io_uring_restriction allowed[sizeof operations] = {0};
    for (unsigned i = 0; i < sizeof operations; i++) {
        allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
        allowed[i].sqe_op = operations[i];
    }
    /* liburing has functions for both, which Debian's library does not export. */
    if (syscall(SYS_io_uring_register, uring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed, sizeof operations) < 0 ||
        syscall(SYS_io_uring_register, uring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
        return -errno;
    return 0;
}

struct store_ring *store_ring_new(unsigned depth)
{
    struct store_ring *ring = calloc(1, sizeof *ring);
    if (!ring)
        abort();
    int result = make_ring(&ring->uring, depth);
    int restricted = result < 0 ? result : restrict_ring(&ring->uring);
    if (result == 0 && restricted < 0) {
        io_uring_queue_exit(&ring->uring);
        result = restricted;
    }
    if (result < 0) {
        free(ring);
        errno = -result;
        return NULL;
    }
    return ring;
}

void store_ring_free(struct store_ring **ring)
{
    if (!*ring)
        return;
    io_uring_queue_exit(&(*ring)->uring);
    free(*ring);
    *ring = NULL;
}

int store_ring_fd(const struct store_ring *ring)
{
    return ring->uring.ring_fd;
}

void store_ring_push(struct store_ring *ring, struct store_operation *operation)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring);
    assert(entry);
    switch (operation->kind) {
    case STORE_DEVICE_READ:
        io_uring_prep_read(entry, operation->fd, operation->at, operation->bytes, operation->offset);
        break;
    case STORE_DEVICE_WRITE:
        io_uring_prep_write(entry, operation->fd, operation->at, operation->bytes, operation->offset);
        break;
    case STORE_DEVICE_ALLOCATE:
        io_uring_prep_fallocate(entry, operation->fd, 0, operation->offset, operation->bytes);
        break;
    case STORE_DEVICE_SYNC:
        io_uring_prep_fsync(entry, operation->fd, IORING_FSYNC_DATASYNC);
        break;
    case STORE_DEVICE_PAUSE:
        io_uring_prep_timeout(entry, &operation->pause, 0, 0);
        break;
    }
    io_uring_sqe_set_data(entry, operation);
}

static void reap(struct store_ring *ring, store_ring_ended *ended, void *context)
{
    struct io_uring_cqe *entries[REAPED_AT_ONCE];
    unsigned count;
    while ((count = io_uring_peek_batch_cqe(&ring->uring, entries, REAPED_AT_ONCE)) > 0) {
        for (unsigned i = 0; i < count; i++) {
            struct store_operation *operation = io_uring_cqe_get_data(entries[i]);
            int64_t result = entries[i]->res;
            ended(context, operation, operation->kind == STORE_DEVICE_PAUSE && result == -ETIME ? 0 : result);
        }
        io_uring_cq_advance(&ring->uring, count);
    }
}

bool store_ring_turn(struct store_ring *ring, bool wait, store_ring_ended *ended, void *context)
{
    if (wait)
        io_uring_submit_and_wait(&ring->uring, 1);
    else if (io_uring_sq_ready(&ring->uring) > 0)
        io_uring_submit(&ring->uring);
    reap(ring, ended, context);
    /* What `ended` pushed must not wait for a turn that nothing would bring about. */
    if (io_uring_sq_ready(&ring->uring) > 0)
        io_uring_submit(&ring->uring);
    return io_uring_sq_ready(&ring->uring) == 0;
}
