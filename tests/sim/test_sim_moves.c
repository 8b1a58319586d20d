/* Moving arcs under load: what was acknowledged before, during or after a move is held by a majority of those who serve
 * it, at every moment. */
#include "chunks.h"
#include "swarm_use.h"

#define NODES 3
#define ARC_BITS 4
#define WHOLE_US (120 * (uint64_t)SIM_SECOND)
#define DISTANCE_US (20 * SIM_MS)
#define FILE_SIZE 33000 /* one chunk */

/* So that what is decided here is long known here before it is known there. */
static void far_apart(struct swarm *w) {
    const struct sim_link link = {.delay_us = DISTANCE_US};
    for (uint32_t from = 1; from <= NODES; from++) {
        for (uint32_t to = 1; to <= NODES; to++) {
            sim_link_set(w->sim, from, to, &link);
        }
    }
}

/* One replica: the last copy moves along. */
static void a_single_copy_moves_with_its_arc(void **state) {
    struct swarm w;
    struct load load = {.swarm = &w, .putters = PUTTERS_MAX, .files_each = FILES_EACH_MAX, .size = FILE_SIZE};
    (void)state;
    const struct swarm_options options = {
        .seed = 1, .nodes = NODES, .bits = ARC_BITS, .replicas = 1, .capacity = CAPACITY};
    swarm_init(&w, &options);
    start(&w, 1);
    far_apart(&w);
    load_start(&load, 1, 1);
    join(&w, 2);
    join(&w, 3);
    run_ms(&w, 2000);
    load_stop(&load);
    expect_whole_within(&w, WHOLE_US);
    expect_all_stored(&load, 1);
    expect_all_stored(&load, 3);
    end(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_copy_moves_with_its_arc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
