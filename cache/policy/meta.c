#include "cache/policy/meta.h"

void request_meta_from(struct request_meta *meta, enum method method, const struct headers *fields)
{
    *meta = (struct request_meta){
        .method = method,
        .pragma_no_cache = headers_list_has(fields, HEADER_PRAGMA, BYTES("no-cache")),
        .has_authorization = headers_find(fields, HEADER_AUTHORIZATION) != NULL,
        .fields = fields,
    };
    cache_control_parse(&meta->cache_control, fields, HEADER_CACHE_CONTROL);
}
