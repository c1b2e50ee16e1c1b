/* The mains of the helper roles. Each fits on a screen: take channels from the control socket, answer messages, exit when the control socket closes. */
#ifndef HELPERS_HELPER_MAIN_H
#define HELPERS_HELPER_MAIN_H

/* Never return; exit status 0 when the supervisor's end closed. */
void disk_main(int control, int slab) __attribute__((noreturn));
void store_main(int control, int slab) __attribute__((noreturn));
void resolver_main(int control) __attribute__((noreturn));
void log_main(int control) __attribute__((noreturn));

#endif
