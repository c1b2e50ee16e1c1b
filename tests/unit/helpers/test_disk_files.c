#include "helpers/disk_files.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MEMORY_BYTES = 64 * 1024 };

static char memory[MEMORY_BYTES];
static char base[64], root[80];
static struct disk_files *files;
static struct message_file_answer answer;

static const char *at(const char *name)
{
    static char path[4][256];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof(path[0]), "%s/%s", base, name);
    return out;
}

static void put(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    cr_assert_geq(fd, 0, "%s", name);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void set_up(void)
{
    char roots[200];
    strcpy(base, "/tmp/outrigger-test-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    snprintf(root, sizeof(root), "%s/root", base);
    mkdir(root, 0755);
    mkdir(at("root/sub"), 0755);
    mkdir(at("other"), 0755);
    put("root/page.html", "hello, page");
    put("root/sub/inner.txt", "inner");
    put("root/.secret", "secret");
    put("secret", "outside");
    put("other/file", "another root");
    files = disk_files_new(memory, sizeof(memory));
    int len = snprintf(roots, sizeof(roots), "%s", root) + 1;
    cr_assert(disk_files_set_roots(files, bytes_from(roots, len), 1));
}

static int remove_entry(const char *path, const struct stat *entry, int type, struct FTW *walk)
{
    (void)entry, (void)type, (void)walk;
    return remove(path);
}

static void tear_down(void)
{
    disk_files_free(&files);
    nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(disk_files, .init = set_up, .fini = tear_down);

static bool request(const struct message_file_read *what, const char *in_root, const char *path)
{
    char target[9000];
    size_t root_len = strlen(in_root) + 1, len = root_len + strlen(path);
    memcpy(target, in_root, root_len);
    memcpy(target + root_len, path, len - root_len);
    return disk_files_read(files, what, bytes_from(target, len), &answer);
}

/* A new reading of up to 1,000 bytes to the front of the memory. */
static enum file_status read_file(const char *path)
{
    memset(memory, '~', sizeof(memory));
    cr_assert(request(&(struct message_file_read){.request = 7, .length = 1000}, root, path));
    cr_assert_eq(answer.request, 7);
    return answer.status;
}

static bool has_read(const char *text)
{
    size_t len = strlen(text);
    return answer.bytes_read == len && memcmp(memory, text, len) == 0 && memory[len] == '~';
}

Test(disk_files, a_file_lands_in_memory_with_its_identity)
{
    struct stat found;
    cr_assert_eq(read_file("page.html"), FILE_OK);
    cr_assert(has_read("hello, page"));
    cr_assert_eq(stat(at("root/page.html"), &found), 0);
    cr_assert_eq(answer.inode, found.st_ino);
    cr_assert_eq(answer.size, 11);
    cr_assert_eq(answer.mtime_ns, found.st_mtim.tv_sec * 1000000000l + found.st_mtim.tv_nsec);
    cr_assert_eq(read_file("sub/inner.txt"), FILE_OK);
    cr_assert(has_read("inner"));
}

Test(disk_files, a_piece_goes_where_it_was_asked_for)
{
    memset(memory, '~', sizeof(memory));
    cr_assert(request(&(struct message_file_read){.offset = 7, .length = 2, .slab_offset = MEMORY_BYTES - 2}, root, "page.html"));
    cr_assert_eq(answer.status, FILE_OK);
    cr_assert_eq(answer.bytes_read, 2);
    cr_assert_arr_eq(memory + MEMORY_BYTES - 3, "~pa", 3);
    cr_assert(request(&(struct message_file_read){.offset = 7, .length = 100}, root, "page.html"));
    cr_assert_eq(answer.bytes_read, 4, "short at the end of the file");
    cr_assert(request(&(struct message_file_read){.offset = 11, .length = 100}, root, "page.html"));
    cr_assert_eq(answer.status, FILE_OK);
    cr_assert_eq(answer.bytes_read, 0);
    cr_assert(request(&(struct message_file_read){.offset = 1ull << 60, .length = 100}, root, "page.html"));
    cr_assert_eq(answer.bytes_read, 0, "far behind the end");
}

Test(disk_files, length_0_only_looks_it_up)
{
    memset(memory, '~', sizeof(memory));
    cr_assert(request(&(struct message_file_read){.length = 0}, root, "page.html"));
    cr_assert_eq(answer.status, FILE_OK);
    cr_assert_eq(answer.size, 11);
    cr_assert_eq(answer.bytes_read, 0);
    cr_assert_eq(memory[0], '~');
}

Test(disk_files, bytes_outside_the_memory_break_the_rules)
{
    const struct message_file_read bad[] = {
        {.length = 1, .slab_offset = MEMORY_BYTES},     {.length = MEMORY_BYTES + 1},
        {.length = 2, .slab_offset = MEMORY_BYTES - 1}, {.length = UINT64_MAX, .slab_offset = 8},
        {.length = 8, .slab_offset = UINT64_MAX - 4},   {.length = 8, .offset = UINT64_MAX - 4},
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(request(&bad[i], root, "page.html"), "row %u", i);
}

Test(disk_files, a_malformed_target_breaks_the_rules)
{
    struct message_file_read what = {.length = 10};
    cr_assert_not(disk_files_read(files, &what, BYTES("no separator"), &answer));
    cr_assert_not(disk_files_read(files, &what, BYTES_NONE, &answer));
    cr_assert_not(disk_files_read(files, &what, bytes_from("/a\0b\0c", 6), &answer));
}

Test(disk_files, what_is_not_there_is_missing)
{
    char name[4097];
    cr_assert_eq(read_file("nothing"), FILE_MISSING);
    cr_assert_eq(read_file("nothing/below"), FILE_MISSING);
    cr_assert_eq(read_file("page.html/below"), FILE_MISSING);
    cr_assert_eq(read_file("page.html/"), FILE_MISSING);
    memset(name, 'n', 300);
    name[300] = '\0';
    cr_assert_eq(read_file(name), FILE_MISSING);
    memset(name, 'n', 4096);
    name[4096] = '\0';
    cr_assert_eq(read_file(name), FILE_MISSING);
}

Test(disk_files, directories_are_told_apart)
{
    cr_assert_eq(read_file(""), FILE_IS_DIRECTORY);
    cr_assert_eq(read_file("sub"), FILE_IS_DIRECTORY);
    cr_assert_eq(read_file("sub/"), FILE_IS_DIRECTORY);
}

Test(disk_files, dotfiles_do_not_exist)
{
    mkdir(at("root/.git"), 0755);
    put("root/.git/config", "secret");
    put("root/sub/.htpasswd", "secret");
    put("root/a.b", "not hidden");
    cr_assert_eq(read_file(".secret"), FILE_MISSING);
    cr_assert_eq(read_file(".git/config"), FILE_MISSING);
    cr_assert_eq(read_file(".git"), FILE_MISSING);
    cr_assert_eq(read_file("sub/.htpasswd"), FILE_MISSING);
    cr_assert_eq(read_file("a.b"), FILE_OK);
}

Test(disk_files, dot_segments_lead_nowhere)
{
    cr_assert_eq(read_file("../secret"), FILE_MISSING);
    cr_assert_eq(read_file("sub/../../secret"), FILE_MISSING);
    cr_assert_eq(read_file("sub/.."), FILE_MISSING);
    cr_assert_eq(read_file("."), FILE_MISSING);
    cr_assert_eq(read_file(at("secret")), FILE_FORBIDDEN, "an absolute path leaves the root");
}

Test(disk_files, a_symlink_may_lead_around_inside_but_not_out)
{
    cr_assert_eq(symlink("sub/inner.txt", at("root/inside")), 0);
    cr_assert_eq(symlink("../page.html", at("root/sub/up")), 0);
    cr_assert_eq(symlink("../secret", at("root/out")), 0);
    cr_assert_eq(symlink(at("secret"), at("root/absolute")), 0);
    cr_assert_eq(symlink(at("root/page.html"), at("root/absolute-inside")), 0);
    cr_assert_eq(symlink("..", at("root/parent")), 0);
    cr_assert_eq(symlink("loop", at("root/loop")), 0);
    cr_assert_eq(symlink("/proc/self/cwd", at("root/magic")), 0);
    cr_assert_eq(read_file("inside"), FILE_OK);
    cr_assert(has_read("inner"));
    cr_assert_eq(read_file("sub/up"), FILE_OK);
    cr_assert_eq(read_file("out"), FILE_FORBIDDEN);
    cr_assert_eq(read_file("absolute"), FILE_FORBIDDEN);
    cr_assert_eq(read_file("absolute-inside"), FILE_FORBIDDEN, "the kernel confines by the way, not by the destination");
    cr_assert_eq(read_file("parent/secret"), FILE_FORBIDDEN);
    cr_assert_eq(read_file("loop"), FILE_FORBIDDEN);
    cr_assert_eq(read_file("magic/x"), FILE_FORBIDDEN);
    cr_assert_eq(memory[0], '~');
}

Test(disk_files, a_name_that_turned_into_an_escape_is_seen)
{
    cr_assert_eq(read_file("page.html"), FILE_OK);
    cr_assert_eq(unlink(at("root/page.html")), 0);
    cr_assert_eq(symlink("../secret", at("root/page.html")), 0);
    cr_assert_eq(read_file("page.html"), FILE_FORBIDDEN);
}

Test(disk_files, only_told_roots_are_served)
{
    char other[80];
    snprintf(other, sizeof(other), "%s/other", base);
    cr_assert(request(&(struct message_file_read){.length = 10}, other, "file"));
    cr_assert_eq(answer.status, FILE_FORBIDDEN);
    cr_assert(request(&(struct message_file_read){.length = 10}, base, "secret"));
    cr_assert_eq(answer.status, FILE_FORBIDDEN);
    cr_assert(request(&(struct message_file_read){.length = 10}, "", "page.html"));
    cr_assert_eq(answer.status, FILE_FORBIDDEN);

    cr_assert_eq(read_file("page.html"), FILE_OK);
    cr_assert(disk_files_set_roots(files, bytes_from(other, strlen(other) + 1), 1));
    cr_assert(request(&(struct message_file_read){.length = 10}, other, "file"));
    cr_assert_eq(answer.status, FILE_OK);
    cr_assert_eq(read_file("page.html"), FILE_FORBIDDEN, "the earlier root is forgotten, its open files too");
}

Test(disk_files, a_malformed_list_of_roots_changes_nothing)
{
    cr_assert_not(disk_files_set_roots(files, bytes_from("/a", 2), 1), "no NUL");
    cr_assert_not(disk_files_set_roots(files, bytes_from("/a\0/b", 6), 1), "count");
    cr_assert_not(disk_files_set_roots(files, bytes_from("a\0", 2), 1), "relative");
    cr_assert_not(disk_files_set_roots(files, bytes_from("\0", 1), 1), "empty");
    cr_assert_eq(read_file("page.html"), FILE_OK);
    cr_assert(disk_files_set_roots(files, BYTES_NONE, 0));
    cr_assert_eq(read_file("page.html"), FILE_FORBIDDEN);
}

Test(disk_files, what_is_no_regular_file_is_forbidden, .timeout = 10)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, at("root/socket"));
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(mkfifo(at("root/pipe"), 0644), 0);
    cr_assert_eq(read_file("pipe"), FILE_FORBIDDEN, "and does not wait for its writer");
    cr_assert_eq(read_file("socket"), FILE_FORBIDDEN);
}

Test(disk_files, permission_is_asked_for_each_new_reading)
{
    if (geteuid() == 0) {
        cr_assert_eq(chmod(base, 0755), 0);
        cr_assert_eq(seteuid(65534), 0);
    }
    cr_assert_eq(read_file("page.html"), FILE_OK);
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(chmod(at("root/page.html"), 0), 0);
    if (getuid() == 0)
        cr_assert_eq(seteuid(65534), 0);
    cr_assert_eq(read_file("page.html"), FILE_FORBIDDEN, "though it is open");
    if (getuid() == 0)
        cr_assert_eq(seteuid(0), 0);
}

Test(disk_files, a_replaced_or_edited_file_is_seen_at_once)
{
    cr_assert_eq(read_file("page.html"), FILE_OK);
    uint64_t inode = answer.inode;
    put("root/new", "replacement");
    cr_assert_eq(rename(at("root/new"), at("root/page.html")), 0);
    cr_assert_eq(read_file("page.html"), FILE_OK);
    cr_assert(has_read("replacement"));
    cr_assert_neq(answer.inode, inode);
    put("root/page.html", "edited in place");
    cr_assert_eq(read_file("page.html"), FILE_OK);
    cr_assert(has_read("edited in place"));
    cr_assert_eq(unlink(at("root/page.html")), 0);
    cr_assert_eq(read_file("page.html"), FILE_MISSING);
}

static struct message_file_read later_piece(void)
{
    return (struct message_file_read){.offset = 5, .length = 100, .inode = answer.inode, .size = answer.size, .mtime_ns = answer.mtime_ns};
}

Test(disk_files, a_body_once_begun_ends_with_the_bytes_of_its_own_file)
{
    cr_assert_eq(read_file("page.html"), FILE_OK);
    struct message_file_read next = later_piece();
    put("root/new", "replacement");
    cr_assert_eq(rename(at("root/new"), at("root/page.html")), 0);
    cr_assert(request(&next, root, "page.html"));
    cr_assert_eq(answer.status, FILE_OK);
    cr_assert_arr_eq(memory, ", page", 6);
}

Test(disk_files, a_later_piece_of_a_changed_file_is_refused)
{
    cr_assert_eq(read_file("page.html"), FILE_OK);
    struct message_file_read next = later_piece();
    put("root/page.html", "edited in place");
    memset(memory, '~', sizeof(memory));
    cr_assert(request(&next, root, "page.html"));
    cr_assert_eq(answer.status, FILE_CHANGED);
    next.inode++;
    cr_assert(request(&next, root, "page.html"));
    cr_assert_eq(answer.status, FILE_CHANGED);
    cr_assert_eq(unlink(at("root/page.html")), 0);
    cr_assert(request(&next, root, "page.html"));
    cr_assert_eq(answer.status, FILE_CHANGED, "gone is changed, for a body that was begun");
}

Test(disk_files, a_later_piece_needs_no_descriptor_that_was_kept)
{
    cr_assert_eq(read_file("page.html"), FILE_OK);
    struct message_file_read next = later_piece();
    disk_files_free(&files); /* another helper, as it were */
    files = disk_files_new(memory, sizeof(memory));
    cr_assert(disk_files_set_roots(files, bytes_from(root, strlen(root) + 1), 1));
    cr_assert(request(&next, root, "page.html"));
    cr_assert_eq(answer.status, FILE_OK);
    cr_assert_arr_eq(memory, ", page", 6);
}

static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

Test(disk_files, open_files_are_bounded_and_the_least_used_goes_first)
{
    unsigned before = count_descriptors();
    char name[32];
    for (unsigned i = 0; i < 2 * OPEN_FILES_MAX; i++) {
        snprintf(name, sizeof(name), "root/file-%u", i);
        put(name, name);
        cr_assert_eq(read_file(name + 5), FILE_OK);
        cr_assert(has_read(name));
        cr_assert_eq(read_file("page.html"), FILE_OK); /* keeps it the most used */
        cr_assert(has_read("hello, page"));
    }
    cr_assert_eq(count_descriptors(), before + OPEN_FILES_MAX);
    struct message_file_read next = later_piece();
    cr_assert_eq(unlink(at("root/page.html")), 0);
    cr_assert(request(&next, root, "page.html"));
    cr_assert_eq(answer.status, FILE_OK, "it was never closed");
    disk_files_free(&files);
    cr_assert_eq(count_descriptors(), before, "nothing leaks");
}

Test(disk_files, a_root_that_is_a_symlink_may_be_pointed_elsewhere)
{
    char current[80];
    snprintf(current, sizeof(current), "%s/current", base);
    mkdir(at("release-2"), 0755);
    put("release-2/page.html", "second release");
    cr_assert_eq(symlink("root", current), 0);
    cr_assert(disk_files_set_roots(files, bytes_from(current, strlen(current) + 1), 1));
    cr_assert(request(&(struct message_file_read){.length = 1000}, current, "page.html"));
    cr_assert_eq(answer.size, 11);
    cr_assert_eq(symlink("release-2", at("next")), 0);
    cr_assert_eq(rename(at("next"), current), 0);
    cr_assert(request(&(struct message_file_read){.length = 1000}, current, "page.html"));
    cr_assert_eq(answer.size, 14);
}

/* In the place of the C library's: what the kernel is asked to fetch. */
static struct {
    unsigned count;
    off_t offset, length;
} advice;

int posix_fadvise(int fd, off_t offset, off_t length, int what)
{
    (void)fd;
    if (what == POSIX_FADV_WILLNEED) {
        advice.count++;
        advice.offset = offset;
        advice.length = length;
    }
    return 0;
}

Test(disk_files, what_is_read_ahead_is_what_will_be_asked_for)
{
    static const struct {
        uint64_t offset, length, ahead;
        off_t expected; /* bytes; 0: nothing is read ahead */
    } rows[] = {
        {0, 4, 0, 0},     /* nothing more is wanted, though the file goes on */
        {0, 4, 100, 4},   /* a piece like this one */
        {0, 4, 3, 3},     /* less than a piece */
        {2, 4, 100, 4},   /**/
        {8, 2, 100, 1},   /* up to the end of the file */
        {0, 11, 100, 0},  /* at its end */
        {0, 0, 100, 0},   /* only looked up */
        {50, 10, 100, 0}, /* behind its end */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        advice.count = 0;
        cr_assert(request(&(struct message_file_read){.offset = rows[i].offset, .length = rows[i].length, .ahead = rows[i].ahead}, root,
                          "page.html"));
        disk_files_read_ahead(files);
        cr_assert_eq(advice.count, rows[i].expected > 0, "row %zu", i);
        if (advice.count > 0) {
            cr_assert_eq(advice.length, rows[i].expected, "row %zu", i);
            cr_assert_eq(advice.offset, (off_t)(rows[i].offset + rows[i].length), "row %zu", i);
        }
    }
}

/* Gives the file the time of the clock that the kernel stamps changes with, and so much more. */
static void set_age(const char *name, int64_t older_ms, bool whole_seconds)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - older_ms * 1000000;
    struct timespec time = {ns / 1000000000, whole_seconds ? 0 : ns % 1000000000 | 1};
    cr_assert_eq(utimensat(AT_FDCWD, at(name), (struct timespec[]){time, time}, 0), 0);
}

Test(disk_files, a_file_is_settled_when_its_next_change_will_show)
{
    static const struct {
        int64_t older_ms;
        bool whole_seconds, is_settled;
    } rows[] = {
        {60000, false, true},  {60000, true, true}, {1000, false, true}, {1000, true, false}, /* seconds are all that is kept, maybe */
        {-500, false, false},                                                                 /* as if it had just changed */
        {-60000, false, true}, /* a date that somebody gave it: a change will give it that of the day */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        set_age("root/page.html", rows[i].older_ms, rows[i].whole_seconds);
        cr_assert(request(&(struct message_file_read){.length = 0}, root, "page.html"));
        cr_assert_eq(answer.status, FILE_OK);
        cr_assert_eq(answer.is_settled, rows[i].is_settled, "row %zu", i);
    }
}

Test(disk_files, read_ahead_is_harmless_after_anything)
{
    disk_files_read_ahead(files);
    cr_assert(request(&(struct message_file_read){.length = 4}, root, "page.html"));
    disk_files_read_ahead(files);
    disk_files_read_ahead(files);
    cr_assert_eq(read_file("nothing"), FILE_MISSING);
    disk_files_read_ahead(files);
}
