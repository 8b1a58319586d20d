/* The state of a replica as a whole: replaced by a snapshot, or wiped when the replica goes. */
#include <stdlib.h>

#include "internal.h"

struct state_op {
    struct disk_op op;
    struct groups *groups;
    struct replica *replica; /* NULL: leftovers of one that is gone */
    uint32_t group;
    struct machine_arc arc;
    struct applied_row row;
};

static struct state_op *state_op_new(struct groups *g, uint32_t group, struct replica *r) {
    struct state_op *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->groups = g;
    s->replica = r;
    s->group = group;
    groups_arc(g, group, &s->arc);
    if (r) {
        r->ops++;
    }
    return s;
}

/* ---- installing: the state first, then, once it is durable, the log that begins after it --------------------------
 */

static int install_run(struct txn *t, struct disk_op *op) {
    const struct state_op *s = (const struct state_op *)op;
    int rc = machine_install(t, s->group, &s->arc);
    return rc ? rc : applied_row_put(t, s->group, &s->row);
}

static void install_done(struct disk_op *op, int status) {
    struct state_op *s = (struct state_op *)op;
    struct replica *r = s->replica;
    bool dead = r->dead;
    CHECK(status == 0);
    replica_op_done(r);
    if (!dead && !s->groups->stopped) {
        CHECK(r->installing && r->holding);
        r->applied = r->saved = s->row.index;
        r->applied_term = s->row.term;
        r->stamp_ms = s->row.stamp_ms;
        r->applied_config = s->row.config;
        r->base = s->row.index;
        r->holding = false;
        persist_held(r, false);
    }
    free(s);
}

void install_state(struct replica *r, const struct hard_row *hard) {
    struct state_op *s = state_op_new(r->groups, r->group, r);
    CHECK(r->in && r->installing && !r->holding);
    r->holding = true;
    s->op.run = install_run;
    s->op.done = install_done;
    s->row = (struct applied_row){.replica = r->id,
                                  .index = hard->base_index,
                                  .term = hard->base_term,
                                  .stamp_ms = r->in->stamp_ms,
                                  .config = hard->config};
    disk_write(r->groups->params.disk, DISK_META, &s->op);
}

/* ---- wiping -------------------------------------------------------------------------------------------------------
 */

/* The row that stays says whose state it was: should the crash come before its tombstone is durable, the replica is
 * known to be gone. */
static int wipe_run(struct txn *t, struct disk_op *op) {
    const struct state_op *s = (const struct state_op *)op;
    int rc = machine_wipe(t, &s->arc);
    rc = rc ? rc : machine_stage_clear(t, s->group);
    return rc ? rc : applied_row_put(t, s->group, &s->row);
}

static void wipe_done(struct disk_op *op, int status) {
    struct state_op *s = (struct state_op *)op;
    CHECK(status == 0);
    if (s->replica) {
        replica_op_done(s->replica);
    }
    free(s);
}

static void wipe(struct groups *g, uint32_t group, struct replica *r, uint64_t id) {
    struct state_op *s = state_op_new(g, group, r);
    s->op.run = wipe_run;
    s->op.done = wipe_done;
    s->row = (struct applied_row){.replica = id};
    disk_write(g->params.disk, DISK_META, &s->op);
}

void wipe_state(struct replica *r) {
    wipe(r->groups, r->group, r, r->id);
}

void wipe_leftovers(struct groups *g, uint32_t group, uint64_t id) {
    wipe(g, group, NULL, id);
}
