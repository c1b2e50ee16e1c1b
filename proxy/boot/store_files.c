#include "proxy/boot/store_files.h"

#include "base/log.h"
#include "cache/disk/disk_index.h"

#include <pwd.h>
#include <string.h>
#include <sys/vfs.h>

_Static_assert((int)DISKS_MAX <= (int)STORE_DIRECTORIES, "every directory of the configuration can be told");
_Static_assert(DISKS_MAX_BYTES <= DISK_INDEX_UNITS_MAX * STORE_UNIT_BYTES, "every place in them has a number");

/* The account that the helpers will run as. */
static void find_owner(const char *user, int *uid, int *gid)
{
    const struct passwd *account = user ? getpwnam(user) : NULL;
    *uid = account ? (int)account->pw_uid : -1;
    *gid = account ? (int)account->pw_gid : -1;
}

static void warn_of_small_filesystem(const struct config_disk *disk, const struct store_directory_file *file)
{
    struct statfs filesystem;
    if (fstatfs(file->fd, &filesystem) < 0)
        return;
    uint64_t bytes = (uint64_t)filesystem.f_blocks * (uint64_t)filesystem.f_bsize;
    if (disk->size_bytes > bytes)
        log_warn("store", "cache.disk: %s is to hold %llu MiB, but its filesystem has only %llu MiB: what fits is used", disk->path,
                 (unsigned long long)(disk->size_bytes >> 20), (unsigned long long)(bytes >> 20));
}

static bool open_one(struct store_files *files, const struct config_disk *disk, const struct hash_key *key, const char *user, bool is_lent)
{
    char trouble[STORE_TROUBLE_MAX];
    struct store_directory_file *file = &files->at[files->count];
    int uid, gid;
    find_owner(user, &uid, &gid);
    if (!store_directory_open(disk->path, disk->size_bytes, key, uid, gid, is_lent, file, trouble)) {
        log_error("store", "cache.disk: %s: %s", disk->path, trouble);
        return false;
    }
    files->count++;
    warn_of_small_filesystem(disk, file);
    return true;
}

/* Names are hashed with one key: a directory that was made with another one holds nothing that could be found. */
static bool keys_agree(const struct store_files *files, const struct config *config)
{
    for (unsigned i = 1; i < files->count; i++) {
        if (memcmp(files->at[i].superblock.hash_key, files->at[0].superblock.hash_key, HASH_KEY_BYTES) == 0)
            continue;
        log_error("store", "cache.disk: %s and %s were not made for one cache: empty one of them, or list only one", config->disks[0].path,
                  config->disks[i].path);
        return false;
    }
    return true;
}

bool store_files_open(struct store_files *files, const struct config *config, bool is_lent)
{
    struct hash_key key;
    files->count = 0;
    bool good = true;
    for (unsigned i = 0; good && i < config->disk_count; i++) {
        good = open_one(files, &config->disks[i], i > 0 ? &key : NULL, config->user, is_lent);
        if (good && i == 0)
            hash_key_derive(&key, files->at[0].superblock.hash_key);
    }
    good = good && keys_agree(files, config);
    if (!good)
        store_files_close(files);
    return good;
}

bool store_files_take(struct store_files *files, const struct config *config)
{
    char trouble[STORE_TROUBLE_MAX];
    for (unsigned i = 0; i < files->count; i++) {
        if (store_directory_take(config->disks[i].path, &files->at[i], trouble))
            continue;
        log_error("store", "cache.disk: %s: %s; going on without the disk tier until the server is restarted", config->disks[i].path,
                  trouble);
        return false;
    }
    return true;
}

void store_files_give(const struct store_files *files)
{
    for (unsigned i = 0; i < files->count; i++)
        store_directory_give(&files->at[i]);
}

void store_files_close(struct store_files *files)
{
    while (files->count > 0)
        store_directory_close(&files->at[--files->count]);
}

void store_files_describe(const struct store_files *files, struct message_store_geometry *geometry)
{
    *geometry = (struct message_store_geometry){.count = files->count};
    for (unsigned i = 0; i < files->count; i++) {
        const struct store_directory_file *file = &files->at[i];
        memcpy(geometry->hash_key, file->superblock.hash_key, sizeof geometry->hash_key);
        geometry->directories[i].segment_bytes = file->superblock.segment_bytes;
        geometry->directories[i].segment_count = file->segment_count;
        memcpy(geometry->directories[i].identity, file->superblock.identity, sizeof geometry->directories[i].identity);
    }
}
