/* See memory_meter.h. */
#include "base/memory_meter.h"

#include "base/memory_ladder.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX_BYTES = 64 * 1024, NUMBER_MAX_BYTES = 32, STAT_MAX_BYTES = 8 * 1024 };

/* What a version of control groups calls them. */
struct group_files {
    const char *limit, *used, *stat;
    const char *reclaimable[3]; /* rows of `stat`: pages of files, and what the kernel keeps of them */
};

static const struct group_files versions[] = {
    {"memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", {"total_inactive_file", "total_active_file", NULL}},
    {"memory.max", "memory.current", "memory.stat", {"inactive_file", "active_file", "slab_reclaimable"}},
};

struct memory_meter {
    int statm;
    int limit, used, stat;           /* of the group; −1: there is none */
    const struct group_files *files; /* the group's */
    char group[MEMORY_GROUP_PATH_MAX];
    uint64_t machine_bytes;
    uint64_t page_bytes;
};

uint64_t memory_of_machine(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------------------- */

static bool read_text(int fd, char *text, size_t size)
{
    ssize_t got = fd < 0 ? -1 : pread(fd, text, size - 1, 0);
    if (got < 0)
        return false;
    text[got] = '\0';
    return true;
}

/* "max" is no number: no limit. */
static bool read_number(int fd, uint64_t *number)
{
    char text[NUMBER_MAX_BYTES], *end;
    if (!read_text(fd, text, sizeof text))
        return false;
    *number = strtoull(text, &end, 10);
    return end > text;
}

static uint64_t row_of(const char *stat, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = stat; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return strtoull(line + length, NULL, 10);
    }
    return 0;
}

bool memory_meter_group(const struct memory_meter *meter, uint64_t *limit_bytes, uint64_t *used_bytes)
{
    char stat[STAT_MAX_BYTES];
    uint64_t reclaimable = 0;
    if (!read_number(meter->limit, limit_bytes) || *limit_bytes >= meter->machine_bytes || !read_number(meter->used, used_bytes) ||
        !read_text(meter->stat, stat, sizeof stat))
        return false;
    for (unsigned i = 0; i < 3 && meter->files->reclaimable[i] != NULL; i++)
        reclaimable += row_of(stat, meter->files->reclaimable[i]);
    *used_bytes = *used_bytes > reclaimable ? *used_bytes - reclaimable : 0;
    return true;
}

static uint64_t limit_of_process(const struct memory_meter *meter, uint64_t setting_bytes)
{
    return setting_bytes == MEMORY_LIMIT_AUTO ? meter->machine_bytes - memory_margin(meter->machine_bytes) : setting_bytes;
}

static bool look_at_group(const struct memory_meter *meter, struct memory_look *look)
{
    look->is_of_group = true;
    if (!memory_meter_group(meter, &look->limit_bytes, &look->used_bytes))
        return false;
    look->limit_bytes -= memory_margin(look->limit_bytes);
    return look->limit_bytes > 0;
}

uint64_t memory_meter_limit(const struct memory_meter *meter, uint64_t setting_bytes)
{
    struct memory_look group;
    uint64_t limit = limit_of_process(meter, setting_bytes);
    return limit > 0 && look_at_group(meter, &group) && group.limit_bytes < limit ? group.limit_bytes : limit;
}

/* Whether the first is nearer to its limit. */
static bool is_shorter(const struct memory_look *one, const struct memory_look *other)
{
    return (double)one->used_bytes / (double)one->limit_bytes > (double)other->used_bytes / (double)other->limit_bytes;
}

void memory_meter_look(const struct memory_meter *meter, uint64_t setting_bytes, unsigned share, int fd, struct memory_look *look)
{
    struct memory_look group;
    *look = (struct memory_look){.used_bytes = memory_meter_own(meter, fd)};
    if (setting_bytes == MEMORY_LIMIT_OFF)
        return;
    look->limit_bytes = limit_of_process(meter, setting_bytes) / share;
    if (look_at_group(meter, &group) && is_shorter(&group, look))
        *look = group;
}

const char *memory_meter_group_name(const struct memory_meter *meter)
{
    return meter->group;
}

/* proc(5). *shared_bytes: of those, what is a file's, or memory that several processes have. */
static bool read_resident(const struct memory_meter *meter, uint64_t *resident_bytes, uint64_t *shared_bytes)
{
    char text[128];
    unsigned long total, resident, shared;
    if (!read_text(meter->statm, text, sizeof text) || sscanf(text, "%lu %lu %lu", &total, &resident, &shared) != 3)
        return false;
    *resident_bytes = resident * meter->page_bytes;
    *shared_bytes = shared * meter->page_bytes;
    return true;
}

uint64_t memory_meter_resident(const struct memory_meter *meter)
{
    uint64_t resident, shared;
    return read_resident(meter, &resident, &shared) ? resident : 0;
}

