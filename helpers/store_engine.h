/* The store helper's engine: takes messages, does the work at the store files, answers. Two flavours with the same jobs (store_job.h): by io_uring, with
 * many under way, or blocking, one after the other. Knows no channel and no loop. */
#ifndef HELPERS_STORE_ENGINE_H
#define HELPERS_STORE_ENGINE_H

#include "helpers/wire.h"

struct store_engine;

/* `memory` (of `size` bytes) is the slab's mapping; borrowed. `answer` is called from store_engine_take and store_engine_turn. */
typedef void store_engine_answer(void *context, void *asker, enum message_type type, const void *payload);
struct store_engine *store_engine_new(char *memory, size_t size, store_engine_answer *answer, void *context);
/* Waits for what is under way. */
void store_engine_free(struct store_engine **engine);

/* Whether io_uring can be had on this machine: how many helpers it takes depends on it. */
bool store_engine_may_ring(void);

/* Takes the descriptor of a directory's store file; an earlier one is closed when nobody works on it any more. The first message decides the flavour. False:
 * malformed. */
bool store_engine_open(struct store_engine *engine, const struct message_store_directory *directory, int fd);

/* A STORE_READ, _WRITE, _SCAN or _ORDER of `asker` (not NULL). Answered now, or from a later turn. False: it breaks a rule. */
bool store_engine_take(struct store_engine *engine, void *asker, const struct message *message);
/* No answers for it any more, and nothing of its reads and scans goes to the slab. */
void store_engine_forget(struct store_engine *engine, const void *asker);

/* Once after each batch of messages, and when store_engine_fd is readable: one system call for all that was taken. */
void store_engine_turn(struct store_engine *engine);
/* Returns when all that was taken is done. */
void store_engine_finish(struct store_engine *engine);
int  store_engine_fd(const struct store_engine *engine);         /* −1: blocking, answers come from store_engine_take */
int  store_engine_timeout_ms(const struct store_engine *engine); /* until the next turn; −1: none is needed */

#endif
