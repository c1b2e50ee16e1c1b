/* What is allowed but dangerous: warnings of `outrigger -t`, each with its reason and its place. */
#ifndef CONFIG_ADVICE_H
#define CONFIG_ADVICE_H

#include "proxy/config/values.h"

/* Adds warnings to the report. Of a reading without errors that keeps what was written, sorted. Looks at the machine: its memory, its filesystems. */
void advice_give(struct reading *reading);

#endif
