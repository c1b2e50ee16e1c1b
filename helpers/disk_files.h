/* The disk helper's engine: files below the allowed roots, read into the slab.
 *
 * A path is confined to its root by the kernel (openat2, RESOLVE_BENEATH): symbolic links may be followed as long as they stay inside.
 * Components that begin with a dot do not exist for us (`..` among them). Only regular files are read.
 */
#ifndef HELPERS_DISK_FILES_H
#define HELPERS_DISK_FILES_H

#include "base/bytes.h"
#include "helpers/messages.h"

#include <stdbool.h>

enum { OPEN_FILES_MAX = 64 };

struct disk_files;

/* `memory` (of `size` bytes) is the slab's mapping; borrowed. */
struct disk_files *disk_files_new(char *memory, size_t size);
void               disk_files_free(struct disk_files **files);

/* `roots`: `count` absolute paths, each with its NUL; copied, the earlier ones are forgotten. False when malformed (nothing changes). */
bool disk_files_set_roots(struct disk_files *files, struct bytes roots, unsigned count);

/* Locks the process up (sandbox.h) with the roots as they are now. */
void disk_files_lock(struct disk_files *files);
/* A root is not the directory that it was when the process was locked: made since, replaced, or new in the list. Only a new process can read it. */
bool disk_files_are_outdated(const struct disk_files *files);

/* Whether the root of `target` is in the list. */
bool disk_files_know_root(const struct disk_files *files, struct bytes target);

/* Blocks. `target`: root NUL path. False when the request itself breaks a rule: malformed target, bytes outside the slab.
 * When it finds that the files are outdated the answer means nothing. */
bool disk_files_read(struct disk_files *files, const struct message_file_read *request, struct bytes target, struct message_file_answer *answer);

/* Asks the kernel to fetch what probably comes next (the piece after the last one read). Call once the answer is sent. */
void disk_files_read_ahead(struct disk_files *files);

#endif
