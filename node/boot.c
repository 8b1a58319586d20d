/* From an empty or a known data directory to a node that serves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define SWARM_ROW_MAX 256

static const struct slice SWARM_KEY = {.bytes = (const uint8_t *)"swarm", .size = 5};

static int swarm_row_put(struct txn *t, const struct swarm_row *row) {
    struct buf b;
    buf_init(&b, SWARM_ROW_MAX);
    cbor_put_array(&b, 5);
    cbor_put_uint(&b, 1); /* format */
    cbor_put_bytes(&b, row->settings.swarm, sizeof(row->settings.swarm));
    cbor_put_uint(&b, row->settings.bits);
    cbor_put_uint(&b, row->settings.replicas);
    cbor_put_uint(&b, row->self);
    int rc = b.error ? b.error : txn_put(t, TABLE_LOCAL, SWARM_KEY, (struct slice){b.bytes, b.size});
    buf_release(&b);
    return rc;
}

static int swarm_row_get(struct txn *t, struct swarm_row *out) {
    struct slice value;
    struct cbor_reader r;
    int rc = txn_get(t, TABLE_LOCAL, SWARM_KEY, &value);
    if (rc) {
        return rc;
    }
    cbor_reader_init(&r, value.bytes, value.size);
    cbor_expect_array(&r, 5);
    if (cbor_get_uint(&r, UINT64_MAX) != 1) {
        return r.error ? ERR_CORRUPT : ERR_VERSION;
    }
    cbor_get_fixed(&r, out->settings.swarm, sizeof(out->settings.swarm));
    out->settings.bits = (uint32_t)cbor_get_uint(&r, RING_BITS_MAX);
    out->settings.replicas = (uint32_t)cbor_get_uint(&r, PLACEMENT_REPLICAS_MAX);
    out->self = (uint32_t)cbor_get_uint(&r, UINT32_MAX);
    return cbor_finish(&r) || out->self == 0 || out->settings.replicas == 0 ? ERR_CORRUPT : 0;
}

/* ---- serving ---------------------------------------------------------------------------------------------------- */

/* Why an address cannot be listened on, to whoever chose it. */
static const char *listen_reason(int rc) {
    switch (rc) {
    case ERR_INVALID:
        return "that is no address of this machine";
    case ERR_REFUSED:
        return "the system does not allow it";
    default:
        return err_text(rc);
    }
}

static int open_doors(struct node *n) {
    char bound[MEMBER_ADDR_SIZE];
    int rc = net_listen(n->params.net, NET_PEER, n->listen, bound, sizeof(bound));
    if (rc) {
        node_fail(n, rc, "cannot listen on %s: %s; choose another address with --listen", n->listen, listen_reason(rc));
        return rc;
    }
    if (!n->advertise[0]) {
        memcpy(n->advertise, bound, sizeof(bound));
    }
    rc = net_listen(n->params.net, NET_LOCAL, n->local, NULL, 0);
    if (rc) {
        node_fail(n, rc, "cannot listen on %s: %s", n->local, err_text(rc));
    }
    return rc;
}

/* Serving begins: a new swarm once its founder is written and every arc has its leader; otherwise as soon as the own
 * row stands in the table. */
void boot_check_ready(struct node *n) {
    const struct member *row = members_find(n->members, n->swarm.self);
    uint32_t led, healthy, under;
    if (n->ready || n->gone || n->state != NODE_RUNNING || !row || row->state == MEMBER_JOINING) {
        return;
    }
    groups_health(n->groups, &led, &healthy, &under);
    if (members_count(n->members) == 1 && led + 1 < groups_count(n->groups)) {
        return;
    }
    n->ready = true;
    struct node_ready info = {.node = n->swarm.self,
                              .addr = n->advertise,
                              .arcs = groups_count(n->groups) - 1,
                              .replicas = n->swarm.settings.replicas};
    memcpy(info.swarm, n->swarm.settings.swarm, sizeof(info.swarm));
    n->params.ready(n->params.ctx, &info);
}

