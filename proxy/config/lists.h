/* Settings whose values are mappings, or lists of them: listeners, cache directories, certificates and sites. Each fills an array of the configuration. */
#ifndef CONFIG_LISTS_H
#define CONFIG_LISTS_H

#include "proxy/config/values.h"

void list_read_listeners(struct reading *reading, const struct yaml_node *node);
void list_read_disks(struct reading *reading, const struct yaml_node *node);
void list_read_certificates(struct reading *reading, const struct yaml_node *node, struct config_site *site);
void list_read_sites(struct reading *reading, const struct yaml_node *node);

/* config.c: the members of a mapping, each a setting of `scope` whose path begins with `prefix`, into `owner`, the scope's struct. */
void mapping_read(struct reading *reading, enum setting_scope scope, struct bytes prefix, const struct yaml_node *mapping, void *owner);
/* config.c: one value of such a mapping. */
void mapping_read_value(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *owner);

#endif
