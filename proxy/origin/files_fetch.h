/* A fetch from a files: origin. For fetch.c only. */
#ifndef ORIGIN_FILES_FETCH_H
#define ORIGIN_FILES_FETCH_H

#include "proxy/origin/fetch.h"

/* With fetch->backend. */
void files_start(struct fetch *fetch);

#endif
