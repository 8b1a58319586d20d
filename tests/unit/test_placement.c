/* Properties of placement over swarms of 1 to 1,000 nodes. Loads are in replicas, moves in replicas that appear on a
 * node that did not have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "digest.h"
#include "errors.h"
#include "placement.h"

#define NODES_MAX 1001
#define TIB (UINT64_C(1) << 40)

enum weights { EQUAL, MIXED, FAR_APART };
enum { ZONES_NONE = 0, ZONES_OWN = -1 };

struct swarm {
    uint32_t nodes;
    unsigned bits;
    unsigned replicas;
    int zones; /* that many, ZONES_NONE or one for each node */
    enum weights weights;
    unsigned seed;
};

struct table {
    struct swarm swarm;
    struct placement *placement;
    uint32_t load[NODES_MAX + 1]; /* by node number */
    uint32_t leads[NODES_MAX + 1];
};

static const uint32_t sizes[] = {1, 2, 3, 4, 5, 7, 10, 16, 33, 60, 100, 300, 1000};
#define SIZES (sizeof sizes / sizeof sizes[0])

static uint64_t capacity_of(const struct swarm *s, uint32_t node) {
    switch (s->weights) {
    case MIXED:
        return (1 + node % 4) * TIB;
    case FAR_APART:
        return node % 10 == 0 ? 1000 * TIB : TIB;
    case EQUAL:
        break;
    }
    return TIB;
}

static uint32_t zone_of(const struct swarm *s, uint32_t node) {
    return s->zones == ZONES_OWN ? node : s->zones == ZONES_NONE ? 0 : node % (uint32_t)s->zones;
}

static struct member row_of(const struct swarm *s, uint32_t node) {
    struct member row = {.node = node, .state = MEMBER_UP, .capacity = capacity_of(s, node), .changed = 1};
    char name[32];
    int length = snprintf(name, sizeof name, "seed %u node %u", s->seed, node);
    struct digest d;
    digest_of(name, (size_t)length, &d);
    memcpy(row.id, d.bytes, sizeof row.id);
    memcpy(row.dh, d.bytes, sizeof row.dh);
    snprintf(row.zone, sizeof row.zone, "zone %u", zone_of(s, node));
    return row;
}

static void add(struct members *m, const struct member *row) {
    assert_int_equal(members_apply(m, row, 1), 0);
}

static struct placement *place(const struct members *m, const struct swarm *s) {
    struct placement *p = NULL;
    assert_int_equal(placement_new(m, s->bits, s->replicas, &p), 0);
    return p;
}

static void count(struct table *t) {
    for (uint32_t arc = 0; arc < UINT32_C(1) << t->swarm.bits; arc++) {
        const uint32_t *nodes;
        unsigned n = placement_of(t->placement, arc, &nodes);
        for (unsigned k = 0; k < n; k++) {
            assert_in_range(nodes[k], 1, NODES_MAX);
            t->load[nodes[k]]++;
            for (unsigned j = 0; j < k; j++)
                assert_int_not_equal(nodes[j], nodes[k]);
        }
        if (n > 0)
            t->leads[nodes[0]]++;
    }
}

/* Nodes 1 .. s.nodes are up, except `absent`. */
static struct table *build_without(struct swarm s, uint32_t absent) {
    struct members *m;
    assert_int_equal(members_new(&m), 0);
    for (uint32_t node = 1; node <= s.nodes; node++) {
        struct member row = row_of(&s, node);
        if (node != absent)
            add(m, &row);
    }
    struct table *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->swarm = s;
    t->placement = place(m, &s);
    members_free(m);
    count(t);
    return t;
}

static struct table *build(struct swarm s) {
    return build_without(s, 0);
}

static void release(struct table *t) {
    placement_free(t->placement);
    free(t);
}

static bool list_has(const struct table *t, uint32_t arc, uint32_t node) {
    const uint32_t *nodes;
    unsigned n = placement_of(t->placement, arc, &nodes);
    for (unsigned k = 0; k < n; k++) {
        if (nodes[k] == node)
            return true;
    }
    return false;
}

static uint32_t moves(const struct table *from, const struct table *to) {
    uint32_t moved = 0;
    for (uint32_t arc = 0; arc < UINT32_C(1) << to->swarm.bits; arc++) {
        const uint32_t *nodes;
        unsigned n = placement_of(to->placement, arc, &nodes);
        for (unsigned k = 0; k < n; k++)
            moved += !list_has(from, arc, nodes[k]);
    }
    return moved;
}

