/* See h1_target.h. */
#include "proxy/client/h1_target.h"

enum { HOST_MAX_BYTES = 255 }; /* RFC 1035 §2.3.4 */

/* RFC 3986 §2.3: the unreserved characters, which a name is made of here. */
static const bool unreserved[256] = {
    ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true, ['-'] = true, ['.'] = true, ['_'] = true, ['~'] = true,
};

static struct bytes bytes_after(struct bytes text, size_t count)
{
    return bytes_from(text.at + count, text.len - count);
}

/* A fragment is not part of a request (RFC 9110 §7.1); white space, control and non-ASCII bytes are no part of any URI (RFC 3986 §2). */
static bool has_only_uri_bytes(struct bytes target)
{
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.at[i];
        if (c <= ' ' || c >= 0x7f || c == '#')
            return false;
    }
    return target.len > 0;
}

static void split_query(struct request_head *head, struct bytes path_and_query)
{
    size_t question = bytes_find(path_and_query, '?');
    head->path = bytes_from(path_and_query.at, question);
    head->query = question == path_and_query.len ? BYTES_NONE : bytes_after(path_and_query, question + 1);
    if (head->path.len == 0)
        head->path = BYTES("/"); /* RFC 9112 §3.2.1: an empty path is sent as "/" */
}

/* RFC 9112 §3.2.2 */
static enum error split_absolute(struct request_head *head)
{
    static const struct bytes schemes[] = {{"http://", 7}, {"https://", 8}};
    for (unsigned i = 0; i < 2; i++) {
        size_t length = schemes[i].len;
        if (head->target.len < length || !bytes_equal_nocase(bytes_from(head->target.at, length), schemes[i]))
            continue;
        struct bytes rest = bytes_after(head->target, length);
        size_t end = 0;
        while (end < rest.len && rest.at[end] != '/' && rest.at[end] != '?')
            end++;
        head->authority = bytes_from(rest.at, end);
        split_query(head, bytes_after(rest, end));
        if (end == rest.len && head->method == METHOD_OPTIONS)
            head->path = BYTES("*"); /* RFC 9112 §3.2.4 */
        return h1_authority_is_valid(head->authority) ? ERROR_OK : ERROR_BAD_TARGET;
    }
    return ERROR_BAD_TARGET;
}

enum error h1_split_target(struct request_head *head)
{
    struct bytes target = head->target;
    if (!has_only_uri_bytes(target))
        return ERROR_BAD_TARGET;
    if (target.at[0] == '/') {
        split_query(head, target);
        return ERROR_OK;
    }
    if (bytes_equal(target, BYTES("*"))) { /* RFC 9112 §3.2.4 */
        head->path = target;
        head->query = BYTES_NONE;
        return head->method == METHOD_OPTIONS ? ERROR_OK : ERROR_BAD_TARGET;
    }
    return split_absolute(head);
}

static bool is_port(struct bytes port)
{
    uint64_t number = 0;
    return port.len == 0 || (port.len <= 5 && bytes_parse_u64(port, &number) && number <= 65535);
}

/* The length of the IP-literal at the front, brackets included; 0 when there is none. */
static size_t ip_literal_length(struct bytes text)
{
    size_t i = 1;
    while (i < text.len && (bytes_find(BYTES("0123456789abcdefABCDEF:."), text.at[i]) < 24))
        i++;
    return i > 2 && i < text.len && text.at[i] == ']' ? i + 1 : 0;
}

bool h1_authority_is_valid(struct bytes authority)
{
    size_t i = 0;
    if (authority.len && authority.at[0] == '[') {
        i = ip_literal_length(authority);
    } else {
        while (i < authority.len && unreserved[(unsigned char)authority.at[i]])
            i++;
    }
    if (i == 0 || i > HOST_MAX_BYTES)
        return false;
    return i == authority.len || (authority.at[i] == ':' && is_port(bytes_after(authority, i + 1)));
}
