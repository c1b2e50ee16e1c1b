/* The disk helper: one request at a time, blocking; there are several of us. */
#include "base/log.h"
#include "base/slab.h"
#include "helpers/disk_files.h"
#include "helpers/helper_loop.h"
#include "helpers/helper_main.h"

#include <stdlib.h>

enum { BATCH = 16 }; /* reads between two looks at the control socket: each may take a disk's while */

struct disk_helper {
    struct disk_files *files;
    bool is_locked;
};

/* The supervisor starts another in our place, which may read what we may not. What waits in our channels goes to it, or to our like. */
static void leave_if_outdated(const struct disk_helper *helper)
{
    if (disk_files_are_outdated(helper->files))
        exit(HELPER_EXIT_OUTDATED);
}

static void take_control(void *context, const struct control_message *message)
{
    struct disk_helper *helper = context;
    if (message->message.type != MESSAGE_ROOTS)
        return;
    const struct message_roots *roots = message->message.payload;
    if (!disk_files_set_roots(helper->files, message->message.tail, roots->count))
        log_error("roots", "malformed list, the earlier one stays");
    if (!helper->is_locked)
        disk_files_lock(helper->files);
    helper->is_locked = true;
    leave_if_outdated(helper);
}

static bool take_request(void *context, struct channel *from, const struct message *message)
{
    struct disk_helper *helper = context;
    struct message_file_answer answer;
    struct message again;
    if (!disk_files_know_root(helper->files, message->tail)) { /* the list that has it was sent before the request was */
        channel_give_back(from);
        helper_loop_look_at_control();
        if (channel_receive_awake(from, &again) != CHANNEL_MESSAGE)
            return false;
        message = &again;
    }
    if (!disk_files_read(helper->files, message->payload, message->tail, &answer))
        return false;
    if (disk_files_are_outdated(helper->files))
        channel_give_back(from);
    leave_if_outdated(helper);
    if (!channel_send(from, MESSAGE_FILE_ANSWER, &answer, BYTES_NONE))
        return false;    /* a client never has more requests under way than answers fit */
    channel_flush(from); /* now: the next read may take long */
    disk_files_read_ahead(helper->files);
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
    struct disk_helper helper = {.files = disk_files_new(memory, slab_bytes(slab))};
    struct helper_engine engine = {.role = ROLE_DISK, .context = &helper, .batch = BATCH, .control = take_control, .message = take_request};
    helper_loop_run(control, &engine);
}
