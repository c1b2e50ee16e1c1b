/* The contents of the files that a configuration names (config->files): certificates and keys.
 *
 * DESIGN. Who reads the configuration reads them at the same moment, while it may (the supervisor, as root), into one sealed memory file, which goes to
 * the proxy with the text. So a configuration is one whole: what was checked is what serves, also by a proxy that is started anew later, whatever
 * becomes of the files; and keys can be such that nobody but root may read them. They are left out of core dumps.
 */
#ifndef BOOT_CONFIG_FILES_H
#define BOOT_CONFIG_FILES_H

#include "proxy/config/config.h"

/* Of a configuration nobody else has yet; `text` is what it was made of. False: what could not be read is on `errors`, as other mistakes are. */
bool config_files_read(struct config *config, struct bytes text, FILE *errors);

/* Likewise, from config->files_fd of the process that read them. Takes the descriptor. False: it does not fit the configuration. */
bool config_files_take(struct config *config, int fd);

/* A sealed memory file with the text that a configuration was made of, for each proxy that is to serve by it. −1: why is on `errors`. */
int config_files_keep_text(struct bytes text, FILE *errors);

#endif
