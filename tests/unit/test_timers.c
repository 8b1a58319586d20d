/* Timers: firing order, restarting and stopping from inside callbacks, and a long random run against a plain list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "timers.h"

#define PROBES 300

struct probe {
    struct timer timer; /* first: fire() casts back */
    struct world *world;
    char name;
    uint64_t restart_at; /* 0: do not */
    struct probe *stops; /* may be NULL */
};

struct world {
    struct timers timers;
    char trace[64];
    size_t length;
    struct probe probes[PROBES];
};

static void probe_fire(struct timer *t) {
    struct probe *p = (struct probe *)t;
    struct world *w = p->world;
    assert_int_equal(t->slot, 0);
    if (w->length < sizeof(w->trace) - 1) {
        w->trace[w->length++] = p->name;
    }
    if (p->restart_at) {
        timer_start(&w->timers, t, p->restart_at);
    }
    if (p->stops) {
        timer_stop(&w->timers, &p->stops->timer);
    }
}

static void world_init(struct world *w) {
    memset(w, 0, sizeof(*w));
    timers_init(&w->timers, NULL, NULL);
    for (size_t i = 0; i < PROBES; i++) {
        w->probes[i] = (struct probe){.timer.fire = probe_fire, .world = w, .name = (char)('a' + i % 26)};
    }
}

static void expect_run(struct world *w, uint64_t now_ms, const char *trace) {
    memset(w->trace, 0, sizeof(w->trace));
    w->length = 0;
    timers_run(&w->timers, now_ms);
    assert_string_equal(w->trace, trace);
}

static void start(struct world *w, size_t probe, uint64_t at_ms) {
    timer_start(&w->timers, &w->probes[probe].timer, at_ms);
}

static void test_fires_by_time_then_by_start(void **state) {
    (void)state;
    struct world w;
    world_init(&w);
    start(&w, 0, 30);
    start(&w, 1, 10);
    start(&w, 2, 20);
    start(&w, 3, 10);
    assert_true(timers_next(&w.timers) == 10);
    expect_run(&w, 9, "");
    expect_run(&w, 20, "bdc");
    assert_true(timers_next(&w.timers) == 30);
    expect_run(&w, 30, "a");
    assert_true(timers_next(&w.timers) == UINT64_MAX);
    timers_release(&w.timers);
}

static void test_restart_moves_and_loses_its_turn(void **state) {
    (void)state;
    struct world w;
    world_init(&w);
    start(&w, 0, 10);
    start(&w, 1, 10);
    start(&w, 0, 10);
    expect_run(&w, 10, "ba");
    start(&w, 0, 20);
    start(&w, 0, 40);
    expect_run(&w, 30, "");
    start(&w, 0, 35);
    expect_run(&w, 35, "a");
    timers_release(&w.timers);
}

static void test_started_inside_for_the_past_waits_for_the_next_run(void **state) {
    (void)state;
    struct world w;
    world_init(&w);
    w.probes[0].restart_at = 1; /* earlier than b, which is due in the same run */
    start(&w, 0, 5);
    start(&w, 1, 10);
    expect_run(&w, 10, "ab");
    assert_true(timers_next(&w.timers) == 10);
    w.probes[0].restart_at = 0;
    start(&w, 2, 3); /* for the past: behind a, which was asked for earlier */
    expect_run(&w, 10, "ac");
    expect_run(&w, 10, "");
    timers_release(&w.timers);
}

static void test_stopped_inside_does_not_fire(void **state) {
    (void)state;
    struct world w;
    world_init(&w);
    w.probes[0].stops = &w.probes[1];
    w.probes[2].stops = &w.probes[2];
    start(&w, 0, 10);
    start(&w, 1, 10);
    start(&w, 2, 10);
    expect_run(&w, 10, "ac");
    timer_stop(&w.timers, &w.probes[1].timer);
    assert_int_equal(w.timers.count, 0);
    timers_release(&w.timers);
}

static void note_arm(void *ctx, uint64_t at_ms) {
    *(uint64_t *)ctx = at_ms;
}

static void test_arms_when_the_first_time_changes(void **state) {
    (void)state;
    struct world w;
    uint64_t armed = 0;
    world_init(&w);
    timers_init(&w.timers, note_arm, &armed);
    start(&w, 0, 50);
    assert_true(armed == 50);
    start(&w, 1, 70);
    assert_true(armed == 50);
    start(&w, 2, 20);
    assert_true(armed == 20);
    start(&w, 1, 10);
    assert_true(armed == 10);
    timers_release(&w.timers);
}

static uint64_t random_next(uint64_t *seed) {
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 33;
}

/* The model: the earliest by (time, order) over all running probes, found by looking at each. */
static struct probe *model_first(struct world *w) {
    struct probe *first = NULL;
    for (size_t i = 0; i < PROBES; i++) {
        struct probe *p = &w->probes[i];
        if (p->timer.slot && (!first || p->timer.at_ms < first->timer.at_ms ||
                              (p->timer.at_ms == first->timer.at_ms && p->timer.order < first->timer.order))) {
            first = p;
        }
    }
    return first;
}

static void test_a_random_run_agrees_with_a_plain_list(void **state) {
    (void)state;
    struct world w;
    uint64_t seed = 7;
    uint64_t now_ms = 0;
    world_init(&w);
    for (int step = 0; step < 20000; step++) {
        struct probe *p = &w.probes[random_next(&seed) % PROBES];
        uint64_t what = random_next(&seed) % 4;
        if (what < 2) {
            timer_start(&w.timers, &p->timer, now_ms + random_next(&seed) % 50);
        } else if (what == 2) {
            timer_stop(&w.timers, &p->timer);
            assert_int_equal(p->timer.slot, 0);
        }
        struct probe *first = model_first(&w);
        assert_true(timers_next(&w.timers) == (first ? first->timer.at_ms : UINT64_MAX));
        if (what == 3 && first) {
            size_t count = w.timers.count;
            now_ms = first->timer.at_ms > now_ms ? first->timer.at_ms : now_ms;
            w.length = 0;
            memset(w.trace, 0, sizeof(w.trace));
            timers_run(&w.timers, now_ms);
            assert_true(w.timers.count < count);
            assert_int_equal(w.trace[0], first->name);
            assert_int_equal(first->timer.slot, 0);
        }
    }
    timers_release(&w.timers);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fires_by_time_then_by_start),
        cmocka_unit_test(test_restart_moves_and_loses_its_turn),
        cmocka_unit_test(test_started_inside_for_the_past_waits_for_the_next_run),
        cmocka_unit_test(test_stopped_inside_does_not_fire),
        cmocka_unit_test(test_arms_when_the_first_time_changes),
        cmocka_unit_test(test_a_random_run_agrees_with_a_plain_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
