/* How long the scheduler may let this process wait once it has work. */
#ifndef BOOT_SLICES_H
#define BOOT_SLICES_H

/* Asks for short time slices, for this thread and those that it starts: woken, it comes before those whose slices are longer, such as a helper on the same core
 * in the middle of its work. Its share of the processor stays the same. Linux 6.12; older kernels take no notice. */
void slices_shorten(void);

#endif
