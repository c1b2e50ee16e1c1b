/* A TCP port that nobody uses, and that no other test is given while this one runs: the locks are those of tests/e2e/harness/ports.py. It is below the ports
 * that the kernel hands out to clients and to who asks for any. */
#ifndef TESTS_FREE_PORT_H
#define TESTS_FREE_PORT_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The lock ends with the process, which is a test's own. The same one is not refused to it again. */
static inline bool reserve_port(uint16_t port)
{
    static int locks = -1;
    char path[256];
    const char *directory = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/outrigger-test-ports-%u", directory ? directory : "/tmp", (unsigned)getuid());
    if (locks < 0)
        locks = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(locks, 0);
    return fcntl(locks, F_SETLK, &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = port, .l_len = 1}) == 0;
}

static inline bool can_bind(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)}; /* at every address */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool bound = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return bound;
}

static inline unsigned free_port(void)
{
    enum { FIRST = 10240, LAST = 32767 };
    static uint16_t port;
    if (port == 0)
        port = (uint16_t)(FIRST + arc4random_uniform(LAST - FIRST + 1));
    do
        port = port == LAST ? FIRST : port + 1;
    while (!reserve_port(port) || !can_bind(port));
    return port;
}

#endif
