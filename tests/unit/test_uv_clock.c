/* The real clock and the real signals, on a real loop. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "clock.h"
#include "random.h"
#include "uv_world.h"

struct fixture {
    struct uv_world w;
    int wakes;
    uint64_t woken_ms;
    int rearm; /* ask again, for at once, from inside the wake */
    int stops;
};

static void on_wake(void *ctx) {
    struct fixture *f = ctx;
    f->wakes++;
    f->woken_ms = clock_now_ms(f->w.clock);
    if (f->rearm)
        clock_wake_at(f->w.clock, f->woken_ms);
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(uv_world_init(&f->w), 0);
    clock_on_wake(f->w.clock, on_wake, f);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    uv_world_release(&f->w);
    free(f);
    return 0;
}

static void on_tick(uv_timer_t *timer) {
    *(int *)timer->data = 1;
}

/* Turns the loop for some time. */
static void run_for(struct fixture *f, uint64_t ms) {
    int over = 0;
    uv_timer_t timer;
    assert_int_equal(uv_timer_init(f->w.loop, &timer), 0);
    timer.data = &over;
    uv_timer_start(&timer, on_tick, ms, 0);
    while (!over)
        uv_run(f->w.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(f->w.loop, UV_RUN_NOWAIT);
}

static void wakes_once_and_not_early(void **state) {
    struct fixture *f = *state;
    uint64_t at = clock_now_ms(f->w.clock) + 20;
    clock_wake_at(f->w.clock, at);
    run_for(f, 60);
    assert_int_equal(f->wakes, 1);
    assert_true(f->woken_ms >= at);
}

static void a_later_request_replaces_an_earlier_one(void **state) {
    struct fixture *f = *state;
    uint64_t now = clock_now_ms(f->w.clock);
    clock_wake_at(f->w.clock, now);
    clock_wake_at(f->w.clock, now + 5);
    clock_wake_at(f->w.clock, now + 30);
    run_for(f, 60);
    assert_int_equal(f->wakes, 1);
    assert_true(f->woken_ms >= now + 30);
}

static void a_request_can_be_cancelled(void **state) {
    struct fixture *f = *state;
    clock_wake_at(f->w.clock, clock_now_ms(f->w.clock) + 5);
    clock_wake_at(f->w.clock, UINT64_MAX);
    clock_wake_at(f->w.clock, 0);
    clock_wake_at(f->w.clock, UINT64_MAX);
    run_for(f, 20);
    assert_int_equal(f->wakes, 0);
}

static void a_time_that_has_passed_wakes_from_the_loop_and_at_once(void **state) {
    struct fixture *f = *state;
    clock_wake_at(f->w.clock, 0);
    assert_int_equal(f->wakes, 0);
    uv_run(f->w.loop, UV_RUN_NOWAIT);
    assert_int_equal(f->wakes, 1);
}

static void waking_again_and_again_leaves_the_loop_turning(void **state) {
    struct fixture *f = *state;
    f->rearm = 1;
    clock_wake_at(f->w.clock, 0);
    for (int turn = 1; turn <= 10; turn++) {
        uv_run(f->w.loop, UV_RUN_NOWAIT);
        assert_int_equal(f->wakes, turn);
    }
}

static void wall_time_is_the_time_of_day(void **state) {
    struct fixture *f = *state;
    struct timespec ts;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &ts), 0);
    uint64_t before = (uint64_t)ts.tv_sec * 1000;
    uint64_t wall = clock_wall_ms(f->w.clock);
    assert_true(wall + 1000 > before && wall < before + 5000);
}

static void random_bytes_differ(void **state) {
    struct fixture *f = *state;
    uint8_t a[32] = {0}, b[32] = {0};
    random_fill(f->w.random, a, sizeof a);
    random_fill(f->w.random, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(random_u64(f->w.random) != random_u64(f->w.random));
}

#define DRAWS 4096 /* several pools of them */

static int by_value(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Neither inside one pool, nor from one pool or world to the next, nor the zeros that a wiped place holds. */
static void random_numbers_do_not_repeat(void **state) {
    struct fixture *f = *state;
    struct uv_world other;
    uint64_t *drawn = calloc(DRAWS, sizeof *drawn);
    assert_non_null(drawn);
    assert_int_equal(uv_world_init(&other), 0);
    for (size_t i = 0; i < DRAWS; i++)
        drawn[i] = random_u64(i % 2 == 0 ? f->w.random : other.random);
    uv_world_release(&other);
    qsort(drawn, DRAWS, sizeof *drawn, by_value);
    assert_true(drawn[0] != 0);
    for (size_t i = 1; i < DRAWS; i++)
        assert_true(drawn[i - 1] != drawn[i]);
    free(drawn);
}

static void on_stop(void *ctx) {
    struct fixture *f = ctx;
    f->stops++;
    uv_world_stop(&f->w);
}

static void a_signal_stops_the_world_once(void **state) {
    struct fixture *f = *state;
    assert_int_equal(uv_world_on_signal(&f->w, on_stop, f), 0);
    assert_int_equal(kill(getpid(), SIGTERM), 0);
    uv_world_run(&f->w);
    assert_int_equal(f->stops, 1);
}

static void signal_again(void *ctx) {
    (void)ctx;
    kill(getpid(), SIGINT);
}

static void a_second_signal_ends_the_process(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct uv_world w;
        if (uv_world_init(&w) != 0 || uv_world_on_signal(&w, signal_again, NULL) != 0)
            _exit(1);
        kill(getpid(), SIGTERM);
        uv_world_run(&w);
        _exit(2);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGINT);
}

static void a_stop_before_the_run_is_not_lost(void **state) {
    struct fixture *f = *state;
    uv_world_stop(&f->w);
    uv_world_run(&f->w);
    clock_wake_at(f->w.clock, 0);
    uv_run(f->w.loop, UV_RUN_NOWAIT);
    uv_run(f->w.loop, UV_RUN_NOWAIT);
    assert_int_equal(f->wakes, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(wakes_once_and_not_early),
        TEST(a_later_request_replaces_an_earlier_one),
        TEST(a_request_can_be_cancelled),
        TEST(a_time_that_has_passed_wakes_from_the_loop_and_at_once),
        TEST(waking_again_and_again_leaves_the_loop_turning),
        TEST(wall_time_is_the_time_of_day),
        TEST(random_bytes_differ),
        TEST(random_numbers_do_not_repeat),
        TEST(a_signal_stops_the_world_once),
        cmocka_unit_test(a_second_signal_ends_the_process),
        TEST(a_stop_before_the_run_is_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
