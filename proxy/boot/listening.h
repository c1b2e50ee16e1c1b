/* Listening sockets: bound by the supervisor, kept by it for as long as the configuration names them, whatever happens to the proxy.
 *
 * DESIGN. A set belongs to one configuration. The set of the next one takes the sockets that both have in common, so that a reload never closes
 * a socket on which clients wait; what the old set has alone is closed when the new configuration serves.
 */
#ifndef BOOT_LISTENING_H
#define BOOT_LISTENING_H

#include "proxy/config/config.h"
#include "proxy/request/request.h"

#include <stdio.h>
#include <sys/types.h>

enum { LISTENING_TEXT_MAX = 256, LISTENING_MAX = 256 /* sockets of one configuration */ };

/* What a binary that is replaced calls the sockets that it bound itself. */
#define LISTENING_OWN "outrigger"

struct listening {
    enum listener_kind      kind;
    char                    text[LISTENING_TEXT_MAX]; /* as configured */
    struct sockaddr_storage address;
    socklen_t               length;
    int                     fd;
    bool                    is_inherited; /* from the service manager, which also removes the file of a Unix socket */
    bool                    is_lent;      /* the binary that we replace still serves on it, and may go on if we fail: its file is not ours to remove */
};

struct listening_set {
    struct listening *at;
    unsigned          count;
};

/* The sockets that the service manager passed (sd_listen_fds(3)), or the binary that we replace, in the same way; the environment variables are removed. */
void listening_inherit(struct listening_set *set);

/* Descriptors that go with sockets, and are none. */
enum { LISTENING_FILES_MAX = 2 };

struct listening_files {
    unsigned count;
    int      at[LISTENING_FILES_MAX];
};

/* To the binary that replaces us, over the stream `channel`: the byte, and with it the files and the sockets, of which the first 253 go. False: it went
 * not. */
bool listening_send(int channel, char byte, const struct listening_set *set, const struct listening_files *files);
/* What recv(2) would return for that byte. Sockets that came with it are in `set`, as its own, files in `files`, which are the caller's to close; who expects
 * none gets none and may ignore them. */
ssize_t listening_receive(int channel, char *byte, struct listening_set *set, struct listening_files *files);

/* A socket for each address of `config`: from `before`, else from `inherited`, else bound now. False when one cannot be bound: each is told in a line
 * on `errors` ("listen 127.0.0.1:80: Permission denied"), and `set` is empty. */
bool listening_open(struct listening_set *set, const struct config *config, const struct listening_set *before,
                    const struct listening_set *inherited, FILE *errors);

/* Closes and forgets the set, except the sockets that `keep` (may be NULL) has too. Files of Unix sockets that we made are removed. */
void listening_close(struct listening_set *set, const struct listening_set *keep);

#endif
