/* The disk tier's figures. */
#include "proxy/boot/collect.h"

#include "cache/disk/store.h"

#include <stddef.h>
#include <stdint.h>

static const struct {
    const char *name, *help;
    size_t offset;
    bool is_counter;
} store_rows[] = {
    {"store_records", "Responses on disk that can be found.", offsetof(struct store_stats, records), false},
    {"store_index_bytes", "Memory of the index of what is on disk.", offsetof(struct store_stats, index_bytes), false},
    {"store_queue_bytes", "Memory of responses that wait to be written.", offsetof(struct store_stats, queue_bytes), false},
    {"store_recovered_records", "Responses found on disk at the start.", offsetof(struct store_stats, recovered_records), false},
    {"store_hits_total", "Responses read from disk into memory.", offsetof(struct store_stats, hits), true},
    {"store_misses_total", "Responses that were not on disk where the index had them.", offsetof(struct store_stats, misses), true},
    {"store_offered_total", "Responses that might be written.", offsetof(struct store_stats, offered), true},
    {"store_refused_total", "Responses not written because of disk.admit, or as too large.", offsetof(struct store_stats, refused), true},
    {"store_dropped_total", "Responses not written because the queue was full or the directory in trouble.",
     offsetof(struct store_stats, dropped), true},
    {"store_reclaimed_segments_total", "Segments emptied to be filled anew.", offsetof(struct store_stats, reclaimed_segments), true},
    {"store_moved_records_total", "Responses written again because they were asked for.", offsetof(struct store_stats, moved_records),
     true},
};

static const struct {
    const char *name, *help;
    size_t offset;
    bool is_counter;
} directory_rows[] = {
    {"store_bytes", "Bytes of a cache directory.", offsetof(struct directory_stats, bytes), false},
    {"store_directory_records", "Responses in a cache directory that can be found.", offsetof(struct directory_stats, records), false},
    {"store_read_bytes_total", "Bytes read from a cache directory.", offsetof(struct directory_stats, read_bytes), true},
    {"store_written_bytes_total", "Bytes written to a cache directory.", offsetof(struct directory_stats, written_bytes), true},
    {"store_admitted_bytes_total", "Of these, bytes of responses written for the first time.",
     offsetof(struct directory_stats, admitted_bytes), true},
    {"store_moved_bytes_total", "Of these, bytes of responses written again.", offsetof(struct directory_stats, moved_bytes), true},
    {"store_reads_total", "Reads from a cache directory.", offsetof(struct directory_stats, reads), true},
    {"store_read_failures_total", "Reads that failed.", offsetof(struct directory_stats, read_failures), true},
    {"store_writes_total", "Writes to a cache directory.", offsetof(struct directory_stats, writes), true},
    {"store_write_failures_total", "Writes that failed.", offsetof(struct directory_stats, write_failures), true},
};

static double figure(const void *stats, size_t offset)
{
    return (double)*(const uint64_t *)((const char *)stats + offset);
}

static void add_directories(struct gauges *gauges, const struct store_stats *stats, const struct config *config, struct arena *arena)
{
    const char *labels[STORE_DIRECTORIES_MAX];
    unsigned count = stats->directory_count < config->disk_count ? stats->directory_count : config->disk_count;
    for (unsigned i = 0; i < count; i++)
        labels[i] = arena_printf(arena, "directory=\"%s\"", config->disks[i].path).at;
    for (size_t row = 0; row < sizeof directory_rows / sizeof *directory_rows; row++)
        for (unsigned i = 0; i < count; i++)
            (directory_rows[row].is_counter ? gauges_add_counter : gauges_add)(gauges, directory_rows[row].name, labels[i],
                                                                               directory_rows[row].help,
                                                                               figure(&stats->directories[i], directory_rows[row].offset));
    for (unsigned i = 0; i < count; i++)
        gauges_add(gauges, "store_segments", labels[i], "Segments of a cache directory.", stats->directories[i].segments);
    for (unsigned i = 0; i < count; i++)
        gauges_add(gauges, "store_segments_used", labels[i], "Segments that hold something.", stats->directories[i].segments_used);
    for (unsigned i = 0; i < count; i++)
        gauges_add(gauges, "store_bypassed", labels[i], "1: the directory is in trouble, and is not written to.",
                   stats->directories[i].state == DIRECTORY_BYPASSED);
}

void collect_store(struct gauges *gauges, const struct store *store, const struct config *config, struct arena *arena)
{
    struct store_stats stats;
    if (store == NULL)
        return;
    store_stats(store, &stats);
    for (size_t row = 0; row < sizeof store_rows / sizeof *store_rows; row++)
        (store_rows[row].is_counter ? gauges_add_counter : gauges_add)(gauges, store_rows[row].name, "", store_rows[row].help,
                                                                       figure(&stats, store_rows[row].offset));
    gauges_add(gauges, "store_recovering", "", "1: what is on disk is still being found.", stats.is_recovering);
    gauges_add(gauges, "store_recovery_seconds", "", "What that took.", (double)stats.recovery_ms / 1000);
    add_directories(gauges, &stats, config, arena);
}
