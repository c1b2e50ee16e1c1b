/* One request of outriggerctl over the admin socket. */
#ifndef ADMIN_CTL_HTTP_H
#define ADMIN_CTL_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct ctl_answer {
    unsigned status;
    char    *body; /* malloc'ed, NUL-terminated */
};

/* False: `error` (of `size` bytes) says why, in a sentence for the user. */
bool ctl_ask(const char *socket_path, const char *method, const char *target, struct ctl_answer *answer, char *error, size_t size);

/* Gets one line of a body, without its newline, NUL-terminated. False: enough. */
typedef bool ctl_line(void *context, char *line);

/* A body that does not end by itself, line by line. True: it ended, or there were enough of them; with another status than 200 it is
 * in answer->body instead, else that is NULL. False: `error` says why. */
bool ctl_follow(const char *socket_path, const char *target, ctl_line *line, void *context, struct ctl_answer *answer, char *error, size_t size);

/* `text` with everything but letters, digits and -._~ as %XX; malloc'ed. */
char *ctl_escape(const char *text);

/* Splits a whole HTTP/1.1 response; the body is `text`'s own memory. False: it is none, or cut short. */
bool ctl_parse(char *text, size_t length, unsigned *status, char **body);

#endif