static void on_started(void *ctx, int status) {
    struct node *n = ctx;
    if (status) {
        node_fail(n, status, "cannot load the groups: %s", err_text(status));
        return;
    }
    struct client_server_params cp = {
        .files = n->files, .status = node_status, .invite = admit_invite, .change = change_request, .ctx = n};
    int rc = client_server_new(&cp, &n->clients);
    if (rc) {
        node_fail(n, rc, "cannot serve local programs: %s", err_text(rc));
        return;
    }
    n->state = NODE_RUNNING;
    groups_set_placement(n->groups, n->members, n->placement);
    files_start(n->files);
    table_root_changed(n); /* the copy on disk may be older than the root's own state */
    timer_start(&n->timers, &n->announce, clock_now_ms(n->params.clock));
    upkeep_start(n->upkeep);
    boot_check_ready(n);
}

void boot_start(struct node *n) {
    placement_free(n->placement); /* of the table that came with the admission */
    n->placement = NULL;
    int rc = placement_new(n->members, n->swarm.settings.bits, n->swarm.settings.replicas, &n->placement);
    if (rc) {
        node_fail(n, rc, "cannot place the groups: %s", err_text(rc));
        return;
    }
    n->state = NODE_STARTING;
    peers_set_swarm(n->peers, n->swarm.settings.swarm, n->swarm.self);
    peers_set_members(n->peers, n->members);
    groups_start(n->groups, n->swarm.settings.bits, n->swarm.self, on_started, n);
}

/* ---- writing down what swarm this is ---------------------------------------------------------------------------- */

struct create_op {
    struct disk_op op;
    struct node *node;
    struct swarm_row row;
    bool groups; /* of a new swarm: their first replicas too */
};

static int create_run(struct txn *t, struct disk_op *op) {
    struct create_op *c = (struct create_op *)op;
    int rc = swarm_row_put(t, &c->row);
    return rc || !c->groups ? rc : groups_create_logs(t, c->row.settings.bits, c->row.self);
}

static void create_done(struct disk_op *op, int status) {
    struct create_op *c = (struct create_op *)op;
    struct node *n = c->node;
    CHECK(status == 0);
    free(c);
    if (n->state != NODE_STOPPED) {
        boot_start(n);
    }
}

static int state_run(struct txn *t, struct disk_op *op) {
    struct create_op *c = (struct create_op *)op;
    return groups_create_state(t, c->row.settings.bits, c->row.self);
}

static void state_done(struct disk_op *op, int status) {
    struct create_op *c = (struct create_op *)op;
    struct disk *disk = c->node->params.disk;
    CHECK(status == 0);
    if (c->node->state == NODE_STOPPED) {
        free(c);
        return;
    }
    c->op = (struct disk_op){.run = create_run, .done = create_done};
    disk_write(disk, DISK_LOG, &c->op);
}

/* The swarm's row comes last: with it the swarm exists. */
static void write_swarm(struct node *n, bool groups) {
    struct create_op *c = calloc(1, sizeof(*c));
    CHECK(c);
    c->node = n;
    c->row = n->swarm;
    c->groups = groups;
    c->op.run = groups ? state_run : create_run;
    c->op.done = groups ? state_done : create_done;
    disk_write(n->params.disk, groups ? DISK_META : DISK_LOG, &c->op);
}

static void create_swarm(struct node *n) {
    n->state = NODE_CREATING;
    random_fill(n->params.random, n->swarm.settings.swarm, sizeof(n->swarm.settings.swarm));
    n->swarm.settings.bits = n->params.bits;
    n->swarm.settings.replicas = n->params.replicas;
    n->swarm.self = 1;
    write_swarm(n, true);
}

/* ---- joining ---------------------------------------------------------------------------------------------------- */

static void join_next(struct node *n);

static void prove(void *ctx, const uint8_t handshake[32], struct join_request *out) {
    struct node *n = ctx;
    struct digest verifier;
    memcpy(out->ticket, n->ticket.id, sizeof(out->ticket));
    ticket_verifier(n->ticket.secret, &verifier);
    ticket_prove(&verifier, handshake, &out->proof);
    table_own_row(n, &out->row);
}

static const char *join_remedy(int status) {
    switch (status) {
    case ERR_EXPIRED:
        return "the ticket has expired: ask for a new one with 'shoal invite'";
    case ERR_USED_UP:
        return "the ticket was used already: ask for a new one with 'shoal invite'";
    case ERR_AUTH:
        return "the ticket is not from this swarm, or not from the node at that address: ask for a new one with "
               "'shoal invite'";
    case ERR_REFUSED:
        return "this node's identity was removed from the swarm for good: start with an empty directory";
    case ERR_UNREACHABLE:
    case ERR_TIMEOUT:
    case ERR_CLOSED:
        return "no node answers there: does it run, and can this machine reach that address?";
    default:
        return err_text(status);
    }
}

