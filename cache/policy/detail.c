#include "cache/policy/detail.h"

#include <assert.h>
#include <stddef.h>

static const struct {
    const char *word, *sentence;
} details[DETAIL_COUNT] = {
#define DETAIL(name, word, sentence) [DETAIL_##name] = {word, sentence},
#include "cache/policy/detail.tbl"
#undef DETAIL
};

const char *detail_word(enum cache_detail detail)
{
    assert(detail < DETAIL_COUNT);
    return details[detail].word;
}

const char *detail_sentence(enum cache_detail detail)
{
    assert(detail < DETAIL_COUNT);
    return details[detail].sentence;
}

const char *fwd_word(enum fwd_reason fwd)
{
    switch (fwd) {
    case FWD_NONE:
        return NULL;
    case FWD_BYPASS:
        return "bypass";
    case FWD_METHOD:
        return "method";
    case FWD_URI_MISS:
        return "uri-miss";
    case FWD_VARY_MISS:
        return "vary-miss";
    case FWD_MISS:
        return "miss";
    case FWD_REQUEST:
        return "request";
    case FWD_STALE:
        return "stale";
    case FWD_PARTIAL:
        return "partial";
    }
    return NULL;
}
