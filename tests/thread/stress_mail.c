/* Mail between threads, under TSan where built so: nothing posted is lost, what the poster wrote is seen, posts coalesce, and a mail may be freed
 * once it is delivered. A plain program: exits with 0 when all held. */
#include "proxy/net/loop.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#undef NDEBUG
#include <assert.h>

enum { POSTERS = 4, ROUNDS = 5000, ONCE = 2000 };

/* One poster's letters: `written` is plain memory, handed over by the post alone. */
struct letter {
    struct mail mail;
    int written;
    _Atomic int seen;
    _Atomic unsigned posts, deliveries;
};

struct once {
    struct mail mail;
    int written;
};

static struct loop *loops[2];
static struct letter letters[POSTERS];
static struct letter crowd; /* posted by all */
static _Atomic unsigned freed;

static void deliver_letter(struct mail *mail)
{
    struct letter *letter = LIST_OWNER(mail, struct letter, mail);
    atomic_fetch_add(&letter->deliveries, 1);
    atomic_store_explicit(&letter->seen, letter->written, memory_order_release);
}

static void deliver_crowd(struct mail *mail)
{
    struct letter *letter = LIST_OWNER(mail, struct letter, mail);
    atomic_fetch_add(&letter->deliveries, 1);
    atomic_store(&letter->seen, (int)atomic_load(&letter->posts));
}

static void deliver_once(struct mail *mail)
{
    struct once *once = LIST_OWNER(mail, struct once, mail);
    assert(once->written == 42);
    assert(!mail_is_posted(mail));
    free(once);
    atomic_fetch_add(&freed, 1);
}

static void *run_loop(void *loop)
{
    loop_run(loop);
    return NULL;
}

static void *post(void *context)
{
    struct letter *own = context;
    for (int i = 1; i <= ROUNDS; i++) {
        own->written = i;
        mail_post(&own->mail);
        atomic_fetch_add(&crowd.posts, 1);
        mail_post(&crowd.mail);
        while (atomic_load_explicit(&own->seen, memory_order_acquire) != i)
            sched_yield();
    }
    for (int i = 0; i < ONCE; i++) {
        struct once *once = malloc(sizeof(*once));
        mail_init(&once->mail, loops[i % 2], deliver_once);
        once->written = 42;
        mail_post(&once->mail);
    }
    return NULL;
}

int main(void)
{
    pthread_t loop_threads[2], posters[POSTERS];
    for (unsigned i = 0; i < 2; i++)
        loops[i] = loop_new(i);
    mail_init(&crowd.mail, loops[0], deliver_crowd);
    for (unsigned i = 0; i < POSTERS; i++)
        mail_init(&letters[i].mail, loops[i % 2], deliver_letter);
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&loop_threads[i], NULL, run_loop, loops[i]);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_create(&posters[i], NULL, post, &letters[i]);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(posters[i], NULL);
    while (atomic_load(&freed) < POSTERS * ONCE || atomic_load(&crowd.seen) < POSTERS * ROUNDS)
        sched_yield();
    for (unsigned i = 0; i < 2; i++) {
        loop_stop(loops[i]);
        pthread_join(loop_threads[i], NULL);
        loop_free(&loops[i]);
    }
    assert(atomic_load(&crowd.deliveries) <= POSTERS * ROUNDS);
    for (unsigned i = 0; i < POSTERS; i++)
        assert(atomic_load(&letters[i].deliveries) == ROUNDS);
    printf("mail: %u posts of all made %u deliveries\n", atomic_load(&crowd.posts), atomic_load(&crowd.deliveries));
    return 0;
}
