/* Addresses, networks, host patterns and origin URLs as text. Nothing here asks a name server: names are the resolver helper's business. */
#ifndef CONFIG_ADDRESS_H
#define CONFIG_ADDRESS_H

#include "proxy/config/config.h"

/* Each parser returns NULL, or what is wrong with the text as the end of a sentence ("… has no port"). Texts are borrowed from the argument. */

/* "8080", ":8080" (every IPv4 address), "127.0.0.1:8080", "[::1]:8080". With a default port other than 0, "127.0.0.1", "::1" and "[::1]" as well. */
const char *address_parse(struct bytes text, uint16_t default_port, struct config_address *address);
/* "127.0.0.1:8080" or "[::1]:8080", NUL-terminated. */
void address_format(const struct sockaddr_storage *address, char out[64]);
/* Whether a socket bound to one keeps the other from being bound: same family and port, and the same address or every address. */
bool address_overlaps(const struct config_address *a, const struct config_address *b);

/* "127.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32". */
const char *network_parse(struct bytes text, struct config_network *network);
void network_format(const struct config_network *network, char out[64]);

/* "*", "*.example.org", "www.example.org", "127.0.0.1", "[::1]"; case is the caller's. */
const char *host_pattern_check(struct bytes text);
/* A Host field value: a name or literal with an optional port. */
const char *host_header_check(struct bytes text);

/* "http://host[:port]", "https://host[:port]" or "files:/directory". `root` is not filled: the path follows "files:" in the text. */
const char *origin_parse(struct bytes text, struct config_origin *origin);

#endif
