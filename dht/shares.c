#include "shares.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "placement.h"

/* A weight of 28 bits times 7 replicas times SHARE_ONE stays below 2^63, and so does the sum of all weights. */
#define WEIGHT_BITS 28
/* Where zones are of unequal size, a smaller one may be given this part more than its capacity earns it, so that
 * replicas of more arcs are in separate zones. Surviving the loss of a zone is worth a disk that fills a third sooner;
 * a zone still smaller is left with arcs that it does not serve. */
#define ZONE_LIFT_DIVISOR 3

static int by_zone_then_number(const void *a, const void *b) {
    const struct share_node *x = a, *y = b;
    int zone = strcmp(x->row->zone, y->row->zone);
    return zone != 0 ? zone : (x->row->node > y->row->node) - (x->row->node < y->row->node);
}

static void collect(struct shares *s, const struct members *members) {
    uint64_t largest = 1;
    uint32_t n = 0;
    for (size_t i = 0; i < members_count(members); i++) {
        const struct member *row = members_at(members, i);
        if (!member_serves(row))
            continue;
        CHECK(n < s->node_count);
        s->nodes[n++].row = row;
        if (row->capacity > largest)
            largest = row->capacity;
    }
    CHECK(n == s->node_count);
    unsigned shift = 0;
    while (largest >> shift >= UINT64_C(1) << WEIGHT_BITS)
        shift++;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t weight = s->nodes[i].row->capacity >> shift;
        s->nodes[i].weight = weight > 0 ? weight : 1;
    }
    qsort(s->nodes, n, sizeof s->nodes[0], by_zone_then_number);
}

/* Whoever earns every arc gets every arc; what is left is earned by the others. True when there was one more. */
static bool earn_round(struct shares *s, unsigned *left) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < s->node_count; i++)
        total += s->nodes[i].earned == SHARE_ONE ? 0 : s->nodes[i].weight;
    bool found = false;
    unsigned still = *left;
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct share_node *node = &s->nodes[i];
        if (node->earned == SHARE_ONE)
            continue;
        /* Each of them weighs at least 1/still of the total, so there are never more of them than replicas left. */
        if (node->weight >= (total + still - 1) / still) {
            CHECK(*left > 0);
            node->earned = SHARE_ONE;
            --*left;
            found = true;
        } else {
            node->earned = still * node->weight * SHARE_ONE / total;
            CHECK(node->earned < SHARE_ONE);
        }
    }
    return found;
}

/* Replicas go by weight, but no node can hold an arc twice. At most `replicas` rounds find a node to fix. */
static void earn(struct shares *s, unsigned replicas) {
    unsigned left = replicas;
    while (left > 0 && earn_round(s, &left))
        CHECK(left < replicas);
    CHECK(left > 0 || s->node_count == replicas);
}

static void group_by_zone(struct shares *s) {
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct share_node *node = &s->nodes[i];
        if (i == 0 || strcmp(node->row->zone, s->nodes[i - 1].row->zone) != 0)
            s->zones[s->zone_count++] = (struct share_zone){.name = node->row->zone, .first = i};
        CHECK(s->zone_count > 0);
        node->zone = s->zone_count - 1;
        s->zones[node->zone].earned += node->earned;
        s->zones[node->zone].count++;
    }
    CHECK(s->zone_count <= s->node_count);
}

static uint64_t surplus(const struct share_zone *zone) {
    return zone->earned > SHARE_ONE ? zone->earned - SHARE_ONE : 0;
}

static uint64_t room(const struct share_zone *zone) {
    uint64_t to_one = zone->earned < SHARE_ONE ? SHARE_ONE - zone->earned : 0;
    uint64_t lift = zone->earned / ZONE_LIFT_DIVISOR;
    return to_one < lift ? to_one : lift;
}

/* part * numerator / denominator without leaving 64 bits: parts and sums stay below 2^35 here. */
static uint64_t portion(uint64_t part, uint64_t numerator, uint64_t denominator) {
    CHECK(part <= denominator && numerator <= denominator);
    if (denominator == 0)
        return 0;
    /* 29 bits of the ratio are finer than one replica of a million arcs. */
    uint64_t ratio = (numerator << 29) / denominator;
    return part * ratio >> 29;
}

/* Distinct zones per arc mean: with as many zones as replicas or more, none above one replica per arc; with fewer,
 * none below. Either way the zones above one give to those below, as far as these may take. */
static void spread(struct shares *s) {
    uint64_t offered = 0, taken = 0;
    for (uint32_t z = 0; z < s->zone_count; z++) {
        offered += surplus(&s->zones[z]);
        taken += room(&s->zones[z]);
    }
    uint64_t moved = offered < taken ? offered : taken;
    for (uint32_t z = 0; z < s->zone_count; z++) {
        struct share_zone *zone = &s->zones[z];
        zone->share = zone->earned - portion(surplus(zone), moved, offered) + portion(room(zone), moved, taken);
        CHECK(zone->earned <= SHARE_ONE ? zone->share <= SHARE_ONE : zone->share >= SHARE_ONE);
    }
}

static void share_out(struct shares *s) {
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct share_node *node = &s->nodes[i];
        const struct share_zone *zone = &s->zones[node->zone];
        node->share = node->earned;
        if (zone->share < zone->earned)
            node->share -= portion(node->earned, zone->earned - zone->share, zone->earned);
        if (zone->share > zone->earned)
            node->share += portion(node->earned, zone->share - zone->earned, zone->earned);
        CHECK(node->share <= SHARE_ONE);
    }
}

static void enclose(struct share_zone *zone) {
    zone->least = (unsigned)(zone->share / SHARE_ONE);
    zone->most = zone->least + (zone->share % SHARE_ONE > 0);
    CHECK(zone->most <= zone->count);
}

int shares_init(struct shares *s, const struct members *members, uint32_t serving, unsigned replicas) {
    CHECK(serving > 0 && replicas <= serving);
    CHECK(replicas > 0 && replicas <= PLACEMENT_REPLICAS_MAX);
    *s = (struct shares){.node_count = serving};
    s->nodes = calloc(serving, sizeof s->nodes[0]);
    s->zones = calloc(serving, sizeof s->zones[0]);
    if (s->nodes == NULL || s->zones == NULL) {
        shares_release(s);
        return ERR_NOMEM;
    }
    collect(s, members);
    earn(s, replicas);
    group_by_zone(s);
    spread(s);
    share_out(s);
    for (uint32_t z = 0; z < s->zone_count; z++)
        enclose(&s->zones[z]);
    return 0;
}

void shares_release(struct shares *s) {
    free(s->nodes);
    free(s->zones);
    *s = (struct shares){0};
}
