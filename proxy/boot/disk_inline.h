/* Calls at the disks made by the loop itself, which serves nobody meanwhile: what store helpers are compared with (`concurrency: sped`, `mt`).
 *
 * The store helpers' engine, blocking, in our own process. Belongs to one loop. A call is made when the loop delivers its mail, thus never inside
 * disk_inline_submit, and its `done` is called right after it. */
#ifndef BOOT_DISK_INLINE_H
#define BOOT_DISK_INLINE_H

#include "base/slab.h"
#include "helpers/store_client.h"
#include "proxy/net/loop.h"

struct disk_inline;

/* The store files, as the supervisor passed them. */
struct disk_files {
    unsigned count; /* 0: the store helpers have them */
    struct disk_file {
        struct message_store_directory directory;
        int fd;
    } at[STORE_DIRECTORIES];
};

/* `files` is borrowed for this call. Aborts without memory or descriptors. */
struct disk_inline *disk_inline_new(struct loop *loop, const struct slab *slab, const struct disk_files *files);
/* On its loop, which does not run any more: what was not made yet is dropped without its `done`. */
void disk_inline_free(struct disk_inline **disk);
/* `call` is borrowed until done. */
void disk_inline_submit(struct disk_inline *disk, struct store_call *call);

#endif
