/* How much memory there is, and how much is used: of the control group that the process is in, where that has a limit, and its own.
 *
 * DESIGN. What ends a server that takes too much is the kernel's OOM killer, and it looks at one of two things: the control group, if that has a limit, or the
 * machine. A group is charged for all that its processes take, what the kernel keeps for their sockets included, once however often it is mapped; what counts is
 * that, less what can be reclaimed at any time (pages of files). A machine is shared with strangers, whose memory is no reason for us to serve less: there
 * our own counts, which is the anonymous memory of the process and what its cache's memory file holds, whoever has touched that.
 * Of a group and those above it, the one with the least limit is looked at. Both versions of control groups are known.
 * Everything is opened once, so that a process that is locked up can go on reading. */
#ifndef BASE_MEMORY_METER_H
#define BASE_MEMORY_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct memory_meter;

/* What limits.memory may say instead of bytes. */
#define MEMORY_LIMIT_OFF  UINT64_C(0)
#define MEMORY_LIMIT_AUTO UINT64_MAX

/* Of this process, and of its control group; where nothing is known of that it has no limit. Aborts when there is no memory. */
struct memory_meter *memory_meter_new(void);
/* The same with another directory of a group, and `top` as the last one above it. */
struct memory_meter *memory_meter_of_group(const char *directory, const char *top);
void                 memory_meter_free(struct memory_meter **meter);

/* The limit of the group and what it uses of it now. False: it has none, or one that is more than the machine has. */
bool memory_meter_group(const struct memory_meter *meter, uint64_t *limit_bytes, uint64_t *used_bytes);
/* Its directory; "" without a group. */
const char *memory_meter_group_name(const struct memory_meter *meter);
/* Resident memory of this process, whatever of it is shared; 0 when it cannot be read. */
uint64_t memory_meter_resident(const struct memory_meter *meter);
/* What this process uses, and the memory file `fd` (−1: none); 0 when it cannot be read. */
uint64_t memory_meter_own(const struct memory_meter *meter, int fd);

struct memory_look {
    uint64_t limit_bytes; /* 0: none */
    uint64_t used_bytes;
    bool     is_of_group; /* else of the process */
};

/* How things are with that setting: the process beside what is set (auto: beside the machine, less a margin) or the group beside its own limit, less a margin,
 * whichever is nearer to it. Several processes of which each has an equal part of what is set: `share`. `fd` as above. */
void memory_meter_look(const struct memory_meter *meter, uint64_t setting_bytes, unsigned share, int fd, struct memory_look *look);

/* The least that holds with that setting; 0: none. */
uint64_t memory_meter_limit(const struct memory_meter *meter, uint64_t setting_bytes);

/* In all, in use or not. */
uint64_t memory_of_machine(void);

/* Where the group lies that `groups`, as /proc/self/cgroup, names, by what `mounts`, as /proc/self/mountinfo, says; and the top of that mount. False: neither version
 * of control groups has one for memory there. */
enum { MEMORY_GROUP_PATH_MAX = 1024 };
struct memory_group_place {
    char directory[MEMORY_GROUP_PATH_MAX], top[MEMORY_GROUP_PATH_MAX];
};
bool memory_group_find(const char *groups, const char *mounts, bool is_v2, struct memory_group_place *place);

#endif
