/* How the https:// origins of each site are talked to: made once a configuration, for all loops. Origins have references to what they use of it. */
#ifndef ORIGIN_ORIGIN_TLS_H
#define ORIGIN_ORIGIN_TLS_H

#include "proxy/config/config.h"
#include "proxy/net/tls.h"

struct origin_tls;

/* `config` has the contents of its files; nothing of it is kept. NULL: an error was reported, about a config_file where it is one's fault. */
struct origin_tls *origin_tls_new(const struct config *config, tls_reporter *report, void *context);
void               origin_tls_free(struct origin_tls **tls);

/* Of the n-th site; borrowed. NULL: it has no https:// origin. */
struct tls_client *origin_tls_client(const struct origin_tls *tls, unsigned site);

#endif
