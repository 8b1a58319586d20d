/* Whole swarms for scenarios. As everything of a script, each step does nothing once something is wrong. */
#ifndef SHOAL_DRILL_H
#define SHOAL_DRILL_H

#include "script.h"
#include "stage.h"

#define DRILL_CALLS_MAX 512

struct drill_options {
    uint32_t nodes;
    uint32_t founders;                /* 0: all */
    unsigned bits;                    /* arcs = 2^bits */
    uint32_t replicas;                /* 0: 3 */
    uint64_t settle_ms, out_after_ms; /* 0: as usual */
};

struct drill_call { /* one request, asked while the script goes on */
    struct drill *drill;
    struct user_request request;
    uint32_t node, name;
    size_t op;
    bool done;
    uint64_t done_us;
    struct user_result result;
};

struct drill {
    struct script *script;
    struct stage stage;
    struct drill_call *calls[DRILL_CALLS_MAX];
    uint32_t call_count;
    struct user_result *first, *answer; /* space */
};

/* The founders have come together, and every arc is healthy. */
struct drill *drill_new(struct script *s, const struct drill_options *options);
/* Everything is healed, every host that belongs is up; then all that must hold of a swarm that is whole and quiet has
 * to hold. Frees. */
void drill_end(struct drill *d);

/* Users at work on names of their own, as in runs from seeds, until drill_rest or the end. */
void drill_work(struct drill *d);
void drill_rest(struct drill *d);

void drill_pass(struct drill *d, uint64_t ms);
/* Until it holds, which is asked after every event; false when it does not within the time. */
bool drill_until(struct drill *d, uint64_t ms, bool (*holds)(const void *ctx), const void *ctx);

/* ---- users ------------------------------------------------------------------------------------------------------- */

/* Begins; NULL when something is wrong. Size: of a put. */
struct drill_call *drill_ask(struct drill *d, uint32_t node, enum user_kind kind, const char *name, uint64_t size,
                             enum client_condition condition);
/* A put of the same content under another name. */
struct drill_call *drill_ask_same(struct drill *d, uint32_t node, const struct drill_call *before, const char *name);
/* Waits for the answer, at most this long; false: there is none yet. call NULL: false. */
bool drill_heard(struct drill *d, const struct drill_call *call, uint64_t ms);
/* Both; must be answered. The status of the answer; 0 when something is wrong. */
int drill_put(struct drill *d, uint32_t node, const char *name, uint64_t size);
int drill_get(struct drill *d, uint32_t node, const char *name);
int drill_member(struct drill *d, uint32_t node, enum client_action action, uint32_t member, bool force);

/* ---- what is done to it ------------------------------------------------------------------------------------------ */

struct sim_host *drill_host(struct drill *d, uint32_t node);
void drill_crash(struct drill *d, uint32_t node, enum sim_crash how); /* if it is up */
void drill_start(struct drill *d, uint32_t node);                     /* if it is down */
void drill_block(struct drill *d, uint32_t from, uint32_t to, bool blocked);
void drill_cut(struct drill *d, uint32_t a, uint32_t b, bool cut); /* both ways */
void drill_isolate(struct drill *d, uint32_t node, bool cut);
void drill_hang(struct drill *d, uint32_t node, uint64_t ms);
void drill_hang_one(struct drill *d, uint32_t node, enum disk_env env, uint64_t ms); /* the others work */
void drill_slow(struct drill *d, enum disk_env env, uint32_t factor);                /* of everybody */
/* The host is invited by another, and joins. */
void drill_join(struct drill *d, uint32_t node, uint32_t inviter);

/* ---- what is seen ------------------------------------------------------------------------------------------------ */

uint32_t drill_group(struct drill *d, const char *name);
/* Who leads the group; waits for it. 0 when something is wrong. */
uint32_t drill_leader(struct drill *d, uint32_t group);
/* Somebody else than `old` leads the group, within the time; 0: nobody does. */
uint32_t drill_other_leader(struct drill *d, uint32_t group, uint32_t old, uint64_t ms);
/* Any host but these. */
uint32_t drill_other(struct drill *d, uint32_t a, uint32_t b);
/* All zero when the node is down or does not hold the group. */
struct groups_info drill_info(struct drill *d, uint32_t node, uint32_t group);
/* The highest term of the group that anybody is in. */
uint64_t drill_term(struct drill *d, uint32_t group);
/* How many rows a table of a node's disk has. */
size_t drill_rows(struct drill *d, uint32_t node, enum disk_env env, enum txn_table table);

#endif
