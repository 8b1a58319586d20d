/* Whole swarms under faults, a few seeds of what shoal-simnet runs by the hundred. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "identity.h"
#include "run.h"
#include "sim.h"

static void run_and_expect(uint64_t seed, uint32_t nodes, uint32_t minutes, struct run_result *result) {
    const struct run_options options = {
        .seed = seed, .nodes = nodes, .faults_us = minutes * 60 * (uint64_t)SIM_SECOND, .bits = 4, .replicas = 3};
    run_seed(&options, result);
    if (!result->passed) {
        fail_msg("shoal-simnet --seed %llu --nodes %u --minutes %u: %s", (unsigned long long)seed, (unsigned)nodes,
                 (unsigned)minutes, result->reason);
    }
    assert_true(result->simulated_us >= minutes * 60 * (uint64_t)SIM_SECOND);
}

static void nothing_acknowledged_is_lost_or_contradicted(void **state) {
    (void)state;
    struct run_result result;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        run_and_expect(seed, 5, 2, &result);
        assert_true(result.answered > 50);
    }
}

static void fewer_nodes_than_replicas_work_too(void **state) {
    (void)state;
    struct run_result result;
    run_and_expect(1, 1, 1, &result);
    run_and_expect(2, 2, 1, &result);
    run_and_expect(3, 3, 1, &result);
}

static void the_same_seed_gives_the_same_run(void **state) {
    (void)state;
    struct run_result first, second, other;
    run_and_expect(11, 5, 1, &first);
    run_and_expect(12, 5, 1, &other);
    run_and_expect(11, 5, 1, &second);
    assert_int_equal(first.hash, second.hash);
    assert_int_equal(first.events, second.events);
    assert_int_not_equal(first.hash, other.hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_or_contradicted),
        cmocka_unit_test(fewer_nodes_than_replicas_work_too),
        cmocka_unit_test(the_same_seed_gives_the_same_run),
    };
    return crypto_init() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
