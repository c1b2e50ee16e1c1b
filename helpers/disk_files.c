/* Files for `files:` origins.
 *
 * DESIGN. Descriptors of the last files are kept (OPEN_FILES_MAX, least recently used goes first), so that a hot file costs a stat and a read.
 * A kept descriptor is trusted in two cases only:
 *   - a new reading (inode 0 in the request): a stat by name finds the same file, unchanged (device, inode, size, mtime, ctime). A file that was
 *     replaced or edited is therefore seen at once, and so is a change of its permissions, which moves ctime.
 *   - a later piece of a reading: the descriptor is the very file named by inode, size and mtime. Even when the name now leads to another file, the
 *     response that was begun ends with its own bytes.
 * The stat by name is not confined to the root, and needs not be: it is only compared with a file that was reached inside.
 * Landlock knows directories, not names: a root whose name leads elsewhere than it did when the process was locked (`current -> releases/42`) cannot be
 * read any more, and no process can be unlocked. That is seen before the directory is used: then the files are *outdated*.
 * After the read the file is looked at again: bytes that changed meanwhile are answered FILE_CHANGED, not served.
 * The kernel stamps changes with a clock that ticks every few milliseconds, and some file systems keep whole seconds. A file whose mtime is of the
 * present tick may change once more and keep it; it is not *settled* (message_file_answer).
 */
#include "helpers/disk_files.h"

#include "base/clock.h"
#include "base/log.h"
#include "helpers/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    TARGET_MAX = 8192,
    READ_RETRIES = 3,                  /* of a file that changes while it is read */
    COMPLAINT_MS = 1000,               /* at most one line in that time */
    OPEN_RETRIES = 8,                  /* openat2 answers EAGAIN when a rename crossed its way */
    SEQUENTIAL_MIN_BYTES = 256 * 1024, /* larger files get the kernel's larger read-ahead window */
};

#define SECOND_NS INT64_C(1000000000)

enum { ROOTS_MAX = TARGET_MAX / 2 }; /* so many fit into the message */

struct identity {
    dev_t device;
    ino_t inode;
};

struct open_file {
    int fd; /* −1: free */
    char *target;
    size_t target_len;
    struct stat found;
    uint64_t used; /* when, in requests */
};

struct disk_files {
    char *memory;
    size_t memory_size;
    char *roots;
    size_t roots_len;
    bool is_locked, is_outdated;
    struct identity *readable; /* when locked */
    unsigned readable_count;
    uint64_t requests;
    struct open_file open[OPEN_FILES_MAX];
    struct monotonic_ms complained;
    struct {
        int fd;
        uint64_t offset, length;
    } ahead; /* length 0: nothing */
};

struct disk_files *disk_files_new(char *memory, size_t size)
{
    struct disk_files *files = calloc(1, sizeof(*files));
    if (!files)
        abort();
    files->memory = memory;
    files->memory_size = size;
    for (unsigned i = 0; i < OPEN_FILES_MAX; i++)
        files->open[i].fd = -1;
    return files;
}

static void forget(struct disk_files *files, struct open_file *file)
{
    if (file->fd < 0)
        return;
    if (files->ahead.fd == file->fd)
        files->ahead.length = 0;
    close(file->fd);
    free(file->target);
    *file = (struct open_file){.fd = -1};
}

static void forget_all(struct disk_files *files)
{
    for (unsigned i = 0; i < OPEN_FILES_MAX; i++)
        forget(files, &files->open[i]);
}

void disk_files_free(struct disk_files **files)
{
    if (!*files)
        return;
    forget_all(*files);
    free((*files)->roots);
    free((*files)->readable);
    free(*files);
    *files = NULL;
}

/* ---- locked ------------------------------------------------------------------------------------------------------------------------------- */

static struct identity identity_of(int directory)
{
    struct stat status;
    return fstat(directory, &status) == 0 ? (struct identity){status.st_dev, status.st_ino} : (struct identity){0};
}

