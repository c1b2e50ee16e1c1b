/* The use of ticket keys by the handshake; see tls.h for what makes them. */
#ifndef NET_TLS_TICKETS_H
#define NET_TLS_TICKETS_H

#include "proxy/net/tls.h"

#include <openssl/evp.h>

enum { TLS_TICKET_PERIOD_S = 12 * 3600 };

/* As SSL_CTX_set_tlsext_ticket_key_evp_cb(3). */
int tls_tickets_use(struct tls_tickets *tickets, int64_t now_s, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seals);

#endif
