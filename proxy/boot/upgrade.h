/* Another binary takes over, without a connection refused or cut (USR2).
 *
 * DESIGN. The old supervisor starts the new binary, with the same arguments, as a supervisor of its own beside it; they talk over a socket by single bytes, so
 * that versions far apart understand each other. Until the last step the old one serves as if nothing were, and goes on so when the new one fails.
 *
 *     old                                             new
 *     starts it: listening sockets, socket  ────────→ configuration, logs, processes: all of its own
 *                                           ←─ READY─ its proxy would serve
 *     its proxy writes what waits for the disk,
 *     leaves the cache directories alone, and
 *     lists what is in memory;
 *     unlocks them, gives up the pid file,
 *     names the new main process to systemd ──TAKE──→ locks them, takes the pid file
 *     drains, ends                          ←─ TAKEN─ recovers what is in them, copies what was listed; accepts clients, from the same sockets
 *
 * So every moment has one owner of the directories, one that accepts clients, one to be told of reloads (what the old one is told after it started the new
 * one, it passes on after TAKE, with the sockets that it has listened on since) and one to be told of purges: from the moment that the directories are left
 * alone until the end, the old one refuses those that come over connections of its own (503; whoever asks again asks the new one); what other requests make
 * invalid it tells the new one, by the same socket (heir.h). When the new one fails before TAKEN, the old one takes the directories up again where it left
 * them: nobody has written there. What is in memory is copied (cache/handover.h): slab and list go with TAKE, and a version that does not know of them
 * leaves them.
 */
#ifndef BOOT_UPGRADE_H
#define BOOT_UPGRADE_H

#include "base/clock.h"
#include "base/hash.h"
#include "proxy/boot/listening.h"

#include <sys/types.h>

struct supervisor;

struct upgrade {
    char binary[4096];       /* what was started, by its name: another may be there now */
    /* the old one's */
    pid_t               pid; /* of the new supervisor; 0: none is under way */
    int                 socket; /* −1: none */
    struct monotonic_ms deadline;
    bool                is_ready; /* it serves; the disk tier is being released */
    bool                is_offered; /* it was told to take over, and has not said yet that it has */
    bool                is_done;  /* it has taken over */
    bool                is_outdated; /* the configuration was to be read again since it was started */
    int                 list; /* memory file in which the proxy lists what it has in memory; −1: none */
    /* the new one's */
    int old;                 /* −1: nobody, or everything is ours */
    /* both: of what is in memory where there is no cache directory, which has its own; the new one has the old one's */
    unsigned char hash_key[HASH_KEY_BYTES];
};

/* Notes what is needed later. First thing of a supervisor. */
void upgrade_init(struct upgrade *upgrade);

/* ---- the old one ---- */

/* USR2. */
void upgrade_begin(struct supervisor *s);
/* The socket is readable. */
void upgrade_hear(struct supervisor *s);
/* The proxy is asked to leave the directories alone, if that is what the new one waits for. */
void upgrade_release(struct supervisor *s);
/* STORE_RELEASED. */
void upgrade_hand_over(struct supervisor *s);
/* Somebody asks for a reload. */
void upgrade_note_reload(struct supervisor *s);
/* A process of that id has ended: `how`. */
void upgrade_child_ended(struct supervisor *s, pid_t pid, const char *how);
/* Kills one that takes too long; milliseconds until then, −1: none is under way. */
int upgrade_tick(struct supervisor *s, struct monotonic_ms now);
/* The old one stops: so does the one that it was starting. */
void upgrade_abandon(struct supervisor *s);

/* ---- the new one ---- */

/* Whether another instance serves, and everything is its own, until upgrade_old_spoke says otherwise. */
static inline bool upgrade_is_guest(const struct upgrade *upgrade)
{
    return upgrade->old >= 0;
}
/* Our proxy serves. */
void upgrade_tell_ready(struct supervisor *s);
/* The old one is readable: what was its is ours. */
void upgrade_old_spoke(struct supervisor *s);

#endif
