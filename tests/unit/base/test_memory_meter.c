/* What is used and what the limit is: from files as the kernel writes them, and of this process. */
#include "base/memory_ladder.h"
#include "base/memory_meter.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static char directory[64], inner[80];

static void put(const char *where, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", where, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void setup(void)
{
    strcpy(directory, "/tmp/memory_meter.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(inner, sizeof inner, "%s/inner", directory);
    cr_assert_eq(mkdir(inner, 0700), 0);
}

static void teardown(void)
{
    static const char *const names[] = {"memory.max", "memory.current", "memory.stat", "memory.limit_in_bytes", "memory.usage_in_bytes"};
    const char *const directories[] = {inner, directory};
    for (unsigned d = 0; d < 2; d++) {
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
            char path[160];
            snprintf(path, sizeof path, "%s/%s", directories[d], names[i]);
            unlink(path);
        }
        rmdir(directories[d]);
    }
}

TestSuite(memory_meter, .init = setup, .fini = teardown);

static void put_v2(const char *where, const char *limit, const char *current)
{
    put(where, "memory.max", limit);
    put(where, "memory.current", current);
    put(where, "memory.stat", "anon 1000\nfile 5000\ninactive_file 300\nactive_file 200\nslab_reclaimable 50\nworkingset_refault_file 7\n");
}

Test(memory_meter, of_a_group_what_can_be_reclaimed_does_not_count)
{
    uint64_t limit, used;
    put_v2(inner, "104857600\n", "20000\n");
    struct memory_meter *meter = memory_meter_of_group(inner, directory);
    cr_assert(memory_meter_group(meter, &limit, &used));
    cr_assert_eq(limit, 100 * MIB);
    cr_assert_eq(used, 20000 - 550);
    cr_assert_str_eq(memory_meter_group_name(meter), inner);
    put(inner, "memory.current", "100\n"); /* the figures are not of one moment */
    cr_assert(memory_meter_group(meter, &limit, &used));
    cr_assert_eq(used, 0);
    memory_meter_free(&meter);
    cr_assert_null(meter);
}

Test(memory_meter, version_1_of_groups_is_known_too)
{
    uint64_t limit, used;
    put(inner, "memory.limit_in_bytes", "104857600\n");
    put(inner, "memory.usage_in_bytes", "20000\n");
    put(inner, "memory.stat", "inactive_file 1\nactive_file 1\ntotal_inactive_file 300\ntotal_active_file 200\n");
    struct memory_meter *meter = memory_meter_of_group(inner, directory);
    cr_assert(memory_meter_group(meter, &limit, &used));
    cr_assert_eq(limit, 100 * MIB);
    cr_assert_eq(used, 20000 - 500);
    memory_meter_free(&meter);
}

Test(memory_meter, the_least_limit_above_is_the_one)
{
    uint64_t limit, used;
    put_v2(inner, "104857600\n", "20000\n");
    put_v2(directory, "52428800\n", "30000\n");
    struct memory_meter *meter = memory_meter_of_group(inner, directory);
    cr_assert(memory_meter_group(meter, &limit, &used));
    cr_assert_eq(limit, 50 * MIB);
    cr_assert_eq(used, 30000 - 550, "what is used of that");
    cr_assert_str_eq(memory_meter_group_name(meter), directory);
    memory_meter_free(&meter);
    put(directory, "memory.max", "max\n");
    meter = memory_meter_of_group(inner, directory);
    cr_assert_str_eq(memory_meter_group_name(meter), inner);
    memory_meter_free(&meter);
}

Test(memory_meter, a_group_without_a_limit_may_be_given_one_later)
{
    uint64_t limit, used;
    put_v2(inner, "max\n", "20000\n");
    put_v2(directory, "9223372036854771712\n", "30000\n");
    struct memory_meter *meter = memory_meter_of_group(inner, directory);
    cr_assert_not(memory_meter_group(meter, &limit, &used), "more than the machine has is none");
    put(directory, "memory.max", "1048576\n");
    put(inner, "memory.max", "1048576\n");
    cr_assert(memory_meter_group(meter, &limit, &used));
    cr_assert_eq(limit, MIB);
    memory_meter_free(&meter);
}

Test(memory_meter, without_a_group_there_is_no_limit_of_one)
{
    uint64_t limit, used;
    struct memory_meter *meter = memory_meter_of_group(inner, directory);
    cr_assert_not(memory_meter_group(meter, &limit, &used));
    cr_assert_str_eq(memory_meter_group_name(meter), "");
    memory_meter_free(&meter);
}

Test(memory_meter, own_memory_is_what_is_touched_and_what_the_file_holds)
{
    enum { BYTES_TOUCHED = 64 << 20 };
    struct memory_meter *meter = memory_meter_of_group(inner, directory);
    int fd = memfd_create("test", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(fd, BYTES_TOUCHED), 0);
    uint64_t before = memory_meter_own(meter, fd);
    cr_assert_gt(before, 0);
    char *anonymous = mmap(NULL, BYTES_TOUCHED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(anonymous, 'x', BYTES_TOUCHED);
    uint64_t more = memory_meter_own(meter, fd);
    cr_assert_geq(more, before + BYTES_TOUCHED * 9 / 10);
    char page[4096] = "x";
    for (unsigned i = 0; i < BYTES_TOUCHED / sizeof page; i++) /* nothing of it is mapped here */
        cr_assert_eq(pwrite(fd, page, sizeof page, (off_t)(i * sizeof page)), sizeof page);
    cr_assert_geq(memory_meter_own(meter, fd), more + BYTES_TOUCHED * 9 / 10);
    cr_assert_lt(memory_meter_own(meter, -1), more + BYTES_TOUCHED / 2);
    munmap(anonymous, BYTES_TOUCHED);
    close(fd);
    memory_meter_free(&meter);
}

Test(memory_meter, whichever_is_nearer_to_its_limit_counts)
{
    struct memory_look look;
    put_v2(inner, "104857600\n", "1000000\n"); /* 100 MiB, less a margin of 16; 1 % in use */
    struct memory_meter *meter = memory_meter_of_group(inner, directory);
    uint64_t own = memory_meter_own(meter, -1);
    memory_meter_look(meter, own * 2, 1, -1, &look);
    cr_assert(!look.is_of_group && look.limit_bytes == own * 2 && look.used_bytes > 0);
    memory_meter_look(meter, own * 2, 4, -1, &look);
    cr_assert_eq(look.limit_bytes, own / 2, "a share of it");
    put(inner, "memory.current", "80000000\n");
    memory_meter_look(meter, own * 2, 1, -1, &look);
    cr_assert(look.is_of_group);
    cr_assert_eq(look.limit_bytes, 84 * MIB);
    cr_assert_eq(look.used_bytes, 80000000 - 550);
    cr_assert_eq(memory_meter_limit(meter, 90 * MIB), 84 * MIB);
    cr_assert_eq(memory_meter_limit(meter, 80 * MIB), 80 * MIB);
    cr_assert_eq(memory_meter_limit(meter, MEMORY_LIMIT_AUTO), 84 * MIB);
    memory_meter_look(meter, MEMORY_LIMIT_OFF, 1, -1, &look);
    cr_assert_eq(look.limit_bytes, 0, "off is off");
    cr_assert_gt(look.used_bytes, 0, "it is shown all the same");
    cr_assert_eq(memory_meter_limit(meter, MEMORY_LIMIT_OFF), 0);
    memory_meter_free(&meter);
}

Test(memory_meter, auto_without_a_group_is_the_machine_less_a_margin)
{
    struct memory_look look;
    struct memory_meter *meter = memory_meter_of_group(inner, directory);
    memory_meter_look(meter, MEMORY_LIMIT_AUTO, 1, -1, &look);
    cr_assert(!look.is_of_group);
    cr_assert_eq(look.limit_bytes, memory_of_machine() - memory_margin(memory_of_machine()));
    memory_meter_free(&meter);
}

Test(memory_meter, the_group_is_found_where_it_is_mounted)
{
    static const char v1_mounts[] = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
                                    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
                                    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
                                    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
    static const char v1_groups[] = "5:devices:/\n4:memory:/a/b\n0::/c\n";
    static const char docker_mounts[] = "35 31 0:32 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    static const struct {
        const char *groups, *mounts;
        bool is_v2;
        const char *directory; /* NULL: not found */
    } rows[] = {
        {v1_groups, v1_mounts, false, "/sys/fs/cgroup/memory/a/b"},
        {v1_groups, v1_mounts, true, "/sys/fs/cgroup/unified/c"},
        {"0::/system.slice/outrigger.service\n", "26 1 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n", true,
         "/sys/fs/cgroup/system.slice/outrigger.service"},
        {"0::/\n", "26 1 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", true, "/sys/fs/cgroup"},
        {"0::/../other\n", "26 1 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", true, "/sys/fs/cgroup"},
        {"3:cpu,memory:/docker/1/x\n", docker_mounts, false, "/sys/fs/cgroup/memory/x"},
        {"3:memory:/docker/1\n", docker_mounts, false, "/sys/fs/cgroup/memory"},
        {"3:memory:/docker/12\n", docker_mounts, false, "/sys/fs/cgroup/memory"},
        {"3:memory:/elsewhere\n", docker_mounts, false, "/sys/fs/cgroup/memory"},
        {"3:memory:/docker/1\n", docker_mounts, true, NULL},
        {"3:cpu:/a\n", v1_mounts, false, NULL},
        {"", v1_mounts, true, NULL},
        {"nonsense", v1_mounts, true, NULL},
        {"0::/a\n", "nonsense", true, NULL},
        {"0::/a\n", "", true, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct memory_group_place place;
        bool is_found = memory_group_find(rows[i].groups, rows[i].mounts, rows[i].is_v2, &place);
        cr_expect_eq(is_found, rows[i].directory != NULL, "row %zu", i);
        if (is_found && rows[i].directory)
            cr_expect_str_eq(place.directory, rows[i].directory, "row %zu", i);
    }
}
