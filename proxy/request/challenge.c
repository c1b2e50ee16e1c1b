/* Challenges of certificate authorities (ACME, RFC 8555 §8.3: http-01), which are answered by http:// and never from the cache. */
#include "proxy/request/life.h"

static const struct bytes prefix = {"/.well-known/acme-challenge/", 28};

/* RFC 8555 §8.3: a token has only characters of base64url. Nothing else is a name in the directory: no slash, no dot, no escape. */
static bool is_token(struct bytes token)
{
    for (size_t i = 0; i < token.len; i++) {
        char lower = byte_lower(token.at[i]);
        if (!((lower >= 'a' && lower <= 'z') || (token.at[i] >= '0' && token.at[i] <= '9') || token.at[i] == '-' || token.at[i] == '_'))
            return false;
    }
    return token.len > 0;
}

/* A path that only begins like one is not: an origin that resolves dot segments (RFC 3986 §5.2.4) or escapes would answer with something else. */
bool path_is_challenge(struct bytes path)
{
    return bytes_starts_with(path, prefix) && is_token(bytes_from(path.at + prefix.len, path.len - prefix.len));
}

struct bytes challenge_target(const struct request *request)
{
    struct bytes path = request->head.path;
    return bytes_from(path.at + prefix.len - 1, path.len - prefix.len + 1);
}
