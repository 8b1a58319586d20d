/* Local programs and their requests: from frames to calls of files, and back. */
#include "client_server.h"

#include <bsd/sys/queue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"

#define CONN_MAGIC 0x434c4e54u
#define MEMBER_ROW_MAX 288 /* an encoded client_member: two texts, a key, six numbers, and their heads */
#define STATUS_HEAD_MAX 128
#define FRAME_PREFIX_SIZE 4

_Static_assert(STATUS_HEAD_MAX + (size_t)CLIENT_MEMBERS_MAX * MEMBER_ROW_MAX <= FRAME_MAX, "a status fits a frame");
_Static_assert(MEMBER_ROW_MAX >= MEMBER_ADDR_SIZE + MEMBER_ZONE_SIZE + 32 + 6 * 9 + 8, "a row fits its bound");
_Static_assert(NAME_TEXT_MAX <= CLIENT_NAME_MAX, "every name fits a message");
_Static_assert((int)CONDITION_ANY == CLIENT_ANY && (int)CONDITION_ABSENT == CLIENT_ABSENT &&
                   (int)CONDITION_MATCH == CLIENT_MATCH,
               "conditions are the same numbers inside and outside");

/*           PUT ──▶ PUTTING ──END──▶ STORING ──result──┐
 *            │         └─failed early─▶ DISCARDING ─END─┤
 *   IDLE ────┤                                          ├──▶ IDLE
 *            ├ GET ─▶ GETTING ──────────────────────────┤
 *            └ else ▶ ASKING ───────────────────────────┘
 *
 * All of them ──▶ CLOSING (net_close was called, or the connection is gone): it lasts until `closed` was heard and the
 * operation under way, if it is one that cannot be abandoned, has come back. */
enum conn_state {
    CONN_IDLE,
    CONN_PUTTING,
    CONN_STORING,
    CONN_DISCARDING,
    CONN_GETTING,
    CONN_ASKING,
    CONN_CLOSING,
    CONN_STATES
};

#define TO(state) (1u << (state))
static const unsigned ALLOWED[CONN_STATES] = {
    [CONN_IDLE] = TO(CONN_PUTTING) | TO(CONN_GETTING) | TO(CONN_ASKING) | TO(CONN_CLOSING),
    [CONN_PUTTING] = TO(CONN_STORING) | TO(CONN_DISCARDING) | TO(CONN_CLOSING),
    [CONN_STORING] = TO(CONN_IDLE) | TO(CONN_CLOSING),
    [CONN_DISCARDING] = TO(CONN_IDLE) | TO(CONN_CLOSING),
    [CONN_GETTING] = TO(CONN_IDLE) | TO(CONN_CLOSING),
    [CONN_ASKING] = TO(CONN_IDLE) | TO(CONN_CLOSING),
};

struct client_conn {
    uint32_t magic; /* first: the owner of a net_conn is told by it */
    struct client_server *server;
    struct net_conn *net; /* NULL once it is closed */
    TAILQ_ENTRY(client_conn) link;
    struct frame_reader frames;
    enum conn_state state;
    bool asked;            /* an operation that cannot be abandoned is out and will call back with this struct */
    bool paused;           /* we do not read */
    struct files_put *put; /* PUTTING, STORING */
    struct files_get *get; /* GETTING */
};

struct client_server {
    struct client_server_params params;
    TAILQ_HEAD(, client_conn) conns;
    uint32_t count; /* of conns, also of those that only wait for their operation */
};

static void conn_check(const struct client_conn *c) {
    CHECK(c->magic == CONN_MAGIC && c->state < CONN_STATES);
    CHECK((c->put != NULL) == (c->state == CONN_PUTTING || c->state == CONN_STORING));
    CHECK((c->get != NULL) == (c->state == CONN_GETTING));
    CHECK(c->asked ? c->state == CONN_ASKING || c->state == CONN_CLOSING : c->state != CONN_ASKING);
    CHECK(c->net || c->state == CONN_CLOSING);
}

static void conn_to(struct client_conn *c, enum conn_state state) {
    CHECK(ALLOWED[c->state] & TO(state));
    c->state = state;
}

static void conn_free(struct client_conn *c) {
    CHECK(c->server->count > 0);
    c->server->count--;
    TAILQ_REMOVE(&c->server->conns, c, link);
    frame_reader_release(&c->frames);
    c->magic = 0;
    free(c);
}

