/* Disk operations by io_uring: many under way in one process. The only place that knows liburing. */
#ifndef HELPERS_STORE_RING_H
#define HELPERS_STORE_RING_H

#include "helpers/store_device.h"

#include <stdbool.h>

struct store_ring;

/* For at most `depth` operations at a time. NULL with errno where the kernel has no io_uring, or does not let us. */
struct store_ring *store_ring_new(unsigned depth);
/* Nothing is under way. */
void store_ring_free(struct store_ring **ring);

int store_ring_fd(const struct store_ring *ring); /* readable: call store_ring_turn */
/* Operation and memory are borrowed until it has ended. Begins with the next turn. */
void store_ring_push(struct store_ring *ring, struct store_operation *operation);

/* Begins what was pushed and calls `ended` for what has ended since; `ended` may push. `wait`: at least one, something is under way. False: some could not
 * be begun, for want of the kernel's memory: turn again soon. */
typedef void store_ring_ended(void *context, struct store_operation *operation, int64_t result);
bool store_ring_turn(struct store_ring *ring, bool wait, store_ring_ended *ended, void *context);

#endif
