#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench_internal.h"
#include "check.h"
#include "errors.h"
#include "local.h"

#define EVENTS_MAX 64
#define TICK_NS 5000000
#define TICK_MS 5
#define SHOW_NS 200000000
#define FILL_PATIENCE_NS 60000000000ull /* without a single key filled */
#define NS_PER_SECOND 1000000000ull

uint64_t bench_clock_ns(void) {
    struct timespec t;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (uint64_t)t.tv_sec * NS_PER_SECOND + (uint64_t)t.tv_nsec;
}

/* SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014). */
uint64_t bench_random(struct bench *b) {
    uint64_t z = b->random += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

/* ---- what is done when ------------------------------------------------------------------------------------------- */

static bool pick_fill(struct bench *b, struct bench_client *c) {
    c->writes = true;
    if (c->refill)
        return true;
    if (b->next_fill == b->params->keys)
        return false;
    c->key = b->next_fill++;
    return true;
}

bool bench_pick(struct bench *b, struct bench_client *c) {
    if (b->phase == BENCH_FILLING)
        return pick_fill(b, c);
    if (b->phase == BENCH_DRAINING || b->now_ns >= b->deadline_ns)
        return false;
    uint64_t r = bench_random(b);
    c->key = (uint32_t)((r >> 32) * b->params->keys >> 32);
    c->writes = b->params->mode == BENCH_WRITE || (b->params->mode == BENCH_MIXED && (r & 1) != 0);
    return true;
}

void bench_ended(struct bench *b, struct bench_client *c, const char *result) {
    struct bench_result *r = b->result;
    bool done = strcmp(result, "ok") == 0;
    if (b->params->history != NULL)
        bench_history_write(b, c, result);
    if (b->phase == BENCH_FILLING) {
        c->refill = !done;
        b->filled += done;
        b->progress_ns = done ? b->now_ns : b->progress_ns;
        return;
    }
    if (!done) {
        r->errors++;
        return;
    }
    histogram_add(&r->latency, b->now_ns - c->call_ns);
    r->operations += b->now_ns <= b->deadline_ns;
}

/* ---- the loop ---------------------------------------------------------------------------------------------------- */

static void show_progress(struct bench *b) {
    static const char *const names[] = {"write", "read", "mixed"};
    CHECK(b->phase != BENCH_MEASURING || b->now_ns > b->began_ns);
    if (b->phase == BENCH_FILLING)
        fprintf(stderr, "\r\033[Kfilling  %u of %u keys", b->filled, b->params->keys);
    else
        fprintf(stderr, "\r\033[K%s  %.0f of %.0f s  %.0f operations/s  %llu errors", names[b->params->mode],
                (double)(b->now_ns - b->began_ns) / 1e9, (double)b->params->duration_ns / 1e9,
                (double)b->result->operations / ((double)(b->now_ns - b->began_ns) / 1e9),
                (unsigned long long)b->result->errors);
    fflush(stderr);
    b->shown = true;
    b->shown_ns = b->now_ns;
}

static void tick(struct bench *b) {
    b->tick_ns = b->now_ns + TICK_NS;
    for (uint32_t i = 0; i < b->params->clients; i++)
        bench_client_tick(&b->clients[i]);
    if (b->terminal && b->phase != BENCH_DRAINING && b->now_ns - b->shown_ns >= SHOW_NS)
        show_progress(b);
}

/* The first signal is taken, so that the result can be told; while keys are filled it is left to take its effect. */
static void interrupted(struct bench *b) {
    struct signalfd_siginfo info;
    bool again = b->result->interrupted;
    b->result->interrupted = true;
    if (b->phase == BENCH_FILLING)
        return;
    if (read(b->params->interrupt_fd, &info, sizeof info) == (ssize_t)sizeof info && again)
        b->fatal = ERR_ABORTED;
}

static void turn(struct bench *b) {
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(b->epoll, events, EVENTS_MAX, TICK_MS);
    b->now_ns = bench_clock_ns();
    for (int i = 0; i < count && b->fatal == 0; i++) {
        if (events[i].data.ptr == NULL)
            interrupted(b);
        else
            bench_client_ready(events[i].data.ptr, events[i].events);
    }
    if (b->now_ns >= b->tick_ns && b->fatal == 0)
        tick(b);
}

static void start_clients(struct bench *b) {
    b->now_ns = bench_clock_ns();
    for (uint32_t i = 0; i < b->params->clients; i++)
        if (b->clients[i].state == BENCH_PARKED)
            bench_client_start(&b->clients[i]);
}

/* ---- phases ------------------------------------------------------------------------------------------------------ */

static int fill(struct bench *b) {
    b->phase = BENCH_FILLING;
    start_clients(b);
    b->progress_ns = b->now_ns;
    while (b->filled < b->params->keys && b->fatal == 0 && !b->result->interrupted) {
        turn(b);
        if (b->now_ns - b->progress_ns >= FILL_PATIENCE_NS)
            return b->result->status != 0 ? b->result->status : ERR_TIMEOUT;
    }
    return b->result->interrupted ? ERR_ABORTED : b->fatal;
}

static void measure(struct bench *b) {
    b->phase = BENCH_MEASURING;
    b->began_ns = bench_clock_ns();
    b->deadline_ns = b->began_ns + b->params->duration_ns;
    start_clients(b);
    while (b->now_ns < b->deadline_ns && b->fatal == 0 && !b->result->interrupted)
        turn(b);
    if (b->now_ns < b->deadline_ns)
        b->deadline_ns = b->now_ns;
    b->result->elapsed_ns = b->deadline_ns - b->began_ns;
}

/* Every operation comes to an end here, if only because it has taken too long. What is slow at the end of a run is part
 * of its latency. */
static void drain(struct bench *b) {
    b->phase = BENCH_DRAINING;
    while (b->busy > 0 && b->fatal == 0)
        turn(b);
    for (uint32_t i = 0; i < b->params->clients; i++)
        bench_client_stop(&b->clients[i]);
    CHECK(b->busy == 0);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static int watch_interrupt(const struct bench *b) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    return b->params->interrupt_fd < 0 ? 0 : epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->params->interrupt_fd, &event);
}

