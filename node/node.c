/* The whole node: owns its parts and passes the ports' events to them. */
#include "node.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

void node_tuning_default(struct node_tuning *out) {
    *out = (struct node_tuning){
        .groups = {.timing = {.heartbeat_ms = 150, .election_min_ms = 500, .election_max_ms = 1000},
                   .compact_entries = 256,
                   .compact_bytes = 64 * 1024,
                   .log_bytes_max = 4 * 1024 * 1024,
                   .logs_bytes_max = 64 * 1024 * 1024,
                   .moves_max = 256,
                   .snapshots_max = 6,
                   .piece_bytes = MACHINE_PIECE_MAX,
                   .apply_max = 512},
        .files = {.settle_ms = 3600 * 1000,
                  .settle_every_ms = 60 * 1000,
                  .sweep_every_ms = 600 * 1000,
                  .grace_ms = 2000,
                  .put_window = 8,
                  .puts_bytes = 32 * 1024 * 1024,
                  .gets_ahead = 32,
                  .ref_dels = 64,
                  .repair_items = 16384,
                  .page_rows = FILES_PAGE_MAX},
        .members = {.out_after_ms = 10 * 60 * 1000, .look_every_ms = 1000}};
}

#define LEASE_PERCENT 80 /* of the least time in which nobody else can be elected */

void node_tuning_lease(struct node_tuning *t) {
    t->groups.timing.lease_ms = t->groups.timing.election_min_ms * LEASE_PERCENT / 100;
}