/* Nothing more is taken from the program and nothing more is done for it. */
static void conn_shut(struct client_conn *c) {
    struct files_put *put = c->put;
    struct files_get *get = c->get;
    c->put = NULL;
    c->get = NULL;
    conn_to(c, CONN_CLOSING);
    if (put) {
        files_put_abandon(put);
    }
    if (get) {
        files_get_abandon(get);
    }
}

static void conn_close(struct client_conn *c) {
    if (c->state != CONN_CLOSING) {
        conn_shut(c);
        net_close(c->net);
    }
}

static void conn_pause(struct client_conn *c) {
    if (!c->paused) {
        c->paused = true;
        net_pause(c->net);
    }
}

static void conn_resume(struct client_conn *c) {
    if (c->paused) {
        c->paused = false;
        net_resume(c->net);
    }
}

/* ---- answers ---------------------------------------------------------------------------------------------------- */

/* Takes the buffer. A program that cannot be answered is cut off: it must not take silence for anything else. */
static void send_frame(struct client_conn *c, struct buf *b) {
    CHECK(c->net && c->state != CONN_CLOSING);
    int rc = b->error ? b->error : net_send(c->net, b->bytes, b->size);
    buf_release(b);
    if (rc) {
        conn_close(c);
    }
}

static void frame_init(struct buf *b) {
    buf_init(b, FRAME_PREFIX_SIZE + FRAME_MAX);
}

static void send_message(struct client_conn *c, const struct client_message *m) {
    struct buf b;
    frame_init(&b);
    client_encode(m, &b);
    send_frame(c, &b);
}

static void send_result(struct client_conn *c, const struct files_result *r) {
    struct client_message m = {.kind = CLIENT_RESULT};
    m.u.result.status = r->status;
    if (r->status) {
        m.u.result.message = (struct client_text){.bytes = r->message, .size = strlen(r->message)};
    }
    memcpy(m.u.result.version, r->version.bytes, sizeof(m.u.result.version));
    m.u.result.size = r->size;
    m.u.result.modified_ms = r->modified_ms;
    send_message(c, &m);
}

static void send_failure(struct client_conn *c, int status, const char *verb, const char *remedy) {
    struct files_result r = {.status = status};
    CHECK(status != 0);
    (void)snprintf(r.message, sizeof(r.message), "%s: %s", verb, remedy);
    send_result(c, &r);
}

/* ---- put -------------------------------------------------------------------------------------------------------- */

static void put_more(void *ctx) {
    struct client_conn *c = ctx;
    conn_check(c);
    if (c->state == CONN_PUTTING && files_put_wants(c->put)) {
        conn_resume(c);
    }
}

static void put_done(void *ctx, const struct files_result *result) {
    struct client_conn *c = ctx;
    conn_check(c);
    CHECK(c->state == CONN_PUTTING || c->state == CONN_STORING);
    c->put = NULL;
    conn_to(c, c->state == CONN_PUTTING ? CONN_DISCARDING : CONN_IDLE);
    conn_resume(c); /* what is left of a failed put is read, to be thrown away */
    send_result(c, result);
}

static void put_begin(struct client_conn *c, const struct client_message *m) {
    struct files_put_params p = {.name = m->u.put.name.bytes,
                                 .name_size = m->u.put.name.size,
                                 .condition = (enum name_condition)m->u.put.condition,
                                 .size_hint = m->u.put.size, /* both sides write "unknown" as UINT64_MAX */
                                 .more = put_more,
                                 .done = put_done,
                                 .ctx = c};
    _Static_assert(CLIENT_SIZE_UNKNOWN == UINT64_MAX, "unknown sizes are the same number inside and outside");
    memcpy(p.match.bytes, m->u.put.match, sizeof(p.match.bytes));
    conn_to(c, CONN_PUTTING);
    c->put = files_put_begin(c->server->params.files, &p);
}

/* Frames that came in one read with the block that filled the window are still taken: that much more is held, bounded
 * by what net delivers in one call. */
static void put_data(struct client_conn *c, const struct client_message *m) {
    CHECK(c->state == CONN_PUTTING && c->put);
    files_put_data(c->put, m->u.data.bytes, m->u.data.size);
    if (!files_put_wants(c->put)) {
        conn_pause(c);
    }
}

static void put_end(struct client_conn *c) {
    CHECK(c->state == CONN_PUTTING && c->put);
    conn_to(c, CONN_STORING);
    conn_resume(c); /* nothing more is to come but news of the program's going away */
    files_put_end(c->put);
}

