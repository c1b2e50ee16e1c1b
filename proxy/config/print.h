/* The effective configuration with the source of each value. */
#ifndef CONFIG_PRINT_H
#define CONFIG_PRINT_H

#include "proxy/config/values.h"

/* Of a reading without errors that keeps what was written, sorted. YAML that parses back to the same. */
void print_with_sources(struct reading *reading, FILE *out);

#endif
