/* The header that a proxy puts before a connection's own bytes to say whose connection it is: the PROXY protocol, versions 1 and 2
 * (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt). Bytes in, an address out: no sockets here, and nothing is kept between calls.
 *
 * Only from proxies that are trusted: whoever may send it may be any client. */
#ifndef CLIENT_PROXY_HEADER_H
#define CLIENT_PROXY_HEADER_H

#include "base/bytes.h"
#include "proxy/net/connection.h"

enum {
    PROXY_HEADER_V1_MAX_BYTES = 107,  /* §2.1, with its CRLF */
    PROXY_HEADER_MAX_BYTES = 4 * 1024, /* of version 2: addresses take 216 at most, the rest is room for what a proxy tells of its TLS */
};

enum proxy_header_outcome {
    PROXY_HEADER_COMPLETE,
    PROXY_HEADER_PARTIAL, /* so far it is one: every byte given belongs to it, and more of them to come */
    PROXY_HEADER_BAD,
};

struct proxy_header {
    size_t               length;     /* COMPLETE: how many of the bytes it took */
    bool                 has_client; /* else it names none (LOCAL, UNKNOWN, a Unix socket, datagrams): the connection's own peer is the client */
    union socket_address client;     /* an IPv4 address in IPv6's clothes (RFC 4291 §2.5.5.2) is told as what it is */
    const char          *fault;      /* BAD: what is wrong; static */
};

/* `input`: all bytes of the connection so far, or its beginning. */
enum proxy_header_outcome proxy_header_parse(struct bytes input, struct proxy_header *header);

#endif
