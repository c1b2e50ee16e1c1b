#include "proxy/admin/ctl_http.h"
#include "proxy/admin/ctl_text.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    ANSWER_TIMEOUT_S = 30, /* a reload waits for every loop */
    ANSWER_MAX_BYTES = 64 << 20,
    FIRST_READ_BYTES = 64 * 1024,
    FOLLOWED_MAX_BYTES = 1024 * 1024, /* of one line */
};

static int open_socket(const char *path, char *error, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
    if (strlen(path) >= sizeof address.sun_path) {
        snprintf(error, size, "%s: longer than the path of a Unix socket can be", path);
        return -1;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0 &&
        connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    const char *advice = errno == ENOENT         ? ": is outrigger running, and is admin.socket set? (--socket PATH names another)"
                         : errno == ECONNREFUSED ? ": outrigger is not running"
                         : errno == EACCES       ? ": you may not use this socket"
                                                 : "";
    snprintf(error, size, "%s: %s%s", path, strerror(errno), advice);
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t written = send(fd, text, length, MSG_NOSIGNAL);
        if (written < 0)
            return false;
        text += written;
        length -= (size_t)written;
    }
    return true;
}

/* signal(7): with a time limit, a read is not begun again by itself when the process was stopped and goes on. */
static ssize_t read_some(int fd, char *into, size_t most)
{
    ssize_t got;
    do
        got = read(fd, into, most);
    while (got < 0 && errno == EINTR);
    return got;
}

/* Up to the end of the connection; malloc'ed, NUL-terminated. NULL with errno. Whoever answers before all was sent may reset the connection afterwards. */
static char *read_all(int fd, size_t *length)
{
    size_t capacity = FIRST_READ_BYTES;
    char *text = malloc(capacity + 1);
    *length = 0;
    while (text) {
        ssize_t got = read_some(fd, text + *length, capacity - *length);
        if (got == 0 || (got < 0 && errno == ECONNRESET && *length > 0)) {
            text[*length] = '\0';
            return text;
        }
        if (got < 0 || capacity > ANSWER_MAX_BYTES)
            break;
        *length += (size_t)got;
        if (*length == capacity) {
            capacity *= 2;
            char *more = realloc(text, capacity + 1);
            if (!more)
                break;
            text = more;
        }
    }
    free(text);
    return NULL;
}

/* The value of Content-Length, −1 when there is none. `head` ends before its empty line. */
static long announced_length(const char *head)
{
    static const char name[] = "Content-Length:";
    for (const char *line = head; line; line = strstr(line, "\r\n")) {
        line += line == head ? 0 : 2;
        if (strncasecmp(line, name, strlen(name)) == 0)
            return strtol(line + strlen(name), NULL, 10);
    }
    return -1;
}

static bool parse_status_line(const char *text, struct ctl_answer *answer)
{
    answer->reason[0] = '\0';
    return sscanf(text, "HTTP/1.%*1[01] %3u%*1[ ]%63[^\r\n]", &answer->status, answer->reason) >= 1;
}

bool ctl_parse(char *text, size_t length, struct ctl_answer *answer, char **body)
{
    char *end = strstr(text, "\r\n\r\n");
    if (!end || !parse_status_line(text, answer))
        return false;
    *end = '\0';
    *body = end + 4;
    long announced = announced_length(text);
    return announced < 0 || (size_t)announced == length - (size_t)(*body - text);
}

