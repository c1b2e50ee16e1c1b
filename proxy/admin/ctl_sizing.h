/* `outriggerctl sizing` for people: what /sizing says, as a table. */
#ifndef ADMIN_CTL_SIZING_H
#define ADMIN_CTL_SIZING_H

#include <jansson.h>
#include <stdio.h>

void ctl_print_sizing(const json_t *sizing, FILE *out);

#endif
