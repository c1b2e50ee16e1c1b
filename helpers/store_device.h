/* One operation at a disk: what the two flavours of the store's engine, blocking and io_uring, do in their own ways. */
#ifndef HELPERS_STORE_DEVICE_H
#define HELPERS_STORE_DEVICE_H

#include <linux/time_types.h>
#include <stdint.h>

struct store_operation {
    enum store_device {
        STORE_DEVICE_READ,
        STORE_DEVICE_WRITE,
        STORE_DEVICE_ALLOCATE,
        STORE_DEVICE_SYNC,
        STORE_DEVICE_PAUSE, /* for tests: nothing, for so long */
    } kind;
    int      fd;
    uint64_t offset, bytes;
    char    *at; /* READ and WRITE: may do less than all */
    struct __kernel_timespec pause;
};

/* Bytes done (READ, WRITE), 0 (the others), or −errno. Blocks. */
int64_t store_device_run(const struct store_operation *operation);

#endif
