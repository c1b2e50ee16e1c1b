/* A new configuration, without a connection dropped: checked whole before anything changes, sockets bound before the old ones go, the old ones closed
 * when the proxy says that it serves by the new one. An invalid one is refused, and the old one keeps serving. */
#ifndef PROXY_RELOAD_H
#define PROXY_RELOAD_H

#include "proxy/boot/supervisor.h"

/* The first configuration: loads, binds, opens the logs. False: the errors are on stderr. */
bool reload_first(struct supervisor *s, const struct listening_set *inherited);
/* Reads the configuration of s->options again. Errors go to the log and to the askers. */
void reload_begin(struct supervisor *s);
/* Likewise, when another binary has handed over what it was told since it started this one: listening sockets that it bound are used, and taken. */
void reload_adopting(struct supervisor *s, struct listening_set *sockets);
/* Reads the files of the present configuration again, certificates and keys, and nothing else. What is wrong with them is logged, and the old ones stay.
 * False: not now, a reload is under way. */
bool reload_files(struct supervisor *s);
/* Somebody asks for a reload over the admin socket. */
void reload_ask(struct supervisor *s, uint32_t ticket);
/* The proxy serves by configuration `serial`. */
void reload_taken(struct supervisor *s, uint32_t serial);
/* Sends s->config and its listening sockets to the proxy; no sockets while those are another instance's. */
void reload_send_config(struct supervisor *s);
/* The same log files, opened anew. */
void reload_reopen_logs(struct supervisor *s);

/* The text that the options ask for (malloc'ed), and what to call it. False: errors are on `errors`. */
bool reload_text(const struct options *options, FILE *errors, struct bytes *name, struct bytes *text);
/* The configuration that the options ask for; *text (malloc'ed) is what it was made of. NULL: errors are on `errors`. */
struct config *reload_read(const struct options *options, FILE *errors, struct bytes *text);

#endif
