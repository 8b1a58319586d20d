/* What has to be asked of the swarm about its members, again and again until it is done, whatever breaks meanwhile:
 * that a host may join, that a member drains or stays after all, that one whose disk is lost is dismissed. */
#ifndef SHOAL_ERRANDS_H
#define SHOAL_ERRANDS_H

#include "client.h"
#include "swarm.h"

struct errands;

struct errand { /* of one host */
    struct errands *errands;
    uint32_t number;
    struct event again;
    bool asking;
    uint32_t tries;
    uint32_t dismiss; /* the member that this host was before its disk was lost; 0: none */
    bool joins;
    bool asks; /* for the action, as a member */
    enum client_action action;
};

struct errands {
    struct swarm *swarm;
    struct errand *list; /* by number - 1 */
};

void errands_init(struct errands *e, struct swarm *w);
void errands_release(struct errands *e);
/* The host, which is no member, is to be one. */
void errands_join(struct errands *e, uint32_t number);
/* The member is to drain, or to stay. Asked once: a refusal is an answer. */
void errands_ask(struct errands *e, uint32_t number, enum client_action action);
/* The host loses its disk: what it was is dismissed, and it joins as somebody else. It must be down. */
void errands_replace(struct errands *e, uint32_t number);
/* The host is to be a member and is none yet. */
bool errands_joining(const struct errands *e, uint32_t number);
bool errands_done(const struct errands *e);

#endif
