/* See file_watch.h. A look is one stat(2) a file: inode, size and time tell whether it is another. */
#include "proxy/boot/file_watch.h"

#include "base/log.h"
#include "proxy/reload.h"

#include <sys/stat.h>

enum { LOOK_MS = 1000 };

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 1099511628211u; /* FNV-1a, by words */
}

static uint64_t look(const struct config *config)
{
    uint64_t hash = 14695981039346656037u;
    for (unsigned i = 0; i < config->file_count; i++) {
        struct stat status = {0};
        bool is_there = stat(config->files[i].path, &status) == 0;
        hash = mix(mix(hash, is_there), (uint64_t)status.st_ino);
        hash = mix(mix(hash, (uint64_t)status.st_size), (uint64_t)status.st_mtim.tv_sec * 1000000000 + (uint64_t)status.st_mtim.tv_nsec);
    }
    return hash;
}

static void compare(struct supervisor *s)
{
    struct file_watch *watch = &s->file_watch;
    uint64_t hash = look(s->config);
    bool is_settled = hash == watch->last;
    watch->last = hash;
    if (watch->serial != s->serial) { /* another configuration, with the files as they are now */
        watch->serial = s->serial;
        watch->known = hash;
    } else if (hash != watch->known && is_settled && reload_files(s)) {
        watch->serial = s->serial;
        watch->known = hash;
    }
}

int file_watch_tick(struct supervisor *s, struct monotonic_ms now)
{
    struct file_watch *watch = &s->file_watch;
    if (s->config->file_count == 0 || s->ending != ENDING_NOT || s->config->concurrency == CONCURRENCY_MP)
        return -1;
    if (watch->serial != s->serial || monotonic_since(now, watch->next) >= 0) {
        compare(s);
        watch->next = monotonic_add(now, LOOK_MS);
    }
    return (int)monotonic_since(watch->next, now);
}