/* What each node should hold by weight when none may hold an arc twice. */
static void fair_loads(const struct swarm *s, double *fair) {
    double arcs = (double)(UINT32_C(1) << s->bits);
    unsigned replicas = s->replicas < s->nodes ? s->replicas : s->nodes;
    bool full[NODES_MAX + 1] = {false};
    for (unsigned round = 0; round <= replicas; round++) {
        double weight = 0, left = replicas;
        for (uint32_t node = 1; node <= s->nodes; node++) {
            weight += full[node] ? 0 : (double)capacity_of(s, node);
            left -= full[node];
        }
        for (uint32_t node = 1; node <= s->nodes; node++)
            fair[node] = full[node] ? arcs : left * arcs * (double)capacity_of(s, node) / weight;
        for (uint32_t node = 1; node <= s->nodes; node++)
            full[node] = full[node] || fair[node] >= arcs;
    }
}

static double root(double x) {
    double r = x > 1 ? x : 1;
    for (unsigned i = 0; i < 40; i++)
        r = (r + x / r) / 2;
    return r;
}

/* The promise: within a tenth, or ten replicas where a tenth is less than that, or 1.25 times the root and one of a
 * share smaller still. */
static double tolerance(double fair) {
    double small = 1.25 * root(fair) < 9 ? 1.25 * root(fair) + 1 : 10;
    return fair / 10 > small ? fair / 10 : small;
}

static void check_balance(const struct table *t) {
    double fair[NODES_MAX + 1];
    fair_loads(&t->swarm, fair);
    for (uint32_t node = 1; node <= t->swarm.nodes; node++) {
        double off = (double)t->load[node] - fair[node];
        if (off > tolerance(fair[node]) || off < -tolerance(fair[node]))
            fail_msg("nodes=%u bits=%u weights=%d zones=%d: node %u holds %u, fair is %.1f", t->swarm.nodes,
                     t->swarm.bits, (int)t->swarm.weights, t->swarm.zones, node, t->load[node], fair[node]);
    }
}

static void check_leaders(const struct table *t) {
    unsigned length = t->swarm.replicas < t->swarm.nodes ? t->swarm.replicas : t->swarm.nodes;
    for (uint32_t node = 1; node <= t->swarm.nodes; node++) {
        double fair = (double)t->load[node] / length;
        double allowed = fair * 0.15 > 2 ? fair * 0.15 : 2;
        double off = (double)t->leads[node] - fair;
        if (off > allowed || off < -allowed)
            fail_msg("nodes=%u bits=%u zones=%d: node %u leads %u, fair is %.1f", t->swarm.nodes, t->swarm.bits,
                     t->swarm.zones, node, t->leads[node], fair);
    }
}

static void loads_follow_capacity(void **state) {
    (void)state;
    const unsigned bits[] = {0, 4, 10, 12};
    for (unsigned b = 0; b < sizeof bits / sizeof bits[0]; b++) {
        for (unsigned i = 0; i < SIZES; i++) {
            for (enum weights w = EQUAL; w <= MIXED; w++) {
                struct table *t =
                    build((struct swarm){.nodes = sizes[i], .bits = bits[b], .replicas = 3, .weights = w, .seed = b});
                check_balance(t);
                release(t);
            }
        }
    }
}

static void a_thousandfold_difference_of_capacity_is_followed(void **state) {
    (void)state;
    for (unsigned i = 0; i < SIZES; i++) {
        struct table *t =
            build((struct swarm){.nodes = sizes[i], .bits = 12, .replicas = 3, .weights = FAR_APART, .seed = 5});
        check_balance(t);
        release(t);
    }
}

static void from_a_hundred_replicas_on_a_node_is_within_a_tenth(void **state) {
    (void)state;
    for (unsigned seed = 0; seed < 5; seed++) {
        struct table *t = build((struct swarm){.nodes = 30, .bits = 10, .replicas = 3, .seed = seed});
        for (uint32_t node = 1; node <= 30; node++)
            assert_in_range(t->load[node], 93, 112); /* fair: 102.4 */
        release(t);
    }
}

static void leaders_are_spread_evenly(void **state) {
    (void)state;
    for (unsigned i = 0; i < SIZES; i++) {
        for (int zones = ZONES_OWN; zones <= 3; zones++) {
            struct table *t = build((struct swarm){.nodes = sizes[i], .bits = 10, .replicas = 3, .zones = zones});
            check_leaders(t);
            release(t);
        }
    }
}

static void few_nodes_hold_everything_and_share_the_lead(void **state) {
    (void)state;
    for (uint32_t nodes = 1; nodes <= 5; nodes++) {
        struct table *t = build((struct swarm){.nodes = nodes, .bits = 10, .replicas = 5, .weights = MIXED});
        for (uint32_t node = 1; node <= nodes; node++)
            assert_int_equal(t->load[node], 1024);
        check_leaders(t);
        release(t);
    }
}

