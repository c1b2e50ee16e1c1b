#include "base/clock.h"
#include "helpers/channel.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the fields lie in the shared memory, for a peer that misbehaves (channel.c: struct rings). */
enum { TO_HELPER = 0, HEAD = 0, TAIL = 64, SLEEPING = 128, BYTES_AT = 192 };

struct pair {
    struct channel *proxy, *helper;
    char *raw; /* the shared memory as a third party sees it */
};

static struct pair make_pair(enum role helper)
{
    struct channel_fds fds;
    struct pair pair;
    cr_assert_eq(channel_make(&fds), 0);
    pair.raw = mmap(NULL, CHANNEL_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds.memory, 0);
    pair.proxy = channel_open(dup(fds.memory), fds.bell[0], ROLE_PROXY, helper);
    pair.helper = channel_open(fds.memory, fds.bell[1], helper, ROLE_PROXY);
    cr_assert(pair.raw != MAP_FAILED && pair.proxy && pair.helper);
    return pair;
}

static void free_pair(struct pair *pair)
{
    channel_close(&pair->proxy);
    channel_close(&pair->helper);
    munmap(pair->raw, CHANNEL_RING_BYTES);
}

static bool send_name(struct channel *channel, uint64_t request, struct bytes name)
{
    return channel_send(channel, MESSAGE_RESOLVE, &(struct message_resolve){request}, name);
}

static bool is_readable(const struct channel *channel)
{
    struct pollfd descriptor = {.fd = channel_fd(channel), .events = POLLIN};
    return poll(&descriptor, 1, 0) == 1;
}

static uint64_t *word(struct pair *pair, size_t offset)
{
    return (uint64_t *)(pair->raw + TO_HELPER + offset);
}

Test(channel, messages_arrive_in_order_both_ways)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    struct message message;
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_EMPTY);
    cr_assert(send_name(pair.proxy, 1, BYTES("one")));
    cr_assert(send_name(pair.proxy, 2, BYTES("two.example")));
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_assert_eq(message.type, MESSAGE_RESOLVE);
    cr_assert_eq(((const struct message_resolve *)message.payload)->request, 1);
    cr_assert(bytes_equal(message.tail, BYTES("one")));
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_assert(bytes_equal(message.tail, BYTES("two.example")));
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_EMPTY);

    struct message_resolved answer = {.request = 2, .count = 3};
    cr_assert(channel_send(pair.helper, MESSAGE_RESOLVED, &answer, BYTES_NONE));
    cr_assert_eq(channel_receive(pair.proxy, &message), CHANNEL_MESSAGE);
    cr_assert_arr_eq(message.payload, &answer, sizeof(answer));
    free_pair(&pair);
}

Test(channel, the_bell_rings_once_for_a_batch_and_only_for_a_sleeper)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    struct message message;
    /* A receiver that never looked counts as asleep. */
    send_name(pair.proxy, 1, BYTES("a"));
    cr_assert_not(is_readable(pair.helper), "sending alone does not ring");
    channel_flush(pair.proxy);
    cr_assert(is_readable(pair.helper));
    cr_assert(channel_answer_bell(pair.helper));
    cr_assert_not(is_readable(pair.helper), "one byte for the batch");

    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    send_name(pair.proxy, 2, BYTES("b"));
    channel_flush(pair.proxy);
    cr_assert_not(is_readable(pair.helper), "awake: it has not said that it found nothing");
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_assert_eq(channel_receive_awake(pair.helper, &message), CHANNEL_EMPTY);
    send_name(pair.proxy, 3, BYTES("c"));
    channel_flush(pair.proxy);
    cr_assert_not(is_readable(pair.helper), "awake: it looks again by itself");
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_EMPTY);
    channel_flush(pair.proxy);
    cr_assert_not(is_readable(pair.helper), "nothing was sent since");
    send_name(pair.proxy, 4, BYTES("d"));
    channel_flush(pair.proxy);
    cr_assert(is_readable(pair.helper));
    free_pair(&pair);
}

Test(channel, a_full_ring_refuses_and_takes_again_when_there_is_room)
{
    struct pair pair = make_pair(ROLE_LOG);
    struct message message;
    static char lines[MESSAGE_TAIL_MAX];
    struct bytes tail = bytes_from(lines, sizeof(lines));
    const uint64_t kind = LOG_KIND_ACCESS;
    unsigned sent = 0, received = 0;
    while (channel_send(pair.proxy, MESSAGE_LOG_LINE, &kind, tail))
        sent++;
    cr_assert_eq(sent, CHANNEL_RING_BYTES / wire_size(MESSAGE_LOG_LINE, tail.len));
    cr_assert_eq(channel_backlog(pair.proxy), sent * wire_size(MESSAGE_LOG_LINE, tail.len));
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_assert(channel_send(pair.proxy, MESSAGE_LOG_LINE, &kind, tail), "the room of one message");
    cr_assert_not(channel_send(pair.proxy, MESSAGE_LOG_LINE, &kind, tail));
    while (channel_receive(pair.helper, &message) == CHANNEL_MESSAGE)
        received++;
    cr_assert_eq(received, sent);
    cr_assert_eq(channel_backlog(pair.proxy), 0);
    free_pair(&pair);
}

