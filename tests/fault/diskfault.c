/* A disk that fails on command: preloaded (LD_PRELOAD) into a running Outrigger, or compiled into a unit test. Concerns store files alone.
 *
 * The file named by OUTRIGGER_DISKFAULT says what fails; it is read before each operation, so that a test switches faults on and off as it goes. What is
 * preloaded opens it at once, since the process will soon be allowed to open nothing: it must be there, and be written in place. No such file, or an empty
 * one: nothing fails. Each line is
 *
 *     read|write|allocate|sync  N  FAULT  [TIMES]
 *
 * each Nth such operation, counted since the file last changed, at most TIMES times. FAULT: an errno's name (EIO ENOSPC EDQUOT EROFS EINTR EOPNOTSUPP), with
 * which it fails without being done; `short`: only half of it is done; `flip`: one bit of what was read is another. With a line
 *
 *     only INODE
 *
 * nothing of other files fails.
 *
 * Blocking calls are wrapped. What goes through io_uring is turned into a read of nothing when it is submitted, and gets its error when it comes back.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { UNIT = 512, RULES = 8, TEXT = 1024, NOTES = 1024 };
enum kind { KIND_READ, KIND_WRITE, KIND_ALLOCATE, KIND_SYNC, KINDS };
enum { FAULT_NONE, FAULT_SHORT = -1, FAULT_FLIP = -2 }; /* else an errno */

static const char *const kind_names[KINDS] = {"read", "write", "allocate", "sync"};
static const struct {
    const char *name;
    int fault;
} fault_names[] = {{"EIO", EIO},     {"ENOSPC", ENOSPC},         {"EDQUOT", EDQUOT},     {"EROFS", EROFS},
                   {"EINTR", EINTR}, {"EOPNOTSUPP", EOPNOTSUPP}, {"short", FAULT_SHORT}, {"flip", FAULT_FLIP}};

static struct {
    pthread_mutex_t lock;
    char text[TEXT]; /* of the file, as last read */
    struct rule {
        enum kind kind;
        int fault;
        unsigned every, times;
    } rules[RULES];
    unsigned rule_count;
    unsigned long only; /* 0: any file */
    unsigned counts[KINDS];
    unsigned hits; /* faults so far */
} state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void add_rule(const char *line)
{
    char kind[16], fault[16];
    if (sscanf(line, "only %lu", &state.only) == 1)
        return;
    struct rule rule = {.kind = KINDS, .times = -1u};
    if (state.rule_count == RULES || sscanf(line, "%15s %u %15s %u", kind, &rule.every, fault, &rule.times) < 3 || rule.every == 0)
        return;
    for (unsigned i = 0; i < KINDS; i++)
        rule.kind = strcmp(kind, kind_names[i]) == 0 ? i : rule.kind;
    for (unsigned i = 0; i < sizeof fault_names / sizeof *fault_names; i++)
        rule.fault = strcmp(fault, fault_names[i].name) == 0 ? fault_names[i].fault : rule.fault;
    if (rule.kind != KINDS && rule.fault != FAULT_NONE)
        state.rules[state.rule_count++] = rule;
}

static int rules_fd = -1; /* opened when loaded; else the file is opened each time */