static int putting_frame(struct client_conn *c, const struct client_message *m) {
    if (m->kind == CLIENT_DATA) {
        put_data(c, m);
        return 0;
    }
    if (m->kind == CLIENT_END) {
        put_end(c);
        return 0;
    }
    return ERR_PROTOCOL;
}

static int discarding_frame(struct client_conn *c, const struct client_message *m) {
    if (m->kind == CLIENT_END) {
        conn_to(c, CONN_IDLE);
        return 0;
    }
    return m->kind == CLIENT_DATA ? 0 : ERR_PROTOCOL;
}

/* ---- get -------------------------------------------------------------------------------------------------------- */

static void get_head(void *ctx, uint64_t size, const struct version *version, uint64_t modified_ms) {
    struct client_conn *c = ctx;
    conn_check(c);
    CHECK(c->state == CONN_GETTING);
    struct client_message m = {.kind = CLIENT_HEAD, .u.head = {.size = size, .modified_ms = modified_ms}};
    memcpy(m.u.head.version, version->bytes, sizeof(m.u.head.version));
    send_message(c, &m);
}

static void get_data(void *ctx, const uint8_t *bytes, size_t size) {
    struct client_conn *c = ctx;
    conn_check(c);
    /* Sending may fail, which abandons the get: the rest of this block is then nobody's. */
    while (size > 0 && c->state == CONN_GETTING) {
        size_t take = size < CLIENT_DATA_MAX ? size : CLIENT_DATA_MAX;
        send_message(c, &(struct client_message){.kind = CLIENT_DATA, .u.data = {.bytes = bytes, .size = take}});
        bytes += take;
        size -= take;
    }
    if (c->state == CONN_GETTING && net_unsent(c->net) > CLIENT_SERVER_UNSENT_MAX) {
        files_get_pause(c->get);
    }
}

static void get_done(void *ctx, const struct files_result *result) {
    struct client_conn *c = ctx;
    conn_check(c);
    CHECK(c->state == CONN_GETTING);
    c->get = NULL;
    conn_to(c, CONN_IDLE);
    if (result->status) {
        send_result(c, result);
    } else {
        send_message(c, &(struct client_message){.kind = CLIENT_END});
    }
}

static void get_begin(struct client_conn *c, const struct client_message *m) {
    struct files_get_params p = {.name = m->u.get.name.bytes,
                                 .name_size = m->u.get.name.size,
                                 .offset = m->u.get.offset,
                                 .length = m->u.get.length,
                                 .head = get_head,
                                 .data = get_data,
                                 .done = get_done,
                                 .ctx = c};
    conn_to(c, CONN_GETTING);
    c->get = files_get_begin(c->server->params.files, &p);
}

/* ---- requests that are one call --------------------------------------------------------------------------------- */

static void ask_begin(struct client_conn *c) {
    conn_to(c, CONN_ASKING);
    c->asked = true;
}

/* The operation came back: is somebody still there to be told? The struct is gone when not, and the connection too. */
static bool ask_finish(struct client_conn *c) {
    conn_check(c);
    CHECK(c->asked);
    c->asked = false;
    if (c->state == CONN_ASKING) {
        conn_to(c, CONN_IDLE);
        return true;
    }
    if (!c->net) {
        conn_free(c);
    }
    return false;
}

static void removed(void *ctx, const struct files_result *result) {
    struct client_conn *c = ctx;
    if (ask_finish(c)) {
        send_result(c, result);
    }
}

static void rm_begin(struct client_conn *c, const struct client_message *m) {
    struct version match;
    memcpy(match.bytes, m->u.put.match, sizeof(match.bytes));
    ask_begin(c);
    files_remove(c->server->params.files, m->u.put.name.bytes, m->u.put.name.size,
                 (enum name_condition)m->u.put.condition, &match, removed, c);
}

static void send_page(struct client_conn *c, const struct files_entry *entries, uint32_t count, bool more) {
    struct client_entry *rows = calloc(count ? count : 1, sizeof(*rows));
    struct buf b;
    CHECK(count <= CLIENT_LIST_MAX);
    if (!rows) {
        send_failure(c, ERR_NOMEM, "ls", err_text(ERR_NOMEM));
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        rows[i].name = (struct client_text){.bytes = entries[i].name, .size = entries[i].name_size};
        rows[i].size = entries[i].size;
        rows[i].modified_ms = entries[i].modified_ms;
        memcpy(rows[i].version, entries[i].version.bytes, sizeof(rows[i].version));
    }
    frame_init(&b);
    client_encode_list(more, rows, count, &b);
    send_frame(c, &b);
    free(rows);
}

