/* Preloaded (LD_PRELOAD) into the supervisor by instructions.py: the proxy, and it alone, is started under callgrind. Its own path is given instead of
 * /proc/self/exe, which under valgrind is valgrind.
 *
 * OUTRIGGER_BINARY is that path, CALLGRIND_OUT the file that callgrind writes. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_BYTES_MAX = 512 };

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
    char *const under[] = {"valgrind", "--tool=callgrind", option, (char *)binary, argv[1], argv[2], argv[3], NULL};
    unsetenv("LD_PRELOAD");
    return real("/usr/bin/valgrind", under);
}