void node_log(struct node *n, const char *format, ...) {
    char line[NODE_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    n->params.log(n->params.ctx, line);
}

void node_fail(struct node *n, int status, const char *format, ...) {
    char line[NODE_MESSAGE_MAX];
    va_list args;
    if (n->failed || n->state == NODE_STOPPED) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    n->failed = true;
    n->params.failed(n->params.ctx, status, line);
}

/* ---- the ports' events ------------------------------------------------------------------------------------------ */

static void on_wake(void *ctx) {
    struct node *n = ctx;
    if (n->state != NODE_STOPPED) {
        timers_run(&n->timers, clock_now_ms(n->params.clock));
        clock_wake_at(n->params.clock, timers_next(&n->timers));
    }
}

static void on_arm(void *ctx, uint64_t at_ms) {
    struct node *n = ctx;
    if (n->state != NODE_STOPPED) {
        clock_wake_at(n->params.clock, at_ms);
    }
}

static void on_accepted(void *ctx, struct net_conn *c, enum net_kind kind) {
    struct node *n = ctx;
    if (n->state == NODE_STOPPED || (kind == NET_LOCAL && !n->clients)) {
        net_close(c);
    } else if (kind == NET_LOCAL) {
        client_server_accepted(n->clients, c);
    } else {
        peers_accepted(n->peers, c);
    }
}

static void on_connected(void *ctx, struct net_conn *c) {
    struct node *n = ctx;
    peers_connected(n->peers, c);
}

static void on_received(void *ctx, struct net_conn *c, const uint8_t *bytes, size_t size) {
    struct node *n = ctx;
    if (!net_user(c) || n->state == NODE_STOPPED) {
        return;
    }
    if (peers_owns(n->peers, c)) {
        peers_received(n->peers, c, bytes, size);
    } else {
        client_server_received(n->clients, c, bytes, size);
    }
}

static void on_drained(void *ctx, struct net_conn *c) {
    struct node *n = ctx;
    if (net_user(c) && !peers_owns(n->peers, c)) {
        client_server_drained(n->clients, c);
    }
}

static void on_closed(void *ctx, struct net_conn *c, int status) {
    struct node *n = ctx;
    if (!net_user(c)) {
        return;
    }
    if (peers_owns(n->peers, c)) {
        peers_closed(n->peers, c, status);
    } else {
        client_server_closed(n->clients, c, status);
    }
}

static void on_disk_failed(void *ctx, int status) {
    node_fail(ctx, status, "the disk failed (%s): nothing more is acknowledged; %s and start again", err_text(status),
              status == ERR_NO_SPACE ? "make room on it" : "repair it");
}

/* ---- events of the peers ---------------------------------------------------------------------------------------- */

static void on_ping(void *ctx, uint32_t from, const struct peer_ping *ping) {
    table_ping(ctx, from, ping->epoch);
}

static void on_raft(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct node *n = ctx;
    groups_raft(n->groups, from, frame, size);
}

static void on_routes(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct node *n = ctx;
    groups_routes(n->groups, from, frame, size);
}

static void on_led(void *ctx, uint32_t from, const uint8_t *frame, size_t size) {
    struct node *n = ctx;
    groups_led(n->groups, from, frame, size);
}

static void on_request(void *ctx, struct peers_call *call, enum peer_op op, const uint8_t *body, size_t size) {
    struct node *n = ctx;
    if (n->state != NODE_RUNNING) {
        peers_reply(call, ERR_BUSY, NULL, 0);
        return;
    }
    switch (op) {
    case OP_JOIN:
        admit_serve(n, call, body, size);
        break;
    case OP_MEMBERS:
        table_serve(n, call, body, size);
        break;
    case OP_CENSUS:
        census_serve(n, call, body, size);
        break;
    case OP_CHUNK_PUT:
    case OP_CHUNK_GET:
        files_request(n->files, call, op, body, size);
        break;
    default:
        groups_request(n->groups, call, op, body, size);
    }
}

static void on_opened(void *ctx, uint32_t node) {
    struct node *n = ctx;
    groups_peer_opened(n->groups, node);
}

static void on_lost(void *ctx, uint32_t node) {
    struct node *n = ctx;
    groups_peer_lost(n->groups, node);
}

static void on_alive(void *ctx, uint32_t node) {
    struct node *n = ctx;
    groups_peer_alive(n->groups, node);
}

static void on_lapsed(void *ctx, uint32_t node, uint64_t heard_ms) {
    struct node *n = ctx;
    groups_peer_lapsed(n->groups, node, heard_ms);
}

static void on_log(void *ctx, const char *line) {
    node_log(ctx, "%s", line);
}

static void on_farewell(void *ctx, uint64_t epoch, const struct member *row) {
    table_farewell(ctx, epoch, row);
}

static bool on_make_ping(void *ctx, struct peer_ping *out) {
    struct node *n = ctx;
    out->epoch = members_epoch(n->members);
    out->incarnation = n->incarnation;
    out->used = disk_used_bytes(n->params.disk);
    uint64_t now = clock_now_ms(n->params.clock);
    if (n->looked_ms == 0 || now - n->looked_ms >= NODE_HEALTH_MS) {
        groups_health(n->groups, &n->led, &n->healthy, &n->under);
        n->looked_ms = now;
    }
    out->led = n->led;
    out->healthy = n->healthy;
    out->under = n->under;
    return !groups_disk_stuck(n->groups);
}

static void on_applied(void *ctx, uint32_t group, uint64_t index, const struct machine_effect *effects, size_t count) {
    struct node *n = ctx;
    files_applied(n->files, group, index, effects, count);
}

static void on_installed(void *ctx, uint32_t group, uint64_t index) {
    struct node *n = ctx;
    files_installed(n->files, group, index);
}

static void on_removed(void *ctx, uint32_t group) {
    struct node *n = ctx;
    files_removed(n->files, group);
}

static void on_leader(void *ctx, uint32_t group, bool leading) {
    struct node *n = ctx;
    files_leader(n->files, group, leading);
    boot_check_ready(n);
}

static bool on_complete(void *ctx, uint32_t group, uint64_t index) {
    struct node *n = ctx;
    return files_complete(n->files, group, index);
}

static void on_root_changed(void *ctx) {
    table_root_changed(ctx);
}

static void on_failed(void *ctx, int status, const char *what) {
    node_fail(ctx, status, "%s: %s", what, err_text(status));
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

static int copy_text(char *out, size_t capacity, const char *text) {
    size_t size = text ? strlen(text) : 0;
    if (size >= capacity) {
        return ERR_TOO_LARGE;
    }
    memcpy(out, text ? text : "", size + 1);
    return 0;
}

static int copy_params(struct node *n, const struct node_params *params) {
    n->params = *params;
    n->identity = *params->identity;
    if (params->join) {
        n->ticket = *params->join;
        n->joining_wanted = true;
    }
    if (params->bits > RING_BITS_MAX || params->replicas == 0 || params->replicas > PLACEMENT_REPLICAS_MAX) {
        return ERR_INVALID;
    }
    int rc = copy_text(n->listen, sizeof(n->listen), params->listen);
    rc = rc ? rc : copy_text(n->advertise, sizeof(n->advertise), params->advertise);
    rc = rc ? rc : copy_text(n->zone, sizeof(n->zone), params->zone);
    return rc ? rc : copy_text(n->local, sizeof(n->local), params->local);
}

static int make_parts(struct node *n) {
    const struct node_params *np = &n->params;
    struct peers_params pp = {.net = np->net,
                              .clock = np->clock,
                              .random = np->random,
                              .timers = &n->timers,
                              .identity = &n->identity,
                              .aesgcm = np->aesgcm,
                              .events = {.ping = on_ping,
                                         .raft = on_raft,
                                         .routes = on_routes,
                                         .led = on_led,
                                         .request = on_request,
                                         .opened = on_opened,
                                         .lost = on_lost,
                                         .alive = on_alive,
                                         .lapsed = on_lapsed,
                                         .log = on_log,
                                         .farewell = on_farewell,
                                         .make_ping = on_make_ping,
                                         .ctx = n}};
    int rc = members_new(&n->members);
    rc = rc ? rc : peers_new(&pp, &n->peers);
    struct groups_params gp = {.clock = np->clock,
                               .random = np->random,
                               .timers = &n->timers,
                               .disk = np->disk,
                               .peers = n->peers,
                               .tuning = np->tuning.groups,
                               .hooks = {.applied = on_applied,
                                         .installed = on_installed,
                                         .removed = on_removed,
                                         .leader = on_leader,
                                         .complete = on_complete,
                                         .root_changed = on_root_changed,
                                         .failed = on_failed,
                                         .ctx = n}};
    rc = rc ? rc : groups_new(&gp, &n->groups);
    struct files_params fp = {.clock = np->clock,
                              .random = np->random,
                              .timers = &n->timers,
                              .disk = np->disk,
                              .peers = n->peers,
                              .groups = n->groups,
                              .tuning = np->tuning.files,
                              .log = on_log,
                              .ctx = n};
    rc = rc ? rc : files_new(&fp, &n->files);
    return rc ? rc : upkeep_new(n, &n->upkeep);
}

static void listen_to_ports(struct node *n) {
    struct net_events ev = {.accepted = on_accepted,
                            .connected = on_connected,
                            .received = on_received,
                            .drained = on_drained,
                            .closed = on_closed,
                            .ctx = n};
    net_on_events(n->params.net, &ev);
    clock_on_wake(n->params.clock, on_wake, n);
    disk_on_failed(n->params.disk, on_disk_failed, n);
}

int node_new(const struct node_params *params, struct node **ret_node) {
    struct node *n = calloc(1, sizeof(*n));
    if (!n) {
        return ERR_NOMEM;
    }
    timers_init(&n->timers, on_arm, n);
    n->announce.fire = table_announce_fire;
    n->leave.fire = table_leave_fire;
    TAILQ_INIT(&n->censuses);
    TAILQ_INIT(&n->changes);
    TAILQ_INIT(&n->admissions);
    TAILQ_INIT(&n->invitations);
    int rc = copy_params(n, params);
    rc = rc ? rc : make_parts(n);
    if (rc) {
        node_free(n);
        return rc;
    }
    n->incarnation = random_u64(params->random);
    listen_to_ports(n);
    boot_load(n);
    *ret_node = n;
    return 0;
}

void node_stop(struct node *n) {
    n->state = NODE_STOPPED;
    files_stop(n->files);
    groups_stop(n->groups);
    clock_wake_at(n->params.clock, UINT64_MAX);
}

void node_free(struct node *n) {
    if (!n) {
        return;
    }
    /* The parts own timers and stop some of them as they go: none may refer to one that is freed already. */
    while (n->timers.count > 0) {
        timer_stop(&n->timers, n->timers.heap[0]);
    }
    client_server_free(n->clients);
    admit_release(n);
    census_release(n);
    change_release(n);
    upkeep_free(n->upkeep);
    files_free(n->files);
    groups_free(n->groups);
    peers_free(n->peers);
    placement_free(n->placement);
    members_free(n->members);
    identity_release(&n->identity);
    ticket_release(&n->ticket);
    timers_release(&n->timers);
    free(n);
}

const struct groups *node_groups(const struct node *n) {
    return n->groups;
}

const struct files *node_files(const struct node *n) {
    return n->files;
}

const struct members *node_members(const struct node *n) {
    return n->members;
}

uint32_t node_self(const struct node *n) {
    return n->swarm.self;
}

void node_invariant(const struct node *n) {
    if (n->state == NODE_RUNNING) {
        groups_invariant(n->groups);
    }
}
