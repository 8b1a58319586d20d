/* What users were promised is looked for on the disks, and what can be spared is not more than that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chunks.h"
#include "copies.h"
#include "identity.h"
#include "stage.h"
#include "store.h"

#define HOSTS 3
#define SIZE 100000 /* one chunk */

struct world {
    struct stage stage;
    struct run_result result;
    struct user_result answer;
    uint32_t name;
};

/* Three nodes that hold a file of one chunk, each. */
static struct world *begin(void) {
    const struct swarm_options options = {
        .seed = 5, .nodes = HOSTS, .bits = 2, .replicas = 3, .capacity = (uint64_t)1 << 30};
    struct user_request q = {.kind = USER_PUT, .name = "kept", .content = 7, .size = SIZE};
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->stage.result = &w->result;
    w->stage.founders = HOSTS;
    swarm_init(&w->stage.swarm, &options);
    history_init(&w->stage.history, w->stage.swarm.sim);
    workload_init(&w->stage.load, &w->stage.swarm, &w->stage.history);
    assert_true(stage_gather(&w->stage, &w->answer) && stage_wait_healthy(&w->stage, &w->answer));
    w->name = history_add_name(&w->stage.history, q.name);
    size_t op = history_call(&w->stage.history, w->name, &q);
    assert_true(stage_ask(&w->stage, 1, &q, &w->answer));
    assert_int_equal(w->answer.status, 0);
    history_return(&w->stage.history, w->name, op, &w->answer);
    history_promise(&w->stage.history, w->name, op);
    promises_made(&w->stage.load.promises, w->name, q.content, q.size);
    assert_true(stage_wait_quiet(&w->stage));
    return w;
}

static void end(struct world *w) {
    swarm_release(&w->stage.swarm);
    history_release(&w->stage.history);
    free(w);
}

static const struct digest *chunk_of(const struct world *w) {
    const struct promise *p = &w->stage.load.promises.list[w->name];
    assert_int_equal(p->count, 1);
    return &p->chunks[0];
}

static void take_away(struct world *w, uint32_t host) {
    struct txn *t;
    struct store *s = sim_host_store(sim_host(w->stage.swarm.sim, host), DISK_CHUNKS);
    assert_int_equal(store_begin(s, true, &t), 0);
    assert_int_equal(chunk_del(t, chunk_of(w)), 0);
    assert_int_equal(store_commit(t), 0);
}

/* Every name comes to be looked at. */
static void look(struct world *w) {
    for (uint32_t i = 0; i < 2 * w->stage.history.name_count; i++) {
        promises_sample(&w->stage.load.promises);
        sim_run_until(w->stage.swarm.sim, sim_now_us(w->stage.swarm.sim) + 250 * SIM_MS);
    }
}

static void a_promise_is_kept_by_a_majority(void **state) {
    (void)state;
    struct world *w = begin();
    take_away(w, 1);
    look(w);
    assert_string_equal(w->stage.swarm.failure, "");
    take_away(w, 2);
    look(w);
    assert_non_null(strstr(w->stage.swarm.failure, "1 of 3 disks hold a chunk of kept"));
    end(w);
}

static void the_last_good_copies_cannot_be_spared(void **state) {
    (void)state;
    struct world *w = begin();
    struct swarm *s = &w->stage.swarm;
    struct digest found;
    assert_true(copies_spare(s, 1, chunk_of(w), &found));
    assert_true(digest_equal(&found, chunk_of(w)));
    assert_true(copies_spare_host(s, 1));
    assert_true(sim_disk_rot(sim_host(s->sim, 2), chunk_of(w), 12345));
    assert_false(copies_spare(s, 1, chunk_of(w), &found));
    assert_false(copies_spare_host(s, 1));
    assert_false(copies_spare(s, 2, chunk_of(w), &found)); /* it is not good */
    end(w);
}

static void a_host_is_spared_only_while_the_others_run(void **state) {
    (void)state;
    struct world *w = begin();
    assert_true(copies_spare_host(&w->stage.swarm, 3));
    sim_host_crash(sim_host(w->stage.swarm.sim, 2), SIM_CRASH_POWER);
    assert_false(copies_spare_host(&w->stage.swarm, 3));
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_promise_is_kept_by_a_majority),
        cmocka_unit_test(the_last_good_copies_cannot_be_spared),
        cmocka_unit_test(a_host_is_spared_only_while_the_others_run),
    };
    return crypto_init() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
