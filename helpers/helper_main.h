/* The mains of the helper roles. Each fits on a screen: take channels from the control socket, answer messages, exit when the control socket closes. */
#ifndef HELPERS_HELPER_MAIN_H
#define HELPERS_HELPER_MAIN_H

/* Exit status of a helper that asks to be replaced by a new one, for it is locked up (sandbox.h) and what it needs has changed. */
enum { HELPER_EXIT_OUTDATED = 3 };

/* Never return; exit status 0 when the supervisor's end closed. */
void disk_main(int control, int slab) __attribute__((noreturn));
void store_main(int control, int slab) __attribute__((noreturn));
void resolver_main(int control) __attribute__((noreturn));
void log_main(int control) __attribute__((noreturn));

#endif
