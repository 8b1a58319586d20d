/* What users were promised, looked for on the disks. */
#ifndef SHOAL_PROMISE_H
#define SHOAL_PROMISE_H

#include "history.h"
#include "swarm.h"

#define PROMISE_CHUNKS_MAX 4 /* of one file */

struct promise { /* what was said to be stored last under a name */
    uint64_t since_us;
    uint32_t count;
    struct digest chunks[PROMISE_CHUNKS_MAX];
};

struct promises {
    struct swarm *swarm;
    const struct history *history;
    struct promise list[HISTORY_NAMES_MAX];
};

/* Hears of moves from the witness of the swarm. */
void promises_init(struct promises *p, struct swarm *w, const struct history *h);
/* A user just heard that this is stored under a name (history_promise). Unless somebody may have taken it away already,
 * each of its chunks lies on the disks of a majority of the voters of its group; otherwise swarm_fail. */
void promises_made(struct promises *p, uint32_t name, uint64_t content, uint64_t size);
/* Later, too, whatever has moved since: looks at one name after the other, by the time. */
void promises_sample(const struct promises *p);

#endif
