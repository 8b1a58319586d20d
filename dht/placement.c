#include "placement.h"

#include <stdlib.h>

#include "apportion.h"
#include "check.h"
#include "errors.h"
#include "leaders.h"
#include "shares.h"

struct placement {
    uint64_t epoch;
    unsigned bits;
    unsigned length; /* of every list */
    uint32_t nodes[];
};

static uint32_t serving_count(const struct members *members) {
    uint32_t n = 0;
    for (size_t i = 0; i < members_count(members); i++)
        n += member_serves(members_at(members, i));
    CHECK(n <= MEMBERS_MAX);
    return n;
}

/* A node likes the arcs that its id says, so its likings outlast its address, zone and number. */
static uint64_t *seeds_of(const struct shares *s) {
    uint64_t *seeds = calloc(s->node_count, sizeof *seeds);
    for (uint32_t i = 0; seeds != NULL && i < s->node_count; i++) {
        struct digest d;
        digest_of(s->nodes[i].row->id, sizeof s->nodes[i].row->id, &d);
        seeds[i] = ring_position(&d);
    }
    return seeds;
}

static int fill_lists(struct placement *p, const struct members *members, uint32_t serving) {
    CHECK(p->length > 0 && p->length <= serving);
    uint32_t arcs = UINT32_C(1) << p->bits;
    struct shares shares;
    int rc = shares_init(&shares, members, serving, p->length);
    if (rc != 0)
        return rc;
    uint64_t *seeds = seeds_of(&shares);
    if (seeds == NULL) {
        rc = ERR_NOMEM;
        goto done;
    }
    rc = apportion(&shares, seeds, p->bits, p->length, p->nodes);
    if (rc != 0)
        goto done;
    rc = leaders_spread(seeds, serving, arcs, p->length, p->nodes);
    if (rc != 0)
        goto done;
    for (size_t k = 0; k < (size_t)arcs * p->length; k++)
        p->nodes[k] = shares.nodes[p->nodes[k]].row->node;
done:
    free(seeds);
    shares_release(&shares);
    return rc;
}

int placement_new(const struct members *members, unsigned bits, unsigned replicas, struct placement **ret_placement) {
    CHECK(members != NULL);
    CHECK(ret_placement != NULL);
    if (bits > RING_BITS_MAX || replicas == 0 || replicas > PLACEMENT_REPLICAS_MAX)
        return ERR_INVALID;
    uint32_t serving = serving_count(members);
    unsigned length = serving < replicas ? serving : replicas;
    struct placement *p = calloc(1, sizeof *p + ((size_t)length << bits) * sizeof p->nodes[0]);
    if (p == NULL)
        return ERR_NOMEM;
    *p = (struct placement){.epoch = members_epoch(members), .bits = bits, .length = length};
    int rc = length > 0 ? fill_lists(p, members, serving) : 0;
    if (rc != 0) {
        placement_free(p);
        return rc;
    }
    *ret_placement = p;
    return 0;
}

void placement_free(struct placement *p) {
    free(p);
}

uint64_t placement_epoch(const struct placement *p) {
    CHECK(p != NULL);
    return p->epoch;
}

unsigned placement_of(const struct placement *p, uint32_t arc, const uint32_t **ret_nodes) {
    CHECK(p != NULL);
    CHECK(arc < UINT32_C(1) << p->bits);
    *ret_nodes = p->nodes + (size_t)arc * p->length;
    return p->length;
}
