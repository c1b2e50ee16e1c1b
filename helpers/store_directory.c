/* Cache directories.
 *
 * DESIGN. The lock is flock(2) on the store file. It belongs to the open file, which the supervisor shares with its helpers: it lasts as long as any of
 * them lives, and so nobody else writes to the store as long as a helper of a supervisor that was killed might. Such helpers die within a moment, for
 * which we wait. Who took the lock is told by /proc/locks.
 *
 * A new store is its superblock in an otherwise empty file. A crash between its making and its fsync leaves a file that is short or holds zeroes: that,
 * while no segment can have been written, counts as new. Anything else without a good superblock is not ours, or is damaged, and is never touched.
 */
#include "helpers/store_directory.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

enum {
    SEGMENTS_WANTED = 16, /* of a new store: reclaiming one costs a sixteenth of what is stored */
    LOCK_WAIT_MS = 3000,  /* for helpers whose supervisor was killed */
    LOCK_RETRY_MS = 20,
    DIRECTORY_MODE = 0700,
    FILE_MODE = 0600,
};

struct opening {
    const char *path;
    uint64_t size;
    int directory; /* −1: not open */
    bool made_directory, made_file;
    struct store_directory_file *file;
    char *trouble;
};

static bool __attribute__((format(printf, 2, 3))) refuse(struct opening *opening, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(opening->trouble, STORE_TROUBLE_MAX, format, arguments);
    va_end(arguments);
    return false;
}

/* Sizes as people write them: exact, in the largest unit that allows it. */
struct size_text {
    char text[32];
};

static struct size_text size_text(uint64_t bytes)
{
    static const char *const units[] = {" bytes", "KiB", "MiB", "GiB"};
    struct size_text out;
    unsigned unit = 0;
    for (; unit < 3 && bytes > 0 && bytes % 1024 == 0; bytes /= 1024)
        unit++;
    snprintf(out.text, sizeof out.text, "%llu%s", (unsigned long long)bytes, units[unit]);
    return out;
}

/* `what` could not be used. */
static bool refuse_errno(struct opening *opening, int error, const char *what)
{
    char uid[16];
    const struct passwd *user = getpwuid(geteuid());
    snprintf(uid, sizeof uid, "%lu", (unsigned long)geteuid());
    const char *name = user ? user->pw_name : uid;
    switch (error) {
    case EACCES:
    case EPERM:
        return refuse(opening, "permission denied: %s must belong to user %s (chown -R %s %s)", what, name, name, opening->path);
    case EROFS:
        return refuse(opening, "its filesystem is mounted read-only: remount it, or choose another directory");
    case ENOSPC:
    case EDQUOT:
        return refuse(opening, "%s: make room, or choose another directory", strerror(error));
    case ENOTDIR:
        return refuse(opening, "not a directory: name one, the store is a file in it");
    default:
        return refuse(opening, "%s cannot be used: %s", what, strerror(error));
    }
}

/* ---- directory and file ------------------------------------------------------------------------------------------------------------------ */

static bool open_directory(struct opening *opening, bool may_make, int uid, int gid)
{
    enum { FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC };
    opening->directory = open(opening->path, FLAGS);
    if (opening->directory >= 0)
        return true;
    if (errno != ENOENT || !may_make)
        return errno == ENOENT ? refuse(opening, "there is no such directory") : refuse_errno(opening, errno, "the directory");
    if (mkdir(opening->path, DIRECTORY_MODE) < 0)
        return errno == ENOENT ? refuse(opening, "the directory above it does not exist: make it, or correct the path")
                               : refuse_errno(opening, errno, "the directory above it");
    opening->made_directory = true;
    opening->directory = open(opening->path, FLAGS);
    if (opening->directory < 0 || fchown(opening->directory, uid, gid) < 0)
        return refuse_errno(opening, errno, "the directory");
    return true;
}

