/* What libraries read from files at some later time is read now: afterwards the proxy is locked up (helpers/sandbox.h) and opens none. */
#ifndef BOOT_PREPARE_H
#define BOOT_PREPARE_H

void prepare_for_sandbox(void);

#endif
