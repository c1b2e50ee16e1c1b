/* Locking a process up for good: no capability, no_new_privs, only the system calls of its role, only the directories that it is given.
 *
 * DESIGN. Three fences, each of its own use. Capabilities are dropped even where the user stays root. A seccomp filter made of sandbox.tbl refuses what a
 * role does not need; a refused call fails with EPERM and the error log names role and call, so that a need that was forgotten shows itself as what it
 * is, and as a probe where there was an intruder. Landlock (Linux 5.13), where the kernel has it, confines the paths that the remaining calls can reach.
 * Where a kernel or a container has neither, the server runs without and says so once.
 */
#ifndef HELPERS_SANDBOX_H
#define HELPERS_SANDBOX_H

#include "helpers/messages.h"

#include <stdbool.h>

/* Of the calling process, before it has threads. `readable`: O_PATH descriptors of files and directories, borrowed; these, and what is
 * below them, may be opened for reading, and nothing else.
 * Only the supervisor keeps what its work needs: the capabilities to bind, open, chown, change users and kill, and any path.
 * Returns whether paths are confined. */
bool sandbox_enter(enum role role, const int *readable, unsigned count);

/* Of a process that one of that role has executed: fences outlive execve(2), but for who tells of refused calls. Another filter would only be asked as well,
 * and after some hundred upgrades the kernel would take no more. */
void sandbox_keep(enum role role);

#endif