/* O_NONBLOCK: what is no file must not hold us up; taken away by set_mode. */
static bool open_file(struct opening *opening, int access, bool may_make, int uid, int gid)
{
    int flags = access | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    struct stat file;
    int fd = openat(opening->directory, STORE_FILE, flags);
    if (fd < 0 && errno == ENOENT && may_make) {
        fd = openat(opening->directory, STORE_FILE, flags | O_CREAT | O_EXCL, FILE_MODE);
        opening->made_file = fd >= 0;
    }
    opening->file->fd = fd;
    if (fd < 0 && errno == ENOENT)
        return refuse(opening, "there is no store (" STORE_FILE ") in it");
    if (fd < 0 && (errno == ELOOP || errno == EISDIR || errno == ENXIO))
        return refuse(opening, STORE_FILE " is no ordinary file: move it away, or choose another directory");
    if (fd < 0)
        return refuse_errno(opening, errno, "the file " STORE_FILE);
    if (fstat(fd, &file) < 0 || !S_ISREG(file.st_mode))
        return refuse(opening, STORE_FILE " is no ordinary file: move it away, or choose another directory");
    if (opening->made_file && fchown(fd, uid, gid) < 0)
        return refuse_errno(opening, errno, "the file " STORE_FILE);
    return true;
}

/* ---- the lock ----------------------------------------------------------------------------------------------------------------------------- */

/* The process that took the lock of this file; 0: not known. */
static long lock_owner(int fd)
{
    FILE *locks = fopen("/proc/locks", "re");
    struct stat file;
    char line[256];
    long owner = 0;
    if (!locks)
        return 0;
    while (fstat(fd, &file) == 0 && fgets(line, sizeof line, locks)) {
        long pid;
        unsigned device_major, device_minor;
        unsigned long inode;
        /* "1: FLOCK  ADVISORY  WRITE 708 08:01:13110 0 EOF" */
        if (sscanf(line, "%*d: FLOCK %*s %*s %ld %x:%x:%lu", &pid, &device_major, &device_minor, &inode) == 4 && inode == file.st_ino &&
            device_major == major(file.st_dev) && device_minor == minor(file.st_dev))
            owner = pid;
    }
    fclose(locks);
    return owner;
}

