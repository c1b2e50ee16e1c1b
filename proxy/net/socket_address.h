/* Addresses of clients, as sockets, proxies and header fields write them. */
#ifndef NET_SOCKET_ADDRESS_H
#define NET_SOCKET_ADDRESS_H

#include "base/bytes.h"
#include "proxy/net/connection.h"

/* A socket for both families, as service managers pass them, calls 127.0.0.1 ::ffff:127.0.0.1 (RFC 4291 §2.5.5.2): lists of networks, header fields and
 * logs mean the former. */
void socket_address_unmap(union socket_address *address);

/* An IP literal and nothing else, as inet_pton takes it. `family`: AF_INET or AF_INET6. */
bool ip_literal_parse(int family, struct bytes text, void *out);

/* "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80": how header fields write an address. Unmapped. False: it is none. */
bool socket_address_parse(struct bytes text, union socket_address *address);

#endif
