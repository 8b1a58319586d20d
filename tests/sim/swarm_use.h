/* What tests of whole swarms do often: found one, ask its nodes, put files all the while, wait until all is well. */
#ifndef SHOAL_TEST_SWARM_USE_H
#define SHOAL_TEST_SWARM_USE_H

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
#include "content.h"
#include "errors.h"
#include "swarm.h"
#include "user.h"

#define CAPACITY ((uint64_t)1 << 30)
#define CALL_US (60 * (uint64_t)SIM_SECOND)
#define PUTTERS_MAX 6
#define FILES_EACH_MAX 500
#define SMALL_SIZE 100 /* of a file that is inline */

/* ---- asking ------------------------------------------------------------------------------------------------------ */

struct asked {
    struct user_result answer;
    bool answered;
};

static inline void on_answer(void *ctx, const struct user_result *result) {
    struct asked *a = ctx;
    a->answer = *result;
    a->answered = true;
}

/* Any answer will do; who wants a good one looks at it. It is valid until the next question. */
static inline const struct user_result *ask(struct swarm *w, uint32_t number, struct user_request *q) {
    static struct asked a;
    q->timeout_us = CALL_US;
    a.answered = false;
    user_call(sim_host(w->sim, number), q, on_answer, &a);
    while (!a.answered) {
        sim_step(w->sim, sim_now_us(w->sim) + CALL_US);
    }
    assert_false(a.answer.broken);
    return &a.answer;
}

static inline void name_file(struct user_request *q, uint64_t number) {
    (void)snprintf(q->name, sizeof(q->name), "file-%u", (unsigned)number);
}

/* ---- the swarm --------------------------------------------------------------------------------------------------- */

static inline void run_ms(struct swarm *w, uint64_t ms) {
    sim_run_until(w->sim, sim_now_us(w->sim) + ms * SIM_MS);
}

static inline void start(struct swarm *w, uint32_t number) {
    struct swarm_node *n = swarm_node(w, number);
    uint64_t until = sim_now_us(w->sim) + CALL_US;
    sim_host_start(n->host);
    while (!n->ready && sim_now_us(w->sim) < until) {
        sim_step(w->sim, until);
    }
    assert_true(n->ready);
}

static inline void join(struct swarm *w, uint32_t number) {
    struct user_request q = {.kind = USER_INVITE, .uses = 1};
    const struct user_result *r = ask(w, 1, &q);
    assert_int_equal(r->status, 0);
    assert_int_equal(ticket_decode(r->ticket, strlen(r->ticket), &swarm_node(w, number)->ticket), 0);
    start(w, number);
}

/* All arcs on their replicas, every reference with its chunk and every chunk with its reference. */
static inline void expect_whole_within(struct swarm *w, uint64_t limit_us) {
    char message[SWARM_MESSAGE_SIZE];
    uint64_t until = sim_now_us(w->sim) + limit_us;
    bool whole = audit_swarm(w, message, sizeof(message));
    while (!whole && sim_now_us(w->sim) < until) {
        run_ms(w, 1000);
        whole = audit_swarm(w, message, sizeof(message));
    }
    if (!whole) {
        fail_msg("seed %llu: %s", (unsigned long long)sim_seed(w->sim), message);
    }
}

/* Hosts 1 to options->nodes, as the members of the same numbers. */
static inline void found(struct swarm *w, const struct swarm_options *options) {
    swarm_init(w, options);
    start(w, 1);
    for (uint32_t number = 2; number <= options->nodes; number++) {
        join(w, number);
    }
}

static inline void end(struct swarm *w) {
    swarm_check(w);
    assert_string_equal(w->failure, "");
    swarm_release(w);
}

/* ---- load -------------------------------------------------------------------------------------------------------- */

struct putter {
    struct load *load;
    uint32_t number; /* files (number * files_each) + 1, 2, ... */
    uint32_t next;
    uint32_t through; /* host */
    bool busy;
    bool stored[FILES_EACH_MAX];
};

struct load {
    struct swarm *swarm;
    uint32_t putters, files_each;
    uint32_t size;
    bool mixed; /* every third file is small */
    bool stopping;
    struct putter list[PUTTERS_MAX];
};

static inline uint32_t load_size(const struct load *l, uint64_t file) {
    return l->mixed && file % 3 == 0 ? SMALL_SIZE : l->size;
}

static inline void put_next(struct putter *p);

static inline void on_put(void *ctx, const struct user_result *result) {
    struct putter *p = ctx;
    p->stored[p->next++] = result->status == 0;
    p->busy = false;
    put_next(p);
}

static inline void put_next(struct putter *p) {
    const struct load *l = p->load;
    uint64_t file = p->number * l->files_each + p->next + 1;
    struct user_request q = {.kind = USER_PUT, .content = file, .size = load_size(l, file), .timeout_us = CALL_US};
    if (!l->stopping && p->next < l->files_each) {
        p->busy = true;
        name_file(&q, file);
        user_call(sim_host(l->swarm->sim, p->through), &q, on_put, p);
    }
}

/* Through the hosts from first to last, in turn. */
static inline void load_start(struct load *l, uint32_t first, uint32_t last) {
    assert_true(l->putters <= PUTTERS_MAX && l->files_each <= FILES_EACH_MAX);
    for (uint32_t i = 0; i < l->putters; i++) {
        l->list[i] = (struct putter){.load = l, .number = i, .through = first + i % (last - first + 1)};
        put_next(&l->list[i]);
    }
}

static inline void load_stop(struct load *l) {
    bool busy = true;
    l->stopping = true;
    while (busy) {
        run_ms(l->swarm, 10);
        busy = false;
        for (uint32_t i = 0; i < l->putters; i++) {
            busy = busy || l->list[i].busy;
        }
    }
}

static inline void expect_all_stored(struct load *l, uint32_t through) {
    uint32_t stored = 0;
    for (uint32_t i = 0; i < l->putters; i++) {
        for (uint32_t f = 0; f < l->list[i].next; f++) {
            uint64_t file = i * l->files_each + f + 1;
            struct user_request q = {.kind = USER_GET};
            name_file(&q, file);
            if (l->list[i].stored[f]) {
                const struct user_result *r = ask(l->swarm, through, &q);
                assert_int_equal(r->status, 0);
                assert_true(r->content == content_identity(file, load_size(l, file)));
                stored++;
            }
        }
    }
    assert_true(stored > 50);
}

#endif