static void joined(void *ctx, int status, const uint8_t *body, size_t size) {
    struct node *n = ctx;
    struct join_reply reply = {0};
    if (n->state != NODE_JOINING) {
        return;
    }
    int rc = status ? status : join_reply_decode(body, size, &reply);
    if ((rc == ERR_UNREACHABLE || rc == ERR_TIMEOUT || rc == ERR_CLOSED) && ++n->join_addr < n->ticket.addr_count) {
        join_next(n);
        return;
    }
    if (!rc) {
        memcpy(n->swarm.settings.swarm, n->ticket.swarm, sizeof(n->swarm.settings.swarm));
        n->swarm.settings.bits = reply.bits;
        n->swarm.settings.replicas = reply.replicas;
        n->swarm.self = reply.node;
        rc = table_take_delta(n, reply.members, reply.members_size);
    }
    if (rc) {
        size_t last = n->ticket.addr_count - 1;
        const char *addr = n->ticket.addrs[n->join_addr < last ? n->join_addr : last];
        node_fail(n, rc, "cannot join by %s: %s", addr, join_remedy(rc));
        return;
    }
    write_swarm(n, false);
}

static void join_next(struct node *n) {
    peers_join(n->peers, n->ticket.swarm, n->ticket.addrs[n->join_addr], n->ticket.inviter, prove, NODE_JOIN_MS, joined,
               n);
}

static void join_swarm(struct node *n) {
    n->state = NODE_JOINING;
    if (n->ticket.addr_count == 0) {
        node_fail(n, ERR_INVALID, "the ticket holds no address");
    } else if (n->ticket.expires_ms < clock_wall_ms(n->params.clock)) {
        node_fail(n, ERR_EXPIRED, "%s", join_remedy(ERR_EXPIRED));
    } else {
        join_next(n);
    }
}

/* ---- what is there already -------------------------------------------------------------------------------------- */

struct load_op {
    struct disk_op op;
    struct node *node;
    struct swarm_row row;
    struct members *members;
    bool found;
};

static int load_run(struct txn *t, struct disk_op *op) {
    struct load_op *l = (struct load_op *)op;
    int rc = swarm_row_get(t, &l->row);
    if (rc == ERR_NOT_FOUND) {
        return 0;
    }
    l->found = rc == 0;
    return rc ? rc : table_load(t, l->members);
}

static void load_done(struct disk_op *op, int status) {
    struct load_op *l = (struct load_op *)op;
    struct node *n = l->node;
    struct load_op found = *l;
    free(l);
    if (n->state == NODE_STOPPED) {
        members_free(found.members);
        return;
    }
    if (status) {
        members_free(found.members);
        node_fail(n, status, "cannot read the data directory: %s", err_text(status));
        return;
    }
    members_free(n->members);
    n->members = found.members;
    const struct member *self = found.found ? members_find(n->members, found.row.self) : NULL;
    if (self && self->state == MEMBER_GONE) {
        n->gone = true;
        table_leave_fire(&n->leave);
        return;
    }
    if (open_doors(n)) {
        return;
    }
    if (!found.found && n->joining_wanted) {
        join_swarm(n);
    } else if (!found.found) {
        create_swarm(n);
    } else if (n->joining_wanted && memcmp(n->ticket.swarm, found.row.settings.swarm, SWARM_ID_SIZE) != 0) {
        node_fail(n, ERR_EXISTS, "this directory belongs to another swarm than the ticket: use an empty one");
    } else {
        n->swarm = found.row;
        boot_start(n);
    }
}

void boot_load(struct node *n) {
    struct load_op *l = calloc(1, sizeof(*l));
    CHECK(l);
    int rc = members_new(&l->members);
    CHECK(rc == 0);
    l->op.run = load_run;
    l->op.done = load_done;
    l->node = n;
    n->state = NODE_LOADING;
    disk_read(n->params.disk, DISK_LOG, &l->op);
}
