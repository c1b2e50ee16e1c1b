/* What is wrong with a configuration: collected while it is read, printed in the order of the text, each with its line and a caret.
 *
 *   outrigger.yaml:3:1: error: unknown key "wokers"; did you mean "workers"?
 *       wokers: 2
 *       ^~~~~~
 */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include "base/arena.h"

#include <stdio.h>

/* A piece of the text; length 0 is a single point. */
struct place {
    size_t offset, length;
};

struct finding;

struct report {
    struct bytes name, text; /* borrowed for the life of the report */
    struct arena *arena;
    struct finding *findings, *latest; /* latest: what a hint is for; NULL: it was not kept */
    unsigned count, dropped; /* kept, and found beyond REPORT_FINDINGS_MAX */
    unsigned errors;
};

/* More help nobody: a file that is not a configuration at all would fill the terminal. */
enum { REPORT_FINDINGS_MAX = 100 };

void report_init(struct report *report, struct arena *arena, struct bytes name, struct bytes text);

void report_error(struct report *report, struct place place, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same of the same place is kept once: what several sites share is wrong once. */
void report_warning(struct report *report, struct place place, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A second sentence for the finding before it: what to do. */
void report_hint(struct report *report, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether further findings are only counted: then looking for suggestions is a waste. */
bool report_is_full(const struct report *report);

/* Line of a place, counted from 1. */
unsigned report_line(const struct report *report, struct place place);

/* Control bytes of the text, which would drive a terminal, come out as "?". */
void report_print(struct report *report, FILE *out);

/* The same for one piece of text. */
void report_print_visible(struct bytes text, FILE *out);

/* User text for a message: at most SHOWN_MAX bytes of it, cut between characters. */
enum { SHOWN_MAX = 64 };
struct bytes report_shown(struct bytes text);

#endif
