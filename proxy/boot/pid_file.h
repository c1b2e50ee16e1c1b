/* The supervisor's process id, for `outrigger -s`. The file stays locked while its process lives, so that a number left behind is never mistaken for it. */
#ifndef BOOT_PID_FILE_H
#define BOOT_PID_FILE_H

#include <stdbool.h>
#include <sys/types.h>

/* Where it is when the user does not say. */
extern const char pid_file_default[];

/* Creates, locks and writes `path`; NULL: the default place, where failing is no error. False, with a line on stderr: it cannot be written, or another
 * supervisor has it. */
bool pid_file_create(const char *path);
/* Leaves the file to another supervisor: unlocked, not removed. */
void pid_file_give(void);
/* Removes what pid_file_create made. */
void pid_file_remove(void);
/* The supervisor that holds the lock on `path` (NULL: default); 0, with a line on stderr, when there is none. */
pid_t pid_file_read(const char *path);

#endif
