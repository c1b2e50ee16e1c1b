/* YAML text → a tree of nodes that know where they stand. The only file that knows libfyaml.
 *
 * A configuration needs a small part of YAML. What could surprise is refused by name, with its place: anchors and aliases (a billion laughs), merge keys,
 * tags, several documents, mappings as keys, nesting beyond YAML_DEPTH_MAX, NUL and control bytes, text that is not UTF-8. */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include "proxy/config/report.h"

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_SEQUENCE, YAML_MAPPING };

struct yaml_node {
    enum yaml_kind kind;
    struct place place;
    struct bytes text;       /* of a scalar */
    struct yaml_node *key;   /* of a mapping's member: a scalar */
    struct yaml_node *first; /* items or members */
    struct yaml_node *last;
    struct yaml_node *next;
    unsigned count;
};

/* The settings need a depth of 4. */
enum { YAML_DEPTH_MAX = 16, YAML_EMPTY_LINES_MAX = 256 };

#define YAML_FOR_EACH(child, parent) for (const struct yaml_node *child = (parent)->first; child; child = child->next)

/* Parses report->text; nodes lie in report->arena. NULL after at least one error was reported; an empty document is a YAML_NULL node. */
struct yaml_node *yaml_parse(struct report *report);

/* "a list", "a mapping"…: for messages. */
const char *yaml_kind_text(enum yaml_kind kind);

#endif
