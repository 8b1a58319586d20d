#include "apportion.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "bounds.h"
#include "check.h"
#include "errors.h"
#include "ring.h"

/* A node offers itself to this many times the arcs it will get, and to a few more. Arcs where that is not enough
 * offers make everyone offer more. */
#define OFFERS_FACTOR 8
#define OFFERS_WIDEN 4
#define OFFERS_MIN 24
#define SHUFFLE_ROUNDS 4
#define KEY_ONE_BITS 24 /* the key of an offer that is exactly at the node's share is 2^24 */

/* One node's offer to one arc. The lowest keys of an arc win it, as far as the zones allow. */
struct offer {
    uint32_t key;
    uint32_t node;
    uint32_t arc : 31;
    uint32_t taken : 1;
};

struct auction {
    const struct shares *shares;
    const uint64_t *seeds;
    unsigned bits;
    unsigned replicas;
    uint32_t arcs;
    uint32_t count; /* nodes */
    struct bounds *bounds;
    struct offer *offers; /* by arc, then key */
    uint32_t offer_count;
    uint32_t *arc_first;  /* arcs + 1: where each arc's offers begin */
    uint32_t *node_first; /* count + 1: where each node's part of `mine` begins */
    uint32_t *mine;       /* indexes into offers, by node */
    uint32_t *load;       /* arcs taken by each node */
    uint8_t *in_zone;     /* scratch: replicas of one arc in each zone; all 0 in between */
};

uint64_t mix64(uint64_t x) {
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return x;
}

/* A bijection of the arcs, another one for each seed: steps that each can be undone modulo 2^bits. */
static uint32_t shuffled_arc(uint32_t rank, unsigned bits, uint64_t seed) {
    CHECK(rank < UINT32_C(1) << bits);
    uint32_t mask = (UINT32_C(1) << bits) - 1;
    uint32_t x = rank;
    for (unsigned round = 0; round < SHUFFLE_ROUNDS; round++) {
        uint64_t h = mix64(seed + round * UINT64_C(0x9e3779b97f4a7c15));
        x = (x * ((uint32_t)h | 1) + (uint32_t)(h >> 32)) & mask;
        x ^= x >> ((bits + 1) / 2 + (bits == 0));
    }
    CHECK(x <= mask);
    return x;
}

/* Pareto sampling (Rosén 1997): the odds of a uniform number over the odds of the share. The `n` lowest of an arc are
 * then a sample in which every node is included with very nearly its share, saturated nodes always. The uniform number
 * is not drawn freely: a node's numbers over all arcs are one in each 1/arcs, as dealt by its shuffle, which keeps its
 * load far steadier than independent draws would. */
static uint32_t offer_key(const struct auction *a, uint32_t node, uint32_t arc, uint32_t rank) {
    uint64_t share = a->shares->nodes[node].share;
    CHECK(share > 0 && share <= SHARE_ONE);
    uint64_t inside = (mix64(a->seeds[node] ^ mix64(arc + UINT64_C(1))) >> 32) >> a->bits;
    uint64_t uniform = ((uint64_t)rank << (32 - a->bits)) + inside;
    if (uniform == 0)
        uniform = 1;
    CHECK(uniform < SHARE_ONE);
    uint64_t above = uniform * (SHARE_ONE - share);
    uint64_t below = (SHARE_ONE - uniform) * share >> KEY_ONE_BITS;
    uint64_t key = above / (below > 0 ? below : 1);
    return key < UINT32_MAX ? (uint32_t)key : UINT32_MAX;
}

static uint32_t offers_of(const struct auction *a, uint32_t node, uint64_t factor) {
    uint64_t share = a->shares->nodes[node].share;
    if (share == 0)
        return 0;
    if (share >= SHARE_ONE / factor)
        return a->arcs;
    uint64_t offers = (share * factor << a->bits >> 32) + OFFERS_MIN;
    return offers < a->arcs ? (uint32_t)offers : a->arcs;
}

