/* The request target (RFC 9112 §3.2) and the authority it is meant for (RFC 9110 §7.2). Pure functions. */
#ifndef CLIENT_H1_TARGET_H
#define CLIENT_H1_TARGET_H

#include "proxy/request/request.h"

/* Fills path and query of `head` from its target, and the authority when the target is in absolute-form. ERROR_BAD_TARGET when it is none of the
 * forms that its method allows, or has bytes that no URI has. */
enum error h1_split_target(struct request_head *head);

/* uri-host [":" port]: a name of unreserved characters, an IPv4 address, or an IPv6 one in brackets. Stricter than RFC 3986's reg-name: no percent
 * encoding and no sub-delims, since no DNS name has them and parsers disagree on them. */
bool h1_authority_is_valid(struct bytes authority);

#endif
