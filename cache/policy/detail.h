/* The reasons behind every verdict (detail.tbl), and RFC 9211's `fwd` values. */
#ifndef CACHE_POLICY_DETAIL_H
#define CACHE_POLICY_DETAIL_H

enum cache_detail {
#define DETAIL(name, word, sentence) DETAIL_##name,
#include "cache/policy/detail.tbl"
#undef DETAIL
    DETAIL_COUNT
};

const char *detail_word(enum cache_detail detail);
const char *detail_sentence(enum cache_detail detail);

/* RFC 9211 §2.2. */
enum fwd_reason {
    FWD_NONE, /* answered from the cache */
    FWD_BYPASS,
    FWD_METHOD,
    FWD_URI_MISS,
    FWD_VARY_MISS,
    FWD_MISS,
    FWD_REQUEST,
    FWD_STALE,
    FWD_PARTIAL,
};

const char *fwd_word(enum fwd_reason fwd); /* NULL for FWD_NONE */

#endif