static unsigned zones_in(const struct swarm *s, const uint32_t *nodes, unsigned n) {
    unsigned distinct = 0;
    for (unsigned k = 0; k < n; k++) {
        bool seen = false;
        for (unsigned j = 0; j < k; j++)
            seen |= zone_of(s, nodes[j]) == zone_of(s, nodes[k]);
        distinct += !seen;
    }
    return distinct;
}

static void check_zones(struct swarm s, unsigned expected) {
    struct table *t = build(s);
    for (uint32_t arc = 0; arc < UINT32_C(1) << s.bits; arc++) {
        const uint32_t *nodes;
        unsigned n = placement_of(t->placement, arc, &nodes);
        if (zones_in(&s, nodes, n) < expected)
            fail_msg("nodes=%u replicas=%u zones=%d: arc %u is in %u zones", s.nodes, s.replicas, s.zones, arc,
                     zones_in(&s, nodes, n));
    }
    release(t);
}

static void replicas_are_in_separate_zones(void **state) {
    (void)state;
    /* Not 5 and 8 nodes: their smallest of three zones has too little room for one replica of every arc. */
    const uint32_t nodes[] = {3, 4, 6, 7, 9, 10, 11, 30, 31, 100, 1000};
    for (unsigned i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        check_zones((struct swarm){.nodes = nodes[i], .bits = 10, .replicas = 3, .zones = 3}, 3);
        check_zones((struct swarm){.nodes = nodes[i], .bits = 10, .replicas = 3, .zones = 2}, 2);
        check_zones((struct swarm){.nodes = nodes[i], .bits = 10, .replicas = 2, .zones = 3}, 2);
        check_zones((struct swarm){.nodes = nodes[i], .bits = 10, .replicas = 3, .zones = ZONES_OWN}, 3);
    }
    check_zones((struct swarm){.nodes = 100, .bits = 10, .replicas = 3, .zones = 10, .weights = MIXED}, 3);
    check_zones((struct swarm){.nodes = 35, .bits = 10, .replicas = 7, .zones = 5}, 5);
}

static void equal_zones_do_not_disturb_the_balance(void **state) {
    (void)state;
    const struct swarm swarms[] = {
        {.nodes = 6, .bits = 10, .replicas = 3, .zones = 3},    {.nodes = 30, .bits = 10, .replicas = 3, .zones = 3},
        {.nodes = 40, .bits = 10, .replicas = 3, .zones = 5},   {.nodes = 30, .bits = 10, .replicas = 5, .zones = 3},
        {.nodes = 1000, .bits = 14, .replicas = 3, .zones = 8}, {.nodes = 9, .bits = 12, .replicas = 3, .zones = -1},
    };
    for (unsigned i = 0; i < sizeof swarms / sizeof swarms[0]; i++) {
        struct table *t = build(swarms[i]);
        check_balance(t);
        release(t);
    }
}

static void a_small_zone_is_not_given_more_than_a_third_above_its_weight(void **state) {
    (void)state;
    /* Nodes 1, 4 | 2, 5 | 3: node 3 alone cannot hold one replica of every arc. */
    struct table *t = build((struct swarm){.nodes = 5, .bits = 10, .replicas = 3, .zones = 3});
    double fair = 3 * 1024 / 5.0;
    assert_true(t->load[3] > fair * 1.2);
    assert_true(t->load[3] < fair * 4 / 3 * 1.06);
    release(t);
}

static void check_join_and_leave(struct swarm s, double limit) {
    double joined = 0, least_joined = 0, left = 0, least_left = 0;
    for (s.seed = 0; s.seed < 4; s.seed++) {
        struct table *before = build_without(s, s.nodes);
        struct table *after = build(s);
        struct table *without = build_without(s, 1);
        joined += moves(before, after);
        least_joined += after->load[s.nodes];
        left += moves(after, without);
        least_left += after->load[1];
        release(before);
        release(after);
        release(without);
    }
    /* Rounding of the bounds may cost two more each time, which shows where a node holds only a few. */
    double rounding = 2.0 * s.seed;
    if (joined > limit * least_joined + rounding || left > limit * least_left + rounding)
        fail_msg("nodes=%u bits=%u zones=%d: a join moves %.2f, a departure %.2f times the least", s.nodes, s.bits,
                 s.zones, joined / least_joined, left / least_left);
}

