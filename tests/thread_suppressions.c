/* Linked into the build for ThreadSanitizer. OpenSSL comes without instrumentation: what it copies and frees by the C library's functions is seen, but not the
 * reference counts that order this (a session that one loop's connection copies, and that another loop's lets go of). Its locks are seen all the same. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libssl.so.3\n"
           "called_from_lib:libcrypto.so.3\n";
}
