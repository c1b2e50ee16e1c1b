/* Media types by file name extension: the system's table (/etc/mime.types), and the common ones where it is missing. */
#ifndef ORIGIN_MIME_H
#define ORIGIN_MIME_H

#include "base/bytes.h"

#define MIME_TYPES_PATH "/etc/mime.types"

/* Reads the table; blocks. Once a process, before any loop runs; immutable from then on. A missing file is no error. */
void mime_load(const char *path);
/* For the last extension of `path`, without case; "application/octet-stream" when it is unknown. */
struct bytes mime_type(struct bytes path);

#endif
