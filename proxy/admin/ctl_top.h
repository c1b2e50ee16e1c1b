/* outriggerctl top: what happens right now, on the whole screen of a terminal, or line by line where there is none. */
#ifndef ADMIN_CTL_TOP_H
#define ADMIN_CTL_TOP_H

#include <stdbool.h>

struct ctl_top_options {
    double   interval_s;
    unsigned count; /* 0: until q */
    bool     has_options;
};

/* 'i': --interval, 'n': --count. False: not a number that can be used. */
bool ctl_top_option(struct ctl_top_options *options, int option, const char *value);

/* The exit status; errors are on stderr. */
int ctl_top(const char *socket, bool as_json, const struct ctl_top_options *options);

#endif