static void init_content(struct bench *b) {
    struct buf end;
    for (size_t i = 0; i < b->params->size; i++)
        b->content[i] = (uint8_t)(bench_random(b) >> 56);
    buf_init(&end, BENCH_TAIL_MAX);
    client_encode(&(struct client_message){.kind = CLIENT_END}, &end);
    CHECK(end.error == 0);
    memcpy(b->tail, end.bytes, end.size);
    b->tail_size = end.size;
    buf_release(&end);
}

static int bench_init(struct bench *b, const struct bench_params *params, struct bench_result *out) {
    *b = (struct bench){.params = params, .result = out, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    b->clients = calloc(params->clients, sizeof *b->clients);
    b->content = malloc(params->size);
    b->receive = malloc(BENCH_RECEIVE_SIZE);
    if (b->clients == NULL || b->content == NULL || b->receive == NULL)
        return ERR_NOMEM;
    if (b->epoll < 0 || watch_interrupt(b) != 0 || getrandom(&b->random, sizeof b->random, 0) != sizeof b->random)
        return ERR_IO;
    snprintf(out->prefix, sizeof out->prefix, "bench/%08x/", (unsigned)(bench_random(b) >> 32));
    init_content(b);
    for (uint32_t i = 0; i < params->dir_count; i++) {
        b->nodes[i].sun_family = AF_UNIX;
        int size = snprintf(b->nodes[i].sun_path, sizeof b->nodes[i].sun_path, "%s/" LOCAL_SOCKET, params->dirs[i]);
        CHECK(size > 0 && (size_t)size < sizeof b->nodes[i].sun_path);
    }
    for (uint32_t i = 0; i < params->clients; i++)
        bench_client_init(&b->clients[i], b, i);
    b->terminal = isatty(STDERR_FILENO) == 1;
    b->shown_ns = bench_clock_ns();
    return 0;
}

static void bench_release(struct bench *b) {
    for (uint32_t i = 0; i < b->params->clients && b->clients != NULL; i++)
        if (b->clients[i].magic != 0)
            bench_client_release(&b->clients[i]);
    if (b->epoll >= 0)
        close(b->epoll);
    free(b->clients);
    free(b->content);
    free(b->receive);
    if (b->shown)
        fputs("\r\033[K", stderr);
}

int bench_run(const struct bench_params *params, struct bench_result *out) {
    struct bench b;
    CHECK(params->dir_count > 0 && params->dir_count <= BENCH_NODES_MAX);
    CHECK(params->clients > 0 && params->clients <= BENCH_CLIENTS_MAX);
    CHECK(params->keys > 0 && params->keys <= BENCH_KEYS_MAX);
    CHECK(params->size >= BENCH_SIZE_MIN && params->size <= BENCH_SIZE_MAX);
    memset(out, 0, sizeof *out);
    int status = bench_init(&b, params, out);
    if (status == 0 && params->mode != BENCH_WRITE)
        status = fill(&b);
    if (status == 0) {
        measure(&b);
        drain(&b);
        status = b.fatal == ERR_ABORTED ? 0 : b.fatal;
    }
    bench_release(&b);
    if (status != 0 && out->error[0] == '\0')
        snprintf(out->error, sizeof out->error, "%s", err_text(status));
    return status;
}
