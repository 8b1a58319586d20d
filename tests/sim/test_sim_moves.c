/* Moving arcs under load: what was acknowledged before, during or after a move is held by a majority of those who serve
 * it, at every moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "audit.h"
#include "check.h"
#include "chunks.h"
#include "content.h"
#include "errors.h"
#include "swarm.h"
#include "user.h"

#define NODES 3
#define ARC_BITS 4
#define CAPACITY ((uint64_t)1 << 30)
#define CALL_US (60 * (uint64_t)SIM_SECOND)
#define WHOLE_US (120 * (uint64_t)SIM_SECOND)
#define DISTANCE_US (20 * SIM_MS)
#define PUTTERS 6
#define FILES_EACH 500
#define FILE_SIZE 33000 /* one chunk */

struct putter {
    struct world *world;
    uint32_t number; /* files (number * FILES_EACH) + 0, 1, ... */
    uint32_t next;
    bool stop, busy;
    bool stored[FILES_EACH];
};

struct world {
    struct swarm swarm;
    struct user_result answer;
    bool answered;
    struct putter putters[PUTTERS];
};

static void on_answer(void *ctx, const struct user_result *result) {
    struct world *w = ctx;
    w->answer = *result;
    w->answered = true;
}

static const struct user_result *ask(struct world *w, uint32_t number, struct user_request *q) {
    q->timeout_us = CALL_US;
    w->answered = false;
    user_call(sim_host(w->swarm.sim, number), q, on_answer, w);
    while (!w->answered) {
        sim_step(w->swarm.sim, sim_now_us(w->swarm.sim) + CALL_US);
    }
    assert_false(w->answer.broken);
    return &w->answer;
}

static void start(struct world *w, uint32_t number) {
    struct swarm_node *n = swarm_node(&w->swarm, number);
    uint64_t until = sim_now_us(w->swarm.sim) + CALL_US;
    sim_host_start(n->host);
    while (!n->ready && sim_now_us(w->swarm.sim) < until) {
        sim_step(w->swarm.sim, until);
    }
    assert_true(n->ready);
}

static void join(struct world *w, uint32_t number) {
    struct user_request q = {.kind = USER_INVITE, .uses = 1};
    const struct user_result *r = ask(w, 1, &q);
    assert_int_equal(r->status, 0);
    assert_int_equal(ticket_decode(r->ticket, strlen(r->ticket), &swarm_node(&w->swarm, number)->ticket), 0);
    start(w, number);
}

/* So that what is decided here is long known here before it is known there. */
static void far_apart(struct world *w) {
    const struct sim_link link = {.delay_us = DISTANCE_US};
    for (uint32_t from = 1; from <= NODES; from++) {
        for (uint32_t to = 1; to <= NODES; to++) {
            sim_link_set(w->swarm.sim, from, to, &link);
        }
    }
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

static void name_file(struct user_request *q, uint64_t number) {
    (void)snprintf(q->name, sizeof(q->name), "file-%u", (unsigned)number);
}

static void put_next(struct putter *p);

static void on_put(void *ctx, const struct user_result *result) {
    struct putter *p = ctx;
    p->stored[p->next++] = result->status == 0;
    p->busy = false;
    put_next(p);
}

static void put_next(struct putter *p) {
    uint64_t file = p->number * FILES_EACH + p->next + 1;
    struct user_request q = {.kind = USER_PUT, .content = file, .size = FILE_SIZE, .timeout_us = CALL_US};
    if (!p->stop && p->next < FILES_EACH) {
        p->busy = true;
        name_file(&q, file);
        user_call(sim_host(p->world->swarm.sim, 1), &q, on_put, p);
    }
}

static void load_start(struct world *w) {
    for (uint32_t i = 0; i < PUTTERS; i++) {
        w->putters[i] = (struct putter){.world = w, .number = i};
        put_next(&w->putters[i]);
    }
}

static void load_stop(struct world *w) {
    bool busy = true;
    for (uint32_t i = 0; i < PUTTERS; i++) {
        w->putters[i].stop = true;
    }
    while (busy) {
        sim_run_until(w->swarm.sim, sim_now_us(w->swarm.sim) + 10 * SIM_MS);
        busy = false;
        for (uint32_t i = 0; i < PUTTERS; i++) {
            busy = busy || w->putters[i].busy;
        }
    }
}

/* ---- what must hold ---------------------------------------------------------------------------------------------- */

static void expect_whole(struct world *w) {
    char message[SWARM_MESSAGE_SIZE];
    uint64_t until = sim_now_us(w->swarm.sim) + WHOLE_US;
    bool whole = false;
    while (!whole && sim_now_us(w->swarm.sim) < until) {
        sim_run_until(w->swarm.sim, sim_now_us(w->swarm.sim) + SIM_SECOND);
        whole = audit_swarm(&w->swarm, message, sizeof(message));
    }
    if (!whole) {
        fail_msg("%s", message);
    }
}

static void expect_all_stored(struct world *w, uint32_t through) {
    uint32_t stored = 0;
    for (uint32_t i = 0; i < PUTTERS; i++) {
        for (uint32_t f = 0; f < w->putters[i].next; f++) {
            uint64_t file = i * FILES_EACH + f + 1;
            struct user_request q = {.kind = USER_GET};
            name_file(&q, file);
            if (w->putters[i].stored[f]) {
                const struct user_result *r = ask(w, through, &q);
                assert_int_equal(r->status, 0);
                assert_true(r->content == content_identity(file, FILE_SIZE));
                stored++;
            }
        }
    }
    assert_true(stored > 0);
}

/* One replica: the last copy moves along. */
static void a_single_copy_moves_with_its_arc(void **state) {
    struct world w = {0};
    (void)state;
    const struct swarm_options options = {
        .seed = 1, .nodes = NODES, .bits = ARC_BITS, .replicas = 1, .capacity = CAPACITY};
    swarm_init(&w.swarm, &options);
    start(&w, 1);
    far_apart(&w);
    load_start(&w);
    join(&w, 2);
    join(&w, 3);
    sim_run_until(w.swarm.sim, sim_now_us(w.swarm.sim) + 2 * SIM_SECOND);
    load_stop(&w);
    expect_whole(&w);
    expect_all_stored(&w, 1);
    expect_all_stored(&w, 3);
    assert_string_equal(w.swarm.failure, "");
    swarm_release(&w.swarm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_copy_moves_with_its_arc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
