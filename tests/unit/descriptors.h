/* A process that may open few descriptors more. */
#ifndef TESTS_DESCRIPTORS_H
#define TESTS_DESCRIPTORS_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/resource.h>

/* So many may still be opened. */
static inline void leave_descriptors(int count, rlim_t *before)
{
    struct rlimit files;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    *before = files.rlim_cur;
    int next = 0;
    for (; count > 0 || fcntl(next, F_GETFD) >= 0; next++)
        count -= fcntl(next, F_GETFD) < 0;
    files.rlim_cur = (rlim_t)next;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static inline void give_descriptors_back(rlim_t before)
{
    struct rlimit files;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

#endif
