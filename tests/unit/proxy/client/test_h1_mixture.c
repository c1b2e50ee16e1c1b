/* Random conversations: requests of every kind pipelined in random order, cut at random into reads and writes. What comes back is known to the byte.
 * Then the same, broken off anywhere: nothing may be left behind. A failure names its seed. */
#include "wire.h"

#include <sys/syscall.h>

TestSuite(h1_mixture, .init = begin, .fini = end, .timeout = 120);

enum { CONVERSATIONS = 300, BROKEN_CONVERSATIONS = 150, REQUESTS_MAX = 12, TEXT_BYTES = 2 * 1024 * 1024 };

static uint64_t random_state;
static unsigned write_limit_max, write_failures_in;
static char *said, *said_end, *expected, *expected_end;

static unsigned pick(unsigned below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % below;
}

/* The kernel takes a random part of each write, or nothing, or fails. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    char some[4096];
    size_t some_len = 0, limit;
    if (write_failures_in && --write_failures_in == 0) {
        errno = EPIPE;
        return -1;
    }
    if (!write_limit_max || pick(2))
        return syscall(SYS_sendmsg, fd, message, flags);
    limit = pick(write_limit_max);
    for (size_t i = 0; i < message->msg_iovlen && some_len < limit; i++) {
        size_t left = limit - some_len, len = message->msg_iov[i].iov_len;
        memcpy(some + some_len, message->msg_iov[i].iov_base, len < left ? len : left);
        some_len += len < left ? len : left;
    }
    if (limit == 0)
        errno = EAGAIN;
    return limit == 0 ? -1 : syscall(SYS_sendto, fd, some, some_len, flags, NULL, 0);
}

/* What fits in one piece goes this way. The client's own end is left alone. */
ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    struct iovec iov = {(void *)bytes, length};
    if (fd == wire.fd)
        return syscall(SYS_sendto, fd, bytes, length, flags, NULL, 0);
    return sendmsg(fd, &(struct msghdr){.msg_iov = &iov, .msg_iovlen = 1}, flags);
}

static void expect_answer(bool last, const char *length_or_coding, const char *body, size_t len)
{
    expected_end += sprintf(expected_end, "HTTP/1.1 200 X\r\nServer: fake\r\nAge: 1\r\n%s\r\n%s\r\n", length_or_coding,
                            last ? "Connection: close\r\n" : "");
    memcpy(expected_end, body, len);
    expected_end += len;
}

static void expect_length(bool last, const char *body, size_t len)
{
    char line[64];
    sprintf(line, "Content-Length: %zu", len);
    expect_answer(last, line, body, len);
}

static void expect_chunks(bool last, unsigned pieces)
{
    expect_answer(last, "Transfer-Encoding: chunked", "", 0);
    for (unsigned i = 0; i < pieces; i++)
        expected_end += sprintf(expected_end, "a\r\n%.10s\r\n", fake_pattern);
    expected_end += sprintf(expected_end, "0\r\n\r\n");
}

static void say_head(const char *method, const char *path, unsigned number, bool last)
{
    if (pick(5) == 0)
        said_end += sprintf(said_end, "\r\n");
    said_end += sprintf(said_end, "%s %s?%u HTTP/1.1\r\nHost: a\r\n%s", method, path, number, last ? "Connection: close\r\n" : "");
    for (unsigned i = pick(4); i; i--)
        said_end += sprintf(said_end, "X-%u: %.*s\r\n", i, (int)pick(200), fake_pattern);
}

static void say_body(size_t len)
{
    const char *at = fake_pattern;
    if (pick(2)) {
        said_end += sprintf(said_end, "Content-Length: %zu\r\n\r\n", len);
        said_end = mempcpy(said_end, at, len);
        return;
    }
    said_end += sprintf(said_end, "Transfer-Encoding: chunked\r\n\r\n");
    while (len) {
        size_t now = 1 + pick((unsigned)len);
        said_end += sprintf(said_end, "%zx%s\r\n", now, pick(3) ? "" : ";x=y");
        said_end = mempcpy(said_end, at, now);
        said_end += sprintf(said_end, "\r\n");
        at += now;
        len -= now;
    }
    said_end += sprintf(said_end, "0\r\n%s\r\n", pick(3) ? "" : "Trailer: x\r\n");
}

