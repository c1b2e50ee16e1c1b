#include "proxy/boot/notify.h"

#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool is_closed;

void notify_close(void)
{
    is_closed = true;
}

void notify_manager(const char *format, ...)
{
    struct sockaddr_un manager = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    if (is_closed || !path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof manager.sun_path)
        return;
    char state[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(state, sizeof state, format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof state)
        return;

    memcpy(manager.sun_path, path, strlen(path));
    if (path[0] == '@') /* the abstract namespace */
        manager.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || sendto(fd, state, (size_t)length, MSG_NOSIGNAL, (struct sockaddr *)&manager,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
        log_warn("notify", "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}
