/* What an offer comes to on disk: whether it is worth it, what hangs together, and where its bytes are. The home loop's. */
#ifndef CACHE_DISK_OFFER_H
#define CACHE_DISK_OFFER_H

#include "cache/disk/queue.h"

enum offer_verdict {
    OFFER_TAKE,
    OFFER_DROP,  /* not worth it any more */
    OFFER_SPLIT, /* other offers were put in front of it, or in its place (then it was freed): take the next */
};

/* Of what was taken from the queue. */
enum offer_verdict offer_judge(struct offer **offer);

uint32_t offer_front_bytes(const struct offer *offer);
uint32_t offer_body_bytes(const struct offer *offer);
uint32_t offer_pieces_count(const struct offer *offer);
/* Front, then body: offer_pieces_count of them. */
void offer_pieces(const struct offer *offer, struct disk_piece *pieces);

#endif
