#include "helpers/store_device.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

int64_t store_device_run(const struct store_operation *operation)
{
    int64_t result = -1;
    errno = EINVAL;
    switch (operation->kind) {
    case STORE_DEVICE_READ:
        result = pread(operation->fd, operation->at, operation->bytes, operation->offset);
        break;
    case STORE_DEVICE_WRITE:
        result = pwrite(operation->fd, operation->at, operation->bytes, operation->offset);
        break;
    case STORE_DEVICE_ALLOCATE:
        result = fallocate(operation->fd, 0, operation->offset, operation->bytes);
        break;
    case STORE_DEVICE_SYNC:
        result = fdatasync(operation->fd);
        break;
    case STORE_DEVICE_PAUSE:
        result = nanosleep(&(struct timespec){operation->pause.tv_sec, operation->pause.tv_nsec}, NULL);
        break;
    }
    return result < 0 ? -errno : result;
}
