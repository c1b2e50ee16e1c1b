/* The facts come from the Makefile. */
#include "proxy/boot/version.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED ", ASan and UBSan"
#elif defined(__SANITIZE_THREAD__)
#define SANITIZED ", TSan"
#else
#define SANITIZED ""
#endif

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char version_number[] = OUTRIGGER_VERSION;
const char version_build[] = COMPILER SANITIZED "; " OUTRIGGER_LIBRARIES;
const char version_demo_root[] = OUTRIGGER_PREFIX "/share/outrigger/demo";