static bool is_alive(long pid)
{
    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

static bool refuse_lock(struct opening *opening, long owner)
{
    if (owner == getpid())
        return refuse(opening, "named twice: give each cache directory a path of its own");
    if (owner > 0)
        return refuse(opening, "in use by another instance (process %ld): stop that one, or choose another directory", owner);
    return refuse(opening, "in use by another instance: stop that one, or choose another directory");
}

static bool lock_file(struct opening *opening)
{
    struct monotonic_ms began = clock_monotonic();
    while (flock(opening->file->fd, LOCK_EX | LOCK_NB) < 0) {
        int error = errno;
        long owner = lock_owner(opening->file->fd);
        if (error == EWOULDBLOCK && (is_alive(owner) || monotonic_since(clock_monotonic(), began) >= LOCK_WAIT_MS))
            return refuse_lock(opening, owner);
        if (error != EWOULDBLOCK && error != EINTR)
            return refuse(opening, "cannot be locked: %s; a filesystem that knows flock(2) is needed", strerror(error));
        nanosleep(&(struct timespec){.tv_nsec = LOCK_RETRY_MS * 1000000L}, NULL);
    }
    return true;
}

bool store_directory_is_in_use(const struct store_directory_file *file, long *owner)
{
    *owner = 0;
    if (flock(file->fd, LOCK_SH | LOCK_NB) == 0) {
        flock(file->fd, LOCK_UN);
        return false;
    }
    *owner = lock_owner(file->fd);
    return true;
}

/* ---- the superblock ----------------------------------------------------------------------------------------------------------------------- */

static bool is_zero(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

static bool is_geometry(uint64_t segment_bytes)
{
    return segment_bytes >= STORE_SEGMENT_MIN_BYTES && segment_bytes <= STORE_SEGMENT_MAX_BYTES &&
           (segment_bytes & (segment_bytes - 1)) == 0;
}

/* Of what is there. `is_new`: nothing is. */
static bool judge(struct opening *opening, bool *is_new)
{
    char bytes[STORE_SUPERBLOCK_BYTES] = {0};
    struct store_superblock *block = &opening->file->superblock;
    struct stat file;
    ssize_t got = pread(opening->file->fd, bytes, sizeof bytes, 0);
    if (got < 0 || fstat(opening->file->fd, &file) < 0)
        return refuse(opening, STORE_FILE " cannot be read: %s", strerror(errno));
    *is_new = is_zero(bytes, sizeof bytes) && file.st_size <= STORE_FIRST_SEGMENT;
    if (*is_new)
        return true;
    memcpy(block, bytes, sizeof *block);
    if (block->magic != STORE_MAGIC)
        return refuse(opening, STORE_FILE " is not a store of Outrigger: it is left as it is; move it away, or choose another directory");
    if (block->version > STORE_VERSION)
        return refuse(opening,
                      "the store was made by a newer version (format %u, this one knows %d): it is left as it is; run that version, or "
                      "choose another directory",
                      block->version, STORE_VERSION);
    if (block->version < STORE_VERSION_OLDEST)
        return refuse(opening,
                      "the store was made by an older version (format %u, this one knows %d to %d): remove " STORE_FILE
                      " to begin with an empty one",
                      block->version, STORE_VERSION_OLDEST, STORE_VERSION);
    if (block->superblock_bytes != sizeof *block || !is_geometry(block->segment_bytes) ||
        block->checksum != store_checksum(block, offsetof(struct store_superblock, checksum)))
        return refuse(opening, "the store's first block is damaged: remove " STORE_FILE " to begin with an empty one");
    return true;
}

static uint64_t segment_bytes_for(uint64_t size)
{
    uint64_t bytes = STORE_SEGMENT_MAX_BYTES;
    while (bytes > STORE_SEGMENT_MIN_BYTES && bytes > size / SEGMENTS_WANTED)
        bytes /= 2;
    return bytes;
}

static void random_bytes(void *out, size_t count)
{
    if (getrandom(out, count, 0) != (ssize_t)count)
        abort();
}

static bool write_superblock(struct opening *opening)
{
    char bytes[STORE_SUPERBLOCK_BYTES] = {0};
    memcpy(bytes, &opening->file->superblock, sizeof opening->file->superblock);
    ssize_t put = pwrite(opening->file->fd, bytes, sizeof bytes, 0);
    int above = opening->made_directory ? openat(opening->directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (put >= 0 && put < (ssize_t)sizeof bytes)
        errno = ENOSPC;
    bool is_safe =
        put == (ssize_t)sizeof bytes && fsync(opening->file->fd) == 0 && fsync(opening->directory) == 0 && (above < 0 || fsync(above) == 0);
    int error = errno;
    if (above >= 0)
        close(above);
    return is_safe || refuse_errno(opening, error, "the file " STORE_FILE);
}

/* Of an older version is what is there, not what is going to be written: who knows that version only must not serve it any more. What changes lies in one
 * sector, so that a loss of power leaves the one or the other. */
static bool renew(struct opening *opening)
{
    _Alignas(STORE_SUPERBLOCK_BYTES) char bytes[STORE_SUPERBLOCK_BYTES] = {0}; /* O_DIRECT may be set */
    struct store_superblock *block = &opening->file->superblock;
    if (block->version == STORE_VERSION)
        return true;
    store_superblock_seal(block);
    memcpy(bytes, block, sizeof *block);
    ssize_t put = pwrite(opening->file->fd, bytes, sizeof bytes, 0);
    if (put >= 0 && put < (ssize_t)sizeof bytes)
        errno = ENOSPC;
    return (put == (ssize_t)sizeof bytes && fsync(opening->file->fd) == 0) || refuse_errno(opening, errno, "the file " STORE_FILE);
}

static bool make_store(struct opening *opening, const struct hash_key *key)
{
    struct store_superblock *block = &opening->file->superblock;
    *block = (struct store_superblock){.segment_bytes = segment_bytes_for(opening->size), .created_s = clock_wall().s};
    random_bytes(block->identity, sizeof block->identity);
    if (key)
        memcpy(block->hash_key, key->material, sizeof block->hash_key);
    else
        random_bytes(block->hash_key, sizeof block->hash_key);
    store_superblock_seal(block);
    opening->file->is_new = true;
    return write_superblock(opening);
}

/* ---- size and mode ------------------------------------------------------------------------------------------------------------------------ */

static uint64_t size_for(uint64_t segments, uint64_t segment_bytes)
{
    return STORE_FIRST_SEGMENT + segments * segment_bytes;
}

static bool fit(struct opening *opening)
{
    struct store_directory_file *file = opening->file;
    uint64_t segment_bytes = file->superblock.segment_bytes, least = size_for(STORE_SEGMENTS_MIN, segment_bytes);
    if (opening->size < least)
        return refuse(opening, "size %s is too small for the store in it, which needs %s; give it that, or remove " STORE_FILE,
                      size_text(opening->size).text, size_text(least).text);
    uint64_t count = (opening->size - STORE_FIRST_SEGMENT) / segment_bytes;
    file->segment_count = count < UINT32_MAX ? count : UINT32_MAX;
    return true;
}

/* What was given before and is not any more. */
static bool trim(struct opening *opening)
{
    const struct store_directory_file *file = opening->file;
    uint64_t most = size_for(file->segment_count, file->superblock.segment_bytes);
    struct stat now;
    if (fstat(file->fd, &now) < 0 || ((uint64_t)now.st_size > most && ftruncate(file->fd, (off_t)most) < 0))
        return refuse_errno(opening, errno, "the file " STORE_FILE);
    return true;
}

/* O_DIRECT where reads of single units work; a disk with larger blocks refuses them. */
static void set_mode(struct store_directory_file *file)
{
    _Alignas(STORE_SUPERBLOCK_BYTES) char unit[STORE_UNIT_BYTES];
    int flags = fcntl(file->fd, F_GETFL) & ~O_NONBLOCK;
    file->is_direct =
        fcntl(file->fd, F_SETFL, flags | O_DIRECT) == 0 && pread(file->fd, unit, sizeof unit, STORE_UNIT_BYTES) == (ssize_t)sizeof unit;
    if (!file->is_direct)
        fcntl(file->fd, F_SETFL, flags & ~O_DIRECT);
}

/* ------------------------------------------------------------------------------------------------------------------------------------------- */

static bool end(struct opening *opening, bool is_good)
{
    if (!is_good && opening->made_file)
        unlinkat(opening->directory, STORE_FILE, 0);
    if (!is_good)
        store_directory_close(opening->file);
    if (opening->directory >= 0)
        close(opening->directory);
    if (!is_good && opening->made_directory)
        rmdir(opening->path);
    return is_good;
}

bool store_directory_open(const char *path, uint64_t size, const struct hash_key *key, int uid, int gid, bool is_lent,
                          struct store_directory_file *file, char trouble[STORE_TROUBLE_MAX])
{
    struct opening opening = {.path = path, .size = size, .directory = -1, .file = file, .trouble = trouble};
    uint64_t least = size_for(STORE_SEGMENTS_MIN, STORE_SEGMENT_MIN_BYTES);
    bool is_new = false;
    *file = (struct store_directory_file){.fd = -1};
    if (size < least)
        return refuse(&opening, "size %s is too small: at least %s", size_text(size).text, size_text(least).text);
    bool is_good = open_directory(&opening, true, uid, gid) && open_file(&opening, O_RDWR, true, uid, gid) &&
                   (is_lent || lock_file(&opening)) && judge(&opening, &is_new) && (!is_new || make_store(&opening, key)) &&
                   fit(&opening) && (is_lent || (trim(&opening) && renew(&opening)));
    if (is_good)
        set_mode(file);
    return end(&opening, is_good);
}

bool store_directory_take(const char *path, struct store_directory_file *file, char trouble[STORE_TROUBLE_MAX])
{
    struct opening opening = {.path = path, .directory = -1, .file = file, .trouble = trouble};
    return lock_file(&opening) && trim(&opening) && renew(&opening);
}

void store_directory_give(const struct store_directory_file *file)
{
    flock(file->fd, LOCK_UN);
}

bool store_directory_look(const char *path, struct store_directory_file *file, char trouble[STORE_TROUBLE_MAX])
{
    struct opening opening = {.path = path, .directory = -1, .file = file, .trouble = trouble};
    bool is_new = false;
    struct stat now = {0};
    *file = (struct store_directory_file){.fd = -1};
    bool is_good = open_directory(&opening, false, -1, -1) && open_file(&opening, O_RDONLY, false, -1, -1) && judge(&opening, &is_new) &&
                   (!is_new || refuse(&opening, "there is no store (" STORE_FILE ") in it yet"));
    if (is_good && fstat(file->fd, &now) == 0 && now.st_size > STORE_FIRST_SEGMENT)
        file->segment_count = (now.st_size - STORE_FIRST_SEGMENT + file->superblock.segment_bytes - 1) / file->superblock.segment_bytes;
    return end(&opening, is_good);
}

void store_directory_close(struct store_directory_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
