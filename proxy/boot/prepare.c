#include "proxy/boot/prepare.h"

#include "proxy/boot/collect.h"
#include "proxy/boot/memory_watch.h"
#include "proxy/net/tls.h"
#include "proxy/origin/mime.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <time.h>

enum { ARENAS_PER_CORE = 8 /* as glibc has it */ };
enum { BLOCKS = 16, BLOCK_BYTES = 100 * 1024 }; /* each less than glibc would map by itself, all more than it leaves at an arena's end */

/* glibc gives memory of a thread's arena back when enough of it is free, and asks /proc/sys/vm/overcommit_memory before it does so for the first time. */
static void *give_memory_back(void *context)
{
    void *volatile blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = malloc(BLOCK_BYTES);
    for (int i = BLOCKS; i-- > 0;)
        free(blocks[i]);
    return context;
}

void prepare_for_sandbox(void)
{
    pthread_t thread;
    mime_load(MIME_TYPES_PATH);
    collect_prepare();
    memory_watch_prepare();
    tls_prepare();
    mallopt(M_ARENA_MAX, ARENAS_PER_CORE * get_nprocs()); /* else the ninth thread's first malloc counts the cores in /sys */
    tzset();                                              /* /etc/localtime */
    if (pthread_create(&thread, NULL, give_memory_back, NULL) == 0)
        pthread_join(thread, NULL);
}
