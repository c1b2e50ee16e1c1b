/* Several families (a supervisor, its proxy, its helpers) on the same listening sockets, each with a cache of its own: `concurrency: mp`.
 *
 * DESIGN. The first process reads the configuration, binds, opens the cache directories of all, and forks a supervisor for each worker. From then on it only
 * passes signals on, and starts again what ends. Memory and cache directories are divided: family N has its share of cache.memory, and PATH/N of each cache
 * directory. Only the first family has the admin listeners, and tells the service manager.
 */
#ifndef BOOT_FAMILIES_H
#define BOOT_FAMILIES_H

#include "proxy/boot/supervisor.h"

/* The shares of s->config. Blocks. False (logged): there is too little of something, or a directory cannot be used. */
bool families_prepare(struct supervisor *s);
/* Returns when all have ended. `serve` is called in each family's supervisor, and returns its exit status. */
void families_run(struct supervisor *s, int (*serve)(struct supervisor *s));

#endif
