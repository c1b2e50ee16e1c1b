/* The dashboard's files, part of the binary. */
#ifndef ADMIN_ASSETS_H
#define ADMIN_ASSETS_H

#include "base/bytes.h"

struct asset {
    struct bytes path; /* "/" is the page */
    const char  *content_type;
    struct bytes body;
};

/* NULL: there is none. */
const struct asset *asset_find(struct bytes path);

#endif
