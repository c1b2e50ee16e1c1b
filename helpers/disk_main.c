/* The disk helper: one request at a time, blocking; there are several of us. */
#include "base/log.h"
#include "base/slab.h"
#include "helpers/disk_files.h"
#include "helpers/helper_loop.h"
#include "helpers/helper_main.h"

#include <stdlib.h>

enum { BATCH = 16 }; /* reads between two looks at the control socket: each may take a disk's while */

static void take_control(void *context, const struct control_message *message)
{
    struct disk_files *files = context;
    if (message->message.type != MESSAGE_ROOTS)
        return;
    const struct message_roots *roots = message->message.payload;
    if (!disk_files_set_roots(files, message->message.tail, roots->count))
        log_error("roots", "malformed list, the earlier one stays");
}

static bool take_request(void *context, struct channel *from, const struct message *message)
{
    struct disk_files *files = context;
    struct message_file_answer answer;
    if (!disk_files_read(files, message->payload, message->tail, &answer))
        return false;
    if (!channel_send(from, MESSAGE_FILE_ANSWER, &answer, BYTES_NONE))
        return false;    /* a client never has more requests under way than answers fit */
    channel_flush(from); /* now: the next read may take long */
    disk_files_read_ahead(files);
    return true;
}

void disk_main(int control, int slab_fd)
{
    struct slab *slab = slab_attach(slab_fd);
    if (!slab) {
        log_error("slab", "cannot be mapped: %m");
        exit(1);
    }
    char *memory = slab_at(slab, (struct extent){.unit = 0, .capacity = SLAB_UNIT_BYTES});
    struct disk_files *files = disk_files_new(memory, slab_bytes(slab));
    struct helper_engine engine = {.role = ROLE_DISK, .context = files, .batch = BATCH, .control = take_control, .message = take_request};
    helper_loop_run(control, &engine);
}
