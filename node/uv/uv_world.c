#include "uv_world.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "errors.h"
#include "uv_ports.h"

#define SIGNALS_MAGIC 0x7369676eu
#define SIGNALS_COUNT 2
#define EXIT_SIGNAL_BASE 128 /* POSIX sh, "Exit Status for Commands" */

struct uv_signals {
    uint32_t magic;
    bool seen;
    uv_signal_t handles[SIGNALS_COUNT];
    void (*stop)(void *ctx);
    void *ctx;
};

static void signals_on(uv_signal_t *handle, int number) {
    struct uv_signals *s = handle->data;
    CHECK(s->magic == SIGNALS_MAGIC);
    if (s->seen)
        _exit(EXIT_SIGNAL_BASE + number);
    s->seen = true;
    s->stop(s->ctx);
}

int uv_world_on_signal(struct uv_world *w, void (*stop)(void *ctx), void *ctx) {
    static const int numbers[SIGNALS_COUNT] = {SIGTERM, SIGINT};
    CHECK(w->loop != NULL && stop != NULL);
    CHECK(w->signals == NULL);
    struct uv_signals *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->magic = SIGNALS_MAGIC;
    s->stop = stop;
    s->ctx = ctx;
    int error = 0;
    for (int i = 0; i < SIGNALS_COUNT; i++) {
        CHECK(uv_signal_init(w->loop, &s->handles[i]) == 0);
        s->handles[i].data = s;
        if (uv_signal_start(&s->handles[i], signals_on, numbers[i]) != 0)
            error = ERR_IO;
    }
    w->signals = s;
    return error;
}

static int world_open_ports(struct uv_world *w) {
    int error = clock_new(w->loop, &w->clock);
    if (error == 0)
        error = net_new(w->loop, &w->net);
    if (error == 0)
        error = random_new(&w->random);
    return error;
}

int uv_world_init(struct uv_world *w) {
    memset(w, 0, sizeof *w);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) != 0)
        return ERR_IO;
    w->loop = calloc(1, sizeof *w->loop);
    if (w->loop == NULL)
        return ERR_NOMEM;
    if (uv_loop_init(w->loop) != 0) {
        free(w->loop);
        w->loop = NULL;
        return ERR_IO;
    }
    int error = world_open_ports(w);
    if (error != 0)
        uv_world_release(w);
    return error;
}

void uv_world_run(struct uv_world *w) {
    CHECK(w->loop != NULL && w->net != NULL);
    while (!w->stopping)
        uv_run(w->loop, UV_RUN_DEFAULT);
    w->stopping = 0;
}

void uv_world_stop(struct uv_world *w) {
    CHECK(w->loop != NULL);
    w->stopping = 1;
    uv_stop(w->loop);
}

static void signals_shut(struct uv_signals *s) {
    CHECK(s->magic == SIGNALS_MAGIC);
    for (int i = 0; i < SIGNALS_COUNT; i++)
        uv_close((uv_handle_t *)&s->handles[i], NULL);
}

void uv_world_release(struct uv_world *w) {
    CHECK(w->loop != NULL);
    if (w->signals != NULL)
        signals_shut(w->signals);
    if (w->net != NULL)
        net_shut(w->net);
    if (w->clock != NULL)
        clock_shut(w->clock);
    /* A stop flag left over from uv_world_stop() ends one run early, hence "until". */
    while (uv_run(w->loop, UV_RUN_DEFAULT) != 0)
        continue;
    CHECK(uv_loop_close(w->loop) == 0);
    if (w->random != NULL)
        random_free(w->random);
    if (w->net != NULL)
        net_free(w->net);
    if (w->clock != NULL)
        clock_free(w->clock);
    free(w->signals);
    free(w->loop);
    memset(w, 0, sizeof *w);
}
