#include "proxy/boot/reserve.h"

#include <sys/eventfd.h>
#include <unistd.h>

void reserve_init(struct reserve *reserve)
{
    for (unsigned i = 0; i < RESERVE_DESCRIPTORS; i++)
        reserve->at[i] = -1;
    reserve_open(reserve);
}

void reserve_open(struct reserve *reserve)
{
    for (unsigned i = 0; i < RESERVE_DESCRIPTORS; i++) {
        if (reserve->at[i] < 0)
            reserve->at[i] = eventfd(0, EFD_CLOEXEC); /* any: files are not ours to open */
        if (reserve->at[i] < 0)
            return;
    }
}

bool reserve_give_up(struct reserve *reserve)
{
    bool had_any = false;
    for (unsigned i = 0; i < RESERVE_DESCRIPTORS; i++) {
        had_any |= reserve->at[i] >= 0;
        if (reserve->at[i] >= 0)
            close(reserve->at[i]);
        reserve->at[i] = -1;
    }
    return had_any;
}
