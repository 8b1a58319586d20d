/* The shrinker on failures that are planted as predicates over what a run may do, the processes that play runs, and
 * the command line that plays the smallest one again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "check.h"
#include "options.h"
#include "pool.h"
#include "shrink.h"
#include "sim.h"

#define FAULTS 200
#define USERS 5
#define ASKS 300
#define FAULTS_FROM_US 2000000u
#define TEXT_SIZE 4096

/* ---- shrinking --------------------------------------------------------------------------------------------------- */

struct planted {
    bool (*fails)(const struct run_options *o);
    uint64_t fails_at_us; /* before the healing; 0: after it */
    uint32_t runs, runs_max;
    char last_line[160];
};

static void extent_of(const struct planted *p, const struct run_options *o, struct run_result *out) {
    *out = (struct run_result){.checker = RUN_HISTORY, .faults = FAULTS, .faults_from_us = FAULTS_FROM_US};
    out->simulated_us = FAULTS_FROM_US + (p->fails_at_us > 0 ? p->fails_at_us : o->faults_us + SIM_SECOND);
    for (uint32_t i = 0; i < USERS; i++) {
        out->asks[i] = ASKS;
    }
}

static uint32_t first_failing(void *ctx, const struct shrink_round *round, struct run_result *ret_result) {
    struct planted *p = ctx;
    for (uint32_t i = 0; i < round->count; i++) {
        struct run_options o;
        p->runs++;
        round->make(round, i, &o);
        bool fails = p->fails(&o);
        if (fails) {
            extent_of(p, &o, ret_result);
        }
        options_release(&o);
        if (fails) {
            return i;
        }
    }
    return round->count;
}

static bool out_of_time(void *ctx) {
    const struct planted *p = ctx;
    return p->runs >= p->runs_max;
}

static void progress(void *ctx, const char *line) {
    struct planted *p = ctx;
    snprintf(p->last_line, sizeof(p->last_line), "%s", line);
}

/* What is left of the usual options, as a command line. */
static void shrink_to(struct planted *p, char out[TEXT_SIZE]) {
    const struct shrink shrink = {
        .first_failing = first_failing, .out_of_time = out_of_time, .progress = progress, .ctx = p};
    struct run_options o;
    struct run_result result;
    options_init(&o);
    o.seed = 7;
    assert_true(p->fails(&o));
    extent_of(p, &o, &result);
    shrink_run(&shrink, &o, &result);
    assert_true(p->fails(&o));
    assert_true(options_format(&o, out, TEXT_SIZE) < TEXT_SIZE);
    options_release(&o);
}

static bool two_faults(const struct run_options *o) {
    return selected(&o->faults, 3) && selected(&o->faults, 11);
}

static void two_faults_are_found_among_many(void **state) {
    (void)state;
    char text[TEXT_SIZE];
    struct planted p = {.fails = two_faults, .runs_max = UINT32_MAX};
    shrink_to(&p, text);
    assert_string_equal(text, "--seed 7 --nodes 1 --seconds 0 --arcs 1 --only-faults 3,11 --only-asks none");
    assert_in_range(p.runs, 10, 100);
    assert_string_not_equal(p.last_line, "");
}

static bool users_and_faults(const struct run_options *o) {
    return selected(&o->asks[1], 5) && selected(&o->asks[1], 6) && selected(&o->asks[3], 299) &&
           selected(&o->faults, 100);
}

static void requests_of_users_are_found(void **state) {
    (void)state;
    char text[TEXT_SIZE];
    struct planted p = {.fails = users_and_faults, .runs_max = UINT32_MAX};
    shrink_to(&p, text);
    assert_string_equal(text, "--seed 7 --nodes 1 --seconds 0 --arcs 1 --only-faults 100 --only-asks 2:5-6/4:299");
    assert_in_range(p.runs, 10, 300);
}

static bool long_and_wide(const struct run_options *o) {
    return o->faults_us >= 33 * SIM_SECOND && o->nodes >= 3 && o->bits >= 2;
}