static void joins_and_departures_move_little_more_than_they_must(void **state) {
    (void)state;
    for (uint32_t i = 3; i < SIZES; i++) {
        check_join_and_leave((struct swarm){.nodes = sizes[i], .bits = 10, .replicas = 3}, 1.3);
        check_join_and_leave((struct swarm){.nodes = sizes[i], .bits = 10, .replicas = 3, .weights = MIXED}, 1.3);
        check_join_and_leave((struct swarm){.nodes = sizes[i], .bits = 10, .replicas = 3, .zones = ZONES_OWN}, 1.3);
        check_join_and_leave((struct swarm){.nodes = sizes[i], .bits = 10, .replicas = 3, .zones = 3}, 1.3);
    }
    check_join_and_leave((struct swarm){.nodes = 500, .bits = 14, .replicas = 3}, 1.3);
}

static void zones_of_unequal_size_cost_some_more_moves(void **state) {
    (void)state;
    const uint32_t nodes[] = {6, 10, 33, 100};
    for (unsigned i = 0; i < sizeof nodes / sizeof nodes[0]; i++)
        check_join_and_leave((struct swarm){.nodes = nodes[i], .bits = 10, .replicas = 3, .zones = 5, .weights = MIXED},
                             1.6);
}

static void a_departure_leaves_the_lists_of_others_alone(void **state) {
    (void)state;
    const uint32_t nodes[] = {4, 5, 6, 20, 100};
    for (unsigned i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        struct swarm s = {.nodes = nodes[i], .bits = 10, .replicas = 3, .seed = 9};
        struct table *before = build(s), *after = build_without(s, 2);
        uint32_t changed = 0;
        for (uint32_t arc = 0; arc < 1024; arc++) {
            const uint32_t *list;
            unsigned n = placement_of(after->placement, arc, &list);
            for (unsigned k = 0; k < n && !list_has(before, arc, 2); k++)
                changed += !list_has(before, arc, list[k]);
        }
        /* Up to a handful of nodes no load reaches its bound; then the bound is the only reason for a change. */
        assert_true(nodes[i] <= 6 ? changed == 0 : changed <= before->load[2] * 0.3);
        release(before);
        release(after);
    }
}

static void the_order_of_arrival_does_not_matter(void **state) {
    (void)state;
    struct swarm s = {.nodes = 97, .bits = 10, .replicas = 3, .zones = 4, .weights = MIXED};
    struct table *t = build(s);
    struct members *m;
    assert_int_equal(members_new(&m), 0);
    for (uint32_t i = 0; i < s.nodes; i++) {
        struct member row = row_of(&s, 1 + i * 31 % s.nodes);
        add(m, &row);
    }
    struct placement *p = place(m, &s);
    for (uint32_t arc = 0; arc < 1024; arc++) {
        const uint32_t *a, *b;
        unsigned n = placement_of(t->placement, arc, &a);
        assert_int_equal(placement_of(p, arc, &b), n);
        assert_memory_equal(a, b, n * sizeof a[0]);
    }
    placement_free(p);
    members_free(m);
    release(t);
}

/* Nodes of one swarm compute placement for themselves, also on another processor, compiler or release: the function
 * is part of the protocol. A change of this value is a change of the protocol. */
static void the_function_is_the_same_everywhere(void **state) {
    (void)state;
    const struct swarm swarms[] = {{.nodes = 5, .bits = 10, .replicas = 3},
                                   {.nodes = 100, .bits = 10, .replicas = 3, .zones = 7, .weights = MIXED},
                                   {.nodes = 1000, .bits = 4, .replicas = 7, .weights = FAR_APART}};
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (unsigned i = 0; i < sizeof swarms / sizeof swarms[0]; i++) {
        struct table *t = build(swarms[i]);
        for (uint32_t arc = 0; arc < UINT32_C(1) << swarms[i].bits; arc++) {
            const uint32_t *nodes;
            unsigned n = placement_of(t->placement, arc, &nodes);
            for (unsigned k = 0; k < n; k++)
                hash = (hash ^ nodes[k]) * UINT64_C(0x100000001b3);
        }
        release(t);
    }
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    assert_string_equal(text, "563228c079fb4e3e");
}

static void only_nodes_that_are_up_are_placed_on(void **state) {
    (void)state;
    struct swarm s = {.nodes = 10, .bits = 6, .replicas = 3};
    struct members *m;
    assert_int_equal(members_new(&m), 0);
    for (uint32_t node = 1; node <= s.nodes; node++) {
        struct member row = row_of(&s, node);
        row.state = node <= 5 ? (enum member_state)(node - 1) : MEMBER_UP;
        add(m, &row);
    }
    struct placement *p = place(m, &s);
    assert_int_equal(placement_epoch(p), 1);
    for (uint32_t arc = 0; arc < 64; arc++) {
        const uint32_t *nodes;
        assert_int_equal(placement_of(p, arc, &nodes), 3);
        for (unsigned k = 0; k < 3; k++)
            assert_true(nodes[k] == 2 || nodes[k] > 5);
    }
    placement_free(p);
    members_free(m);
}