static void say_and_expect(bool last)
{
    char text[64];
    unsigned number = pick(3) ? pick(50) : pick(40000);
    switch (pick(8)) {
    case 0:
        say_head("GET", "/later", 0, last);
        expect_length(last, "later", 5);
        break;
    case 1:
        say_head("GET", "/length", number, last);
        expect_length(last, fake_pattern, number);
        break;
    case 2:
        say_head("GET", "/chunks", number = 1 + number % 100, last);
        expect_chunks(last, number);
        break;
    case 3:
        say_head("POST", "/upload", 0, last);
        say_body(number + 1);
        sprintf(text, "got %u %lx", number + 1, (unsigned long)fake_hash(14695981039346656037u, fake_pattern, number + 1));
        expect_length(last, text, strlen(text));
        return;
    case 4:
        say_head("PUT", "/lazy", 0, last);
        say_body(number + 1);
        expect_length(last, "lazy", 4);
        return;
    case 5:
        say_head("GET", "/hints", 0, last);
        expected_end += sprintf(expected_end, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        expect_length(last, "hinted", 6);
        break;
    case 6:
        say_head("HEAD", "/length", number, last);
        sprintf(text, "Content-Length: %u", number);
        expect_answer(last, text, "", 0);
        break;
    default:
        say_head("GET", "/hit", 0, last);
        expect_length(last, "hello", 5);
        break;
    }
    said_end += sprintf(said_end, "\r\n");
}

static void begin_conversation(unsigned seed)
{
    random_state = seed;
    if (!said) {
        said = malloc(TEXT_BYTES);
        expected = malloc(TEXT_BYTES);
    }
    said_end = said;
    expected_end = expected;
    bool half_closes = pick(2); /* or says Connection: close */
    for (unsigned left = 1 + pick(REQUESTS_MAX); left; left--)
        say_and_expect(left == 1 && !half_closes);
    write_limit_max = pick(3) ? 1 + pick(4000) : 0;
    wire_connect();
    wire.shuts_after = half_closes;
    wire.piece = pick(2) ? 1 + pick(60) * 10 : 1 + pick(20000);
    wire_say_bytes(said, (size_t)(said_end - said));
}

static void end_of_all(void)
{
    free(said);
    free(expected);
    said = expected = NULL;
}

Test(h1_mixture, any_conversation_is_answered_in_order_and_to_the_byte)
{
    for (unsigned seed = 1; seed <= CONVERSATIONS; seed++) {
        fake_init();
        begin_conversation(seed);
        turn_until(wire_has_ended);
        cr_assert_eq(wire.got_len, (size_t)(expected_end - expected), "seed %u: %zu bytes instead of %zu", seed, wire.got_len,
                     (size_t)(expected_end - expected));
        cr_assert_eq(memcmp(wire.got, expected, wire.got_len), 0, "seed %u", seed);
        wire_close();
    }
    end_of_all();
}

static unsigned turns_left;

static bool enough(void)
{
    return wire.ended || turns_left-- == 0;
}

static bool nobody_left(void)
{
    return worker.connections == 0;
}

Test(h1_mixture, any_conversation_may_break_off_anywhere)
{
    config.header_timeout_ms = config.keep_alive_timeout_ms = config.body_timeout_ms = config.write_stall_timeout_ms = 100;
    for (unsigned seed = 1; seed <= BROKEN_CONVERSATIONS; seed++) {
        fake_init();
        begin_conversation(seed);
        turns_left = pick(4) ? pick(4) : pick(30);
        wire.stops_reading = pick(4) == 0;
        write_failures_in = pick(4) ? 0 : 1 + pick(10);
        turn_until(enough);
        switch (pick(20) / 7) {
        case 0:
            shutdown(wire.fd, SHUT_WR);
            wire.to_send_len = 0;
            break;
        case 1:
            h1_cut(&worker);
            break;
        default:
            wire.to_send_len = 0;
            if (pick(10) == 0)
                break; /* falls silent: a deadline ends it */
            close(wire.fd);
            wire.fd = dup(STDERR_FILENO);
            wire.ended = true;
            break;
        }
        turn_until(nobody_left);
        cr_assert_eq(fake_alive_count, 0, "seed %u", seed);
        write_failures_in = 0;
        wire_close();
    }
    end_of_all();
}
