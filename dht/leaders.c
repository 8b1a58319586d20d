#include "leaders.h"

#include <stdbool.h>
#include <stdlib.h>

#include "apportion.h"
#include "check.h"
#include "errors.h"

/* Leadership moves without data, so it is kept nearer to its share than replicas are: to this part, or to one arc. */
#define SLACK_DIVISOR 10
#define PASSES_MAX 16

/* Per node, in units of 1/length arcs: led minus what it should lead, and how far from 0 that may be. */
struct balance {
    int64_t ahead;
    int64_t slack;
};

static uint64_t liking(uint64_t seed, uint32_t arc) {
    /* Another mix than the one that chose the replicas, or their order would follow from it. */
    return mix64(mix64(seed) ^ ~(uint64_t)arc);
}

static void sort_list(const uint64_t *seeds, uint32_t arc, unsigned length, uint32_t *list) {
    CHECK(length > 0);
    for (unsigned k = 1; k < length; k++) {
        uint32_t node = list[k];
        uint64_t own = liking(seeds[node], arc);
        unsigned at = k;
        for (; at > 0; at--) {
            uint64_t before = liking(seeds[list[at - 1]], arc);
            if (before < own || (before == own && list[at - 1] < node))
                break;
            list[at] = list[at - 1];
        }
        list[at] = node;
    }
}

static void count_leaders(struct balance *of, uint32_t count, uint32_t arcs, unsigned length, const uint32_t *lists) {
    for (uint32_t arc = 0; arc < arcs; arc++) {
        const uint32_t *list = lists + (size_t)arc * length;
        of[list[0]].ahead += length;
        for (unsigned k = 0; k < length; k++) {
            CHECK(list[k] < count);
            of[list[k]].ahead -= 1;
            of[list[k]].slack += 1;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        int64_t part = of[i].slack / SLACK_DIVISOR;
        of[i].slack = part > length ? part : length;
    }
}

/* Hands one arc to the node of its list that is furthest behind, if the leader or that node is out of bounds and both
 * end nearer to each other. The sum of the squares of `ahead` falls each time, so passes cannot go round in circles. */
static bool hand_over(struct balance *of, unsigned length, uint32_t *list) {
    unsigned best = 0;
    for (unsigned k = 1; k < length; k++) {
        if (of[list[k]].ahead < of[list[best]].ahead)
            best = k;
    }
    struct balance *from = &of[list[0]], *to = &of[list[best]];
    if (best == 0 || to->ahead + length >= from->ahead)
        return false;
    if (from->ahead <= from->slack && to->ahead >= -to->slack)
        return false;
    from->ahead -= length;
    to->ahead += length;
    uint32_t node = list[best];
    list[best] = list[0];
    list[0] = node;
    return true;
}

int leaders_spread(const uint64_t *seeds, uint32_t count, uint32_t arcs, unsigned length, uint32_t *lists) {
    CHECK(length > 0 && length <= count);
    CHECK(arcs > 0);
    struct balance *of = calloc(count, sizeof *of);
    if (of == NULL)
        return ERR_NOMEM;
    for (uint32_t arc = 0; arc < arcs; arc++)
        sort_list(seeds, arc, length, lists + (size_t)arc * length);
    count_leaders(of, count, arcs, length, lists);
    bool changed = true;
    for (unsigned pass = 0; changed && pass < PASSES_MAX; pass++) {
        changed = false;
        for (uint32_t arc = 0; arc < arcs; arc++)
            changed |= hand_over(of, length, lists + (size_t)arc * length);
    }
    free(of);
    return 0;
}