static void time_and_swarm_shrink_as_far_as_it_fails(void **state) {
    (void)state;
    char text[TEXT_SIZE];
    struct planted p = {.fails = long_and_wide, .runs_max = UINT32_MAX};
    shrink_to(&p, text);
    assert_string_equal(text, "--seed 7 --nodes 3 --seconds 34 --arcs 4 --only-faults none --only-asks none");
}

static void a_run_ends_where_it_fails(void **state) {
    (void)state;
    char text[TEXT_SIZE];
    struct planted p = {.fails = long_and_wide, .fails_at_us = 32500000, .runs_max = UINT32_MAX};
    shrink_to(&p, text);
    assert_string_equal(text, "--seed 7 --nodes 3 --seconds 33 --arcs 4 --only-faults none --only-asks none");
}

/* Every fault is needed together with its neighbour. */
static bool pairs(const struct run_options *o) {
    uint32_t count = 0;
    for (uint32_t n = 1; n <= FAULTS; n += 2) {
        if (selected(&o->faults, n) != selected(&o->faults, n + 1)) {
            return false;
        }
        count += selected(&o->faults, n);
    }
    return count >= 3;
}

static void nothing_that_is_left_can_be_left_out_alone(void **state) {
    (void)state;
    char text[TEXT_SIZE];
    struct planted p = {.fails = pairs, .runs_max = UINT32_MAX};
    shrink_to(&p, text);
    struct run_options o;
    options_init(&o);
    const char *list = strstr(text, "--only-faults ");
    assert_non_null(list);
    list += strlen("--only-faults ");
    o.faults.only = true;
    assert_true(selection_parse(&o.faults, list, strcspn(list, " ")));
    for (uint32_t n = 1; n <= FAULTS; n++) {
        struct run_options less;
        options_copy(&o, &less);
        if (selected(&o.faults, n)) {
            selection_release(&less.faults);
            less.faults.only = true;
            for (uint32_t m = 1; m <= FAULTS; m++) {
                assert_true(m == n || !selected(&o.faults, m) || selection_add(&less.faults, m, m));
            }
            assert_false(pairs(&less));
        }
        options_release(&less);
    }
    options_release(&o);
}

static void shrinking_stops_when_its_time_is_over(void **state) {
    (void)state;
    char text[TEXT_SIZE];
    struct planted p = {.fails = users_and_faults, .runs_max = 20};
    shrink_to(&p, text);
    assert_in_range(p.runs, 20, 600);
}

/* ---- the command line -------------------------------------------------------------------------------------------- */

static void take(struct run_options *o, int option, const char *text) {
    assert_true(options_take(option, text, o));
}

