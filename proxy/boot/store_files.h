/* The cache directories, as the supervisor holds them: opened and locked before anybody serves, for as long as it lives. */
#ifndef BOOT_STORE_FILES_H
#define BOOT_STORE_FILES_H

#include "helpers/messages.h"
#include "helpers/store_directory.h"
#include "proxy/config/config.h"

struct store_files {
    struct store_directory_file at[DISKS_MAX];
    unsigned                    count;
};

/* Those of `config`. Blocks. False (logged, with what to do): one cannot be used; then none is open. `is_lent`: see store_directory.h. */
bool store_files_open(struct store_files *files, const struct config *config, bool is_lent);
/* What was lent is ours. False (logged): one of them is not; they are not to be used. */
bool store_files_take(struct store_files *files, const struct config *config);
/* Another instance may take them. */
void store_files_give(const struct store_files *files);
void store_files_close(struct store_files *files);
/* What the proxy is to know of them. */
void store_files_describe(const struct store_files *files, struct message_store_geometry *geometry);

#endif
