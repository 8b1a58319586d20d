/* One client of the benchmark: its connection, and the operation under way on it. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench_internal.h"
#include "check.h"
#include "errors.h"

#define PAUSE_NS 10000000    /* after an operation that failed, and when no node takes the connection */
#define AWAY_NS 1000000000ul /* before a client that strayed looks whether its own node is back */

static void client_check(const struct bench_client *c) {
    CHECK(c->magic == BENCH_MAGIC);
    CHECK(c->state != BENCH_BUSY || c->fd >= 0);
    CHECK(c->home < c->bench->params->dir_count && c->node < c->bench->params->dir_count);
}

static void set_state(struct bench_client *c, enum bench_client_state state) {
    c->bench->busy += (state == BENCH_BUSY) - (c->state == BENCH_BUSY);
    c->state = state;
}

static void rest(struct bench_client *c, uint64_t ns) {
    set_state(c, BENCH_RESTING);
    c->wake_ns = c->bench->now_ns + ns;
}

/* ---- the connection ---------------------------------------------------------------------------------------------- */

/* A node that is stopped leaves connections to wait in its queue; when that is full, it does not answer. */
static int connect_to(const struct sockaddr_un *node) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)node, sizeof *node) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void watch(struct bench_client *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    CHECK(epoll_ctl(c->bench->epoll, operation, c->fd, &event) == 0);
}

static void disconnect(struct bench_client *c) {
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->blocked = false;
    frame_reader_release(&c->frames);
    frame_reader_init(&c->frames, FRAME_MAX);
}

static bool connect_at(struct bench_client *c, uint32_t node) {
    int fd = connect_to(&c->bench->nodes[node]);
    if (fd < 0)
        return false;
    disconnect(c);
    c->fd = fd;
    c->node = node;
    c->strayed_ns = c->bench->now_ns;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
    return true;
}

/* To the node it is to use, else to the next one that answers; and home again after a while. */
static bool connected(struct bench_client *c) {
    uint32_t count = c->bench->params->dir_count;
    if (c->fd >= 0 && c->node != c->home && c->bench->now_ns - c->strayed_ns >= AWAY_NS) {
        c->strayed_ns = c->bench->now_ns;
        if (connect_at(c, c->home))
            return true;
    }
    for (uint32_t i = 0; i < count && c->fd < 0; i++)
        connect_at(c, (c->node + i) % count);
    return c->fd >= 0;
}

/* ---- the operation ----------------------------------------------------------------------------------------------- */

static void fail(struct bench_client *c, int status, struct client_text text) {
    struct bench_result *r = c->bench->result;
    c->status = status;
    if (c->bench->fatal != 0)
        return; /* that is what is to be told */
    r->status = status;
    snprintf(r->error, sizeof r->error, "%.*s", (int)text.size, text.bytes);
}

static void fail_plain(struct bench_client *c, int status, const char *text) {
    fail(c, status, (struct client_text){.bytes = text, .size = strlen(text)});
}

/* The operation did not come to its end: nobody knows whether a write has happened. The client goes on as somebody
 * else, so that every number in the history has one operation at a time; at another node when this one keeps silent. */
static void lose(struct bench_client *c, int status, const char *text, bool stray) {
    CHECK(c->state == BENCH_BUSY);
    fail_plain(c, status, text);
    set_state(c, BENCH_PARKED);
    bench_ended(c->bench, c, c->writes ? "unknown" : "fail");
    c->number += c->bench->params->clients;
    disconnect(c);
    if (stray)
        c->node = (c->node + 1) % c->bench->params->dir_count;
    rest(c, 0);
}

static const char *result_of(const struct bench_client *c) {
    switch (c->status) {
    case 0:
        return "ok";
    case ERR_NOT_FOUND:
        return c->writes ? "unknown" : "absent";
    case ERR_INVALID:
    case ERR_TOO_LARGE:
    case ERR_PRECONDITION:
        return "fail";
    default:
        return c->writes ? "unknown" : "fail";
    }
}