static void listed(void *ctx, const struct files_result *result, const struct files_entry *entries, uint32_t count,
                   bool more) {
    struct client_conn *c = ctx;
    if (!ask_finish(c)) {
        return;
    }
    if (result->status) {
        send_result(c, result);
    } else {
        send_page(c, entries, count, more);
    }
}

static void ls_begin(struct client_conn *c, const struct client_message *m) {
    CHECK(m->u.ls.limit > 0 && m->u.ls.limit <= CLIENT_LIST_MAX); /* the decoder lets nothing else through */
    ask_begin(c);
    files_list(c->server->params.files, m->u.ls.prefix.bytes, m->u.ls.prefix.size, m->u.ls.after.bytes,
               m->u.ls.after.size, m->u.ls.limit, listed, c);
}

static void stated(void *ctx, const struct files_stat *stat) {
    struct client_conn *c = ctx;
    if (!ask_finish(c)) {
        return;
    }
    if (stat->result.status) {
        send_result(c, &stat->result);
        return;
    }
    CHECK(stat->route.count <= ROUTE_NODES_MAX);
    struct client_message m = {.kind = CLIENT_STAT_REPLY};
    m.u.stat_reply.name = (struct client_text){.bytes = stat->name, .size = strlen(stat->name)};
    m.u.stat_reply.size = stat->result.size;
    m.u.stat_reply.modified_ms = stat->result.modified_ms;
    memcpy(m.u.stat_reply.version, stat->result.version.bytes, sizeof(m.u.stat_reply.version));
    m.u.stat_reply.chunks = stat->chunks;
    m.u.stat_reply.is_inline = stat->is_inline;
    m.u.stat_reply.arc = stat->arc;
    m.u.stat_reply.leader = stat->route.leader;
    m.u.stat_reply.replica_count = stat->route.count;
    memcpy(m.u.stat_reply.replicas, stat->route.nodes, stat->route.count * sizeof(stat->route.nodes[0]));
    m.u.stat_reply.chunk_replicas_min = stat->chunk_replicas_min;
    send_message(c, &m);
}

static void stat_begin(struct client_conn *c, const struct client_message *m) {
    ask_begin(c);
    files_stat(c->server->params.files, m->u.stat.name.bytes, m->u.stat.name.size, stated, c);
}

static const char *invite_remedy(int status) {
    switch (status) {
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
        return "no quorum of the root group answered in time: are enough nodes running? see 'shoal status'";
    case ERR_BUSY:
        return "the node has too much to do: try again";
    default:
        return err_text(status);
    }
}

static void invited(void *ctx, int status, const char *ticket) {
    struct client_conn *c = ctx;
    if (!ask_finish(c)) {
        return;
    }
    if (status) {
        send_failure(c, status, "invite", invite_remedy(status));
    } else {
        struct client_text text = {.bytes = ticket, .size = strlen(ticket)};
        send_message(c, &(struct client_message){.kind = CLIENT_TEXT, .u.text = text});
    }
}

static void invite_begin(struct client_conn *c, const struct client_message *m) {
    const struct client_server_params *p = &c->server->params;
    if (m->u.invite.expires_ms == 0 || m->u.invite.uses == 0) {
        send_failure(c, ERR_INVALID, "invite", "a ticket must be good for some time and at least one use");
        return;
    }
    ask_begin(c);
    p->invite(p->ctx, m->u.invite.expires_ms, m->u.invite.uses, invited, c);
}

static void changed(void *ctx, int status, const char *message) {
    struct client_conn *c = ctx;
    struct files_result r = {.status = status};
    if (ask_finish(c)) {
        (void)snprintf(r.message, sizeof(r.message), "%s", message);
        send_result(c, &r);
    }
}

static void change_begin(struct client_conn *c, const struct client_message *m) {
    const struct client_server_params *p = &c->server->params;
    ask_begin(c);
    p->change(p->ctx, m, changed, c);
}

/* Answered within the call: the state stays IDLE. */
static void status_answer(struct client_conn *c) {
    const struct client_server_params *p = &c->server->params;
    struct client_member *rows = calloc(CLIENT_MEMBERS_MAX, sizeof(*rows));
    struct client_message m;
    struct buf b;
    int rc = rows ? p->status(p->ctx, &m, rows, CLIENT_MEMBERS_MAX) : ERR_NOMEM;
    if (rc) {
        send_failure(c, rc, "status",
                     rc == ERR_UNAVAILABLE ? "the node does not serve yet: try again in a moment" : err_text(rc));
    } else {
        CHECK(m.kind == CLIENT_STATUS_REPLY && m.u.status_reply.count <= CLIENT_MEMBERS_MAX);
        frame_init(&b);
        client_encode_status(&m, rows, &b);
        send_frame(c, &b);
    }
    free(rows);
}

