/* Preloaded (LD_PRELOAD) into the supervisor by instructions.py, and so into all processes: the proxy, and it alone, is started under callgrind. Its own path
 * is given instead of /proc/self/exe, which under valgrind is valgrind. No process locks itself up (helpers/sandbox.h): valgrind needs calls and files that
 * the proxy does not, and a filter is inherited.
 *
 * OUTRIGGER_BINARY is that path, CALLGRIND_OUT the file that callgrind writes. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPTION_BYTES_MAX = 512 };

/* A busy loop does that for few of its requests (proxy/observe/top.h); one under callgrind is not busy, and would do it for many. */
#define NOT_COUNTED "--toggle-collect=count_among_the_top"

/* Between fork and exec: nothing is allocated here. */
int execv(const char *path, char *const argv[])
{
    static int (*real)(const char *, char *const[]);
    const char *binary = getenv("OUTRIGGER_BINARY"), *out = getenv("CALLGRIND_OUT");
    if (!real)
        real = (int (*)(const char *, char *const[]))dlsym(RTLD_NEXT, "execv");
    if (!binary || !out || strcmp(path, "/proc/self/exe") != 0 || strcmp(argv[1], "--role=proxy") != 0)
        return real(path, argv);
    char option[OPTION_BYTES_MAX];
    snprintf(option, sizeof option, "--callgrind-out-file=%s", out);
    char *const under[] = {"valgrind",
                           "--tool=callgrind",
                           NOT_COUNTED,
                           "--dump-instr=yes",
                           "--dump-line=no",
                           "--compress-pos=no",
                           "--collect-atstart=yes",
                           option,
                           (char *)binary,
                           argv[1],
                           argv[2],
                           argv[3],
                           NULL};
    return real("/usr/bin/valgrind", under);
}

int seccomp_load(void *filter)
{
    (void)filter;
    return 0;
}

long syscall(long number, ...)
{
    static long (*real)(long, ...);
    va_list list;
    long words[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        words[i] = va_arg(list, long);
    va_end(list);
    if (!real)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return number == SYS_landlock_restrict_self ? 0 : real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