uint64_t memory_meter_own(const struct memory_meter *meter, int fd)
{
    uint64_t resident, shared;
    struct stat status;
    uint64_t file_bytes = fd >= 0 && fstat(fd, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
    return read_resident(meter, &resident, &shared) ? (resident > shared ? resident - shared : 0) + file_bytes : 0;
}

/* ---- finding the group ------------------------------------------------------------------------------------------------------------------- */

/* Whether a comma-separated list has that word. */
static bool has_word(const char *list, size_t length, const char *word)
{
    size_t word_length = strlen(word);
    for (const char *at = list, *end = list + length; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t here = (size_t)((comma != NULL ? comma : end) - at);
        if (here == word_length && memcmp(at, word, here) == 0)
            return true;
        at += here + 1;
    }
    return false;
}

/* "HIERARCHY:CONTROLLERS:PATH"; version 2 has hierarchy 0 and no controllers. */
static bool find_group(const char *groups, bool is_v2, char *path, size_t size)
{
    for (const char *line = groups; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *controllers = strchr(line, ':'), *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            return false;
        controllers++;
        size_t listed = (size_t)(group - controllers), length = strcspn(group + 1, "\n");
        bool is_it = is_v2 ? line[0] == '0' && listed == 0 : has_word(controllers, listed, "memory");
        if (is_it && length < size) {
            memcpy(path, group + 1, length);
            path[length] = '\0';
            return true;
        }
    }
    return false;
}

/* "ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS" */
static bool find_mount(const char *mounts, bool is_v2, char *root, char *top)
{
    for (const char *line = mounts; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        char type[32], options[256];
        line += *line == '\n';
        const char *end = line + strcspn(line, "\n"), *dash = strstr(line, " - ");
        if (dash == NULL || dash > end || sscanf(line, "%*d %*d %*s %1023s %1023s", root, top) != 2)
            continue;
        int fields = sscanf(dash, " - %31s %*s %255s", type, options);
        if (is_v2 ? fields >= 1 && strcmp(type, "cgroup2") == 0
                  : fields == 2 && strcmp(type, "cgroup") == 0 && has_word(options, strlen(options), "memory"))
            return true;
    }
    return false;
}

bool memory_group_find(const char *groups, const char *mounts, bool is_v2, struct memory_group_place *place)
{
    char path[MEMORY_GROUP_PATH_MAX], root[MEMORY_GROUP_PATH_MAX];
    if (!find_group(groups, is_v2, path, sizeof path) || !find_mount(mounts, is_v2, root, place->top))
        return false;
    /* In a container the mount may begin at its own group; one that lies outside the mount cannot be seen: then the top is the nearest. */
    size_t root_length = strcmp(root, "/") == 0 ? 0 : strlen(root);
    bool is_inside = strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || path[root_length] == '\0');
    const char *below = is_inside && strcmp(path, "/") != 0 && strstr(path, "/..") == NULL ? path + root_length : "";
    return (size_t)snprintf(place->directory, sizeof place->directory, "%s%s", place->top, below) < sizeof place->directory;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------------------ */

static int open_in(const char *directory, const char *name)
{
    char path[MEMORY_GROUP_PATH_MAX + NAME_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static uint64_t limit_in(const char *directory, const struct group_files *files)
{
    uint64_t limit = UINT64_MAX, number;
    int fd = open_in(directory, files->limit);
    if (read_number(fd, &number))
        limit = number;
    if (fd >= 0)
        close(fd);
    return limit;
}

/* Up from `directory`, the one with the least limit; of equal ones the innermost. */
static void choose_group(const char *directory, const char *top, const struct group_files *files, char *chosen)
{
    char at[MEMORY_GROUP_PATH_MAX];
    uint64_t least = UINT64_MAX;
    snprintf(at, sizeof at, "%s", directory);
    snprintf(chosen, MEMORY_GROUP_PATH_MAX, "%s", directory);
    for (;;) {
        uint64_t limit = limit_in(at, files);
        if (limit < least) {
            least = limit;
            snprintf(chosen, MEMORY_GROUP_PATH_MAX, "%s", at);
        }
        char *slash = strrchr(at, '/');
        if (strlen(at) <= strlen(top) || slash == NULL)
            return;
        *slash = '\0';
    }
}

static bool open_group(struct memory_meter *meter, const char *directory, const char *top)
{
    for (unsigned i = 0; i < sizeof versions / sizeof *versions; i++) {
        const struct group_files *files = &versions[i];
        char chosen[MEMORY_GROUP_PATH_MAX];
        choose_group(directory, top, files, chosen);
        int limit = open_in(chosen, files->limit);
        if (limit < 0)
            continue;
        meter->limit = limit;
        meter->used = open_in(chosen, files->used);
        meter->stat = open_in(chosen, files->stat);
        meter->files = files;
        snprintf(meter->group, sizeof meter->group, "%s", chosen);
        return true;
    }
    return false;
}

static struct memory_meter *new_meter(void)
{
    struct memory_meter *meter = calloc(1, sizeof *meter);
    if (meter == NULL)
        abort();
    meter->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    meter->limit = meter->used = meter->stat = -1;
    meter->machine_bytes = memory_of_machine();
    meter->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    return meter;
}

/* malloc'ed; "" when it cannot be read. */
static char *read_whole(const char *path)
{
    char *text = calloc(1, FILE_MAX_BYTES);
    if (text == NULL)
        abort();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (size_t length = 0; fd >= 0 && length < FILE_MAX_BYTES - 1;) {
        ssize_t got = read(fd, text + length, FILE_MAX_BYTES - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    return text;
}

struct memory_meter *memory_meter_new(void)
{
    struct memory_meter *meter = new_meter();
    char *groups = read_whole("/proc/self/cgroup"), *mounts = read_whole("/proc/self/mountinfo");
    struct memory_group_place place;
    for (int is_v2 = 1; is_v2 >= 0; is_v2--)
        if (memory_group_find(groups, mounts, is_v2, &place) && open_group(meter, place.directory, place.top))
            break;
    free(groups);
    free(mounts);
    return meter;
}

struct memory_meter *memory_meter_of_group(const char *directory, const char *top)
{
    struct memory_meter *meter = new_meter();
    open_group(meter, directory, top);
    return meter;
}

void memory_meter_free(struct memory_meter **meter_pointer)
{
    struct memory_meter *meter = *meter_pointer;
    *meter_pointer = NULL;
    if (meter == NULL)
        return;
    const int descriptors[] = {meter->statm, meter->limit, meter->used, meter->stat};
    for (unsigned i = 0; i < sizeof descriptors / sizeof *descriptors; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    free(meter);
}
