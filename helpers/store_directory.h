/* A cache directory as the supervisor finds it, before anybody serves: opened, locked, its superblock made or checked. Blocks. */
#ifndef HELPERS_STORE_DIRECTORY_H
#define HELPERS_STORE_DIRECTORY_H

#include "base/store_format.h"

#include <stdbool.h>

enum { STORE_TROUBLE_MAX = 512 };

struct store_directory_file {
    int      fd;        /* the store file; open for reading and writing, locked for the life of the descriptor (its description, to be exact) */
    bool     is_direct; /* O_DIRECT; else the filesystem refused it */
    bool     is_new;    /* the superblock was made by this call */
    struct store_superblock superblock;
    uint32_t segment_count; /* that `size` has room for */
};

/* Opens `path` (a directory; made when only it is missing) and its store file for at most `size` bytes in all. `key`: of a new store; NULL: random.
 * `uid`, `gid`: owner of what is made; −1: ours. False, and nothing was changed, with a sentence in `trouble` (to stand behind the path) that says what
 * is wrong and what to do: permission, in use by another instance (with its pid where known), a newer version, a foreign file, too small.
 * One of an older version that is known is one of this version from then on.
 * `is_lent`: another instance still uses it, and will give it to us: it is not locked, and nothing of what is there is changed. */
bool store_directory_open(const char *path, uint64_t size, const struct hash_key *key, int uid, int gid, bool is_lent,
                          struct store_directory_file *file, char trouble[STORE_TROUBLE_MAX]);
/* What was opened as lent is ours now: it is locked, and of this version. False, with `trouble`: somebody else has it. */
bool store_directory_take(const char *path, struct store_directory_file *file, char trouble[STORE_TROUBLE_MAX]);
/* Another instance may take it; whatever descriptors of it there are, nothing may be written any more. */
void store_directory_give(const struct store_directory_file *file);
/* The same for looking only: nothing is made or changed, and no lock is needed. */
bool store_directory_look(const char *path, struct store_directory_file *file, char trouble[STORE_TROUBLE_MAX]);
/* Whether another process has it locked; `owner`: its pid, 0 when not known. */
bool store_directory_is_in_use(const struct store_directory_file *file, long *owner);
void store_directory_close(struct store_directory_file *file);

#endif
