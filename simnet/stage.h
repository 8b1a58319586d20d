/* What runs and scenarios share: a swarm that comes together, users at work, and at the end everything that must hold
 * of a swarm that is whole. Functions that return bool return false when something is wrong; the first trouble is kept
 * as the reason. */
#ifndef SHOAL_STAGE_H
#define SHOAL_STAGE_H

#include "plan.h"
#include "run.h"
#include "workload.h"

#define STAGE_CALL_US (60 * SIM_SECOND)

struct stage {
    struct run_result *result;
    enum run_checker checking; /* who is to be blamed for the next failure */
    struct swarm swarm;
    uint32_t founders; /* hosts that come together at first */
    struct history history;
    struct workload load;
    const struct plan *plan; /* NULL: none */
};

/* The first trouble is the reason. Always false. */
bool stage_fail(struct stage *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What has happened so far, in the result. */
void stage_note_extent(struct stage *t);
/* Until done(ctx) or the limit; done NULL: the whole time. */
bool stage_pass_time(struct stage *t, uint64_t limit_us, bool (*done)(const void *ctx), const void *ctx);
/* Asks, and waits for the answer. False when something is wrong with the run, not with the answer. */
bool stage_ask(struct stage *t, uint32_t number, struct user_request *request, struct user_result *ret_result);

/* The first host after this one that has joined and has not left; 0: there is none. */
uint32_t stage_next(struct stage *t, uint32_t number);
/* The host that leads a group in the highest term; 0: none does. */
uint32_t stage_leader(struct stage *t, uint32_t group);
/* The group of a name; 0 while no node is ready. */
uint32_t stage_group_of(struct stage *t, const char *text);

/* Node 1 is asked for a ticket. */
bool stage_invite(struct stage *t, struct user_result *answer, struct ticket *out);
bool stage_start_node(struct stage *t, uint32_t number);
/* The founders make a swarm. */
bool stage_gather(struct stage *t, struct user_result *answer);

/* Every node sees every arc healthy and every member alive, in time. */
bool stage_wait_healthy(struct stage *t, struct user_result *answer);
/* A small and a large file through every node: each write succeeds, at once. */
bool stage_write_all(struct stage *t, struct user_result *answer);
/* Every name through every node. */
bool stage_read_all_back(struct stage *t, struct user_result *first, struct user_result *answer);
/* And it is listed, if it is there. */
bool stage_list_all(struct stage *t, struct user_result *answer);
bool stage_check_history(struct stage *t);
/* What is left to do in the background is done, in time, and the disks hold what they should. */
bool stage_wait_quiet(struct stage *t);

#endif
