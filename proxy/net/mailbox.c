/* See mailbox.h.
 *
 * DESIGN. `posted` is true from the first post until just before the delivery, so a piece of mail is on the stack at most once and further posts cost one
 * exchange. Both ends change it with an acquire-release exchange: a post that found it true happened before the delivery that follows, which therefore
 * sees everything that the poster wrote. Only the push that finds the stack empty wakes the loop, with one write to its eventfd.
 */
#include "proxy/net/mailbox.h"

static void post_from_waker(struct waker *waker)
{
    mail_post(LIST_OWNER(waker, struct mail, waker));
}

void mail_init(struct mail *mail, struct loop *loop, void (*deliver)(struct mail *))
{
    mail->waker.post = post_from_waker;
    mail->loop = loop;
    mail->next = NULL;
    mail->deliver = deliver;
    atomic_init(&mail->posted, false);
}

void mail_post(struct mail *mail)
{
    struct loop *loop = mail->loop; /* once pushed, the mail may be delivered and freed */
    struct mailbox *mailbox = loop_mailbox(loop);
    if (atomic_exchange_explicit(&mail->posted, true, memory_order_acq_rel))
        return;
    struct mail *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do {
        mail->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, mail, memory_order_release, memory_order_relaxed));
    if (!newest)
        loop_wake(loop);
}

bool mail_is_posted(const struct mail *mail)
{
    return atomic_load_explicit(&mail->posted, memory_order_acquire);
}

bool mailbox_is_empty(struct mailbox *mailbox)
{
    return !atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
}

void mailbox_deliver(struct mailbox *mailbox)
{
    if (mailbox_is_empty(mailbox))
        return;
    struct mail *mail = atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire), *oldest = NULL, *next;
    for (; mail; mail = next) {
        next = mail->next;
        mail->next = oldest;
        oldest = mail;
    }
    for (mail = oldest; mail; mail = next) {
        next = mail->next;
        atomic_exchange_explicit(&mail->posted, false, memory_order_acq_rel);
        mail->deliver(mail);
    }
}
