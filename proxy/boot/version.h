/* What the binary knows of its own build. */
#ifndef BOOT_VERSION_H
#define BOOT_VERSION_H

extern const char version_number[];    /* "0.1.0" */
extern const char version_build[];     /* compiler and libraries that it was built with */
extern const char version_demo_root[]; /* where `make install` puts the demo site */

#endif