/* Counts the offers of each arc into arc_first[arc + 1]; returns how many there are in all. */
static uint64_t count_offers(struct auction *a, uint64_t factor) {
    uint64_t total = 0;
    memset(a->arc_first, 0, ((size_t)a->arcs + 1) * sizeof a->arc_first[0]);
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t ranks = offers_of(a, i, factor);
        for (uint32_t rank = 0; rank < ranks; rank++)
            a->arc_first[shuffled_arc(rank, a->bits, a->seeds[i]) + 1]++;
        total += ranks;
    }
    CHECK(total > 0);
    return total;
}

static int offer_order(const void *x, const void *y) {
    const struct offer *a = x, *b = y;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return (a->node > b->node) - (a->node < b->node);
}

/* arc_first holds counts and becomes starts; every offer goes to its arc, every arc is sorted. */
static void fill_offers(struct auction *a, uint64_t factor) {
    for (uint32_t arc = 0; arc < a->arcs; arc++)
        a->arc_first[arc + 1] += a->arc_first[arc];
    CHECK(a->arc_first[a->arcs] == a->offer_count);
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t ranks = offers_of(a, i, factor);
        for (uint32_t rank = 0; rank < ranks; rank++) {
            uint32_t arc = shuffled_arc(rank, a->bits, a->seeds[i]);
            a->offers[a->arc_first[arc]++] = (struct offer){.key = offer_key(a, i, arc, rank), .node = i, .arc = arc};
        }
    }
    /* Each start has run on to the next arc's: shift them back. */
    for (uint32_t arc = a->arcs; arc > 0; arc--)
        a->arc_first[arc] = a->arc_first[arc - 1];
    a->arc_first[0] = 0;
    CHECK(a->arc_first[a->arcs] == a->offer_count);
    for (uint32_t arc = 0; arc < a->arcs; arc++)
        qsort(a->offers + a->arc_first[arc], a->arc_first[arc + 1] - a->arc_first[arc], sizeof a->offers[0],
              offer_order);
}

static void index_nodes(struct auction *a) {
    memset(a->node_first, 0, ((size_t)a->count + 1) * sizeof a->node_first[0]);
    for (uint32_t k = 0; k < a->offer_count; k++)
        a->node_first[a->offers[k].node + 1]++;
    for (uint32_t i = 0; i < a->count; i++)
        a->node_first[i + 1] += a->node_first[i];
    for (uint32_t k = 0; k < a->offer_count; k++)
        a->mine[a->node_first[a->offers[k].node]++] = k;
    for (uint32_t i = a->count; i > 0; i--)
        a->node_first[i] = a->node_first[i - 1];
    a->node_first[0] = 0;
    CHECK(a->node_first[a->count] == a->offer_count);
}

static int gather(struct auction *a, uint64_t factor) {
    uint64_t total = count_offers(a, factor);
    if (total > UINT32_MAX)
        return ERR_TOO_LARGE;
    a->offer_count = (uint32_t)total;
    free(a->offers);
    free(a->mine);
    a->offers = calloc(total, sizeof a->offers[0]);
    a->mine = calloc(total, sizeof a->mine[0]);
    if (a->offers == NULL || a->mine == NULL)
        return ERR_NOMEM;
    fill_offers(a, factor);
    index_nodes(a);
    return 0;
}

static uint32_t zone_of(const struct auction *a, const struct offer *o) {
    return a->shares->nodes[o->node].zone;
}

/* The cheapest list of one arc that gives every zone its least and none more than its most: first what the zones must
 * have, then what is left by key. False when there are not offers enough. One more node changes at most one entry:
 * these lists are the bases of a matroid. */