bool ctl_ask(const char *socket_path, const char *method, const char *target, struct ctl_answer *answer, char *error, size_t size)
{
    char *request = NULL, *text = NULL, *body;
    size_t length;
    bool done = false;
    int fd = open_socket(socket_path, error, size);
    if (fd < 0)
        return false;
    int request_length = asprintf(&request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", method, target,
                                  strcmp(method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
    /* What is too long may be answered before it was sent. */
    if (request_length >= 0 && (write_all(fd, request, (size_t)request_length) || errno == EPIPE || errno == ECONNRESET))
        text = read_all(fd, &length);
    if (!text) {
        snprintf(error, size, "%s: %s", socket_path, errno == EAGAIN ? "no answer in time" : strerror(errno));
    } else if (!ctl_parse(text, length, answer, &body)) {
        snprintf(error, size, "%s: the answer was cut short, or is not outrigger's", socket_path);
    } else {
        answer->body = strdup(body);
        done = answer->body != NULL;
    }
    free(text);
    if (request_length >= 0)
        free(request);
    close(fd);
    return done;
}

/* Of whole lines; what is left is moved to the front. False: enough. */
static bool take_lines(char *text, size_t *length, ctl_line *line, void *context)
{
    char *at = text, *end;
    bool goes_on = true;
    while (goes_on && (end = memchr(at, '\n', *length - (size_t)(at - text)))) {
        *end = '\0';
        goes_on = line(context, at);
        at = end + 1;
    }
    *length -= (size_t)(at - text);
    memmove(text, at, *length);
    return goes_on;
}

/* The rest of a body, of which `text` (of FOLLOWED_MAX_BYTES) has the beginning. */
static bool follow_body(int fd, char *text, size_t length, ctl_line *line, void *context)
{
    while (take_lines(text, &length, line, context)) {
        ssize_t got = length < FOLLOWED_MAX_BYTES ? read_some(fd, text + length, FOLLOWED_MAX_BYTES - length) : -1;
        if (got <= 0)
            return got == 0;
        length += (size_t)got;
    }
    return true;
}

/* The head and what came with it. */
static ssize_t read_head(int fd, char *text)
{
    size_t length = 0;
    ssize_t got;
    text[0] = '\0';
    while (!strstr(text, "\r\n\r\n") && length < FOLLOWED_MAX_BYTES) {
        got = read_some(fd, text + length, FOLLOWED_MAX_BYTES - length);
        if (got <= 0)
            return got < 0 ? got : (ssize_t)length;
        length += (size_t)got;
        text[length] = '\0';
    }
    return (ssize_t)length;
}

/* `text`: of FOLLOWED_MAX_BYTES and a NUL. */
static bool follow(int fd, char *text, ctl_line *line, void *context, struct ctl_answer *answer)
{
    ssize_t length = read_head(fd, text);
    char *end = length > 0 ? strstr(text, "\r\n\r\n") : NULL;
    if (!end || !parse_status_line(text, answer))
        return false;
    length -= end + 4 - text;
    memmove(text, end + 4, (size_t)length);
    if (answer->status == 200)
        return follow_body(fd, text, (size_t)length, line, context);
    for (ssize_t got = 1; got > 0 && length<FOLLOWED_MAX_BYTES; length += got> 0 ? got : 0)
        got = read_some(fd, text + length, FOLLOWED_MAX_BYTES - (size_t)length);
    answer->body = strndup(text, (size_t)length);
    return answer->body != NULL;
}

/* By HTTP/1.0, where the end of the connection ends the body. */
bool ctl_follow(const char *socket_path, const char *target, ctl_line *line, void *context, struct ctl_answer *answer, char *error,
                size_t size)
{
    char *request = NULL, *text = malloc(FOLLOWED_MAX_BYTES + 1);
    int fd = open_socket(socket_path, error, size);
    bool done = false;
    *answer = (struct ctl_answer){.body = NULL};
    if (!text)
        abort();
    if (fd < 0) {
        free(text);
        return false;
    }
    int request_length = asprintf(&request, "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", target);
    errno = 0;
    if (request_length >= 0 && write_all(fd, request, (size_t)request_length))
        done = follow(fd, text, line, context, answer);
    if (!done)
        snprintf(error, size, "%s: %s", socket_path,
                 errno == EAGAIN ? "no answer in time"
                 : errno != 0    ? strerror(errno)
                                 : "the answer was cut short, or is not outrigger's");
    if (request_length >= 0)
        free(request);
    free(text);
    close(fd);
    return done;
}

static const char *words_for(unsigned status)
{
    if (status == 414 || status == 431)
        return "refused: what is asked for is longer than limits.url_bytes and limits.header_bytes let through";
    return status == 200 ? "the answer is not outrigger's" : "refused";
}

void ctl_describe_refusal(const struct ctl_answer *answer, char *line, size_t size)
{
    json_t *object = json_loads(answer->body, 0, NULL);
    const char *sentence = json_string_value(json_object_get(object, "error"));
    char text[512];
    ctl_safe_text(text, sizeof text, sentence ? sentence : answer->reason);
    if (sentence)
        snprintf(line, size, "%s (status %u)", text, answer->status);
    else
        snprintf(line, size, "%s (status %u%s%s)", words_for(answer->status), answer->status, text[0] ? ", " : "", text);
    json_decref(object);
}

char *ctl_escape(const char *text)
{
    char *escaped = malloc(3 * strlen(text) + 1), *out = escaped;
    if (!escaped)
        abort();
    for (; *text; text++) {
        if (isalnum((unsigned char)*text) || strchr("-._~!$'()*,;:@/?=", *text))
            *out++ = *text;
        else
            out += sprintf(out, "%%%02X", (unsigned char)*text);
    }
    *out = '\0';
    return escaped;
}
