/* See config_files.h. The memory file: the length of each file, in the order of config->files, then their contents, in the same order. */
#include "proxy/boot/config_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 1024 * 1024 }; /* a bundle of authorities has some hundred kilobytes */

/* The contents, from the mapped memory file. */
static bool find_contents(struct config *config)
{
    const uint64_t *lengths = config->files_memory;
    const char *at = (const char *)config->files_memory + config->file_count * sizeof(*lengths);
    size_t left = config->files_bytes - config->file_count * sizeof(*lengths);
    for (unsigned i = 0; i < config->file_count; i++) {
        if (lengths[i] > left)
            return false;
        config->files[i].content = bytes_from(at, (size_t)lengths[i]);
        at += lengths[i];
        left -= (size_t)lengths[i];
    }
    return left == 0;
}

bool config_files_take(struct config *config, int fd)
{
    struct stat status;
    config->files_fd = fd;
    if (fstat(fd, &status) != 0 || (size_t)status.st_size < config->file_count * sizeof(uint64_t))
        return false;
    if (config->file_count == 0)
        return true;
    void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED)
        return false;
    config->files_memory = memory;
    config->files_bytes = (size_t)status.st_size;
    madvise(memory, config->files_bytes, MADV_DONTDUMP);
    return find_contents(config);
}

static bool write_all(int fd, const char *at, size_t length, off_t offset)
{
    while (length > 0) {
        ssize_t written = pwrite(fd, at, length, offset);
        if (written <= 0)
            return false;
        at += written;
        offset += written;
        length -= (size_t)written;
    }
    return true;
}

/* How many bytes; −1 with errno. EFBIG: more than any such file has. */
static ssize_t read_file(const char *path, char *buffer)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    ssize_t length = 0, got = 1;
    if (fd < 0)
        return -1;
    errno = fstat(fd, &status) != 0 || S_ISREG(status.st_mode) ? 0 : S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
    while (errno == 0 && length <= FILE_MAX_BYTES && (got = read(fd, buffer + length, (size_t)(FILE_MAX_BYTES + 1 - length))) > 0)
        length += got;
    int error = errno != 0 ? errno : length > FILE_MAX_BYTES ? EFBIG : 0;
    close(fd);
    errno = error;
    return error ? -1 : length;
}

/* Each file into the memory file, with what cannot be read in the report. */
static bool gather(struct config *config, int fd, struct report *report)
{
    char *buffer = malloc(FILE_MAX_BYTES + 1);
    off_t end = (off_t)(config->file_count * sizeof(uint64_t));
    bool is_written = buffer != NULL;
    for (unsigned i = 0; i < config->file_count && is_written; i++) {
        const struct config_file *file = &config->files[i];
        ssize_t length = read_file(file->path, buffer);
        if (length < 0) {
            report_error(report, file->place, "%s: cannot be read: %s", file->path, strerror(errno));
            continue;
        }
        uint64_t stored = (uint64_t)length;
        is_written =
            write_all(fd, (const char *)&stored, sizeof(stored), (off_t)(i * sizeof(stored))) && write_all(fd, buffer, (size_t)length, end);
        end += length;
    }
    if (buffer)
        explicit_bzero(buffer, FILE_MAX_BYTES + 1);
    free(buffer);
    return is_written;
}

static bool seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0;
}

int config_files_keep_text(struct bytes text, FILE *errors)
{
    int fd = memfd_create("outrigger config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && write_all(fd, text.at, text.len, 0) && seal(fd))
        return fd;
    fprintf(errors, "the configuration cannot be kept in memory: %s\n", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

bool config_files_read(struct config *config, struct bytes text, FILE *errors)
{
    struct arena arena;
    struct report report;
    arena_init(&arena);
    report_init(&report, &arena, config->name, text);
    int fd = memfd_create("outrigger files", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool is_gathered = fd >= 0 && gather(config, fd, &report) && seal(fd);
    if (!is_gathered)
        fprintf(errors, "the files of the configuration cannot be kept in memory: %s\n", strerror(errno));
    report_print(&report, errors);
    bool is_good = is_gathered && report.errors == 0;
    arena_free(&arena);
    if (fd >= 0 && !is_good)
        close(fd);
    return is_good && config_files_take(config, fd);
}