static bool take_lowest(struct auction *a, uint32_t arc) {
    unsigned taken = 0;
    for (unsigned optional = 0; optional <= 1; optional++) {
        for (uint32_t k = a->arc_first[arc]; k < a->arc_first[arc + 1] && taken < a->replicas; k++) {
            struct offer *o = &a->offers[k];
            const struct share_zone *zone = &a->shares->zones[zone_of(a, o)];
            uint8_t *in_zone = &a->in_zone[zone_of(a, o)];
            if (o->taken || *in_zone >= (optional ? zone->most : zone->least))
                continue;
            o->taken = 1;
            a->load[o->node]++;
            ++*in_zone;
            taken++;
        }
    }
    bool all = taken == a->replicas;
    for (uint32_t k = a->arc_first[arc]; k < a->arc_first[arc + 1]; k++)
        a->in_zone[zone_of(a, &a->offers[k])] = 0;
    return all;
}

/* A zone whose least was not on offer shows as a list that is too short only if nothing else filled it, so it is
 * looked at by itself. */
static bool leasts_kept(struct auction *a, uint32_t arc, unsigned leasts) {
    unsigned kept = 0;
    for (uint32_t k = a->arc_first[arc]; k < a->arc_first[arc + 1]; k++) {
        const struct offer *o = &a->offers[k];
        if (o->taken && a->in_zone[zone_of(a, o)]++ < a->shares->zones[zone_of(a, o)].least)
            kept++;
    }
    for (uint32_t k = a->arc_first[arc]; k < a->arc_first[arc + 1]; k++)
        a->in_zone[zone_of(a, &a->offers[k])] = 0;
    CHECK(kept <= leasts);
    return kept == leasts;
}

static bool take_all(struct auction *a) {
    unsigned leasts = 0;
    for (uint32_t z = 0; z < a->shares->zone_count; z++)
        leasts += a->shares->zones[z].least;
    CHECK(leasts <= a->replicas);
    memset(a->load, 0, a->count * sizeof a->load[0]);
    for (uint32_t arc = 0; arc < a->arcs; arc++) {
        if (!take_lowest(a, arc) || !leasts_kept(a, arc, leasts))
            return false;
    }
    return true;
}

/* Both are offers to one arc: the first gives it up to the second. */
static void exchange(struct auction *a, struct offer *from, struct offer *to) {
    CHECK(from->arc == to->arc && from->taken && !to->taken);
    CHECK(a->load[from->node] > 0);
    from->taken = 0;
    to->taken = 1;
    a->load[from->node]--;
    a->load[to->node]++;
}

static bool zones_allow(const struct auction *a, const struct offer *from, const struct offer *to) {
    uint32_t loses = zone_of(a, from), gains = zone_of(a, to);
    if (loses == gains)
        return true;
    unsigned in_loses = 0, in_gains = 0;
    for (uint32_t k = a->arc_first[from->arc]; k < a->arc_first[from->arc + 1]; k++) {
        const struct offer *o = &a->offers[k];
        in_loses += o->taken && zone_of(a, o) == loses;
        in_gains += o->taken && zone_of(a, o) == gains;
    }
    CHECK(in_loses > 0);
    return in_loses > a->shares->zones[loses].least && in_gains < a->shares->zones[gains].most;
}

/* The best partner in this arc for an exchange that relieves (or feeds) the owner of `own`; NULL when there is none.
 * At first the partner may only go to its fair load; when that finds nobody, to its bound. */
static struct offer *partner(const struct auction *a, const struct offer *own, bool to_bound) {
    uint32_t first = a->arc_first[own->arc], end = a->arc_first[own->arc + 1];
    CHECK(first < end);
    for (uint32_t k = 0; k < end - first; k++) {
        /* Who enters an arc is its first loser, who leaves it is its last winner: offers are in key order. */
        struct offer *other = &a->offers[own->taken ? first + k : end - 1 - k];
        const struct bounds *b = &a->bounds[other->node];
        uint32_t load = a->load[other->node];
        if (other->taken == own->taken)
            continue;
        if (own->taken ? load >= (to_bound ? b->high : b->fair) : load <= (to_bound ? b->low : b->fair))
            continue;
        if (own->taken ? zones_allow(a, own, other) : zones_allow(a, other, own))
            return other;
    }
    return NULL;
}

/* One exchange that brings a node toward its share: the one that bends the order of keys least, so that a small change
 * of the member table finds the same one again. False when there is none. */
