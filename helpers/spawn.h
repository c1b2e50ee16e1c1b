/* Starting one of our processes: the same binary re-executed in its role, with two inherited descriptors (3 its control socket, 4 the slab; nothing else
 * above 2), dying with its parent, and told apart by its title ("outrigger: disk"). */
#ifndef HELPERS_SPAWN_H
#define HELPERS_SPAWN_H

#include "helpers/messages.h"

#include <stdbool.h>
#include <sys/types.h>

enum { SPAWN_CONTROL_FD = 3, SPAWN_SLAB_FD = 4 };

struct spawn_settings {
    enum role   role;
    unsigned    number;  /* within the role */
    int         control; /* the child's end; borrowed */
    int         slab;    /* −1: none */
    const char *user;    /* drop to this user when root (NULL: stay) */
    const char *log_level;
};

/* −1 with errno. The child has PR_SET_PDEATHSIG SIGKILL, no_new_privs, default signals, and no privilege left when `user` is set. */
pid_t spawn_process(const struct spawn_settings *settings);

/* What the re-executed binary finds: role and number from its arguments. False when this is not a re-execution. */
bool spawn_is_child(int argc, char **argv, enum role *role, unsigned *number);

/* The level that the parent chose, NULL when it chose none. Borrowed from argv: ask before spawn_set_title. */
const char *spawn_log_level(int argc, char **argv);

/* Sets the title seen by ps; argv's strings are gone afterwards. `argv` is the process's own. */
void spawn_set_title(int argc, char **argv, const char *title);

#endif
