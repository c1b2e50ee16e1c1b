/* Certificates are renewed by others, who may not know how to tell us: the files that the configuration names (config->files) are looked at every second, and
 * one that changed, and then stayed as it was for a second, makes all of them be read again. */
#ifndef BOOT_FILE_WATCH_H
#define BOOT_FILE_WATCH_H

#include "proxy/boot/supervisor.h"

/* Milliseconds until the next look; −1: there is nothing to look at. */
int file_watch_tick(struct supervisor *s, struct monotonic_ms now);

#endif
