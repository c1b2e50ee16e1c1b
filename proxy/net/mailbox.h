/* The mailbox of a loop: a lock-free stack that any thread pushes on and the loop takes whole. */
#ifndef NET_MAILBOX_H
#define NET_MAILBOX_H

#include "proxy/net/loop.h"

struct mailbox {
    struct mail *_Atomic newest;
};

bool mailbox_is_empty(struct mailbox *mailbox);
/* On the loop: delivers what is in it now, in the order of posting; what is posted meanwhile stays. */
void mailbox_deliver(struct mailbox *mailbox);

/* loop.c's part of a post: where mail for `loop` goes, and how the loop is made to look. */
struct mailbox *loop_mailbox(struct loop *loop);
void            loop_wake(struct loop *loop);

#endif
