/* outriggerctl top: what happens right now, on the whole screen of a terminal, or line by line where there is none. */
#ifndef ADMIN_CTL_TOP_H
#define ADMIN_CTL_TOP_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum top_order { TOP_BY_RATE, TOP_BY_COUNT, TOP_BY_NAME, TOP_ORDERS };

struct ctl_top_options {
    double   interval_s;
    unsigned count; /* 0: until q */
    bool     has_options;
};

/* 'i': --interval, 'n': --count. False: not a number that can be used. */
bool ctl_top_option(struct ctl_top_options *options, int option, const char *value);

/* The exit status; errors are on stderr. */
int ctl_top(const char *socket, bool as_json, const struct ctl_top_options *options);

/* One screen: of /stats, the one `seconds` before it (NULL: none), at most `rows` lines of `columns` characters. No terminal's control sequences. */
void ctl_top_print(const json_t *now, const json_t *before, double seconds, enum top_order order, unsigned rows, unsigned columns, FILE *out);

#endif