static int open_rules(void)
{
    const char *path = getenv("OUTRIGGER_DISKFAULT");
    return path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static void __attribute__((constructor)) loaded(void)
{
    rules_fd = open_rules();
}

static void read_rules(void)
{
    char text[TEXT] = "";
    int fd = rules_fd >= 0 ? rules_fd : open_rules();
    ssize_t got = fd >= 0 ? syscall(SYS_pread64, fd, text, sizeof text - 1, 0) : 0;
    if (fd != rules_fd)
        close(fd);
    text[got > 0 ? got : 0] = '\0';
    if (strcmp(text, state.text) == 0)
        return;
    strcpy(state.text, text);
    memset(state.counts, 0, sizeof state.counts);
    state.rule_count = 0;
    state.only = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
        add_rule(line);
}

/* A process that is locked up cannot ask for names. The files that have one and are read or written at a place are the stores: slab and channels have none. */
static bool is_store(int fd, struct stat *file)
{
    return fstat(fd, file) == 0 && S_ISREG(file->st_mode) && file->st_nlink > 0;
}

/* What this operation meets. */
static int meet(enum kind kind, int fd)
{
    int fault = FAULT_NONE;
    struct stat file;
    if (!is_store(fd, &file))
        return FAULT_NONE;
    pthread_mutex_lock(&state.lock);
    read_rules();
    bool is_concerned = state.only == 0 || state.only == file.st_ino;
    state.counts[kind] += is_concerned;
    for (unsigned i = 0; i < state.rule_count && is_concerned && fault == FAULT_NONE; i++) {
        struct rule *rule = &state.rules[i];
        if (rule->kind != kind || rule->times == 0 || state.counts[kind] % rule->every)
            continue;
        rule->times--;
        state.hits++;
        fault = rule->fault;
    }
    pthread_mutex_unlock(&state.lock);
    return fault;
}

/* Half, in whole units, but not nothing. */
static size_t half(size_t bytes)
{
    return bytes < 2 * UNIT ? bytes : bytes / 2 / UNIT * UNIT;
}

#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

/* ---- blocking calls ------------------------------------------------------------------------------------------------------------------------ */

ssize_t pread(int fd, void *at, size_t count, off_t offset)
{
    int fault = meet(KIND_READ, fd);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    ssize_t got = REAL(pread)(fd, at, fault == FAULT_SHORT ? half(count) : count, offset);
    if (fault == FAULT_FLIP && got > 0)
        ((char *)at)[got / 2] ^= 1;
    return got;
}

ssize_t pwrite(int fd, const void *at, size_t count, off_t offset)
{
    int fault = meet(KIND_WRITE, fd);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    return REAL(pwrite)(fd, at, fault == FAULT_SHORT ? half(count) : count, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    int fault = meet(KIND_ALLOCATE, fd);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    return REAL(fallocate)(fd, mode, offset, len);
}

int fdatasync(int fd)
{
    int fault = meet(KIND_SYNC, fd);
    if (fault > 0) {
        errno = fault;
        return -1;
    }
    return REAL(fdatasync)(fd);
}

/* ---- io_uring ------------------------------------------------------------------------------------------------------------------------------- */

/* What a completion is to become. One process has one ring, and one thread that uses it. */
static struct note {
    uint64_t user_data; /* 0: free */
    int fault;
    char *at;
} notes[NOTES];

static void note_fault(const struct io_uring_sqe *entry, int fault)
{
    for (unsigned i = 0; i < NOTES; i++) {
        if (notes[i].user_data == 0) {
            notes[i] = (struct note){entry->user_data, fault, (char *)(uintptr_t)entry->addr};
            return;
        }
    }
    abort();
}

static void spoil_entry(struct io_uring_sqe *entry)
{
    static const enum kind kinds[] = {[IORING_OP_READ] = KIND_READ + 1,
                                      [IORING_OP_WRITE] = KIND_WRITE + 1,
                                      [IORING_OP_FALLOCATE] = KIND_ALLOCATE + 1,
                                      [IORING_OP_FSYNC] = KIND_SYNC + 1};
    if (entry->opcode >= sizeof kinds / sizeof *kinds || !kinds[entry->opcode])
        return;
    enum kind kind = kinds[entry->opcode] - 1;
    int fault = meet(kind, entry->fd);
    if (fault == FAULT_SHORT && (kind == KIND_READ || kind == KIND_WRITE)) {
        entry->len = half(entry->len);
    } else if (fault > 0 || (fault == FAULT_FLIP && kind == KIND_READ)) {
        note_fault(entry, fault);
        uint64_t user_data = entry->user_data;
        if (fault > 0)
            io_uring_prep_read(entry, entry->fd, NULL, 0, 0);
        entry->user_data = user_data;
    }
}

/* Entries that liburing has not yet shown to the kernel. */
static void spoil(struct io_uring *ring)
{
    for (unsigned at = ring->sq.sqe_head; at != ring->sq.sqe_tail; at++)
        spoil_entry(&ring->sq.sqes[at & ring->sq.ring_mask]);
}

int io_uring_submit(struct io_uring *ring)
{
    spoil(ring);
    return REAL(io_uring_submit)(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    spoil(ring);
    return REAL(io_uring_submit_and_wait)(ring, count);
}

static void spoil_completion(struct io_uring_cqe *entry)
{
    for (unsigned i = 0; i < NOTES; i++) {
        struct note *note = &notes[i];
        if (note->user_data != entry->user_data || note->user_data == 0)
            continue;
        if (note->fault > 0)
            entry->res = -note->fault;
        else if (entry->res > 0)
            note->at[entry->res / 2] ^= 1;
        note->user_data = 0;
        return;
    }
}

unsigned io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **entries, unsigned count)
{
    count = REAL(io_uring_peek_batch_cqe)(ring, entries, count);
    for (unsigned i = 0; i < count; i++)
        spoil_completion(entries[i]);
    return count;
}
