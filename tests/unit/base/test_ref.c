#include "base/ref.h"

#include <criterion/criterion.h>
#include <pthread.h>

enum { THREADS = 4, ROUNDS = 20000 };

Test(ref, the_last_drop_says_so)
{
    struct ref ref;
    ref_init(&ref);
    cr_assert_eq(ref_count(&ref), 1);
    ref_take(&ref);
    ref_take(&ref);
    cr_assert_eq(ref_count(&ref), 3);
    cr_assert_not(ref_drop(&ref));
    cr_assert_not(ref_drop(&ref));
    cr_assert(ref_drop(&ref));
}

static void *take_and_drop(void *what)
{
    struct ref *ref = what;
    uintptr_t last = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        ref_take(ref);
        last += ref_drop(ref);
    }
    return (void *)(last + ref_drop(ref)); /* the reference it was started with */
}

Test(ref, exactly_one_of_many_threads_drops_the_last)
{
    struct ref ref;
    pthread_t threads[THREADS];
    uintptr_t last = 0;
    ref_init(&ref);
    for (unsigned i = 0; i < THREADS; i++) {
        ref_take(&ref);
        cr_assert_eq(pthread_create(&threads[i], NULL, take_and_drop, &ref), 0);
    }
    last += ref_drop(&ref);
    for (unsigned i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        last += (uintptr_t)result;
    }
    cr_assert_eq(last, 1);
    cr_assert_eq(ref_count(&ref), 0);
}
