/* The paths between hosts, and what is done to them. */
#include "check.h"
#include "internal.h"

struct path *sim_path(const struct sim *s, uint32_t from, uint32_t to) {
    CHECK(from >= 1 && from <= s->host_count);
    CHECK(to >= 1 && to <= s->host_count);
    return &s->paths[(size_t)(from - 1) * s->host_count + (to - 1)];
}

void sim_link_get(const struct sim *s, uint32_t from, uint32_t to, struct sim_link *ret_link) {
    *ret_link = sim_path(s, from, to)->link;
}

void sim_link_set(struct sim *s, uint32_t from, uint32_t to, const struct sim_link *link) {
    CHECK(link->loss_millionths <= PRNG_MILLION && link->reset_millionths <= PRNG_MILLION);
    CHECK(link->garble_millionths <= PRNG_MILLION);
    sim_happened(s, SIM_FAULT, from, to, link, sizeof(*link));
    sim_path(s, from, to)->link = *link;
}

static void path_block(struct sim *s, uint32_t from, uint32_t to, bool blocked) {
    CHECK(from != to);
    sim_happened(s, SIM_FAULT, from, to, blocked ? "block" : "unblock", 5);
    sim_path(s, from, to)->blocked = blocked;
}

void sim_link_block(struct sim *s, uint32_t from, uint32_t to, bool blocked) {
    path_block(s, from, to, blocked);
    sim_net_paths_changed(s);
}

void sim_link_clog(struct sim *s, uint32_t from, uint32_t to, uint64_t until_us) {
    CHECK(until_us < SIM_FOREVER);
    sim_happened(s, SIM_FAULT, from, to, "clog", 4);
    sim_path(s, from, to)->clogged_until_us = until_us;
}

void sim_partition(struct sim *s, const bool *in_first_part) {
    for (uint32_t from = 1; from <= s->host_count; from++) {
        for (uint32_t to = 1; to <= s->host_count; to++) {
            if (in_first_part[from] != in_first_part[to]) {
                path_block(s, from, to, true);
            }
        }
    }
    sim_net_paths_changed(s);
}

void sim_heal(struct sim *s) {
    sim_happened(s, SIM_FAULT, 0, 0, "heal", 4);
    for (size_t i = 0; i < (size_t)s->host_count * s->host_count; i++) {
        s->paths[i].blocked = false;
        s->paths[i].clogged_until_us = 0;
    }
    sim_net_paths_changed(s);
}