static void options_are_read_as_they_are_written(void **state) {
    (void)state;
    char text[TEXT_SIZE];
    struct run_options o;
    options_init(&o);
    take(&o, 's', "12");
    assert_true(options_format(&o, text, sizeof(text)) < sizeof(text));
    assert_string_equal(text, "--seed 12");
    take(&o, 'n', "7");
    take(&o, 'm', "2");
    take(&o, 'a', "64");
    take(&o, 'c', "5");
    take(&o, 'F', "1-3,9");
    take(&o, 'A', "2/4:1-40,77");
    assert_true(options_format(&o, text, sizeof(text)) < sizeof(text));
    assert_string_equal(text, "--seed 12 --nodes 7 --seconds 120 --arcs 64 --replicas 5 --skip-faults 1-3,9 "
                              "--skip-asks 2/4:1-40,77");
    assert_false(selected(&o.asks[1], 1) || selected(&o.asks[3], 77) || !selected(&o.asks[3], 41));
    take(&o, 'f', "none");
    take(&o, 'k', "3/5:9");
    assert_true(options_format(&o, text, sizeof(text)) < sizeof(text));
    assert_non_null(strstr(text, " --only-faults none --only-asks 3/5:9"));
    assert_true(selected(&o.asks[2], 123) && selected(&o.asks[4], 9) && !selected(&o.asks[4], 8));
    assert_false(selected(&o.asks[0], 1) || selected(&o.faults, 1));
    assert_false(options_take('k', "17", &o));
    assert_false(options_take('k', "2:", &o));
    assert_false(options_take('a', "3", &o));
    options_release(&o);
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

#define RUNS 6

static void play(const struct run_options *options, struct run_result *result) {
    *result = (struct run_result){.passed = options->seed != 3, .hash = options->seed * 10};
    if (options->seed == 4) {
        result->faults = 5;
        CHECK(options->seed != 4);
    }
    if (options->seed == 5) {
        abort();
    }
}

struct played {
    struct run_result results[RUNS];
    uint32_t count, stop_after;
};

static bool next_run(void *ctx, size_t number, struct run_options *out) {
    (void)ctx;
    options_init(out);
    out->seed = number;
    return number < RUNS;
}

static bool run_done(void *ctx, const struct pool_run *run) {
    struct played *p = ctx;
    assert_true(run->number == run->options.seed && run->number < RUNS);
    p->results[run->number] = run->result;
    return ++p->count < p->stop_after;
}

static void a_run_that_ends_its_process_failed(void **state) {
    (void)state;
    for (uint32_t jobs = 1; jobs <= RUNS + 1; jobs += 2) {
        struct played p = {.stop_after = UINT32_MAX};
        const struct pool pool = {
            .jobs = jobs, .quiet = true, .next = next_run, .done = run_done, .play = play, .ctx = &p};
        assert_true(pool_play(&pool));
        assert_int_equal(p.count, RUNS);
        assert_true(p.results[0].passed && p.results[1].passed && p.results[2].passed);
        assert_int_equal(p.results[2].hash, 20);
        assert_false(p.results[3].passed || p.results[4].passed || p.results[5].passed);
        assert_int_equal(p.results[3].checker, RUN_NOBODY);
        assert_int_equal(p.results[4].checker, RUN_DEATH);
        assert_non_null(strstr(p.results[4].reason, "check failed: options->seed != 4"));
        assert_int_equal(p.results[4].faults, 5);
        assert_int_equal(p.results[5].checker, RUN_DEATH);
        assert_non_null(strstr(p.results[5].reason, "signal 6"));
        assert_false(run_same_failure(&p.results[4], &p.results[5]));
        assert_true(run_same_failure(&p.results[4], &p.results[4]));
    }
}

static void runs_are_ended_when_enough_is_known(void **state) {
    (void)state;
    struct played p = {.stop_after = 2};
    const struct pool pool = {.jobs = 2, .quiet = true, .next = next_run, .done = run_done, .play = play, .ctx = &p};
    assert_true(pool_play(&pool));
    assert_int_equal(p.count, 2);
}

static void the_same_failure_has_the_same_checker_and_the_same_invariant(void **state) {
    (void)state;
    struct run_result a = {.checker = RUN_INVARIANT, .reason = "two leaders of group 3 in term 7"}, b = a;
    assert_true(run_same_failure(&a, &b));
    snprintf(b.reason, sizeof(b.reason), "two leaders of group 15 in term 110");
    assert_true(run_same_failure(&a, &b));
    snprintf(b.reason, sizeof(b.reason), "node 2 ended: no room");
    assert_false(run_same_failure(&a, &b));
    a.checker = b.checker = RUN_HEALTH;
    assert_true(run_same_failure(&a, &b));
    b.checker = RUN_AUDIT;
    assert_false(run_same_failure(&a, &b));
    b = a;
    b.passed = true;
    assert_false(run_same_failure(&a, &b));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_faults_are_found_among_many),
        cmocka_unit_test(requests_of_users_are_found),
        cmocka_unit_test(time_and_swarm_shrink_as_far_as_it_fails),
        cmocka_unit_test(a_run_ends_where_it_fails),
        cmocka_unit_test(nothing_that_is_left_can_be_left_out_alone),
        cmocka_unit_test(shrinking_stops_when_its_time_is_over),
        cmocka_unit_test(options_are_read_as_they_are_written),
        cmocka_unit_test(a_run_that_ends_its_process_failed),
        cmocka_unit_test(runs_are_ended_when_enough_is_known),
        cmocka_unit_test(the_same_failure_has_the_same_checker_and_the_same_invariant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