/* The node has answered. One that could not do what was asked is left for the next. */
static void finish(struct bench_client *c) {
    const char *result = result_of(c);
    bool in_step = c->sent == (c->writes ? c->put.size + c->bench->params->size + c->bench->tail_size : c->get.size);
    set_state(c, BENCH_PARKED);
    bench_ended(c->bench, c, result);
    if (strcmp(result, "unknown") == 0)
        c->number += c->bench->params->clients;
    if (c->status == 0 && in_step) {
        bench_client_start(c);
        return;
    }
    disconnect(c);
    c->node = (c->node + 1) % c->bench->params->dir_count;
    rest(c, PAUSE_NS);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static size_t gather(struct bench_client *c, struct iovec parts[4]) {
    struct bench *b = c->bench;
    struct bench_request *r = c->writes ? &c->put : &c->get;
    size_t count = 0;
    parts[count++] = (struct iovec){.iov_base = r->bytes, .iov_len = r->size};
    if (!c->writes)
        return count;
    parts[count++] = (struct iovec){.iov_base = c->stamp, .iov_len = BENCH_STAMP_SIZE};
    parts[count++] =
        (struct iovec){.iov_base = b->content + BENCH_STAMP_SIZE, .iov_len = b->params->size - BENCH_STAMP_SIZE};
    parts[count++] = (struct iovec){.iov_base = b->tail, .iov_len = b->tail_size};
    return count;
}

/* What is left after `sent` bytes; gives the first part that is not empty. */
static size_t skip(struct iovec *parts, size_t count, size_t sent) {
    size_t first = 0;
    for (; first < count && sent >= parts[first].iov_len; first++)
        sent -= parts[first].iov_len;
    if (first < count) {
        parts[first].iov_base = (uint8_t *)parts[first].iov_base + sent;
        parts[first].iov_len -= sent;
    }
    return first;
}

static void send_request(struct bench_client *c) {
    struct iovec parts[4];
    size_t count = gather(c, parts);
    size_t first = skip(parts, count, c->sent);
    if (first < count) {
        struct msghdr message = {.msg_iov = parts + first, .msg_iovlen = count - first};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return; /* what it said before it hung up is still to be read */
        c->sent += sent > 0 ? (size_t)sent : 0;
        first = skip(parts + first, count - first, sent > 0 ? (size_t)sent : 0) + first;
    }
    bool blocked = first < count;
    if (blocked != c->blocked)
        watch(c, EPOLL_CTL_MOD, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    c->blocked = blocked;
}

static void put_digits(struct bench_request *r, uint32_t number) {
    CHECK(r->digits + BENCH_DIGITS <= r->size);
    for (size_t i = BENCH_DIGITS; i > 0; i--, number /= 10)
        r->bytes[r->digits + i - 1] = (uint8_t)('0' + number % 10);
    CHECK(number == 0);
}

void bench_client_start(struct bench_client *c) {
    client_check(c);
    CHECK(c->state != BENCH_BUSY);
    if (!connected(c)) {
        rest(c, PAUSE_NS);
        return;
    }
    if (!bench_pick(c->bench, c)) {
        set_state(c, BENCH_PARKED);
        return;
    }
    put_digits(c->writes ? &c->put : &c->get, c->key);
    if (c->writes) {
        put_u32(c->stamp, c->key);
        put_u32(c->stamp + 4, (uint32_t)(c - c->bench->clients));
        put_u64(c->stamp + 8, c->stamps++);
    }
    c->call_ns = c->bench->now_ns;
    c->sent = 0;
    c->headed = false;
    c->got = 0;
    c->done = false;
    c->status = 0;
    set_state(c, BENCH_BUSY);
    send_request(c);
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* The file is one that a client of this run wrote under this name, as far as it has come. */
static int take_content(struct bench_client *c, const uint8_t *bytes, size_t size) {
    const struct bench *b = c->bench;
    if (!c->headed || size > b->params->size - c->got)
        return ERR_CORRUPT;
    size_t stamp = c->got < BENCH_STAMP_SIZE ? BENCH_STAMP_SIZE - c->got : 0;
    stamp = stamp < size ? stamp : size;
    memcpy(c->stamp + (stamp > 0 ? c->got : 0), bytes, stamp);
    if (memcmp(bytes + stamp, b->content + c->got + stamp, size - stamp) != 0)
        return ERR_CORRUPT;
    c->got += size;
    return c->got >= BENCH_STAMP_SIZE && get_u32(c->stamp) != c->key ? ERR_CORRUPT : 0;
}

static int take_result(struct bench_client *c, const struct client_message *m) {
    if (m->u.result.status == 0)
        return c->writes ? 0 : ERR_PROTOCOL;
    if (m->u.result.status > 0 || !err_known(m->u.result.status))
        return ERR_PROTOCOL;
    fail(c, m->u.result.status, m->u.result.message);
    return 0;
}

static int take_message(struct bench_client *c, const struct client_message *m) {
    bool reads = !c->writes;
    switch (m->kind) {
    case CLIENT_RESULT:
        c->done = true;
        return take_result(c, m);
    case CLIENT_HEAD:
        if (!reads || c->headed)
            return ERR_PROTOCOL;
        c->headed = true;
        return m->u.head.size == c->bench->params->size ? 0 : ERR_CORRUPT;
    case CLIENT_DATA:
        return reads ? take_content(c, m->u.data.bytes, m->u.data.size) : ERR_PROTOCOL;
    case CLIENT_END:
        c->done = true;
        if (!reads)
            return ERR_PROTOCOL;
        return c->headed && c->got == c->bench->params->size ? 0 : ERR_CORRUPT;
    default:
        return ERR_PROTOCOL;
    }
}

static int take_frame(void *ctx, const uint8_t *frame, size_t size) {
    struct bench_client *c = ctx;
    struct client_message m;
    client_check(c);
    if (c->state != BENCH_BUSY || c->done)
        return ERR_PROTOCOL;
    int error = client_decode(frame, size, &m, NULL);
    return error != 0 ? error : take_message(c, &m);
}

static void hung_up(struct bench_client *c) {
    if (c->state == BENCH_BUSY)
        lose(c, ERR_CLOSED, "the node hung up", false);
    else
        disconnect(c);
}

static void receive(struct bench_client *c) {
    struct bench *b = c->bench;
    ssize_t got = recv(c->fd, b->receive, BENCH_RECEIVE_SIZE, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    b->now_ns = bench_clock_ns();
    int error = got > 0 ? frame_read(&c->frames, b->receive, (size_t)got, take_frame, c) : ERR_CLOSED;
    if (got <= 0) {
        hung_up(c);
    } else if (error == ERR_CORRUPT) {
        fail_plain(c, error, "what was read is not what was written under that name");
        b->fatal = error;
    } else if (error != 0) {
        fail_plain(c, ERR_PROTOCOL, "the node answered something unexpected");
        b->fatal = ERR_PROTOCOL;
    } else if (c->state == BENCH_BUSY && c->done) {
        finish(c);
    }
}

void bench_client_ready(struct bench_client *c, uint32_t events) {
    client_check(c);
    CHECK(c->fd >= 0);
    if (events & EPOLLOUT)
        send_request(c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(c);
}

/* ---- time, life -------------------------------------------------------------------------------------------------- */

void bench_client_tick(struct bench_client *c) {
    const struct bench *b = c->bench;
    client_check(c);
    if (c->state == BENCH_BUSY && b->now_ns - c->call_ns >= b->params->timeout_ns)
        lose(c, ERR_TIMEOUT, "an operation took too long and was given up", true);
    else if (c->state == BENCH_RESTING && b->now_ns >= c->wake_ns)
        bench_client_start(c);
}

void bench_client_stop(struct bench_client *c) {
    if (c->state == BENCH_BUSY)
        lose(c, ERR_ABORTED, "the run was over before the operation", false);
    set_state(c, BENCH_PARKED);
}

/* The number's place is found by the digits that the name was made with. */
static void build_request(struct bench_request *r, const struct client_message *m, struct client_text name) {
    struct buf b;
    buf_init(&b, BENCH_REQUEST_MAX);
    client_encode(m, &b);
    CHECK(b.error == 0);
    const uint8_t *at = memmem(b.bytes, b.size, name.bytes, name.size);
    CHECK(at != NULL);
    r->digits = (size_t)(at - b.bytes) + name.size - BENCH_DIGITS;
    r->size = b.size;
    memcpy(r->bytes, b.bytes, b.size);
    buf_release(&b);
}

/* PUT and all of DATA before the content. */
static void build_put(struct bench_client *c, struct client_text name) {
    const struct bench *b = c->bench;
    const struct client_message put = {.kind = CLIENT_PUT, .u.put = {.name = name, .size = b->params->size}};
    const struct client_message data = {.kind = CLIENT_DATA, .u.data = {.bytes = b->content, .size = b->params->size}};
    struct buf out;
    build_request(&c->put, &put, name);
    buf_init(&out, FRAME_MAX);
    client_encode(&data, &out);
    CHECK(out.error == 0 && out.size > b->params->size);
    size_t head = out.size - b->params->size;
    CHECK(c->put.size + head <= BENCH_REQUEST_MAX);
    memcpy(c->put.bytes + c->put.size, out.bytes, head);
    c->put.size += head;
    buf_release(&out);
}

void bench_client_init(struct bench_client *c, struct bench *b, uint32_t number) {
    char text[BENCH_PREFIX_SIZE + BENCH_DIGITS + 1];
    int size = snprintf(text, sizeof text, "%s%0*d", b->result->prefix, BENCH_DIGITS, 0);
    struct client_text name = {.bytes = text, .size = (size_t)size};
    *c = (struct bench_client){.magic = BENCH_MAGIC, .bench = b, .number = number, .fd = -1};
    c->home = number % b->params->dir_count;
    c->node = c->home;
    frame_reader_init(&c->frames, FRAME_MAX);
    const struct client_message get = {.kind = CLIENT_GET, .u.get = {.name = name, .length = CLIENT_SIZE_UNKNOWN}};
    build_request(&c->get, &get, name);
    build_put(c, name);
    client_check(c);
}

void bench_client_release(struct bench_client *c) {
    disconnect(c);
    frame_reader_release(&c->frames);
    c->magic = 0;
}
