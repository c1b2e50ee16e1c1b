#include "proxy/boot/notify.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A manager listening at `name` ("@" first: abstract). */
static int manager(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, name, strlen(name));
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void assert_received(int fd, const char *expected)
{
    char got[256];
    ssize_t length = recv(fd, got, sizeof got - 1, 0);
    cr_assert_geq(length, 0);
    got[length] = '\0';
    cr_assert_str_eq(got, expected);
}

Test(notify, tells_a_socket_in_the_file_system)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/notify-test-%d", (int)getpid());
    int fd = manager(path);
    notify_manager("READY=1\nSTATUS=%s\n", "Serving");
    assert_received(fd, "READY=1\nSTATUS=Serving\n");
    unlink(path);
}

Test(notify, tells_an_abstract_socket)
{
    char name[64];
    snprintf(name, sizeof name, "@notify-test-%d", (int)getpid());
    int fd = manager(name);
    notify_manager("STOPPING=1\n");
    assert_received(fd, "STOPPING=1\n");
}

Test(notify, is_silent_where_nobody_asked)
{
    unsetenv("NOTIFY_SOCKET");
    notify_manager("READY=1\n");
    setenv("NOTIFY_SOCKET", "relative", 1);
    notify_manager("READY=1\n");
}
