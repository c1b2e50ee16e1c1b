#include "proxy/boot/disk_inline.h"

#include "base/log.h"
#include "helpers/store_engine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct disk_inline {
    struct store_engine *engine;
    struct list calls; /* by their helper_call's link, oldest first */
    struct mail mail;  /* posted while there are any */
};

static void take_answer(void *context, void *asker, enum message_type type, const void *payload)
{
    struct store_call *call = asker;
    (void)context;
    memcpy(&call->answer, payload, message_payload_size(type));
    call->error = ERROR_OK;
}

static void make_call(struct disk_inline *disk, struct store_call *call)
{
    const struct message message = {.type = call->type, .payload = &call->ask, .tail = call->tail};
    call->error = ERROR_HELPER_UNAVAILABLE;
    call->destination_lost = false;
    store_engine_take(disk->engine, call, &message);
    call->done(call);
}

/* Those that the calls' ends lead to come with the next mail: clients have their turn before. */
static void make_calls(struct mail *mail)
{
    struct disk_inline *disk = LIST_OWNER(mail, struct disk_inline, mail);
    struct list calls, *link;
    list_init(&calls);
    while ((link = list_pop_front(&disk->calls)) != NULL)
        list_push_back(&calls, link);
    while ((link = list_pop_front(&calls)) != NULL)
        make_call(disk, LIST_OWNER(link, struct store_call, call.link));
}

struct disk_inline *disk_inline_new(struct loop *loop, const struct slab *slab, const struct disk_files *files)
{
    struct disk_inline *disk = calloc(1, sizeof *disk);
    if (disk == NULL)
        abort();
    char *memory = slab_at(slab, (struct extent){.unit = 0, .capacity = SLAB_UNIT_BYTES});
    disk->engine = store_engine_new(memory, slab_bytes(slab), take_answer, disk);
    list_init(&disk->calls);
    mail_init(&disk->mail, loop, make_calls);
    for (unsigned i = 0; i < files->count; i++) {
        int fd = fcntl(files->at[i].fd, F_DUPFD_CLOEXEC, 0); /* an engine owns its descriptors */
        if (fd < 0) {
            log_error("store", "cache directory %u: %m", i);
            abort();
        }
        store_engine_open(disk->engine, &files->at[i].directory, fd);
    }
    return disk;
}

void disk_inline_free(struct disk_inline **disk)
{
    if (*disk == NULL)
        return;
    store_engine_free(&(*disk)->engine);
    free(*disk);
    *disk = NULL;
}

void disk_inline_submit(struct disk_inline *disk, struct store_call *call)
{
    list_init(&call->call.link);
    list_push_back(&disk->calls, &call->call.link);
    mail_post(&disk->mail);
}
