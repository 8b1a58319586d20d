#include "user.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "content.h"
#include "errors.h"
#include "internal.h"

#define USER_SEND_MAX (64u << 20)

struct call {
    struct sim *sim;
    struct sim_client *client; /* NULL once it is gone */
    struct user_request request;
    struct user_result result;
    struct frame_reader frames;
    struct content_reader content;
    struct event timeout;
    user_done *done;
    void *ctx;
    bool headed, finished;
};

static void call_finish(struct call *c, int status, bool answered) {
    if (c->finished) {
        return;
    }
    c->finished = true;
    c->result.status = status;
    c->result.answered = answered;
    events_cancel(&c->sim->events, &c->timeout);
    c->done(c->ctx, &c->result);
    if (c->client != NULL) {
        sim_client_close(c->client);
    }
}

static void call_broken(struct call *c, const char *what) {
    c->result.broken = true;
    snprintf(c->result.message, sizeof(c->result.message), "%s", what);
    call_finish(c, ERR_PROTOCOL, true);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static struct client_text text_of(const char *text) {
    return (struct client_text){.bytes = text, .size = strlen(text)};
}

static void encode_put(const struct user_request *q, struct buf *out) {
    struct client_message m = {.kind = CLIENT_PUT};
    m.u.put.name = text_of(q->name);
    m.u.put.condition = (uint8_t)q->condition;
    memcpy(m.u.put.match, q->match, sizeof(m.u.put.match));
    m.u.put.size = q->content % 3 == 0 ? CLIENT_SIZE_UNKNOWN : q->size;
    client_encode(&m, out);
    uint8_t *block = malloc(USER_BLOCK);
    CHECK(block != NULL);
    for (uint64_t offset = 0; offset < q->size;) {
        size_t part = q->size - offset < USER_BLOCK ? (size_t)(q->size - offset) : USER_BLOCK;
        content_fill(q->content, offset, block, part);
        struct client_message d = {.kind = CLIENT_DATA};
        d.u.data.bytes = block;
        d.u.data.size = part;
        client_encode(&d, out);
        offset += part;
    }
    free(block);
    client_encode(&(struct client_message){.kind = CLIENT_END}, out);
}

static void encode_request(const struct user_request *q, struct buf *out) {
    struct client_message m;
    memset(&m, 0, sizeof(m));
    switch (q->kind) {
    case USER_PUT:
        encode_put(q, out);
        return;
    case USER_GET:
        m.kind = CLIENT_GET;
        m.u.get.name = text_of(q->name);
        m.u.get.length = CLIENT_SIZE_UNKNOWN;
        break;
    case USER_REMOVE:
        m.kind = CLIENT_RM;
        m.u.put.name = text_of(q->name);
        m.u.put.condition = (uint8_t)q->condition;
        memcpy(m.u.put.match, q->match, sizeof(m.u.put.match));
        break;
    case USER_LIST:
        m.kind = CLIENT_LS;
        m.u.ls.prefix = text_of(q->name);
        m.u.ls.after = text_of(q->after);
        m.u.ls.limit = q->limit;
        break;
    case USER_STAT:
        m.kind = CLIENT_STAT;
        m.u.stat.name = text_of(q->name);
        break;
    case USER_STATUS:
        m.kind = CLIENT_STATUS;
        break;
    case USER_INVITE:
        m.kind = CLIENT_INVITE;
        m.u.invite.expires_ms = 3600 * 1000;
        m.u.invite.uses = q->uses;
        break;
    case USER_MEMBER:
        m.kind = CLIENT_MEMBER;
        m.u.member.action = (uint8_t)q->action;
        m.u.member.node = q->member;
        m.u.member.force = q->force;
        break;
    }
    client_encode(&m, out);
}

static void on_connected(void *ctx) {
    struct call *c = ctx;
    struct buf out;
    buf_init(&out, USER_SEND_MAX);
    encode_request(&c->request, &out);
    CHECK(out.error == 0);
    CHECK(c->client != NULL);
    (void)sim_client_send(c->client, out.bytes, out.size); /* closed already: `closed` follows */
    buf_release(&out);
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

static void copy_text(char *out, size_t capacity, const struct client_text *text) {
    snprintf(out, capacity, "%.*s", (int)(text->size < capacity ? text->size : capacity - 1), text->bytes);
}

static void take_result(struct call *c, const struct client_message *m) {
    copy_text(c->result.message, sizeof(c->result.message), &m->u.result.message);
    memcpy(c->result.version, m->u.result.version, sizeof(c->result.version));
    c->result.size = m->u.result.size;
    enum user_kind kind = c->request.kind;
    bool says_done = kind == USER_PUT || kind == USER_REMOVE || kind == USER_MEMBER;
    if (m->u.result.status == 0 && !says_done) {
        call_broken(c, "a result of 0 where an answer was due");
    } else {
        call_finish(c, m->u.result.status, true);
    }
}

static void take_list(struct call *c, const struct client_message *m, struct client_rows *rows) {
    struct client_entry row;
    c->result.more = m->u.list.more;
    while (client_list_next(rows, &row) == 0) {
        if (c->result.entry_count == USER_LIST_MAX || c->result.entry_count == c->request.limit ||
            row.name.size >= USER_NAME_SIZE) {
            call_broken(c, "more entries than were asked for");
            return;
        }
        struct user_entry *e = &c->result.entries[c->result.entry_count++];
        copy_text(e->name, sizeof(e->name), &row.name);
        memcpy(e->version, row.version, sizeof(e->version));
        e->size = row.size;
    }
    call_finish(c, 0, true);
}

static void take_status(struct call *c, const struct client_message *m, struct client_rows *rows) {
    struct client_member row;
    c->result.arcs_total = m->u.status_reply.arcs_total;
    c->result.arcs_healthy = m->u.status_reply.arcs_healthy;
    c->result.arcs_leaderless = m->u.status_reply.arcs_leaderless;
    while (client_member_next(rows, &row) == 0) {
        bool up = row.state == MEMBER_UP;
        c->result.members_up += up;
        c->result.members_alive += up && row.alive;
        c->result.members_between += !up && row.state != MEMBER_GONE;
    }
    call_finish(c, 0, true);
}

static void take_data(struct call *c, const struct client_message *m) {
    if (!c->headed) {
        call_broken(c, "data before its head");
        return;
    }
    content_reader_add(&c->content, m->u.data.bytes, m->u.data.size);
}

static void take_end(struct call *c) {
    if (!c->headed) {
        call_broken(c, "an end before its head");
        return;
    }
    c->result.content = content_reader_finish(&c->content);
    if (c->content.torn) {
        call_broken(c, "the bytes that were read are torn");
        sim_note(c->sim, "torn: %" PRIu64 " of %" PRIu64 " bytes, first wrong one at %" PRIu64, c->content.got,
                 c->content.size, c->content.torn_at);
    } else {
        call_finish(c, 0, true);
    }
}

static void take_head(struct call *c, const struct client_message *m) {
    c->headed = true;
    c->result.size = m->u.head.size;
    memcpy(c->result.version, m->u.head.version, sizeof(c->result.version));
    content_reader_init(&c->content, m->u.head.size);
}

static bool expected(enum user_kind asked, enum client_kind got) {
    switch (got) {
    case CLIENT_RESULT:
        return true;
    case CLIENT_HEAD:
    case CLIENT_DATA:
    case CLIENT_END:
        return asked == USER_GET;
    case CLIENT_LIST:
        return asked == USER_LIST;
    case CLIENT_STAT_REPLY:
        return asked == USER_STAT;
    case CLIENT_STATUS_REPLY:
        return asked == USER_STATUS;
    case CLIENT_TEXT:
        return asked == USER_INVITE;
    default:
        return false;
    }
}

static void take(struct call *c, const struct client_message *m, struct client_rows *rows) {
    switch (m->kind) {
    case CLIENT_RESULT:
        take_result(c, m);
        break;
    case CLIENT_HEAD:
        take_head(c, m);
        break;
    case CLIENT_DATA:
        take_data(c, m);
        break;
    case CLIENT_END:
        take_end(c);
        break;
    case CLIENT_LIST:
        take_list(c, m, rows);
        break;
    case CLIENT_STAT_REPLY:
        c->result.size = m->u.stat_reply.size;
        memcpy(c->result.version, m->u.stat_reply.version, sizeof(c->result.version));
        call_finish(c, 0, true);
        break;
    case CLIENT_STATUS_REPLY:
        take_status(c, m, rows);
        break;
    default:
        CHECK(m->kind == CLIENT_TEXT);
        copy_text(c->result.ticket, sizeof(c->result.ticket), &m->u.text);
        call_finish(c, 0, true);
        break;
    }
}

static int on_frame(void *ctx, const uint8_t *frame, size_t size) {
    struct call *c = ctx;
    struct client_message m;
    struct client_rows rows;
    if (c->finished) {
        return 0;
    }
    if (client_decode(frame, size, &m, &rows) != 0 || !expected(c->request.kind, m.kind)) {
        call_broken(c, "an answer of the wrong form");
        return 0;
    }
    take(c, &m, &rows);
    return 0;
}

static void on_received(void *ctx, const uint8_t *bytes, size_t size) {
    struct call *c = ctx;
    if (frame_read(&c->frames, bytes, size, on_frame, c) != 0) {
        call_broken(c, "a frame of an impossible size");
    }
}

static void on_closed(void *ctx, int status) {
    struct call *c = ctx;
    c->client = NULL;
    call_finish(c, status == 0 ? ERR_CLOSED : status, false);
    frame_reader_release(&c->frames);
    free(c);
}

static void on_timeout(struct event *e) {
    call_finish(CONTAINER(e, struct call, timeout), ERR_TIMEOUT, false);
}

void user_call(struct sim_host *h, const struct user_request *request, user_done *done, void *ctx) {
    CHECK(request->timeout_us > 0);
    CHECK(request->limit <= USER_LIST_MAX);
    struct call *c = calloc(1, sizeof(*c));
    CHECK(c != NULL);
    c->sim = sim_host_sim(h);
    c->request = *request;
    c->done = done;
    c->ctx = ctx;
    frame_reader_init(&c->frames, FRAME_MAX);
    sim_event_init(&c->timeout, on_timeout, 0);
    const struct sim_client_events events = {
        .connected = on_connected, .received = on_received, .closed = on_closed, .ctx = c};
    c->client = sim_client_open(h, &events);
    sim_at(c->sim, &c->timeout, sim_now_us(c->sim) + request->timeout_us);
}