static int open_root(const char *root)
{
    return open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

void disk_files_lock(struct disk_files *files)
{
    int *roots = calloc(ROOTS_MAX, sizeof *roots);
    files->readable = calloc(ROOTS_MAX, sizeof *files->readable);
    if (!roots || !files->readable)
        abort();
    for (size_t at = 0; at < files->roots_len && files->readable_count < ROOTS_MAX; at += strlen(files->roots + at) + 1) {
        int root = open_root(files->roots + at);
        if (root < 0)
            continue;
        roots[files->readable_count] = root;
        files->readable[files->readable_count++] = identity_of(root);
    }
    files->is_locked = sandbox_enter(ROLE_DISK, roots, files->readable_count);
    for (unsigned i = 0; i < files->readable_count; i++)
        close(roots[i]);
    free(roots);
}

static bool is_readable(const struct disk_files *files, int directory)
{
    struct identity identity = identity_of(directory);
    for (unsigned i = 0; i < files->readable_count; i++) {
        if (files->readable[i].device == identity.device && files->readable[i].inode == identity.inode)
            return true;
    }
    return !files->is_locked;
}

static bool has_new_root(const struct disk_files *files)
{
    bool is_new = false;
    for (size_t at = 0; files->is_locked && !is_new && at < files->roots_len; at += strlen(files->roots + at) + 1) {
        int root = open_root(files->roots + at);
        if (root < 0)
            continue;
        is_new = !is_readable(files, root);
        close(root);
    }
    return is_new;
}

bool disk_files_are_outdated(const struct disk_files *files)
{
    return files->is_outdated;
}

/* ---- roots and names ----------------------------------------------------------------------------------------------------------------------- */

bool disk_files_set_roots(struct disk_files *files, struct bytes roots, unsigned count)
{
    unsigned found = 0;
    for (size_t at = 0; at < roots.len; found++) {
        size_t len = bytes_find(bytes_from(roots.at + at, roots.len - at), '\0');
        if (len == roots.len - at || len == 0 || roots.at[at] != '/')
            return false;
        at += len + 1;
    }
    if (found != count)
        return false;
    char *copy = malloc(roots.len + 1);
    if (!copy)
        abort();
    if (roots.len)
        memcpy(copy, roots.at, roots.len);
    free(files->roots);
    files->roots = copy;
    files->roots_len = roots.len;
    files->is_outdated = has_new_root(files);
    forget_all(files);
    return true;
}

static bool is_allowed_root(const struct disk_files *files, const char *root)
{
    for (size_t at = 0; at < files->roots_len; at += strlen(files->roots + at) + 1) {
        if (strcmp(files->roots + at, root) == 0)
            return true;
    }
    return false;
}

bool disk_files_know_root(const struct disk_files *files, struct bytes target)
{
    return bytes_find(target, '\0') < target.len && is_allowed_root(files, target.at);
}

/* Whether any component begins with a dot. */
static bool is_hidden(const char *path)
{
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (*at == '.')
            return true;
    }
    return false;
}

static enum file_status status_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case EINVAL:
        return FILE_MISSING;
    case EACCES:
    case EPERM:
    case EXDEV: /* RESOLVE_BENEATH: it leads out of the root */
    case ELOOP:
    case ENXIO: /* a socket, a pipe without a writer */
    case ENODEV:
        return FILE_FORBIDDEN;
    default:
        return FILE_IO_ERROR;
    }
}

static int64_t mtime_ns(const struct stat *file)
{
    return (int64_t)file->st_mtim.tv_sec * SECOND_NS + file->st_mtim.tv_nsec;
}

