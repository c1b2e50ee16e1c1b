/* One request of outriggerctl over the admin socket. */
#ifndef ADMIN_CTL_HTTP_H
#define ADMIN_CTL_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct ctl_answer {
    unsigned status;
    char     reason[64]; /* the phrase beside it; may be empty */
    char    *body;       /* malloc'ed, NUL-terminated */
};

/* False: `error` (of `size` bytes) says why, in a sentence for the user. */
bool ctl_ask(const char *socket_path, const char *method, const char *target, struct ctl_answer *answer, char *error, size_t size);

/* Gets one line of a body, without its newline, NUL-terminated. False: enough. */
typedef bool ctl_line(void *context, char *line);

/* A body that does not end by itself, line by line. True: it ended, or there were enough of them; with another status than 200 it is
 * in answer->body instead, else that is NULL. False: `error` says why. */
bool ctl_follow(const char *socket_path, const char *target, ctl_line *line, void *context, struct ctl_answer *answer, char *error, size_t size);

/* What an answer that was not hoped for says, as one line for a terminal; a page for people who look at it with a browser is left out. */
void ctl_describe_refusal(const struct ctl_answer *answer, char *line, size_t size);

/* `text` as it may stand as a value in a query (RFC 3986 §3.4): what has a meaning there as %XX; malloc'ed. */
char *ctl_escape(const char *text);

/* Splits a whole HTTP/1.1 response: fills status and reason of `answer`; the body is `text`'s own memory. False: it is none, or cut short. */
bool ctl_parse(char *text, size_t length, struct ctl_answer *answer, char **body);

#endif
