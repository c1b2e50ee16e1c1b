/* Telling the service manager how we are: sd_notify(3)'s protocol, one datagram of lines to $NOTIFY_SOCKET. */
#ifndef BOOT_NOTIFY_H
#define BOOT_NOTIFY_H

/* "READY=1\nSTATUS=…". Nothing happens where nobody asked to be told. */
void notify_manager(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Nothing is told any more: another process is the main one. */
void notify_close(void);

#endif
