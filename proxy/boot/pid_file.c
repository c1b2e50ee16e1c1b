#include "proxy/boot/pid_file.h"

#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

const char pid_file_default[] = "/run/outrigger/outrigger.pid";

static const char *made_path;
static int made_fd = -1; /* keeps the lock */

/* 0, or the process that holds the lock. fcntl's lock rather than flock's: it tells who. */
static pid_t lock_or_holder(int fd, int type)
{
    struct flock lock = {.l_type = (short)type, .l_whence = SEEK_SET};
    if (type == F_WRLCK && fcntl(fd, F_SETLK, &lock) == 0)
        return 0;
    lock.l_type = F_WRLCK;
    if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
        return 0;
    return lock.l_pid;
}

bool pid_file_create(const char *path)
{
    bool is_default = path == NULL;
    if (is_default) {
        path = pid_file_default;
        mkdir("/run/outrigger", 0755);
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        if (!is_default)
            fprintf(stderr, "outrigger: pid file %s: %s\n", path, strerror(errno));
        return is_default;
    }
    pid_t holder = lock_or_holder(fd, F_WRLCK);
    if (holder != 0) {
        close(fd);
        if (!is_default)
            fprintf(stderr, "outrigger: pid file %s: process %d is running with it\n", path, (int)holder);
        return is_default; /* a second server beside the first is told apart by --pid-file */
    }
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0) {
        fprintf(stderr, "outrigger: pid file %s: %s\n", path, strerror(errno));
        close(fd);
        return is_default;
    }
    made_path = path;
    made_fd = fd;
    return true;
}

void pid_file_remove(void)
{
    if (made_fd < 0)
        return;
    unlink(made_path);
    close(made_fd);
    made_fd = -1;
}

void pid_file_give(void)
{
    if (made_fd >= 0)
        close(made_fd);
    made_fd = -1;
}

pid_t pid_file_read(const char *path)
{
    if (!path)
        path = pid_file_default;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "outrigger: pid file %s: %s\n", path, strerror(errno));
        return 0;
    }
    pid_t holder = lock_or_holder(fd, F_RDLCK);
    close(fd);
    if (holder == 0)
        fprintf(stderr, "outrigger: pid file %s: no running supervisor holds it\n", path);
    return holder;
}