Test(channel, messages_survive_the_wrap_at_every_offset)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    struct message message;
    char name[255];
    for (unsigned i = 0; i < 40000; i++) {
        size_t len = 1 + i * 7 % sizeof(name);
        memset(name, 'a' + i % 26, len);
        cr_assert(send_name(pair.proxy, i, bytes_from(name, len)));
        if (i % 3 == 0)
            continue; /* lets the ring hold up to two */
        while (channel_receive(pair.helper, &message) == CHANNEL_MESSAGE) {
            uint64_t request = ((const struct message_resolve *)message.payload)->request;
            len = 1 + request * 7 % sizeof(name);
            memset(name, 'a' + request % 26, len);
            cr_assert(bytes_equal(message.tail, bytes_from(name, len)), "message %lu", (unsigned long)request);
        }
    }
    cr_assert_gt(channel_sent(pair.proxy), 10ull * CHANNEL_RING_BYTES);
    free_pair(&pair);
}

Test(channel, a_message_of_the_wrong_direction_breaks_it_for_good)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    struct message message;
    struct message_resolved answer = {0};
    wire_encode(pair.raw + BYTES_AT, MESSAGE_RESOLVED, &answer, BYTES_NONE);
    *word(&pair, HEAD) = wire_size(MESSAGE_RESOLVED, 0);
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_BROKEN);
    *word(&pair, HEAD) = 0;
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_BROKEN);
    cr_assert_not(channel_send(pair.helper, MESSAGE_RESOLVED, &answer, BYTES_NONE));
    free_pair(&pair);
}

/* `head` as the producer's counter says, `type` and sizes in the first header. */
static enum channel_event receive_forged(uint64_t head, uint16_t type, uint16_t payload, uint32_t tail)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    struct message message;
    memcpy(pair.raw + BYTES_AT, &type, 2);
    memcpy(pair.raw + BYTES_AT + 2, &payload, 2);
    memcpy(pair.raw + BYTES_AT + 4, &tail, 4);
    *word(&pair, HEAD) = head;
    enum channel_event event = channel_receive(pair.helper, &message);
    free_pair(&pair);
    return event;
}

Test(channel, a_forged_header_or_counter_breaks_it)
{
    cr_assert_eq(receive_forged(16, MESSAGE_RESOLVE, 8, 0), CHANNEL_MESSAGE, "the forgery is well made");
    cr_assert_eq(receive_forged(16, MESSAGE_RESOLVE, 8, 1), CHANNEL_BROKEN, "longer than what was sent");
    cr_assert_eq(receive_forged(4096, MESSAGE_RESOLVE, 8, 256), CHANNEL_BROKEN, "tail over its limit");
    cr_assert_eq(receive_forged(4096, MESSAGE_RESOLVE, 8, 0xffffffff), CHANNEL_BROKEN, "sizes that overflow");
    cr_assert_eq(receive_forged(4096, MESSAGE_RESOLVE, 0, 0), CHANNEL_BROKEN, "payload of another size");
    cr_assert_eq(receive_forged(4096, MESSAGE_NONE, 8, 0), CHANNEL_BROKEN);
    cr_assert_eq(receive_forged(4096, 9999, 8, 0), CHANNEL_BROKEN);
    cr_assert_eq(receive_forged(4096, MESSAGE_LOG_LINE, 8, 0), CHANNEL_BROKEN, "for another role");
    cr_assert_eq(receive_forged(4, MESSAGE_RESOLVE, 8, 0), CHANNEL_BROKEN, "half a header");
    cr_assert_eq(receive_forged(20, MESSAGE_RESOLVE, 8, 0), CHANNEL_BROKEN, "not a multiple of 8");
    cr_assert_eq(receive_forged(CHANNEL_RING_BYTES + 8, MESSAGE_RESOLVE, 8, 0), CHANNEL_BROKEN, "more than the ring holds");
    cr_assert_eq(receive_forged(-16, MESSAGE_RESOLVE, 8, 0), CHANNEL_BROKEN, "backwards");
}

