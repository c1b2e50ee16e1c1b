#include "helpers/store_directory.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1024 * 1024 };

static char base[64], directory[80], store[128];
static struct store_directory_file file;
static char trouble[STORE_TROUBLE_MAX];

static void set_up(void)
{
    strcpy(base, "/tmp/outrigger-test-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    snprintf(directory, sizeof directory, "%s/cache", base);
    snprintf(store, sizeof store, "%s/%s", directory, STORE_FILE);
}

static int remove_entry(const char *path, const struct stat *entry, int type, struct FTW *walk)
{
    (void)entry, (void)type, (void)walk;
    return remove(path);
}

static void tear_down(void)
{
    nftw(base, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(store_directory, .init = set_up, .fini = tear_down, .timeout = 30);

static bool open_store(uint64_t size)
{
    trouble[0] = '\0';
    return store_directory_open(directory, size, NULL, -1, -1, false, &file, trouble);
}

static void expect_refusal(uint64_t size, const char *words)
{
    cr_assert_not(open_store(size));
    cr_assert_not_null(strstr(trouble, words), "\"%s\" does not say \"%s\"", trouble, words);
    cr_assert_eq(file.fd, -1);
}

static void make_store(uint64_t size)
{
    cr_assert(open_store(size), "%s", trouble);
    store_directory_close(&file);
}

static void put(uint64_t offset, const void *bytes, size_t count)
{
    int fd = open(store, O_RDWR | O_CREAT, 0600);
    cr_assert_eq(pwrite(fd, bytes, count, (off_t)offset), (ssize_t)count);
    close(fd);
}

static off_t store_size(void)
{
    struct stat found;
    return stat(store, &found) == 0 ? found.st_size : -1;
}

/* The superblock, changed and sealed with these values. */
static void put_superblock(struct store_superblock block)
{
    block.checksum = store_checksum(&block, offsetof(struct store_superblock, checksum));
    put(0, &block, sizeof block);
}

Test(store_directory, a_store_is_made_once_and_found_again)
{
    struct hash_key key;
    hash_key_random(&key);
    cr_assert(store_directory_open(directory, 100 * MIB, &key, -1, -1, false, &file, trouble), "%s", trouble);
    struct store_superblock first = file.superblock;
    cr_assert(file.is_new);
    cr_assert_arr_eq(first.hash_key, key.material, HASH_KEY_BYTES);
    store_directory_close(&file);
    cr_assert(open_store(100 * MIB));
    cr_assert_not(file.is_new);
    cr_assert_eq(memcmp(&first, &file.superblock, sizeof first), 0);
    store_directory_close(&file);
}

Test(store_directory, segments_are_a_sixteenth_of_the_size_and_fit_in_it)
{
    static const struct {
        uint64_t size;
        uint64_t segment_bytes;
        uint32_t count;
    } rows[] = {
        {5 * MIB, MIB, 4},
        {16 * MIB, MIB, 15},
        {33 * MIB, 2 * MIB, 16},
        {100 * MIB, 4 * MIB, 24},
        {1023ull * MIB, 32 * MIB, 31},
        {1024ull * MIB, 64 * MIB, 15},
        {65536ull * MIB, 64 * MIB, 1023},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert(open_store(rows[i].size), "%s", trouble);
        cr_assert_eq(file.superblock.segment_bytes, rows[i].segment_bytes, "%u", i);
        cr_assert_eq(file.segment_count, rows[i].count, "%u", i);
        store_directory_close(&file);
        unlink(store);
    }
}

Test(store_directory, it_shrinks_and_grows_with_its_size)
{
    make_store(100 * MIB);
    put(90 * MIB, "x", 1);
    cr_assert(open_store(50 * MIB));
    cr_assert_eq(file.segment_count, 12);
    cr_assert_eq(store_size(), 49 * MIB);
    store_directory_close(&file);
    cr_assert(open_store(200 * MIB));
    cr_assert_eq(file.segment_count, 49);
    cr_assert_eq(store_size(), 49 * MIB);
    store_directory_close(&file);
    expect_refusal(16 * MIB, "needs 17MiB");
    cr_assert_eq(store_size(), 49 * MIB);
}

Test(store_directory, a_size_too_small_is_refused_with_the_least)
{
    expect_refusal(5 * MIB - 1, "at least 5MiB");
    cr_assert_neq(access(directory, F_OK), 0, "nothing was made");
}

Test(store_directory, whose_parent_is_missing_is_refused)
{
    snprintf(directory, sizeof directory, "%s/not/there", base);
    expect_refusal(100 * MIB, "the directory above it does not exist");
}

Test(store_directory, what_is_no_directory_is_refused)
{
    close(open(directory, O_CREAT | O_WRONLY, 0600));
    expect_refusal(100 * MIB, "not a directory");
}

Test(store_directory, a_store_that_is_no_file_is_refused)
{
    mkdir(directory, 0700);
    mkdir(store, 0700);
    expect_refusal(100 * MIB, "no ordinary file");
    rmdir(store);
    cr_assert_eq(symlink("/dev/null", store), 0);
    expect_refusal(100 * MIB, "no ordinary file");
    unlink(store);
    cr_assert_eq(mkfifo(store, 0600), 0);
    expect_refusal(100 * MIB, "no ordinary file");
}

Test(store_directory, a_directory_of_somebody_else_is_refused_with_what_to_do)
{
    int status;
    mkdir(directory, 0700);
    if (geteuid() != 0)
        cr_skip_test("only root can make it somebody else's");
    pid_t child = fork();
    if (child == 0) {
        chmod(base, 0755);
        _exit(setuid(65534) == 0 && !open_store(100 * MIB) && strstr(trouble, "permission denied") && strstr(trouble, "chown") ? 0 : 1);
    }
    waitpid(child, &status, 0);
    cr_assert_eq(status, 0);
}

Test(store_directory, what_is_made_belongs_to_the_user_that_was_asked_for)
{
    struct stat found;
    if (geteuid() != 0)
        cr_skip_test("only root can");
    cr_assert(store_directory_open(directory, 100 * MIB, NULL, 65534, 65534, false, &file, trouble), "%s", trouble);
    cr_assert(stat(directory, &found) == 0 && found.st_uid == 65534 && found.st_gid == 65534 && (found.st_mode & 0777) == 0700);
    cr_assert(stat(store, &found) == 0 && found.st_uid == 65534 && (found.st_mode & 0777) == 0600);
    store_directory_close(&file);
}

Test(store_directory, a_newer_version_is_left_untouched)
{
    char before[4096], after[4096];
    make_store(100 * MIB);
    cr_assert(open_store(100 * MIB));
    struct store_superblock block = file.superblock;
    store_directory_close(&file);
    block.version = STORE_VERSION + 1;
    put_superblock(block);
    put(90 * MIB, "x", 1);
    int fd = open(store, O_RDONLY);
    cr_assert_eq(pread(fd, before, sizeof before, 0), (ssize_t)sizeof before);
    expect_refusal(50 * MIB, "newer version (format 5, this one knows 4)");
    cr_assert_eq(pread(fd, after, sizeof after, 0), (ssize_t)sizeof after);
    close(fd);
    cr_assert_arr_eq(before, after, sizeof before);
    cr_assert_eq(store_size(), 90 * MIB + 1);
}

/* As it is on disk. */
static struct store_superblock get_superblock(void)
{
    struct store_superblock block;
    int fd = open(store, O_RDONLY);
    cr_assert_eq(pread(fd, &block, sizeof block, 0), (ssize_t)sizeof block);
    close(fd);
    return block;
}

Test(store_directory, an_older_version_that_is_known_becomes_this_one)
{
    make_store(100 * MIB);
    struct store_superblock block = get_superblock(), old = block;
    old.version = STORE_VERSION_OLDEST;
    old.checksum = store_checksum(&old, offsetof(struct store_superblock, checksum));
    put(0, &old, sizeof old);
    cr_assert(store_directory_look(directory, &file, trouble), "%s", trouble);
    cr_assert_eq(file.superblock.version, STORE_VERSION_OLDEST);
    store_directory_close(&file);
    expect_refusal(5 * MIB, "too small"); /* then it is left as it is */
    struct store_superblock found = get_superblock();
    cr_assert_eq(memcmp(&found, &old, sizeof old), 0);
    make_store(100 * MIB);
    found = get_superblock();
    cr_assert_eq(memcmp(&found, &block, sizeof block), 0);
}

Test(store_directory, what_another_still_uses_becomes_this_version_when_it_is_taken)
{
    make_store(100 * MIB);
    struct store_superblock block = get_superblock(), old = block;
    old.version = STORE_VERSION_OLDEST;
    put_superblock(old);
    old = get_superblock();
    cr_assert(store_directory_open(directory, 100 * MIB, NULL, -1, -1, true, &file, trouble), "%s", trouble);
    struct store_superblock found = get_superblock();
    cr_assert_eq(memcmp(&found, &old, sizeof old), 0);
    cr_assert(store_directory_take(directory, &file, trouble), "%s", trouble);
    found = get_superblock();
    cr_assert_eq(memcmp(&found, &block, sizeof block), 0);
    store_directory_close(&file);
}

Test(store_directory, an_older_version_is_refused)
{
    make_store(100 * MIB);
    cr_assert(open_store(100 * MIB));
    struct store_superblock block = file.superblock, old = block;
    store_directory_close(&file);
    old.version = STORE_VERSION_OLDEST - 1;
    put_superblock(old);
    expect_refusal(100 * MIB, "older version (format 2, this one knows 3 to 4)");
    put_superblock(block);
    make_store(100 * MIB);
}

Test(store_directory, a_damaged_superblock_is_refused)
{
    make_store(100 * MIB);
    cr_assert(open_store(100 * MIB));
    struct store_superblock good = file.superblock, bad = good;
    store_directory_close(&file);
    for (size_t bit = 8 * sizeof bad.magic; bit < 8 * sizeof bad; bit++) {
        bad = good;
        ((unsigned char *)&bad)[bit / 8] ^= (unsigned char)(1 << bit % 8);
        put(0, &bad, sizeof bad);
        cr_assert_not(open_store(100 * MIB), "bit %zu", bit);
    }
    bad = good;
    bad.segment_bytes = 3 * MIB;
    put_superblock(bad);
    expect_refusal(100 * MIB, "damaged");
    bad.segment_bytes = 512;
    put_superblock(bad);
    expect_refusal(100 * MIB, "damaged");
    put(0, &good, sizeof good);
    make_store(100 * MIB);
}

Test(store_directory, a_foreign_file_is_refused)
{
    mkdir(directory, 0700);
    put(0, "my diary", 8);
    expect_refusal(100 * MIB, "not a store of Outrigger");
    cr_assert_eq(store_size(), 8);
    unlink(store);
    put(2 * MIB, "x", 1);
    expect_refusal(100 * MIB, "not a store of Outrigger");
}

Test(store_directory, what_a_crash_left_of_a_making_is_made_anew)
{
    char zeroes[4096] = {0};
    mkdir(directory, 0700);
    put(0, "", 0);
    cr_assert(open_store(100 * MIB) && file.is_new);
    store_directory_close(&file);
    unlink(store);
    put(0, zeroes, 100);
    cr_assert(open_store(100 * MIB) && file.is_new);
    store_directory_close(&file);
    unlink(store);
    put(0, zeroes, sizeof zeroes);
    cr_assert(open_store(100 * MIB) && file.is_new);
    store_directory_close(&file);
    cr_assert(open_store(100 * MIB) && !file.is_new);
    store_directory_close(&file);
}

Test(store_directory, two_instances_are_one_too_many)
{
    int ready[2];
    char expected[64], byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t other = fork();
    if (other == 0) {
        bool is_good = open_store(100 * MIB);
        (void)!write(ready[1], is_good ? "+" : "-", 1);
        pause();
        _exit(0);
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, '+');
    snprintf(expected, sizeof expected, "in use by another instance (process %d)", other);
    expect_refusal(100 * MIB, expected);
    long owner;
    cr_assert(store_directory_look(directory, &file, trouble), "looking needs no lock");
    cr_assert(store_directory_is_in_use(&file, &owner));
    cr_assert_eq(owner, other);
    store_directory_close(&file);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    cr_assert(open_store(100 * MIB), "%s", trouble);
    struct store_directory_file mine = file;
    expect_refusal(100 * MIB, "named twice");
    store_directory_close(&mine);
}

Test(store_directory, helpers_that_outlive_a_killed_supervisor_are_waited_for)
{
    int ready[2];
    pid_t helper;
    cr_assert_eq(pipe(ready), 0);
    pid_t supervisor = fork();
    if (supervisor == 0) {
        bool is_good = open_store(100 * MIB);
        helper = fork(); /* which shares the open file, and so the lock */
        if (helper == 0) {
            usleep(300000);
            _exit(0);
        }
        (void)!write(ready[1], is_good ? "+" : "-", 1);
        _exit(0);
    }
    char byte;
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    cr_assert_eq(byte, '+');
    waitpid(supervisor, NULL, 0);
    cr_assert(open_store(100 * MIB), "%s", trouble);
    store_directory_close(&file);
}

Test(store_directory, looking_changes_nothing)
{
    cr_assert_not(store_directory_look(directory, &file, trouble));
    cr_assert_not_null(strstr(trouble, "no such directory"));
    mkdir(directory, 0700);
    cr_assert_not(store_directory_look(directory, &file, trouble));
    cr_assert_neq(access(store, F_OK), 0);
    put(0, "", 0);
    cr_assert_not(store_directory_look(directory, &file, trouble));
    cr_assert_eq(store_size(), 0);
    make_store(100 * MIB);
    put(9 * MIB, "x", 1);
    cr_assert(store_directory_look(directory, &file, trouble), "%s", trouble);
    cr_assert_eq(file.segment_count, 3);
    store_directory_close(&file);
    cr_assert_eq(store_size(), 9 * MIB + 1);
}

Test(store_directory, the_file_is_open_for_direct_reads_of_units_or_not_direct)
{
    _Alignas(4096) char unit[512];
    cr_assert(open_store(100 * MIB));
    cr_assert_eq(!!(fcntl(file.fd, F_GETFL) & O_DIRECT), file.is_direct);
    cr_assert_not(fcntl(file.fd, F_GETFL) & O_NONBLOCK);
    cr_assert_eq(pread(file.fd, unit, sizeof unit, 512), (ssize_t)sizeof unit);
    store_directory_close(&file);
}