/* ---- frames ----------------------------------------------------------------------------------------------------- */

static int idle_frame(struct client_conn *c, const struct client_message *m) {
    if (net_unsent(c->net) > CLIENT_SERVER_UNSENT_MAX) {
        return ERR_PROTOCOL; /* it asks on without reading what it asked for: answers must not pile up */
    }
    switch (m->kind) {
    case CLIENT_PUT:
        put_begin(c, m);
        return 0;
    case CLIENT_GET:
        get_begin(c, m);
        return 0;
    case CLIENT_RM:
        rm_begin(c, m);
        return 0;
    case CLIENT_LS:
        ls_begin(c, m);
        return 0;
    case CLIENT_STAT:
        stat_begin(c, m);
        return 0;
    case CLIENT_STATUS:
        status_answer(c);
        return 0;
    case CLIENT_INVITE:
        invite_begin(c, m);
        return 0;
    case CLIENT_MEMBER:
        change_begin(c, m);
        return 0;
    default:
        return ERR_PROTOCOL;
    }
}

static int conn_frame(void *ctx, const uint8_t *frame, size_t size) {
    struct client_conn *c = ctx;
    struct client_message m;
    conn_check(c);
    if (c->state == CONN_CLOSING) {
        return ERR_CLOSED; /* by an answer to a frame of the same read that could not be sent */
    }
    int rc = client_decode(frame, size, &m, NULL);
    if (rc) {
        return rc;
    }
    switch (c->state) {
    case CONN_IDLE:
        return idle_frame(c, &m);
    case CONN_PUTTING:
        return putting_frame(c, &m);
    case CONN_DISCARDING:
        return discarding_frame(c, &m);
    default:
        return ERR_PROTOCOL; /* one request at a time */
    }
}

/* ---- events of the net port ------------------------------------------------------------------------------------- */

static struct client_conn *conn_of(const struct client_server *s, const struct net_conn *net) {
    struct client_conn *c = net_user(net);
    CHECK(c && c->magic == CONN_MAGIC);
    CHECK(c->server == s && c->net == net);
    return c;
}

void client_server_accepted(struct client_server *s, struct net_conn *net) {
    struct client_conn *c = s->count < CLIENT_SERVER_CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;
    if (!c) {
        net_close(net);
        return;
    }
    c->magic = CONN_MAGIC;
    c->server = s;
    c->net = net;
    frame_reader_init(&c->frames, FRAME_MAX);
    TAILQ_INSERT_TAIL(&s->conns, c, link);
    s->count++;
    net_set_user(net, c);
    conn_check(c);
}

void client_server_received(struct client_server *s, struct net_conn *net, const uint8_t *bytes, size_t size) {
    struct client_conn *c = conn_of(s, net);
    if (c->state != CONN_CLOSING && frame_read(&c->frames, bytes, size, conn_frame, c)) {
        conn_close(c);
    }
}

void client_server_drained(struct client_server *s, struct net_conn *net) {
    struct client_conn *c = conn_of(s, net);
    conn_check(c);
    if (c->state == CONN_GETTING) {
        files_get_resume(c->get);
    }
}

void client_server_closed(struct client_server *s, struct net_conn *net, int status) {
    struct client_conn *c = conn_of(s, net);
    (void)status;
    if (c->state != CONN_CLOSING) {
        conn_shut(c);
    }
    net_set_user(net, NULL);
    c->net = NULL;
    if (!c->asked) {
        conn_free(c);
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

int client_server_new(const struct client_server_params *params, struct client_server **ret_server) {
    CHECK(params->files && params->status && params->invite && params->change);
    struct client_server *s = calloc(1, sizeof(*s));
    if (!s) {
        return ERR_NOMEM;
    }
    s->params = *params;
    TAILQ_INIT(&s->conns);
    *ret_server = s;
    return 0;
}

void client_server_free(struct client_server *s) {
    if (!s) {
        return;
    }
    while (!TAILQ_EMPTY(&s->conns)) {
        conn_free(TAILQ_FIRST(&s->conns));
    }
    CHECK(s->count == 0);
    free(s);
}