Test(channel, a_consumer_that_claims_more_than_was_sent_breaks_the_producer)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    *word(&pair, TAIL) = 1 << 20;
    while (send_name(pair.proxy, 1, BYTES("name")))
        continue;
    struct message message;
    cr_assert_eq(channel_receive(pair.proxy, &message), CHANNEL_BROKEN);
    cr_assert_leq(channel_backlog(pair.proxy), CHANNEL_RING_BYTES);
    free_pair(&pair);
}

Test(channel, a_message_changed_after_it_was_taken_stays_as_it_was)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    struct message message;
    send_name(pair.proxy, 1, BYTES("original"));
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    memset(pair.raw + BYTES_AT, 'x', 64);
    cr_assert(bytes_equal(message.tail, BYTES("original")));
    free_pair(&pair);
}

Test(channel, the_end_of_the_peer_is_told_and_its_last_messages_are_kept)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    struct message message;
    send_name(pair.proxy, 1, BYTES("last"));
    channel_flush(pair.proxy);
    channel_close(&pair.proxy);
    cr_assert_null(pair.proxy);
    cr_assert(is_readable(pair.helper));
    channel_answer_bell(pair.helper); /* takes the bell; the end may come with the next look */
    cr_assert(is_readable(pair.helper));
    cr_assert_not(channel_answer_bell(pair.helper));
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_assert(bytes_equal(message.tail, BYTES("last")));
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_EMPTY);
    struct message_resolved answer = {0};
    channel_send(pair.helper, MESSAGE_RESOLVED, &answer, BYTES_NONE);
    channel_flush(pair.helper); /* no SIGPIPE */
    free_pair(&pair);
}

Test(channel, memory_of_another_size_is_refused_and_the_real_one_cannot_shrink)
{
    struct channel_fds fds;
    int small = memfd_create("small", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(small, 4096), 0);
    cr_assert_eq(channel_make(&fds), 0);
    cr_assert_neq(ftruncate(fds.memory, 0), 0);
    cr_assert_null(channel_open(small, fds.bell[0], ROLE_PROXY, ROLE_LOG));
    cr_assert_eq(fcntl(small, F_GETFD), -1, "taken even on failure");
    cr_assert_eq(fcntl(fds.bell[0], F_GETFD), -1);
    close(fds.bell[1]);
    close(fds.memory);
}

Test(channel, what_a_dead_peer_never_took_is_sent_again_through_another)
{
    struct pair old = make_pair(ROLE_RESOLVER), new = make_pair(ROLE_RESOLVER);
    struct message message;
    for (uint64_t i = 0; i < 5; i++)
        send_name(old.proxy, i, BYTES("name"));
    uint64_t position = channel_sent(old.proxy);
    cr_assert_eq(channel_receive(old.helper, &message), CHANNEL_MESSAGE);
    cr_assert_eq(channel_receive(old.helper, &message), CHANNEL_MESSAGE);
    cr_assert_lt(channel_taken(old.proxy), position);
    cr_assert_eq(channel_adopt_backlog(new.proxy, old.proxy), 0);
    for (uint64_t i = 2; i < 5; i++) {
        cr_assert_eq(channel_receive(new.helper, &message), CHANNEL_MESSAGE);
        cr_assert_eq(((const struct message_resolve *)message.payload)->request, i);
    }
    cr_assert_eq(channel_receive(new.helper, &message), CHANNEL_EMPTY);
    free_pair(&old);
    free_pair(&new);
}

static void spin_for(uint64_t rounds)
{
    for (volatile uint64_t spin = rounds; spin > 0; spin--)
        continue;
}

/* Answers each question with its number as the status, until the channel ends. */
static void __attribute__((noreturn)) echo(struct channel *channel)
{
    struct message message;
    for (;;) {
        struct pollfd bell = {.fd = channel_fd(channel), .events = POLLIN};
        enum channel_event event;
        while ((event = channel_receive(channel, &message)) == CHANNEL_MESSAGE) {
            struct message_resolved answer = {.request = ((const struct message_resolve *)message.payload)->request};
            if (!channel_send(channel, MESSAGE_RESOLVED, &answer, BYTES_NONE))
                _exit(2);
            spin_for(200); /* the next question may come before the ring is found empty, and while it is */
        }
        channel_flush(channel);
        if (event == CHANNEL_BROKEN)
            _exit(3);
        poll(&bell, 1, -1);
        if (bell.revents && !channel_answer_bell(channel))
            _exit(0);
    }
}

static char *raw; /* the shared memory of the last channel */