static bool adjust(struct auction *a, uint32_t node, bool relieve, bool to_bound) {
    struct offer *best_own = NULL, *best_other = NULL;
    int64_t best = INT64_MAX;
    for (uint32_t k = a->node_first[node]; k < a->node_first[node + 1]; k++) {
        struct offer *own = &a->offers[a->mine[k]];
        CHECK(own->node == node);
        if (own->taken != relieve)
            continue;
        struct offer *other = partner(a, own, to_bound);
        if (other == NULL)
            continue;
        int64_t cost = relieve ? (int64_t)other->key - own->key : (int64_t)own->key - other->key;
        if (cost < best) {
            best = cost;
            best_own = own;
            best_other = other;
        }
    }
    if (best_own == NULL)
        return false;
    exchange(a, relieve ? best_own : best_other, relieve ? best_other : best_own);
    return true;
}

static void keep_bounds(struct auction *a, bool relieve) {
    for (unsigned to_bound = 0; to_bound <= 1; to_bound++) {
        for (uint32_t i = 0; i < a->count; i++) {
            const struct bounds *b = &a->bounds[i];
            CHECK(b->low <= b->fair && b->fair <= b->high);
            /* Each exchange brings the load one nearer, so no node takes more than `arcs` of them. */
            while (relieve ? a->load[i] > b->high : a->load[i] < b->low) {
                if (!adjust(a, i, relieve, to_bound))
                    break;
            }
        }
    }
}

static void report(const struct auction *a, uint32_t *ret_picks) {
    for (uint32_t arc = 0; arc < a->arcs; arc++) {
        unsigned n = 0;
        for (uint32_t k = a->arc_first[arc]; k < a->arc_first[arc + 1]; k++) {
            if (!a->offers[k].taken)
                continue;
            CHECK(n < a->replicas);
            ret_picks[(size_t)arc * a->replicas + n++] = a->offers[k].node;
        }
        CHECK(n == a->replicas);
    }
}

static int auction_init(struct auction *a) {
    a->bounds = calloc(a->count, sizeof a->bounds[0]);
    a->arc_first = calloc((size_t)a->arcs + 1, sizeof a->arc_first[0]);
    a->node_first = calloc((size_t)a->count + 1, sizeof a->node_first[0]);
    a->load = calloc(a->count, sizeof a->load[0]);
    a->in_zone = calloc(a->shares->zone_count, sizeof a->in_zone[0]);
    if (a->bounds == NULL || a->arc_first == NULL || a->node_first == NULL || a->load == NULL || a->in_zone == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < a->count; i++) {
        a->bounds[i] = bounds_of(a->shares->nodes[i].share, a->bits, a->seeds[i]);
    }
    return 0;
}

static void auction_release(struct auction *a) {
    free(a->bounds);
    free(a->offers);
    free(a->mine);
    free(a->arc_first);
    free(a->node_first);
    free(a->load);
    free(a->in_zone);
}

int apportion(const struct shares *s, const uint64_t *seeds, unsigned bits, unsigned replicas, uint32_t *ret_picks) {
    CHECK(bits <= RING_BITS_MAX);
    CHECK(replicas > 0 && replicas <= s->node_count);
    struct auction a = {.shares = s,
                        .seeds = seeds,
                        .bits = bits,
                        .replicas = replicas,
                        .arcs = UINT32_C(1) << bits,
                        .count = s->node_count};
    int rc = auction_init(&a);
    if (rc != 0)
        goto done;
    uint64_t factor = OFFERS_FACTOR;
    rc = gather(&a, factor);
    while (rc == 0 && !take_all(&a)) {
        /* At this factor every node has offered itself to every arc, and shares_init promises that this suffices. */
        CHECK(factor < SHARE_ONE);
        factor *= OFFERS_WIDEN;
        rc = gather(&a, factor);
    }
    if (rc != 0)
        goto done;
    keep_bounds(&a, true);
    keep_bounds(&a, false);
    report(&a, ret_picks);
done:
    auction_release(&a);
    return rc;
}
