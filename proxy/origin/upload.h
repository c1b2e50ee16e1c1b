/* A request body on its way to an origin: pulled by the fetch, so that a slow origin slows the client down and memory stays bounded.
 * Implemented by the client codecs; belongs to one loop; outlived by neither its request nor its fetch without upload_abandon. */
#ifndef ORIGIN_UPLOAD_H
#define ORIGIN_UPLOAD_H

#include "base/bytes.h"
#include "base/error.h"

enum upload_state {
    UPLOAD_DATA,   /* *data is not empty */
    UPLOAD_WAIT,   /* `ready` is called when that changes */
    UPLOAD_END,    /* the whole body was consumed */
    UPLOAD_FAILED, /* the client broke off or broke a rule (`error`): the origin's connection must be closed */
};

struct upload;

struct upload_ops {
    /* Borrowed until upload_consume or the next turn of the loop. The first call makes the codec answer `Expect: 100-continue`. */
    enum upload_state (*peek)(struct upload *upload, struct bytes *data);
    void (*consume)(struct upload *upload, size_t bytes);
};

struct upload {
    const struct upload_ops *ops;
    bool     length_known;  /* else it is sent chunked */
    uint64_t length;
    bool     started;       /* peek was called: the request cannot be sent again */
    enum error error;       /* why UPLOAD_FAILED: what the client is answered when it still can be */
    /* set by the fetch; NULL when nobody listens */
    void (*ready)(void *context);
    void *context;
};

static inline enum upload_state upload_peek(struct upload *upload, struct bytes *data)
{
    upload->started = true;
    return upload->ops->peek(upload, data);
}

#endif
