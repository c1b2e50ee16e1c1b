/* The resolver helper's engine: host names to addresses, many at once, by c-ares. */
#ifndef HELPERS_NAMES_H
#define HELPERS_NAMES_H

#include "base/bytes.h"
#include "base/clock.h"
#include "helpers/messages.h"

struct names;

/* Called from names_ask or names_process. MUST NOT call back into names. */
typedef void names_answer(void *asker, const struct message_resolved *answer);

/* Starts with the system's servers and hosts file. Exits the process when c-ares cannot be started. */
struct names *names_new(names_answer *answer);
void          names_free(struct names **names);

/* `servers`: "host:port,…" of literal addresses, empty: the system's. Questions under way fail when this changes anything. */
void names_configure(struct names *names, const struct message_resolver_settings *settings, struct bytes servers, struct monotonic_ms now);

/* Answers once, possibly at once. IPv4 addresses come before IPv6 ones: their order of use is the asker's to choose. */
void names_ask(struct names *names, struct bytes name, void *asker, uint64_t request, struct monotonic_ms now);
/* No answer goes to that asker any more. */
void names_forget(struct names *names, const void *asker);

int  names_fd(const struct names *names); /* readable: names_process has something to do */
int  names_timeout_ms(struct names *names, struct monotonic_ms now);
void names_process(struct names *names, struct monotonic_ms now);

#endif
