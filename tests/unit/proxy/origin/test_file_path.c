/* Targets to paths of files, a row a rule. */
#include "proxy/origin/file_path.h"

#include <criterion/criterion.h>
#include <stdlib.h>

struct row {
    const char *target;
    enum file_path_verdict verdict;
    const char *path;
    bool is_directory;
    const char *query;
};

static const struct row rows[] = {
    {"/", FILE_PATH_OK, "", true, ""},
    {"/a.html", FILE_PATH_OK, "a.html", false, ""},
    {"/a/b.html?x=/../..&y", FILE_PATH_OK, "a/b.html", false, "?x=/../..&y"},
    {"/a/b/", FILE_PATH_OK, "a/b", true, ""},
    {"/a?", FILE_PATH_OK, "a", false, "?"},
    {"//a///b", FILE_PATH_OK, "a/b", false, ""},
    {"/a/./b", FILE_PATH_OK, "a/b", false, ""},
    {"/a/.", FILE_PATH_OK, "a", true, ""},
    {"/a/../b", FILE_PATH_OK, "b", false, ""},
    {"/a/b/..", FILE_PATH_OK, "a", true, ""},
    {"/a/b/../..", FILE_PATH_OK, "", true, ""},
    {"/a/%2e%2E/b", FILE_PATH_OK, "b", false, ""},
    {"/a%20b/%C3%A9", FILE_PATH_OK, "a b/\xc3\xa9", false, ""},
    {"/%2541", FILE_PATH_OK, "%41", false, ""}, /* decoded once */
    {"/a;b,c=d", FILE_PATH_OK, "a;b,c=d", false, ""},
    {"/a..b", FILE_PATH_OK, "a..b", false, ""},
    {"/a\\..\\b", FILE_PATH_OK, "a\\..\\b", false, ""},

    {"", FILE_PATH_BAD, NULL, false, NULL},
    {"*", FILE_PATH_BAD, NULL, false, NULL},
    {"a", FILE_PATH_BAD, NULL, false, NULL},
    {"?x", FILE_PATH_BAD, NULL, false, NULL},
    {"/..", FILE_PATH_BAD, NULL, false, NULL},
    {"/../etc/passwd", FILE_PATH_BAD, NULL, false, NULL},
    {"/a/../../etc/passwd", FILE_PATH_BAD, NULL, false, NULL},
    {"/%2e%2e/etc/passwd", FILE_PATH_BAD, NULL, false, NULL},
    {"/a/%2e%2e/%2e./x", FILE_PATH_BAD, NULL, false, NULL},
    {"/a%00.html", FILE_PATH_BAD, NULL, false, NULL},
    {"/.git/../..", FILE_PATH_BAD, NULL, false, NULL},
    {"/%", FILE_PATH_BAD, NULL, false, NULL},
    {"/%4", FILE_PATH_BAD, NULL, false, NULL},
    {"/%4/1", FILE_PATH_BAD, NULL, false, NULL},
    {"/%zz", FILE_PATH_BAD, NULL, false, NULL},
    {"/%+1", FILE_PATH_BAD, NULL, false, NULL},

    {"/.htaccess", FILE_PATH_MISSING, NULL, false, NULL},
    {"/.git/config", FILE_PATH_MISSING, NULL, false, NULL},
    {"/a/%2egit/config", FILE_PATH_MISSING, NULL, false, NULL},
    {"/...", FILE_PATH_MISSING, NULL, false, NULL},
    {"/a%2fb", FILE_PATH_MISSING, NULL, false, NULL},
    {"/..%2f..%2fetc/passwd", FILE_PATH_MISSING, NULL, false, NULL},
};

Test(file_path, every_row_of_the_table)
{
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        const struct row *row = &rows[i];
        struct file_path out;
        /* In memory of its own, so that reading past its end shows. */
        char *target = malloc(strlen(row->target) + 1);
        memcpy(target, row->target, strlen(row->target));
        struct bytes given = bytes_from(realloc(target, strlen(row->target) ? strlen(row->target) : 1), strlen(row->target));
        cr_assert_eq(file_path_parse(given, &arena, &out), row->verdict, "%s", row->target);
        if (row->verdict == FILE_PATH_OK) {
            cr_assert_str_eq(out.path, row->path, "%s → %s", row->target, out.path);
            cr_assert_eq(out.is_directory, row->is_directory, "%s", row->target);
            cr_assert(bytes_equal(out.query, bytes_from_string(row->query)), "%s", row->target);
        }
        free((void *)given.at);
        arena_clear(&arena);
    }
    arena_free(&arena);
}

Test(file_path, too_long_is_missing)
{
    struct arena arena;
    struct file_path out;
    arena_init(&arena);
    char target[FILE_PATH_MAX_BYTES + 1];
    memset(target, 'a', sizeof(target));
    target[0] = '/';
    cr_assert_eq(file_path_parse(bytes_from(target, FILE_PATH_MAX_BYTES), &arena, &out), FILE_PATH_OK);
    cr_assert_eq(strlen(out.path), FILE_PATH_MAX_BYTES - 1);
    cr_assert_eq(file_path_parse(bytes_from(target, sizeof(target)), &arena, &out), FILE_PATH_MISSING);
    arena_free(&arena);
}

static const struct {
    const char *target, *location;
} redirects[] = {
    {"/", "/"},
    {"/docs", "/docs/"},
    {"//evil.example/..//evil.example", "/evil.example/"},
    {"/a%20b/%C3%A9%0d%0aX:%20y", "/a%20b/%C3%A9%0D%0AX:%20y/"},
    {"/%3fx", "/%3Fx/"},
};

Test(file_path, the_location_is_escaped_and_stays_on_this_host)
{
    struct arena arena;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(redirects) / sizeof(*redirects); i++) {
        struct file_path out;
        cr_assert_eq(file_path_parse(bytes_from_string(redirects[i].target), &arena, &out), FILE_PATH_OK);
        struct bytes location = file_path_location(&out, &arena);
        cr_assert(bytes_equal(location, bytes_from_string(redirects[i].location)), "%s → %.*s", redirects[i].target, BYTES_FMT(location));
    }
    arena_free(&arena);
}