static pid_t start_echo(struct channel **proxy)
{
    struct channel_fds fds;
    cr_assert_eq(channel_make(&fds), 0);
    raw = mmap(NULL, CHANNEL_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fds.memory, 0);
    cr_assert_neq(raw, MAP_FAILED);
    pid_t child = fork();
    if (child == 0) {
        close(fds.bell[0]);
        echo(channel_open(fds.memory, fds.bell[1], ROLE_RESOLVER, ROLE_PROXY));
    }
    close(fds.bell[1]);
    *proxy = channel_open(fds.memory, fds.bell[0], ROLE_PROXY, ROLE_RESOLVER);
    return child;
}

/* Waits for the bell, for five seconds at most: a lost wake-up fails the test instead of hanging it. False: the peer has ended. */
static bool wait_for_bell(struct channel *channel)
{
    struct pollfd bell = {.fd = channel_fd(channel), .events = POLLIN};
    cr_assert_eq(poll(&bell, 1, 5000), 1, "a wake-up was lost");
    return channel_answer_bell(channel);
}

Test(channel, no_wake_up_is_lost_between_two_processes)
{
    struct channel *proxy;
    struct message message;
    pid_t child = start_echo(&proxy);
    int status;
    uint64_t asked = 0, answered = 0;
    while (answered < 30000) {
        for (unsigned batch = 1 + asked % 5; asked - answered < batch;)
            cr_assert(send_name(proxy, asked++, BYTES("name.example")));
        channel_flush(proxy);
        uint64_t before = answered;
        while (answered == before) {
            while (channel_receive(proxy, &message) == CHANNEL_MESSAGE)
                cr_assert_eq(((const struct message_resolved *)message.payload)->request, answered++);
            if (answered == before)
                cr_assert(wait_for_bell(proxy));
        }
    }
    channel_close(&proxy);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(channel, no_wake_up_is_lost_when_a_message_meets_the_falling_asleep, .timeout = 60)
{
    struct channel *proxy;
    struct message message;
    pid_t child = start_echo(&proxy);
    const volatile uint32_t *helper_sleeps = (volatile uint32_t *)(raw + TO_HELPER + SLEEPING);
    int64_t delay = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        /* Sent later when the helper was found awake, earlier when it slept: the moment keeps close to its falling asleep. */
        spin_for(delay);
        delay = *helper_sleeps ? delay - (delay > 0) : delay + 1;
        send_name(proxy, i, BYTES("name.example"));
        channel_flush(proxy);
        struct monotonic_ms start = clock_monotonic();
        for (unsigned looks = 1; channel_receive_awake(proxy, &message) != CHANNEL_MESSAGE; looks++) {
            if (looks % 1024 == 0) {
                cr_assert_lt(monotonic_since(clock_monotonic(), start), 5000, "a wake-up was lost");
                sched_yield();
            }
        }
    }
    channel_close(&proxy);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

Test(channel, a_peer_killed_in_mid_stream_leaves_whole_messages_only)
{
    for (unsigned round = 0; round < 100; round++) {
        struct channel *proxy;
        struct message message;
        pid_t child = start_echo(&proxy);
        uint64_t asked = 0, answered = 0, kill_after = 1 + round * 37;
        bool is_alive = true;
        while (is_alive) {
            while (asked - answered < 100)
                send_name(proxy, asked++, BYTES("name.example"));
            channel_flush(proxy);
            enum channel_event event;
            uint64_t before = answered;
            while ((event = channel_receive(proxy, &message)) == CHANNEL_MESSAGE) {
                cr_assert_eq(((const struct message_resolved *)message.payload)->request, answered++);
                if (answered == kill_after)
                    kill(child, SIGKILL);
            }
            cr_assert_eq(event, CHANNEL_EMPTY);
            if (answered == before)
                is_alive = wait_for_bell(proxy);
        }
        cr_assert_eq(waitpid(child, NULL, 0), child);
        while (channel_receive(proxy, &message) == CHANNEL_MESSAGE)
            cr_assert_eq(((const struct message_resolved *)message.payload)->request, answered++);
        cr_assert_eq(channel_receive(proxy, &message), CHANNEL_EMPTY, "not broken");
        cr_assert_geq(answered, kill_after);
        channel_close(&proxy);
    }
}

Test(channel, a_message_that_is_given_back_was_not_taken)
{
    struct pair pair = make_pair(ROLE_RESOLVER);
    struct message message;
    cr_assert(send_name(pair.proxy, 1, BYTES("one")));
    uint64_t after_one = channel_sent(pair.proxy);
    cr_assert(send_name(pair.proxy, 2, BYTES("two")));
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_expect_eq(channel_taken(pair.proxy), channel_sent(pair.proxy));
    channel_give_back(pair.helper);
    cr_expect_eq(channel_taken(pair.proxy), after_one);
    cr_assert_eq(channel_receive(pair.helper, &message), CHANNEL_MESSAGE);
    cr_expect(bytes_equal(message.tail, BYTES("two")));
    free_pair(&pair);
}
