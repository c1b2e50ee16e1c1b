#include "proxy/client/proxy_header.h"

#include "tests/fuzz/fuzz.h"

/* In memory of just that size. */
static enum proxy_header_outcome parse(struct bytes input, struct proxy_header *header)
{
    char *memory = malloc(input.len);
    memcpy(memory, input.at, input.len);
    enum proxy_header_outcome outcome = proxy_header_parse(bytes_from(memory, input.len), header);
    free(memory);
    return outcome;
}

/* The bytes of a connection. A reader that takes them off the socket as long as they are a part of a header never takes one that is behind it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_from((const char *)data, size);
    struct proxy_header header, part;
    enum proxy_header_outcome outcome = parse(input, &header);
    REQUIRE(outcome != PROXY_HEADER_BAD || header.fault != NULL);
    if (outcome == PROXY_HEADER_PARTIAL)
        REQUIRE(size < PROXY_HEADER_MAX_BYTES);
    if (outcome != PROXY_HEADER_COMPLETE)
        return 0;
    REQUIRE(header.length <= size && header.length <= PROXY_HEADER_MAX_BYTES);
    REQUIRE(!header.has_client || header.client.any.sa_family == AF_INET || header.client.any.sa_family == AF_INET6);
    for (size_t length = 0; length < header.length; length++)
        REQUIRE(parse(bytes_from(input.at, length), &part) == PROXY_HEADER_PARTIAL);
    REQUIRE(parse(bytes_from(input.at, header.length), &part) == PROXY_HEADER_COMPLETE && part.has_client == header.has_client);
    return 0;
}
