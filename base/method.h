/* Request methods and what RFC 9110 §9.2 promises of them. */
#ifndef BASE_METHOD_H
#define BASE_METHOD_H

#include "base/bytes.h"

enum method {
    METHOD_OTHER,
#define METHOD(name, safe, idempotent) METHOD_##name,
#include "base/method.tbl"
#undef METHOD
    METHOD_COUNT
};

/* Methods are case-sensitive (RFC 9110 §9.1): `get` is METHOD_OTHER. */
enum method method_identify(struct bytes name);
bool        method_is_safe(enum method method);
bool        method_is_idempotent(enum method method);

#endif
