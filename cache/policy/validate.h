/* A client's conditional request against a stored response, RFC 9110 §13. Pure. */
#ifndef CACHE_POLICY_VALIDATE_H
#define CACHE_POLICY_VALIDATE_H

#include "base/clock.h"
#include "base/headers.h"
#include "base/method.h"
#include "cache/policy/meta.h"

#include <stdbool.h>
#include <stdint.h>

enum condition {
    CONDITION_NONE_OR_TRUE, /* answer in full */
    CONDITION_NOT_MODIFIED, /* 304 */
    CONDITION_FAILED,       /* 412 */
};

/* What a response offers to be compared with; absent parts BYTES_NONE / META_ABSENT. */
struct validators {
    struct bytes etag; /* with its quotes, and W/ */
    int64_t      last_modified_s;
    int64_t      date_s;
};

/* Of what is stored, for this request: dates are read only where it may compare them. */
struct validators validators_of(const struct headers *stored, const struct response_meta *meta, const struct headers *request);

/* Precedence of §13.2.2. Conditions count only for a stored response that would be 2xx without them (§13.2.1). */
enum condition condition_evaluate(enum method method, const struct headers *request, unsigned status, const struct validators *stored,
                                  struct wall_seconds now);

/* §13.1.5: whether Range applies given If-Range (true when there is no If-Range). Strong comparison. */
bool if_range_holds(const struct headers *request, const struct validators *stored, struct wall_seconds now);

/* RFC 9111 §4.3.4: whether a 304 with these fields may update what is stored: not when its strong entity tag is that of another version. */
bool not_modified_updates(const struct headers *stored, const struct headers *received);

enum head_effect {
    HEAD_SAYS_NOTHING, /* of what is stored */
    HEAD_UPDATES,      /* its fields are those of the stored response, too */
    HEAD_INVALIDATES,  /* the stored response is of the past */
};

/* RFC 9111 §4.3.5: what the answer to a HEAD says of the stored response to GET, whose body has `stored_length` bytes. */
enum head_effect head_effect_on(unsigned stored_status, const struct headers *stored, uint64_t stored_length, unsigned status,
                                const struct headers *received);

/* §8.8.3.2 */
bool etag_weak_equal(struct bytes a, struct bytes b);
bool etag_strong_equal(struct bytes a, struct bytes b);
bool etag_is_valid(struct bytes etag);

#endif
