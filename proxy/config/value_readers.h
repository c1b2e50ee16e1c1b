/* How single values are read: for values.c and value_lists.c only. */
#ifndef CONFIG_VALUE_READERS_H
#define CONFIG_VALUE_READERS_H

#include "proxy/config/values.h"

/* "cache.memory: " */
#define PATH_FMT    "%.*s: "
#define SHOWN(text) BYTES_FMT(report_shown(text))

/* Reads the node into `field`; reports what is wrong, and leaves it as it was then. */
typedef void value_reader(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *field);

void value_complain(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const char *wrong);
/* Whether the node is a single value; reports when it is not. */
bool value_expect_scalar(struct reading *reading, const struct setting *setting, const struct yaml_node *node);

/* Warns when it is none, or cannot be looked at. */
void value_check_directory(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const char *path);

value_reader value_read_seconds;
value_reader value_read_servers, value_read_hosts, value_read_origins, value_read_networks, value_read_status_ttls;
value_reader value_read_field_names, value_read_query_names, value_read_cookie_names, value_read_cookie_patterns;

#endif