static void without_serving_members_lists_are_empty(void **state) {
    (void)state;
    struct members *m;
    assert_int_equal(members_new(&m), 0);
    struct placement *p = place(m, &(struct swarm){.bits = 4, .replicas = 3});
    const uint32_t *nodes;
    for (uint32_t arc = 0; arc < 16; arc++)
        assert_int_equal(placement_of(p, arc, &nodes), 0);
    placement_free(p);
    members_free(m);
}

static void numbers_out_of_range_are_refused(void **state) {
    (void)state;
    struct members *m;
    assert_int_equal(members_new(&m), 0);
    struct placement *p = NULL;
    assert_int_equal(placement_new(m, 10, 0, &p), ERR_INVALID);
    assert_int_equal(placement_new(m, 10, PLACEMENT_REPLICAS_MAX + 1, &p), ERR_INVALID);
    assert_int_equal(placement_new(m, RING_BITS_MAX + 1, 3, &p), ERR_INVALID);
    assert_null(p);
    members_free(m);
}

static void extreme_capacities_are_placed(void **state) {
    (void)state;
    struct swarm s = {.nodes = 6, .bits = 8, .replicas = 3};
    const uint64_t capacities[] = {0, 1, UINT64_MAX, UINT64_MAX, TIB, UINT64_MAX};
    struct members *m;
    assert_int_equal(members_new(&m), 0);
    for (uint32_t node = 1; node <= s.nodes; node++) {
        struct member row = row_of(&s, node);
        row.capacity = capacities[node - 1];
        add(m, &row);
    }
    struct table t = {.swarm = s, .placement = place(m, &s)};
    count(&t);
    assert_int_equal(t.load[3] + t.load[4] + t.load[6] >= 3 * 256 - 3, 1);
    placement_free(t.placement);
    members_free(m);
}

/* SplitMix64: the next number of a sequence. */
static uint64_t draw(uint64_t *seed) {
    uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static void any_table_gives_complete_lists(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        uint64_t random = seed;
        struct swarm s = {.nodes = 1 + draw(&random) % (seed % 10 == 0 ? 300 : 12), .seed = (unsigned)seed};
        s.bits = draw(&random) % 8;
        s.replicas = 1 + draw(&random) % PLACEMENT_REPLICAS_MAX;
        s.zones = (int)(draw(&random) % 9) - 1;
        struct members *m;
        assert_int_equal(members_new(&m), 0);
        for (uint32_t node = 1; node <= s.nodes; node++) {
            struct member row = row_of(&s, node);
            row.capacity = draw(&random) >> draw(&random) % 64;
            add(m, &row);
        }
        struct table t = {.swarm = s, .placement = place(m, &s)};
        count(&t);
        uint64_t held = 0;
        for (uint32_t node = 1; node <= s.nodes; node++)
            held += t.load[node];
        unsigned length = s.replicas < s.nodes ? s.replicas : s.nodes;
        if (held != (uint64_t)length << s.bits)
            fail_msg("seed=%llu: lists are not complete", (unsigned long long)seed);
        placement_free(t.placement);
        members_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_follow_capacity),
        cmocka_unit_test(a_thousandfold_difference_of_capacity_is_followed),
        cmocka_unit_test(from_a_hundred_replicas_on_a_node_is_within_a_tenth),
        cmocka_unit_test(leaders_are_spread_evenly),
        cmocka_unit_test(few_nodes_hold_everything_and_share_the_lead),
        cmocka_unit_test(replicas_are_in_separate_zones),
        cmocka_unit_test(equal_zones_do_not_disturb_the_balance),
        cmocka_unit_test(a_small_zone_is_not_given_more_than_a_third_above_its_weight),
        cmocka_unit_test(joins_and_departures_move_little_more_than_they_must),
        cmocka_unit_test(zones_of_unequal_size_cost_some_more_moves),
        cmocka_unit_test(a_departure_leaves_the_lists_of_others_alone),
        cmocka_unit_test(the_order_of_arrival_does_not_matter),
        cmocka_unit_test(the_function_is_the_same_everywhere),
        cmocka_unit_test(only_nodes_that_are_up_are_placed_on),
        cmocka_unit_test(without_serving_members_lists_are_empty),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(extreme_capacities_are_placed),
        cmocka_unit_test(any_table_gives_complete_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
