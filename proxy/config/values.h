/* One value of one setting: from a YAML node into its field. The types are those of settings.h. */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include "proxy/config/config.h"
#include "proxy/config/settings.h"
#include "proxy/config/yaml.h"

/* A host name and where it was written, to find those that two sites have. */
struct host_claim {
    struct bytes host;
    struct place place;
};

/* A value as it was written: the field is that of `setting` in `owner`, the struct of its scope. */
struct written {
    const void *owner;
    const struct setting *setting;
    const struct yaml_node *node;
};

/* One reading of one text. */
struct reading {
    struct report report;
    struct arena scratch; /* nodes, findings: gone when the reading ends */
    struct config *config;
    const struct yaml_node *given[SETTINGS_MAX]; /* the value written for a setting of scope ROOT; NULL: defaulted */
    struct place *listener_places;               /* beside config->listeners */
    unsigned file_capacity;                      /* of config->files */
    struct host_claim *claims;
    unsigned claim_count, claim_capacity;
    struct config_site site_defaults;
    bool keeps_written; /* for those who ask where a value comes from */
    struct written *written;
    unsigned written_count, written_capacity;
    bool is_checked; /* by another process: files and accounts are not looked for again */
};

/* Reads `node` into the setting's field of `owner` (the struct of its scope). Reports what is wrong; the field is then left as it was. LISTENERS and SITES are
 * not values but scopes of their own: config.c reads them. */
void value_read(struct reading *reading, const struct setting *setting, const struct yaml_node *node, void *owner);

/* Notes that `node` is what is written for the setting; forgotten unless reading->keeps_written. */
void value_note_written(struct reading *reading, const struct setting *setting, const struct yaml_node *node, const void *owner);
/* To be called when all is read, before value_written. */
void values_sort_written(struct reading *reading);
/* What was written for this setting of `owner`; NULL: its default stands. Only of a reading that keeps it. */
const struct yaml_node *value_written(const struct reading *reading, const struct setting *setting, const void *owner);
/* The content of that file belongs to the configuration. */
void value_note_file(struct reading *reading, const char *path, struct place place);

/* The default of a setting that has one, as a node. */
const struct yaml_node *value_default(struct reading *reading, const struct setting *setting);
/* The defaults of a scope's values, into `owner`. */
void values_set_defaults(struct reading *reading, enum setting_scope scope, void *owner);

#endif
