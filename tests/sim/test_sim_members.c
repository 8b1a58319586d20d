/* The life of members after they joined: they drain, are removed, are out for a while and come back; under load, and
 * whoever leads what meanwhile. Nothing acknowledged is lost by it. */
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
#include "identity.h"
#include "swarm.h"
#include "user.h"

#define NODES_MAX 6
#define ARC_BITS 4
#define CAPACITY ((uint64_t)1 << 30)
#define CALL_US (60 * (uint64_t)SIM_SECOND)
#define WHOLE_US (180 * (uint64_t)SIM_SECOND)
#define LEAVE_US (120 * (uint64_t)SIM_SECOND)
#define GRACE_MS 20000 /* until a silent member is out */
#define PUTTERS 4
#define FILES_EACH 400
#define FILE_SIZE 70000 /* one chunk */

struct putter {
    struct world *world;
    uint32_t number; /* files (number * FILES_EACH) + 1, 2, ... */
    uint32_t next;
    uint32_t through; /* host */
    bool busy;
    bool stored[FILES_EACH];
};

struct world {
    struct swarm swarm;
    struct user_result answer;
    bool answered;
    bool stopping;
    struct putter putters[PUTTERS];
};

/* ---- asking ------------------------------------------------------------------------------------------------------ */

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

static int change(struct world *w, uint32_t through, enum client_action action, uint32_t member, bool force) {
    struct user_request q = {.kind = USER_MEMBER, .action = action, .member = member, .force = force};
    int status = ask(w, through, &q)->status;
    assert_true(w->answer.answered);
    return status;
}

static void run_ms(struct world *w, uint64_t ms) {
    sim_run_until(w->swarm.sim, sim_now_us(w->swarm.sim) + ms * SIM_MS);
}

/* ---- the swarm --------------------------------------------------------------------------------------------------- */

static void start(struct world *w, uint32_t number) {
    struct swarm_node *n = swarm_node(&w->swarm, number);
    uint64_t until = sim_now_us(w->swarm.sim) + CALL_US;
    sim_host_start(n->host);
    while (!n->ready && sim_now_us(w->swarm.sim) < until) {
        sim_step(w->swarm.sim, until);
    }
    assert_true(n->ready);
}

static void expect_whole(struct world *w) {
    char message[SWARM_MESSAGE_SIZE];
    uint64_t until = sim_now_us(w->swarm.sim) + WHOLE_US;
    bool whole = audit_swarm(&w->swarm, message, sizeof(message));
    while (!whole && sim_now_us(w->swarm.sim) < until) {
        run_ms(w, 1000);
        whole = audit_swarm(&w->swarm, message, sizeof(message));
    }
    if (!whole) {
        fail_msg("seed %llu: %s", (unsigned long long)sim_seed(w->swarm.sim), message);
    }
}

/* Hosts 1 to `nodes`, as the members of the same numbers. */
static void begin(struct world *w, uint64_t seed, uint32_t nodes, uint64_t grace_ms) {
    const struct swarm_options options = {
        .seed = seed, .nodes = nodes, .bits = ARC_BITS, .replicas = 3, .capacity = CAPACITY, .out_after_ms = grace_ms};
    swarm_init(&w->swarm, &options);
    w->stopping = false;
    start(w, 1);
    for (uint32_t number = 2; number <= nodes; number++) {
        struct user_request q = {.kind = USER_INVITE, .uses = 1};
        const struct user_result *r = ask(w, 1, &q);
        assert_int_equal(r->status, 0);
        assert_int_equal(ticket_decode(r->ticket, strlen(r->ticket), &swarm_node(&w->swarm, number)->ticket), 0);
        start(w, number);
    }
    expect_whole(w);
}

static void end(struct world *w) {
    swarm_check(&w->swarm);
    assert_string_equal(w->swarm.failure, "");
    swarm_release(&w->swarm);
}

/* What host `number` knows of a member. */
static enum member_state state_at(struct world *w, uint32_t number, uint32_t member) {
    const struct member *row = members_find(node_members(swarm_node(&w->swarm, number)->node), member);
    assert_non_null(row);
    return row->state;
}

/* Every host that serves knows the member to be in this state within the time. */
static void expect_state(struct world *w, uint32_t member, enum member_state state, uint64_t within_us) {
    uint64_t until = sim_now_us(w->swarm.sim) + within_us;
    for (uint32_t number = 1; number <= w->swarm.count;) {
        struct swarm_node *n = swarm_node(&w->swarm, number);
        if (!n->ready || n->left || state_at(w, number, member) == state) {
            number++;
            continue;
        }
        if (sim_now_us(w->swarm.sim) > until) {
            fail_msg("seed %llu: node %u knows member %u to be %s, not %s", (unsigned long long)sim_seed(w->swarm.sim),
                     (unsigned)number, (unsigned)member, member_state_name(state_at(w, number, member)),
                     member_state_name(state));
        }
        run_ms(w, 100);
    }
}

/* The node has said good-bye, and does so again whenever it is started. */
static void expect_left(struct world *w, uint32_t number) {
    struct swarm_node *n = swarm_node(&w->swarm, number);
    uint64_t until = sim_now_us(w->swarm.sim) + 10 * (uint64_t)SIM_SECOND;
    while (sim_host_up(n->host) && sim_now_us(w->swarm.sim) < until) {
        run_ms(w, 100);
    }
    assert_true(n->left);
    assert_false(sim_host_up(n->host));
    n->left = false;
    sim_host_start(n->host);
    run_ms(w, 10000);
    assert_true(n->left);
    assert_false(sim_host_up(n->host));
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
    if (!p->world->stopping && p->next < FILES_EACH) {
        p->busy = true;
        q.size = file % 3 == 0 ? 100 : FILE_SIZE;
        name_file(&q, file);
        user_call(sim_host(p->world->swarm.sim, p->through), &q, on_put, p);
    }
}

/* Through the hosts from first on, so that those before it may go. */
static void load_start(struct world *w, uint32_t first) {
    for (uint32_t i = 0; i < PUTTERS; i++) {
        w->putters[i] = (struct putter){.world = w, .number = i};
        w->putters[i].through = first + i % (w->swarm.count - first + 1);
        put_next(&w->putters[i]);
    }
}

static void load_stop(struct world *w) {
    bool busy = true;
    w->stopping = true;
    while (busy) {
        run_ms(w, 10);
        busy = false;
        for (uint32_t i = 0; i < PUTTERS; i++) {
            busy = busy || w->putters[i].busy;
        }
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
                assert_true(r->content == content_identity(file, file % 3 == 0 ? 100 : FILE_SIZE));
                stored++;
            }
        }
    }
    assert_true(stored > 50);
}

/* ---- draining ---------------------------------------------------------------------------------------------------- */

static void a_member_drains_under_load(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct world w = {0};
        begin(&w, seed, 5, 0);
        load_start(&w, 2);
        run_ms(&w, 2000);
        assert_int_equal(change(&w, 2, CLIENT_DRAIN, 1, false), 0); /* the founder, by another's word */
        assert_int_equal(state_at(&w, 2, 1), MEMBER_DRAINING);
        assert_int_equal(change(&w, 1, CLIENT_DRAIN, 0, false), 0); /* again, by its own */
        expect_state(&w, 1, MEMBER_GONE, LEAVE_US);
        expect_left(&w, 1);
        load_stop(&w);
        expect_whole(&w);
        expect_all_stored(&w, 3);
        end(&w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_member_drains_under_load),
    };
    return crypto_init() != 0 || cmocka_run_group_tests(tests, NULL, NULL);
}
