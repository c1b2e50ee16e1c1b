/* A fetch from an http:// origin. For fetch.c only. */
#ifndef ORIGIN_H1_FETCH_H
#define ORIGIN_H1_FETCH_H

#include "proxy/origin/fetch.h"

/* With fetch->backend. */
void h1_start(struct fetch *fetch);

#endif