/* `now` was read before the file was looked at, from the clock that changes are stamped with. */
static bool is_settled(int64_t changed_ns, struct timespec now)
{
    int64_t age_ns = (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec - changed_ns;
    int64_t tick_ns = changed_ns % SECOND_NS == 0 ? 2 * SECOND_NS /* FAT's */ : 0;
    return age_ns > tick_ns || age_ns < -SECOND_NS /* a date of its owner's making: the next change will not have it */;
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size && is_same_time(a->st_mtim, b->st_mtim) &&
           is_same_time(a->st_ctim, b->st_ctim);
}

static bool is_wanted(const struct stat *file, const struct message_file_read *request)
{
    return file->st_ino == request->inode && (uint64_t)file->st_size == request->size && mtime_ns(file) == request->mtime_ns;
}

static int open_confined(struct disk_files *files, const char *root, const char *path)
{
    /* O_NONBLOCK: opening a pipe must not wait for its writer. */
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int directory = open_root(root), fd = -1;
    if (directory < 0)
        return -1;
    files->is_outdated = !is_readable(files, directory);
    for (int i = 0; i < OPEN_RETRIES && !files->is_outdated; i++) {
        fd = syscall(SYS_openat2, directory, *path ? path : ".", &how, sizeof(how));
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    int error = errno;
    close(directory);
    errno = error;
    return fd;
}

static struct open_file *find_open(struct disk_files *files, struct bytes target)
{
    for (unsigned i = 0; i < OPEN_FILES_MAX; i++) {
        struct open_file *file = &files->open[i];
        if (file->fd >= 0 && bytes_equal(bytes_from(file->target, file->target_len), target))
            return file;
    }
    return NULL;
}

static struct open_file *least_recently_used(struct disk_files *files)
{
    struct open_file *oldest = &files->open[0];
    for (unsigned i = 0; i < OPEN_FILES_MAX; i++) {
        if (files->open[i].fd < 0)
            return &files->open[i];
        if (files->open[i].used < oldest->used)
            oldest = &files->open[i];
    }
    return oldest;
}

static enum file_status open_anew(struct disk_files *files, struct bytes target, const char *root, const char *path,
                                  struct open_file **opened)
{
    struct stat found = {0};
    int fd = open_confined(files, root, path);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        forget_all(files);
        fd = open_confined(files, root, path);
    }
    if (fd < 0)
        return status_of(errno);
    if (fstat(fd, &found) < 0 || !S_ISREG(found.st_mode)) {
        close(fd);
        return S_ISDIR(found.st_mode) ? FILE_IS_DIRECTORY : FILE_FORBIDDEN;
    }
    if (found.st_size >= SEQUENTIAL_MIN_BYTES)
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    struct open_file *file = least_recently_used(files);
    forget(files, file);
    *file = (struct open_file){.fd = fd, .target = malloc(target.len), .target_len = target.len, .found = found};
    if (!file->target)
        abort();
    memcpy(file->target, target.at, target.len);
    *opened = file;
    return FILE_OK;
}

/* Whether the name still leads to the file that is open. */
static bool is_still_there(const struct open_file *file, const char *root, const char *path)
{
    char name[TARGET_MAX + 2];
    struct stat now;
    size_t root_len = strlen(root), path_len = strlen(path);
    memcpy(name, root, root_len);
    name[root_len] = '/';
    memcpy(name + root_len + 1, path, path_len + 1);
    return stat(name, &now) == 0 && is_unchanged(&now, &file->found);
}

static enum file_status find_file(struct disk_files *files, const struct message_file_read *request, struct bytes target, const char *root,
                                  const char *path, struct open_file **file)
{
    *file = find_open(files, target);
    if (*file && request->inode != 0 && is_wanted(&(*file)->found, request))
        return FILE_OK;
    if (!*file || !is_still_there(*file, root, path)) {
        if (*file)
            forget(files, *file);
        enum file_status status = open_anew(files, target, root, path, file);
        if (status != FILE_OK)
            return request->inode != 0 && status != FILE_IO_ERROR ? FILE_CHANGED : status;
        assert(*file);
    }
    return request->inode != 0 && !is_wanted(&(*file)->found, request) ? FILE_CHANGED : FILE_OK;
}

static enum file_status read_piece(struct disk_files *files, struct open_file *file, const struct message_file_read *request,
                                   uint64_t *bytes_read)
{
    uint64_t size = file->found.st_size, left = request->offset < size ? size - request->offset : 0;
    uint64_t wanted = request->length < left ? request->length : left;
    struct stat after;
    for (*bytes_read = 0; *bytes_read < wanted;) {
        ssize_t count =
            pread(file->fd, files->memory + request->slab_offset + *bytes_read, wanted - *bytes_read, request->offset + *bytes_read);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return FILE_IO_ERROR;
        if (count == 0)
            return FILE_CHANGED; /* cut shorter since */
        *bytes_read += count;
    }
    if (wanted == 0)
        return FILE_OK;
    if (fstat(file->fd, &after) < 0)
        return FILE_IO_ERROR;
    if (after.st_size != file->found.st_size || !is_same_time(after.st_mtim, file->found.st_mtim))
        return FILE_CHANGED;
    files->ahead.fd = file->fd;
    files->ahead.offset = request->offset + wanted;
    uint64_t ahead = request->ahead < left - wanted ? request->ahead : left - wanted;
    files->ahead.length = ahead < wanted ? ahead : wanted; /* the next piece is as long as this one */
    return FILE_OK;
}

static void answer_once(struct disk_files *files, const struct message_file_read *request, struct bytes target, const char *root,
                        const char *path, struct message_file_answer *answer)
{
    struct open_file *file = NULL;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    answer->status = find_file(files, request, target, root, path, &file);
    if (answer->status != FILE_OK)
        return;
    file->used = ++files->requests;
    answer->inode = file->found.st_ino;
    answer->size = file->found.st_size;
    answer->mtime_ns = mtime_ns(&file->found);
    answer->is_settled = is_settled(answer->mtime_ns, now);
    answer->status = read_piece(files, file, request, &answer->bytes_read);
    if (answer->status != FILE_OK) {
        int error = errno;
        forget(files, file);
        errno = error;
    }
}

/* The status alone does not tell an operator which file, and why. `errno` is of the call that failed. */
static void complain(struct disk_files *files, const char *root, const char *path)
{
    int error = errno;
    struct monotonic_ms now = clock_monotonic();
    if (monotonic_since(now, files->complained) < COMPLAINT_MS)
        return;
    files->complained = now;
    const char *why = error == ENOSYS
                          ? "there is no openat2 (Linux before 5.6, or refused: systemd's RestrictSUIDSGID=, a container's filter)"
                          : strerror(error);
    log_error("disk", "%s/%s: %s", root, path, why);
}

static void answer_request(struct disk_files *files, const struct message_file_read *request, struct bytes target, const char *root,
                           const char *path, struct message_file_answer *answer)
{
    answer->status = is_hidden(path) ? FILE_MISSING : is_allowed_root(files, root) ? FILE_CHANGED : FILE_FORBIDDEN;
    /* A new reading takes the file as it is now: one that just changed is read again. A later piece is bound to what was read before. */
    for (int i = 0; answer->status == FILE_CHANGED && i < (request->inode != 0 ? 1 : READ_RETRIES); i++)
        answer_once(files, request, target, root, path, answer);
    if (answer->status == FILE_IO_ERROR)
        complain(files, root, path);
}

bool disk_files_read(struct disk_files *files, const struct message_file_read *request, struct bytes target,
                     struct message_file_answer *answer)
{
    char names[TARGET_MAX + 1];
    size_t root_len = bytes_find(target, '\0');
    *answer = (struct message_file_answer){.request = request->request};
    files->ahead.length = 0;
    if (target.len > TARGET_MAX || root_len == target.len || memchr(target.at + root_len + 1, '\0', target.len - root_len - 1))
        return false;
    if (request->slab_offset > files->memory_size || request->length > files->memory_size - request->slab_offset ||
        request->offset > INT64_MAX - files->memory_size)
        return false;
    memcpy(names, target.at, target.len);
    names[target.len] = '\0';
    answer_request(files, request, target, names, names + root_len + 1, answer);
    return true;
}

void disk_files_read_ahead(struct disk_files *files)
{
    if (files->ahead.length > 0)
        posix_fadvise(files->ahead.fd, files->ahead.offset, files->ahead.length, POSIX_FADV_WILLNEED);
    files->ahead.length = 0;
}
