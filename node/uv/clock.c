#include "clock.h"

#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "errors.h"
#include "uv_ports.h"

#define CLOCK_MAGIC 0x636c6f63u

struct clock {
    uint32_t magic;
    uv_loop_t *loop;
    uv_timer_t timer; /* a wake in the future */
    uv_idle_t idle;   /* a wake that is due: a timer of 0 ms that is started again by its own callback would keep
                       * libuv from ever polling sockets */
    void (*wake)(void *ctx);
    void *ctx;
};

static void clock_cancel(struct clock *c) {
    CHECK(uv_timer_stop(&c->timer) == 0);
    CHECK(uv_idle_stop(&c->idle) == 0);
}

static void clock_wake(struct clock *c) {
    CHECK(c->magic == CLOCK_MAGIC);
    CHECK(c->wake != NULL);
    clock_cancel(c);
    c->wake(c->ctx);
}

static void clock_on_timer(uv_timer_t *timer) {
    clock_wake(timer->data);
}

static void clock_on_idle(uv_idle_t *idle) {
    clock_wake(idle->data);
}

int clock_new(uv_loop_t *loop, struct clock **ret_clock) {
    CHECK(loop != NULL);
    struct clock *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->magic = CLOCK_MAGIC;
    c->loop = loop;
    CHECK(uv_timer_init(loop, &c->timer) == 0);
    CHECK(uv_idle_init(loop, &c->idle) == 0);
    c->timer.data = c;
    c->idle.data = c;
    *ret_clock = c;
    return 0;
}

void clock_shut(struct clock *c) {
    CHECK(c->magic == CLOCK_MAGIC);
    clock_cancel(c);
    uv_close((uv_handle_t *)&c->timer, NULL);
    uv_close((uv_handle_t *)&c->idle, NULL);
}

void clock_free(struct clock *c) {
    CHECK(c->magic == CLOCK_MAGIC);
    CHECK(uv_is_closing((uv_handle_t *)&c->timer));
    c->magic = 0;
    free(c);
}

uint64_t clock_now_ms(const struct clock *c) {
    CHECK(c->magic == CLOCK_MAGIC);
    return uv_now(c->loop);
}

uint64_t clock_exact_ms(const struct clock *c) {
    CHECK(c->magic == CLOCK_MAGIC);
    uint64_t now = uv_hrtime() / 1000000; /* the clock of uv_now */
    return now > uv_now(c->loop) ? now : uv_now(c->loop);
}

uint64_t clock_wall_ms(const struct clock *c) {
    CHECK(c->magic == CLOCK_MAGIC);
    struct timespec ts;
    CHECK(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void clock_wake_at(struct clock *c, uint64_t when_ms) {
    CHECK(c->magic == CLOCK_MAGIC);
    clock_cancel(c);
    if (when_ms == UINT64_MAX)
        return;
    uint64_t now = uv_now(c->loop);
    if (when_ms <= now)
        CHECK(uv_idle_start(&c->idle, clock_on_idle) == 0);
    else
        CHECK(uv_timer_start(&c->timer, clock_on_timer, when_ms - now, 0) == 0);
}

void clock_on_wake(struct clock *c, void (*wake)(void *ctx), void *ctx) {
    CHECK(c->magic == CLOCK_MAGIC);
    CHECK(c->wake == NULL && wake != NULL);
    c->wake = wake;
    c->ctx = ctx;
}
