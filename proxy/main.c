/* One executable, five processes: the supervisor when a user starts it, a role of DESIGN §2 when the supervisor does. */
#include "base/log.h"
#include "helpers/control.h"
#include "helpers/helper_main.h"
#include "helpers/spawn.h"
#include "proxy/boot/proxy_process.h"
#include "proxy/boot/supervisor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

/* What a terminal or an operator sends to all of us at once (^C, killall -HUP) is for the supervisor, which tells the others. */
static void leave_signals_to_supervisor(void)
{
    static const int theirs[] = {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        signal(theirs[i], SIG_IGN);
}

int main(int argc, char **argv)
{
    enum role role;
    unsigned number;
    if (!spawn_is_child(argc, argv, &role, &number))
        return supervisor_main(argc, argv);

    enum log_level level = LOG_LEVEL_INFO;
    const char *chosen = spawn_log_level(argc, argv);
    if (chosen)
        log_level_parse(bytes_from_string(chosen), &level);
    log_init(role_name(role), level);
    control_log_to(SPAWN_CONTROL_FD);
    leave_signals_to_supervisor();

    char title[32];
    snprintf(title, sizeof title, "outrigger: %s", role_name(role));
    spawn_set_title(argc, argv, title);
    switch (role) {
    case ROLE_PROXY:
        proxy_main(SPAWN_CONTROL_FD, SPAWN_SLAB_FD);
    case ROLE_DISK:
        disk_main(SPAWN_CONTROL_FD, SPAWN_SLAB_FD);
    case ROLE_STORE:
        store_main(SPAWN_CONTROL_FD, SPAWN_SLAB_FD);
    case ROLE_RESOLVER:
        resolver_main(SPAWN_CONTROL_FD);
    case ROLE_LOG:
        log_main(SPAWN_CONTROL_FD);
    default:
        return EXIT_FAILURE;
    }
}
