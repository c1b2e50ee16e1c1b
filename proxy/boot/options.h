/* The supervisor's command line. */
#ifndef BOOT_OPTIONS_H
#define BOOT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum { OPTIONS_LIST_MAX = 32, OPTIONS_ERROR_BYTES = 256 };

enum action {
    ACTION_RUN,
    ACTION_TEST,    /* -t */
    ACTION_PRINT,   /* -T */
    ACTION_VERSION, /* -V */
    ACTION_HELP,    /* -h */
    ACTION_CHECK_STORE, /* --check-store: verify the directory `store` */
    ACTION_SIGNAL,  /* -s: send `signal` to the running supervisor */
};

struct options {
    enum action action;
    int         signal;
    const char *file;     /* -c; NULL: the configuration is made of what follows */
    const char *origins[OPTIONS_LIST_MAX], *listens[OPTIONS_LIST_MAX];
    unsigned    origin_count, listen_count;
    const char *store;    /* --check-store */
    const char *demo;     /* directory of the demo site; NULL: the installed one */
    const char *pid_file; /* NULL: the usual place, where it can be written */
};

/* Strings are borrowed from argv. False: `error` (OPTIONS_ERROR_BYTES) says what is wrong. */
bool options_parse(struct options *options, int argc, char **argv, char *error);

extern const char options_help[];

#endif
