/* What `outriggerctl top` shows, as text. */
#ifndef ADMIN_CTL_TOP_SCREEN_H
#define ADMIN_CTL_TOP_SCREEN_H

#include "proxy/observe/top.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum top_order { TOP_BY_RATE, TOP_BY_COUNT, TOP_BY_NAME, TOP_ORDERS };

/* Those between overview and reasons are in the order of enum top_kind. */
enum top_view { TOP_VIEW_OVERVIEW, TOP_VIEW_URLS, TOP_VIEW_SITES, TOP_VIEW_TAGS, TOP_VIEW_STATUSES, TOP_VIEW_REASONS, TOP_VIEWS };

struct ctl_top_look {
    const json_t *now, *before; /* of /stats, `seconds` apart; before NULL: the first look */
    const json_t *lists;        /* of /top; NULL where the view has none */
    double seconds;
    enum top_view view;
    enum top_order order;     /* of overview and reasons */
    enum top_measure measure; /* of the others */
    unsigned rows, columns;   /* at most */
    bool is_terminal;         /* the keys are shown, and titles stand out */
};

/* Whole lines. */
void ctl_top_print(const struct ctl_top_look *look, FILE *out);

static inline bool ctl_top_has_lists(enum top_view view)
{
    return view != TOP_VIEW_OVERVIEW && view != TOP_VIEW_REASONS;
}

#endif
