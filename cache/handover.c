/* What both sides of a handover agree on. See handover.h. */
#include "cache/handover.h"

#include "base/hash.h"
#include "cache/object.h"

#include <stddef.h>

enum {
    LIST_PART =
        8, /* of the slab's size: objects take a twentieth at most (OVERHEAD_DIVISOR), 32 bytes each, and an entry is not twice as long */
    LIST_LEAST_BYTES = 1024 * 1024,
};

/* The members that a record's check leaves out are its last ones. */
enum { RECORD_FIXED_BYTES = offsetof(struct record, stale_after_s) };

_Static_assert(RECORD_FIXED_BYTES + 12 == sizeof(struct record), "the two purge members end the record");
_Static_assert(offsetof(struct handover_entry, check) == 0, "what is checked follows in one piece");

uint64_t handover_list_bytes(uint64_t slab_bytes)
{
    return slab_bytes / LIST_PART + LIST_LEAST_BYTES + handover_unstorable_bytes();
}

uint64_t handover_key_proof(const struct hash_key *key)
{
    return hash_bytes(key, BYTES("the key of a memory tier that is handed over")).high;
}

uint64_t handover_check(const struct hash_key *key, const struct handover_entry *entry, const struct handover_piece *pieces,
                        const struct record *record)
{
    const struct bytes parts[] = {
        bytes_from((const char *)entry + sizeof entry->check, sizeof *entry - sizeof entry->check),
        bytes_from((const char *)pieces, entry->piece_count * sizeof *pieces),
        bytes_from((const char *)record, RECORD_FIXED_BYTES),
        bytes_from((const char *)(record + 1), entry->front_bytes - sizeof *record),
    };
    struct hash128 hashes[sizeof parts / sizeof *parts];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        hashes[i] = hash_bytes(key, parts[i]);
    return hash_bytes(key, bytes_from((const char *)hashes, sizeof hashes)).low;
}
