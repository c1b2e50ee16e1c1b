/* GET /sizing: what the hit ratio would be with other sizes, as JSON. */
#ifndef ADMIN_SIZING_H
#define ADMIN_SIZING_H

#include "cache/sizing.h"

#include <jansson.h>

/* A new reference. */
json_t *sizing_json(const struct sizing_report *report);

#endif
