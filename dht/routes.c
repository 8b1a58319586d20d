#include "routes.h"

#include <stdlib.h>

#include "check.h"
#include "errors.h"

struct routes {
    uint32_t groups;
    struct route of[];
};

int routes_new(uint32_t groups, struct routes **ret_routes) {
    CHECK(groups > 0);
    CHECK(ret_routes != NULL);
    struct routes *r = calloc(1, sizeof *r + (size_t)groups * sizeof r->of[0]);
    if (r == NULL)
        return ERR_NOMEM;
    r->groups = groups;
    *ret_routes = r;
    return 0;
}

void routes_free(struct routes *r) {
    free(r);
}

const struct route *routes_get(const struct routes *r, uint32_t group) {
    CHECK(r != NULL);
    CHECK(group < r->groups);
    return &r->of[group];
}

static bool route_names(const struct route *route, uint32_t node) {
    CHECK(route->count <= ROUTE_NODES_MAX);
    for (unsigned i = 0; i < route->count; i++) {
        if (route->nodes[i] == node)
            return true;
    }
    return false;
}

/* What is heard comes from peers: it is refused, not asserted. */
static bool route_plausible(const struct route *heard) {
    return heard->count <= ROUTE_NODES_MAX && !route_names(heard, 0);
}

static bool learn_voters(struct route *own, const struct route *heard) {
    if (heard->config <= own->config)
        return false;
    own->config = heard->config;
    own->count = heard->count;
    for (unsigned i = 0; i < ROUTE_NODES_MAX; i++)
        own->nodes[i] = i < heard->count ? heard->nodes[i] : 0;
    /* A leader outside the configuration steps down once the configuration commits (Raft §6): asking it costs a
     * round trip that a voter could have answered. The term stays, so that an older leader cannot come back. */
    if (own->leader != 0 && !route_names(own, own->leader))
        own->leader = 0;
    return true;
}

static bool learn_leader(struct route *own, const struct route *heard) {
    bool newer = heard->term > own->term;
    bool fills = heard->term == own->term && own->leader == 0 && heard->leader != 0;
    if (!newer && !fills)
        return false;
    own->term = heard->term;
    own->leader = heard->leader;
    return true;
}

bool routes_learn(struct routes *r, uint32_t group, const struct route *heard) {
    CHECK(r != NULL);
    CHECK(group < r->groups);
    struct route *own = &r->of[group];
    if (!route_plausible(heard))
        return false;
    /* The leader is of its term, the voters of their configuration: each is compared with its own kind before
     * either is replaced. */
    bool changed = learn_voters(own, heard);
    changed |= learn_leader(own, heard);
    return changed;
}

void routes_forget_leader(struct routes *r, uint32_t group, uint32_t node) {
    CHECK(r != NULL);
    CHECK(group < r->groups);
    if (r->of[group].leader == node)
        r->of[group].leader = 0;
}
