/* `outrigger --check-store DIR`: whether what a cache directory holds verifies, byte by byte. Reads only. */
#ifndef HELPERS_STORE_CHECK_H
#define HELPERS_STORE_CHECK_H

#include <stdbool.h>
#include <stdio.h>

/* Writes a summary to `out`, and a line with its offset for all that does not verify. True: all is well. A segment that was being filled when its writer
 * was killed ends in what does not verify: that is said, and is well. A store in use is checked as it is, with a warning. */
bool store_check(const char *directory, FILE *out);

#endif
