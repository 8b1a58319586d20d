/* This node's copy of the member table: read from the root group where it is here, pulled from whoever has a newer
 * epoch where it is not, and kept on disk so that a restart knows whom to call. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define MEMBER_ROW_MAX 1024
#define TABLE_KEY_SIZE 5 /* 'm' and the node number */

void table_own_row(struct node *n, struct member *out) {
    *out = (struct member){.node = n->swarm.self, .state = MEMBER_UP, .capacity = n->params.capacity};
    memcpy(out->id, n->identity.public_key, sizeof(out->id));
    memcpy(out->dh, n->identity.dh_public, sizeof(out->dh));
    memcpy(out->addr, n->advertise, sizeof(out->addr));
    memcpy(out->zone, n->zone, sizeof(out->zone));
    if (out->node == 0) {
        out->node = 1; /* any: the root group gives the number */
    }
}

/* ---- on disk ---------------------------------------------------------------------------------------------------- */

static void table_key(uint8_t key[TABLE_KEY_SIZE], uint32_t node) {
    key[0] = 'm';
    put_u32(key + 1, node);
}

static const struct slice EPOCH_KEY = {.bytes = (const uint8_t *)"epoch", .size = 5};

int table_load(struct txn *t, struct members *into) {
    uint8_t key[TABLE_KEY_SIZE];
    struct slice k, v;
    uint64_t epoch = 0;
    int rc = txn_get(t, TABLE_LOCAL, EPOCH_KEY, &v);
    if (rc == ERR_NOT_FOUND) {
        return 0;
    }
    if (rc || v.size != 8) {
        return rc ? rc : ERR_CORRUPT;
    }
    epoch = get_u64(v.bytes);
    table_key(key, 0);
    rc = txn_seek(t, TABLE_LOCAL, (struct slice){key, sizeof(key)}, &k, &v);
    while (!rc && k.size == sizeof(key) && k.bytes[0] == 'm') {
        struct member row;
        memcpy(key, k.bytes, sizeof(key));
        if (member_row_decode(v.bytes, v.size, &row) || members_apply(into, &row, epoch)) {
            return ERR_CORRUPT;
        }
        rc = txn_next(t, TABLE_LOCAL, (struct slice){key, sizeof(key)}, &k, &v);
    }
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

struct save_op {
    struct disk_op op;
    uint64_t epoch;
    size_t count;
    struct member rows[];
};

static int save_run(struct txn *t, struct disk_op *op) {
    struct save_op *s = (struct save_op *)op;
    uint8_t epoch[8], key[TABLE_KEY_SIZE];
    struct buf b;
    put_u64(epoch, s->epoch);
    int rc = txn_put(t, TABLE_LOCAL, EPOCH_KEY, (struct slice){epoch, sizeof(epoch)});
    buf_init(&b, MEMBER_ROW_MAX);
    for (size_t i = 0; !rc && i < s->count; i++) {
        buf_clear(&b);
        member_row_encode(&s->rows[i], &b);
        table_key(key, s->rows[i].node);
        rc = b.error ? b.error
                     : txn_put(t, TABLE_LOCAL, (struct slice){key, sizeof(key)}, (struct slice){b.bytes, b.size});
    }
    buf_release(&b);
    return rc;
}

static void save_done(struct disk_op *op, int status) {
    CHECK(status == 0);
    free(op);
}

static void save(struct node *n, const struct members *table, uint64_t since) {
    size_t total = members_count(table), count = 0;
    struct save_op *s = calloc(1, sizeof(*s) + total * sizeof(s->rows[0]));
    CHECK(s);
    for (size_t i = 0; i < total; i++) {
        const struct member *row = members_at(table, i);
        if (row->changed > since || since == 0) {
            s->rows[count++] = *row;
        }
    }
    s->op.run = save_run;
    s->op.done = save_done;
    s->epoch = members_epoch(table);
    s->count = count;
    disk_write(n->params.disk, DISK_LOG, &s->op);
}

/* The swarm goes on without us. The table is written before the process ends, or we hear it again at the next start. */
static void leave(struct node *n) {
    if (!n->gone) {
        n->gone = true;
        timer_start(&n->timers, &n->leave, clock_now_ms(n->params.clock) + NODE_LEAVE_MS);
    }
}

/* ---- taking over a newer table ---------------------------------------------------------------------------------- */

int table_adopt(struct node *n, struct members *table) {
    struct members *old = n->members;
    struct placement *placed = NULL, *before = n->placement;
    uint64_t since = members_epoch(old);
    if (n->gone || members_epoch(table) <= since) {
        members_free(table);
        return 0;
    }
    int rc = placement_new(table, n->swarm.settings.bits, n->swarm.settings.replicas, &placed);
    if (rc) {
        members_free(table);
        return rc;
    }
    n->members = table;
    n->placement = placed;
    if (n->state >= NODE_STARTING) {
        peers_set_members(n->peers, table);
        groups_set_placement(n->groups, table, placed);
    }
    members_free(old);
    placement_free(before);
    save(n, table, since);
    const struct member *self = members_find(table, n->swarm.self);
    if (self && self->state == MEMBER_GONE) {
        leave(n);
        return 0;
    }
    if (n->state == NODE_RUNNING) {
        upkeep_table(n->upkeep);
        table_announce_fire(&n->announce); /* it may have been decided that we are out */
    }
    boot_check_ready(n);
    return 0;
}

/* ---- leaving ---------------------------------------------------------------------------------------------------- */

void table_leave_fire(struct timer *t) {
    struct node *n = (struct node *)((char *)t - offsetof(struct node, leave));
    if (n->state != NODE_STOPPED && !n->failed) {
        n->failed = true; /* nothing that breaks from here on is news */
        n->params.left(n->params.ctx, "this node is no longer a member of its swarm, for good: to join again, start in "
                                      "an empty directory with a new ticket");
    }
}

/* A table with every row of the old one that the newer rows do not replace. */
static int add_missing(struct members *table, const struct members *old, uint64_t epoch) {
    for (size_t i = 0; i < members_count(old); i++) {
        const struct member *row = members_at(old, i);
        if (!members_find(table, row->node)) {
            int rc = members_apply(table, row, epoch);
            if (rc) {
                return rc;
            }
        }
    }
    return 0;
}

/* Our own row is all that we hear of this epoch. It is written for the next start; the copy that others may ask for as
 * long as we run stays at the epoch that it is whole in. */
void table_farewell(struct node *n, uint64_t epoch, const struct member *row) {
    struct members *table = NULL;
    uint64_t since = members_epoch(n->members);
    if (n->state < NODE_STARTING || n->state == NODE_STOPPED || n->gone || row->changed <= since ||
        members_new(&table)) {
        return;
    }
    int rc = members_apply(table, row, epoch);
    rc = rc ? rc : add_missing(table, n->members, epoch);
    if (!rc) {
        save(n, table, since);
        leave(n);
    }
    members_free(table);
}

int table_take_delta(struct node *n, const uint8_t *bytes, size_t size) {
    struct members_delta delta;
    struct codec_position rows;
    struct members *table = NULL;
    struct member row;
    int rc = members_delta_open(bytes, size, &delta, &rows);
    if (rc || delta.epoch <= members_epoch(n->members)) {
        return rc;
    }
    rc = members_new(&table);
    while (!rc) {
        rc = members_delta_next(&rows, &row);
        rc = rc ? rc : members_apply(table, &row, delta.epoch);
    }
    rc = rc == ERR_NOT_FOUND ? add_missing(table, n->members, delta.epoch) : rc;
    if (rc) {
        members_free(table);
        return rc;
    }
    return table_adopt(n, table);
}

/* The table as the root group's own state has it; ERR_NOT_FOUND while it has none. */
int table_take_root(struct node *n, const uint8_t *answer, size_t size, struct members **ret_members) {
    struct page_reader page;
    struct swarm_settings settings;
    struct members *table = NULL;
    struct member row;
    uint64_t epoch;
    (void)n;
    int rc = page_open(answer, size, &page);
    rc = rc ? rc : page_root_settings(&page, &settings, &epoch);
    rc = rc ? rc : members_new(&table);
    if (rc) {
        return rc; /* ERR_NOT_FOUND: the root group has no swarm yet */
    }
    while (!rc) {
        rc = page_member_next(&page, &row);
        rc = rc ? rc : members_apply(table, &row, epoch);
    }
    if (rc != ERR_NOT_FOUND) {
        members_free(table);
        return rc;
    }
    *ret_members = table;
    return 0;
}

/* ---- where news come from --------------------------------------------------------------------------------------- */

static void pulled(void *ctx, int status, const uint8_t *body, size_t size) {
    struct node *n = ctx;
    n->pulling = false;
    if (!status && n->state != NODE_STOPPED) {
        (void)table_take_delta(n, body, size); /* a bad delta is dropped: the next ping asks again */
    }
}

void table_ping(struct node *n, uint32_t from, uint64_t epoch) {
    struct buf body;
    if (epoch <= members_epoch(n->members) || n->pulling || n->state < NODE_STARTING || n->state == NODE_STOPPED) {
        return;
    }
    n->pulling = true;
    buf_init(&body, PEER_BODY_MAX);
    members_request_encode(members_epoch(n->members), &body);
    peers_request(n->peers, from, LANE_CONTROL, OP_MEMBERS, &body, NODE_ROOT_MS, pulled, n);
    buf_release(&body);
}

void table_serve(struct node *n, struct peers_call *call, const uint8_t *body, size_t size) {
    uint64_t since;
    struct buf out;
    int rc = members_request_decode(body, size, &since);
    buf_init(&out, PEER_BODY_MAX);
    if (!rc) {
        members_delta_encode(n->members, n->swarm.settings.bits, n->swarm.settings.replicas, since, &out);
        rc = out.error;
    }
    peers_reply(call, rc, out.bytes, rc ? 0 : out.size);
    buf_release(&out);
}

static void root_read(void *ctx, int status, const struct raft_config *config, const uint8_t *result, size_t size) {
    struct node *n = ctx;
    struct members *table;
    (void)config;
    n->root_reading = false;
    if (n->state == NODE_STOPPED) {
        return;
    }
    if (!status && table_take_root(n, result, size, &table) == 0) {
        (void)table_adopt(n, table);
    }
    if (n->root_stale) {
        table_root_changed(n);
    }
}

static void encode_root_query(struct buf *b) {
    struct query q = {.kind = QUERY_ROOT};
    buf_init(b, PEER_BODY_MAX);
    query_encode(&q, b);
}

void table_root_changed(struct node *n) {
    struct buf query;
    n->root_stale = n->root_reading;
    if (n->root_reading) {
        return;
    }
    n->root_reading = true;
    encode_root_query(&query);
    groups_query_local(n->groups, GROUPS_ROOT, &query, root_read, n);
    buf_release(&query);
}

void root_query(struct node *n, groups_cb *cb, void *ctx) {
    struct buf query;
    encode_root_query(&query);
    groups_query(n->groups, GROUPS_ROOT, &query, NODE_ROOT_MS, cb, ctx);
    buf_release(&query);
}

/* ---- telling the swarm about ourselves -------------------------------------------------------------------------- */

static bool announced(const struct node *n, const struct member *want) {
    const struct member *row = members_find(n->members, n->swarm.self);
    return row && (row->state == MEMBER_UP || row->state == MEMBER_DRAINING) && row->capacity == want->capacity &&
           strcmp(row->addr, want->addr) == 0 && strcmp(row->zone, want->zone) == 0;
}

static void announce_answer(void *ctx, int status, const struct raft_config *config, const uint8_t *result,
                            size_t size) {
    struct node *n = ctx;
    (void)status;
    (void)config;
    (void)result;
    (void)size;
    n->announcing = false;
    if (n->state == NODE_RUNNING) {
        timer_start(&n->timers, &n->announce, clock_now_ms(n->params.clock) + NODE_ANNOUNCE_MS);
    }
}

/* Until the table says of us what we say of ourselves. The founder of a swarm writes the table in the first place. */
void table_announce_fire(struct timer *t) {
    struct node *n = (struct node *)((char *)t - offsetof(struct node, announce));
    struct command c = {.kind = COMMAND_MEMBER_SET};
    struct buf b;
    struct member row;
    table_own_row(n, &row);
    if (n->state != NODE_RUNNING || n->gone || n->announcing || announced(n, &row)) {
        return;
    }
    if (members_epoch(n->members) == 0 && n->swarm.self == 1) {
        c.kind = COMMAND_ROOT_INIT;
        c.u.init.settings = n->swarm.settings;
        c.u.init.founder = row;
    } else {
        const struct member *now = members_find(n->members, n->swarm.self);
        row.state = now && now->state == MEMBER_DRAINING ? MEMBER_DRAINING : MEMBER_UP;
        c.u.member = row;
    }
    n->announcing = true;
    buf_init(&b, PEER_BODY_MAX);
    command_encode(&c, &b);
    groups_propose(n->groups, GROUPS_ROOT, &b, NODE_ROOT_MS, announce_answer, n);
    buf_release(&b);
}
