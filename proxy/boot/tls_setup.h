/* From the configuration to TLS with clients and with origins: names, certificates, keys and policies of the sites, from the files that were read with it (config_files.h).
 *
 * The supervisor makes both to see that they can be made, so that a bad pair is a mistake with its line like any other, and nothing of it is served; the proxy
 * makes those that serve.
 */
#ifndef BOOT_TLS_SETUP_H
#define BOOT_TLS_SETUP_H

#include "proxy/config/config.h"
#include "proxy/net/tls.h"
#include "proxy/origin/origin_tls.h"

/* Of a configuration that has its files; `text` is what it was made of. False: what is wrong is on `errors`; warnings are there in any case. */
bool tls_setup_check(const struct config *config, struct bytes text, FILE *errors);

/* NULL: no listener needs it, or it cannot be made (which the supervisor has seen, and told). `made` seals session tickets where no file has the keys. */
struct tls_server *tls_setup_server(const struct config *config, struct tls_tickets *made);
/* NULL: as above, it cannot be made. */
struct origin_tls *tls_setup_origins(const struct config *config);

#endif
