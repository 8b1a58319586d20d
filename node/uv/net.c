/* Connections: their states, reading, sending, closing. */
#include "net.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "net_internal.h"
#include "uv_ports.h"

#define NET_KEEPALIVE_S 30
#define SEGMENT_SMALL (1000 - sizeof(struct segment)) /* an answer; the allocator has these at hand */
#define SEGMENT_LARGE (64 * 1024 - sizeof(struct segment))
#define SEND_IOVS 64

/* uv_try_write and uv_write count in int: one call of at most SEND_IOVS segments must fit. */
#define SEND_MAX (64 * 1024 * 1024)

int net_error(int uv_error) {
    CHECK(uv_error < 0);
    switch (uv_error) {
    case UV_EOF:
    case UV_ECONNRESET:
    case UV_EPIPE:
    case UV_ECONNABORTED:
        return ERR_CLOSED;
    case UV_ECONNREFUSED:
    case UV_EHOSTUNREACH:
    case UV_EHOSTDOWN:
    case UV_ENETUNREACH:
    case UV_ENETDOWN:
    case UV_ETIMEDOUT:
    case UV_EADDRNOTAVAIL:
        return ERR_UNREACHABLE;
    case UV_EADDRINUSE:
        return ERR_IN_USE;
    case UV_ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

struct net_conn *conn_of(void *data) {
    struct net_conn *c = data;
    CHECK(c != NULL);
    CHECK(c->magic == CONN_MAGIC);
    return c;
}

#define BIT(state) (1u << (state))

static const uint32_t conn_next_states[CONN_STATES] = {
    [CONN_RESOLVING] = BIT(CONN_CONNECTING) | BIT(CONN_CLOSING),
    [CONN_CONNECTING] = BIT(CONN_REOPENING) | BIT(CONN_OPEN) | BIT(CONN_CLOSING),
    [CONN_REOPENING] = BIT(CONN_CONNECTING) | BIT(CONN_CLOSING),
    [CONN_OPEN] = BIT(CONN_FLUSHING) | BIT(CONN_CLOSING),
    [CONN_FLUSHING] = BIT(CONN_LINGERING) | BIT(CONN_CLOSING),
    [CONN_LINGERING] = BIT(CONN_CLOSING),
    [CONN_CLOSING] = BIT(CONN_CLOSED),
    [CONN_CLOSED] = 0,
};

void conn_set_state(struct net_conn *c, enum conn_state to) {
    CHECK(c->state < CONN_STATES && to < CONN_STATES);
    CHECK(conn_next_states[c->state] & BIT(to));
    c->state = to;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

int conn_init_handle(struct net_conn *c) {
    CHECK(c->kind == NET_PEER || c->kind == NET_LOCAL);
    int uv_error = c->kind == NET_PEER ? uv_tcp_init(c->net->loop, &c->handle.tcp)
                                       : uv_pipe_init(c->net->loop, &c->handle.pipe, 0);
    if (uv_error != 0)
        return net_error(uv_error);
    c->handle.base.data = c;
    return 0;
}

int conn_new(struct net *n, enum net_kind kind, enum conn_state state, struct net_conn **ret_conn) {
    CHECK(n->magic == NET_MAGIC);
    CHECK(state == CONN_RESOLVING || state == CONN_OPEN);
    struct net_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->magic = CONN_MAGIC;
    c->net = n;
    c->kind = kind;
    c->state = state;
    STAILQ_INIT(&c->out);
    int error = conn_init_handle(c);
    if (error != 0) {
        free(c);
        return error;
    }
    TAILQ_INSERT_TAIL(&n->conns, c, link);
    n->conn_count++;
    *ret_conn = c;
    return 0;
}

void conn_free(struct net_conn *c) {
    CHECK(c->state == CONN_CLOSED);
    CHECK(!c->resolving && !c->in_turn && c->deadline_queue == NULL);
    TAILQ_REMOVE(&c->net->conns, c, link);
    c->net->conn_count--;
    while (!STAILQ_EMPTY(&c->out)) {
        struct segment *s = STAILQ_FIRST(&c->out);
        STAILQ_REMOVE_HEAD(&c->out, link);
        free(s);
    }
    conn_forget_addrs(c);
    c->magic = 0;
    free(c);
}

void conn_closed(struct net_conn *c) {
    struct net *n = c->net;
    conn_set_state(c, CONN_CLOSED);
    if (!c->silent && !n->shut)
        n->events.closed(n->events.ctx, c, c->status);
    if (!c->resolving)
        conn_free(c);
}

static void conn_on_closed(uv_handle_t *handle) {
    conn_closed(conn_of(handle->data));
}

void conn_destroy(struct net_conn *c, int status) {
    CHECK(c->state < CONN_CLOSING);
    bool reopening = c->state == CONN_REOPENING; /* its handle is being closed as it is */
    conn_set_state(c, CONN_CLOSING);
    c->status = status;
    conn_clear_deadline(c);
    if (c->in_turn) {
        TAILQ_REMOVE(&c->net->turn, c, turn_link);
        c->net->turn_count--;
        c->in_turn = false;
    }
    if (c->resolving)
        uv_cancel((uv_req_t *)&c->resolve);
    if (!reopening)
        uv_close(&c->handle.base, conn_on_closed);
}

/* After net_close() the user is not to hear of errors: the status stays 0. */
static void conn_fail(struct net_conn *c, int uv_error) {
    CHECK(c->state == CONN_OPEN || c->state == CONN_FLUSHING || c->state == CONN_LINGERING);
    conn_destroy(c, c->state == CONN_OPEN ? net_error(uv_error) : 0);
}

/* --- deadlines -------------------------------------------------------------------------------------------------- */

static void net_on_timer(uv_timer_t *timer);

void net_arm(struct net *n) {
    CHECK(n->magic == NET_MAGIC);
    uint64_t now = uv_now(n->loop);
    uint64_t at = UINT64_MAX;
    const struct net_conn *attempt = TAILQ_FIRST(&n->attempts);
    const struct net_conn *closing = TAILQ_FIRST(&n->closings);
    const struct net_listener *l;
    if (attempt != NULL)
        at = attempt->deadline_ms;
    if (closing != NULL && closing->deadline_ms < at)
        at = closing->deadline_ms;
    SLIST_FOREACH(l, &n->listeners, link) {
        if (l->starved && now + NET_ACCEPT_RETRY_MS < at)
            at = now + NET_ACCEPT_RETRY_MS;
    }
    if (at == UINT64_MAX)
        CHECK(uv_timer_stop(&n->timer) == 0);
    else
        CHECK(uv_timer_start(&n->timer, net_on_timer, at > now ? at - now : 0, 0) == 0);
}

void conn_clear_deadline(struct net_conn *c) {
    if (c->deadline_queue == NULL)
        return;
    CHECK(!TAILQ_EMPTY(c->deadline_queue));
    TAILQ_REMOVE(c->deadline_queue, c, deadline_link);
    c->deadline_queue = NULL;
}

void conn_set_deadline(struct net_conn *c, struct conn_queue *queue, uint64_t after_ms) {
    CHECK(queue == &c->net->attempts || queue == &c->net->closings);
    conn_clear_deadline(c);
    c->deadline_ms = uv_now(c->net->loop) + after_ms;
    c->deadline_queue = queue;
    TAILQ_INSERT_TAIL(queue, c, deadline_link);
    net_arm(c->net);
}

static void conn_on_deadline(struct net_conn *c) {
    if (c->state == CONN_CONNECTING)
        conn_attempt_failed(c, UV_ETIMEDOUT);
    else
        conn_destroy(c, c->state == CONN_RESOLVING ? ERR_UNREACHABLE : 0);
}

static void net_on_timer(uv_timer_t *timer) {
    struct net *n = timer->data;
    CHECK(n->magic == NET_MAGIC);
    uint64_t now = uv_now(n->loop);
    struct conn_queue *queues[] = {&n->attempts, &n->closings};
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        struct net_conn *c;
        while ((c = TAILQ_FIRST(queues[i])) != NULL && c->deadline_ms <= now) {
            conn_clear_deadline(c);
            conn_on_deadline(c);
        }
    }
    struct net_listener *l;
    SLIST_FOREACH(l, &n->listeners, link) {
        if (l->starved)
            listener_accept(l);
    }
    net_arm(n);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void conn_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    (void)suggested;
    const struct net_conn *c = conn_of(handle->data);
    CHECK(c->net->read_buffer != NULL);
    *buf = uv_buf_init(c->net->read_buffer, NET_READ_MAX);
}

static void conn_on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf) {
    struct net_conn *c = conn_of(stream->data);
    struct net *n = c->net;
    if (got < 0) {
        conn_fail(c, (int)got);
        return;
    }
    CHECK((size_t)got <= NET_READ_MAX);
    if (got > 0 && c->state == CONN_OPEN)
        n->events.received(n->events.ctx, c, (const uint8_t *)buf->base, (size_t)got);
}

/* While closing, reading goes on whatever the user asked: a peer that is itself stuck sending could not take the
 * rest of our bytes. */
static void conn_update_reading(struct net_conn *c) {
    bool want = (c->state == CONN_OPEN && !c->paused) || c->state == CONN_FLUSHING || c->state == CONN_LINGERING;
    if (want == c->reading)
        return;
    c->reading = want;
    int uv_error =
        want ? uv_read_start(&c->handle.stream, conn_on_alloc, conn_on_read) : uv_read_stop(&c->handle.stream);
    if (uv_error != 0)
        conn_fail(c, uv_error);
}

void net_pause(struct net_conn *c) {
    CHECK(c->magic == CONN_MAGIC);
    c->paused = true;
    if (c->state == CONN_OPEN)
        conn_update_reading(c);
}

void net_resume(struct net_conn *c) {
    CHECK(c->magic == CONN_MAGIC);
    c->paused = false;
    if (c->state == CONN_OPEN)
        conn_update_reading(c);
}

/* --- sending ---------------------------------------------------------------------------------------------------- */

static void conn_flush(struct net_conn *c);

static void conn_out_drop(struct net_conn *c, size_t size) {
    CHECK(size <= c->unsent);
    c->unsent -= size;
    while (size > 0) {
        struct segment *s = STAILQ_FIRST(&c->out);
        CHECK(s != NULL);
        size_t take = s->end - s->start < size ? s->end - s->start : size;
        s->start += take;
        size -= take;
        if (s->start < s->end)
            break;
        STAILQ_REMOVE_HEAD(&c->out, link);
        free(s);
    }
    CHECK(size == 0);
}

static unsigned conn_out_gather(const struct net_conn *c, uv_buf_t bufs[SEND_IOVS], size_t *ret_size) {
    unsigned count = 0;
    size_t size = 0;
    struct segment *s;
    STAILQ_FOREACH(s, &c->out, link) {
        size_t room = SEND_MAX - size;
        size_t take = s->end - s->start < room ? s->end - s->start : room;
        if (count == SEND_IOVS || take == 0)
            break;
        bufs[count++] = uv_buf_init((char *)s->bytes + s->start, (unsigned)take);
        size += take;
    }
    CHECK(count > 0 && size <= c->unsent);
    *ret_size = size;
    return count;
}

static void conn_on_shutdown(uv_shutdown_t *request, int uv_error) {
    struct net_conn *c = conn_of(request->data);
    if (uv_error != 0 && c->state == CONN_LINGERING)
        conn_fail(c, uv_error);
}

static void conn_sent_all(struct net_conn *c) {
    CHECK(c->unsent == 0 && c->in_flight == 0);
    struct net *n = c->net;
    if (c->state == CONN_OPEN) {
        n->events.drained(n->events.ctx, c);
        return;
    }
    conn_set_state(c, CONN_LINGERING);
    c->shutdown.data = c;
    int uv_error = uv_shutdown(&c->shutdown, &c->handle.stream, conn_on_shutdown);
    if (uv_error != 0)
        conn_fail(c, uv_error);
}

static void conn_on_written(uv_write_t *request, int uv_error) {
    struct net_conn *c = conn_of(request->data);
    CHECK(c->in_flight > 0);
    size_t size = c->in_flight;
    c->in_flight = 0;
    if (c->state != CONN_OPEN && c->state != CONN_FLUSHING)
        return;
    if (uv_error != 0) {
        conn_fail(c, uv_error);
        return;
    }
    conn_out_drop(c, size);
    conn_flush(c);
}

static void conn_write(struct net_conn *c) {
    uv_buf_t bufs[SEND_IOVS];
    size_t size;
    unsigned count = conn_out_gather(c, bufs, &size);
    c->write.data = c;
    int uv_error = uv_write(&c->write, &c->handle.stream, bufs, count, conn_on_written);
    if (uv_error != 0)
        conn_fail(c, uv_error);
    else
        c->in_flight = size;
}

/* Gives the kernel what it takes at once, and the rest to uv_write. */
static void conn_flush(struct net_conn *c) {
    CHECK(c->state == CONN_OPEN || c->state == CONN_FLUSHING);
    CHECK(c->in_flight == 0);
    while (c->unsent > 0) {
        uv_buf_t bufs[SEND_IOVS];
        size_t size;
        unsigned count = conn_out_gather(c, bufs, &size);
        int sent = uv_try_write(&c->handle.stream, bufs, count);
        if (sent < 0 && sent != UV_EAGAIN) {
            conn_fail(c, sent);
            return;
        }
        if (sent > 0)
            conn_out_drop(c, (size_t)sent);
        if (sent < 0 || (size_t)sent < size) {
            conn_write(c);
            return;
        }
    }
    conn_sent_all(c);
}

static void conn_enter_turn(struct net_conn *c) {
    if (c->in_turn || c->in_flight > 0)
        return;
    CHECK(c->state == CONN_OPEN || c->state == CONN_FLUSHING);
    TAILQ_INSERT_TAIL(&c->net->turn, c, turn_link);
    c->net->turn_count++;
    c->in_turn = true;
}

static void net_on_idle(uv_idle_t *idle) {
    (void)idle; /* an active idle handle keeps the loop from waiting: that is all it is for */
}

/* Everything sent during one turn of the loop leaves in one system call per connection. A connection that gets new
 * bytes from a `drained` callback made here has its turn next time, so that no sink, however fast, holds the loop. */
static void net_on_prepare(uv_prepare_t *prepare) {
    struct net *n = prepare->data;
    CHECK(n->magic == NET_MAGIC);
    for (uint32_t left = n->turn_count; left > 0 && !TAILQ_EMPTY(&n->turn); left--) {
        struct net_conn *c = TAILQ_FIRST(&n->turn);
        TAILQ_REMOVE(&n->turn, c, turn_link);
        n->turn_count--;
        c->in_turn = false;
        conn_flush(c);
    }
    if (TAILQ_EMPTY(&n->turn))
        CHECK(uv_idle_stop(&n->idle) == 0);
    else
        CHECK(uv_idle_start(&n->idle, net_on_idle) == 0);
}

static struct segment *segment_new(size_t size) {
    size_t capacity = size <= SEGMENT_SMALL ? SEGMENT_SMALL : size <= SEGMENT_LARGE ? SEGMENT_LARGE : size;
    struct segment *s = malloc(sizeof *s + capacity);
    if (s == NULL)
        return NULL;
    s->start = 0;
    s->end = 0;
    s->capacity = capacity;
    return s;
}

static void conn_appended(struct net_conn *c, size_t size) {
    c->unsent += size;
    if (c->state == CONN_OPEN)
        conn_enter_turn(c);
}

static void segment_append(struct segment *s, const uint8_t *bytes, size_t size) {
    CHECK(size <= s->capacity - s->end);
    memcpy(s->bytes + s->end, bytes, size);
    s->end += size;
}

int net_send(struct net_conn *c, const uint8_t *bytes, size_t size) {
    CHECK(c->magic == CONN_MAGIC);
    CHECK(bytes != NULL || size == 0);
    if (c->state >= CONN_FLUSHING)
        return ERR_CLOSED;
    if (size == 0)
        return 0;
    struct segment *tail = STAILQ_LAST(&c->out, segment, link);
    size_t room = tail != NULL ? tail->capacity - tail->end : 0;
    size_t first = size < room ? size : room;
    if (size > first) {
        struct segment *s = segment_new(size - first);
        if (s == NULL)
            return ERR_NOMEM;
        segment_append(s, bytes + first, size - first);
        STAILQ_INSERT_TAIL(&c->out, s, link);
    }
    if (first > 0)
        segment_append(tail, bytes, first);
    conn_appended(c, size);
    return 0;
}

int net_extend(struct net_conn *c, size_t size, uint8_t **ret_room) {
    CHECK(c->magic == CONN_MAGIC);
    CHECK(size > 0 && size <= NET_EXTEND_MAX);
    if (c->state >= CONN_FLUSHING)
        return ERR_CLOSED;
    struct segment *tail = STAILQ_LAST(&c->out, segment, link);
    if (tail == NULL || tail->capacity - tail->end < size) {
        tail = segment_new(size);
        if (tail == NULL)
            return ERR_NOMEM;
        STAILQ_INSERT_TAIL(&c->out, tail, link);
    }
    *ret_room = tail->bytes + tail->end;
    tail->end += size;
    conn_appended(c, size);
    return 0;
}

size_t net_unsent(const struct net_conn *c) {
    CHECK(c->magic == CONN_MAGIC);
    return c->unsent;
}

/* --- opening and closing ---------------------------------------------------------------------------------------- */

/* A socket without these options works, only worse: their errors say nothing a read or write will not say. */
void conn_opened(struct net_conn *c) {
    if (c->kind == NET_PEER) {
        uv_tcp_nodelay(&c->handle.tcp, 1);
        uv_tcp_keepalive(&c->handle.tcp, 1, NET_KEEPALIVE_S);
    }
    if (c->state == CONN_CONNECTING)
        conn_set_state(c, CONN_OPEN);
    CHECK(c->state == CONN_OPEN);
    if (c->unsent > 0)
        conn_enter_turn(c);
}

void conn_start(struct net_conn *c) {
    CHECK(!c->silent);
    if (c->state == CONN_OPEN)
        conn_update_reading(c);
}

void net_close(struct net_conn *c) {
    CHECK(c->magic == CONN_MAGIC);
    if (c->state >= CONN_FLUSHING)
        return;
    if (c->state != CONN_OPEN || c->unsent == 0) {
        conn_destroy(c, 0);
        return;
    }
    CHECK(c->in_turn || c->in_flight > 0);
    conn_set_state(c, CONN_FLUSHING);
    conn_set_deadline(c, &c->net->closings, NET_CLOSE_MS);
    conn_update_reading(c);
}

const char *net_peer_name(const struct net_conn *c) {
    CHECK(c->magic == CONN_MAGIC);
    return c->name;
}

void net_set_user(struct net_conn *c, void *user) {
    CHECK(c->magic == CONN_MAGIC);
    c->user = user;
}

void *net_user(const struct net_conn *c) {
    CHECK(c->magic == CONN_MAGIC);
    return c->user;
}

/* --- the port --------------------------------------------------------------------------------------------------- */

int net_new(uv_loop_t *loop, struct net **ret_net) {
    CHECK(loop != NULL);
    struct net *n = calloc(1, sizeof *n);
    if (n == NULL)
        return ERR_NOMEM;
    n->read_buffer = malloc(NET_READ_MAX);
    if (n->read_buffer == NULL) {
        free(n);
        return ERR_NOMEM;
    }
    n->magic = NET_MAGIC;
    n->loop = loop;
    TAILQ_INIT(&n->conns);
    TAILQ_INIT(&n->turn);
    TAILQ_INIT(&n->attempts);
    TAILQ_INIT(&n->closings);
    SLIST_INIT(&n->listeners);
    CHECK(uv_prepare_init(loop, &n->prepare) == 0);
    CHECK(uv_idle_init(loop, &n->idle) == 0);
    CHECK(uv_timer_init(loop, &n->timer) == 0);
    n->prepare.data = n;
    n->timer.data = n;
    CHECK(uv_prepare_start(&n->prepare, net_on_prepare) == 0);
    *ret_net = n;
    return 0;
}

void net_on_events(struct net *n, const struct net_events *events) {
    CHECK(n->magic == NET_MAGIC && n->events.closed == NULL);
    CHECK(events->accepted && events->connected && events->received && events->drained && events->closed);
    n->events = *events;
}

void net_shut(struct net *n) {
    CHECK(n->magic == NET_MAGIC && !n->shut);
    n->shut = true;
    struct net_conn *c;
    TAILQ_FOREACH(c, &n->conns, link) {
        if (c->state < CONN_CLOSING)
            conn_destroy(c, 0);
    }
    struct net_listener *l;
    SLIST_FOREACH(l, &n->listeners, link) {
        uv_close(&l->handle.base, NULL);
    }
    uv_close((uv_handle_t *)&n->prepare, NULL);
    uv_close((uv_handle_t *)&n->idle, NULL);
    uv_close((uv_handle_t *)&n->timer, NULL);
}

void net_free(struct net *n) {
    CHECK(n->magic == NET_MAGIC && n->shut);
    CHECK(TAILQ_EMPTY(&n->conns) && n->conn_count == 0);
    while (!SLIST_EMPTY(&n->listeners)) {
        struct net_listener *l = SLIST_FIRST(&n->listeners);
        SLIST_REMOVE_HEAD(&n->listeners, link);
        free(l);
    }
    free(n->read_buffer);
    n->magic = 0;
    free(n);
}
