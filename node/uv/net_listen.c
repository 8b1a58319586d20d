/* Listeners: binding, and accepting. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "errors.h"
#include "net_internal.h"

static void conn_name_peer(struct net_conn *c) {
    struct sockaddr_storage sa;
    int size = sizeof sa;
    snprintf(c->name, sizeof c->name, "local");
    if (c->kind == NET_LOCAL)
        return;
    snprintf(c->name, sizeof c->name, "unknown");
    if (uv_tcp_getpeername(&c->handle.tcp, (struct sockaddr *)&sa, &size) == 0)
        net_addr_format((const struct sockaddr *)&sa, c->name);
}

static bool net_is_full(const struct net *n, enum net_kind kind) {
    uint32_t reserve = kind == NET_LOCAL ? 0 : NET_LOCAL_RESERVE;
    return n->conn_count >= NET_CONNS_MAX - reserve;
}

/* libuv asks for nothing more of a listener until the connection it announced was taken, so taking it must not be
 * given up: without memory it is tried again by the timer. */
void listener_accept(struct net_listener *l) {
    CHECK(l->magic == LISTENER_MAGIC);
    struct net *n = l->net;
    bool full = net_is_full(n, l->kind);
    struct net_conn *c;
    l->starved = conn_new(n, l->kind, CONN_OPEN, &c) != 0;
    if (l->starved) {
        net_arm(n);
        return;
    }
    int uv_error = uv_accept(&l->handle.stream, &c->handle.stream);
    c->silent = full || uv_error != 0;
    if (c->silent) {
        conn_destroy(c, 0);
        return;
    }
    conn_name_peer(c);
    conn_opened(c);
    n->events.accepted(n->events.ctx, c, l->kind);
    conn_start(c);
}

static void listener_on_connection(uv_stream_t *stream, int uv_error) {
    struct net_listener *l = stream->data;
    CHECK(l->magic == LISTENER_MAGIC);
    if (uv_error == 0)
        listener_accept(l);
}

/* --- TCP -------------------------------------------------------------------------------------------------------- */

/* Names are resolved here and now: a node listens before it serves anyone. */
static int listen_addr(const struct net *n, struct net_addr *addr) {
    if (addr->numeric)
        return 0;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    uv_getaddrinfo_t request;
    if (uv_getaddrinfo(n->loop, &request, NULL, addr->host, addr->port, &hints) != 0)
        return ERR_INVALID;
    CHECK(request.addrinfo != NULL);
    CHECK(request.addrinfo->ai_addrlen <= sizeof addr->in6);
    memcpy(&addr->sa, request.addrinfo->ai_addr, request.addrinfo->ai_addrlen);
    uv_freeaddrinfo(request.addrinfo);
    return 0;
}

static int listen_tcp(struct net_listener *l, const char *text) {
    struct net_addr addr;
    int error = net_addr_parse(text, &addr);
    if (error == 0)
        error = listen_addr(l->net, &addr);
    if (error != 0)
        return error;
    int uv_error = uv_tcp_bind(&l->handle.tcp, &addr.sa, 0);
    if (uv_error == 0)
        uv_error = uv_listen(&l->handle.stream, NET_BACKLOG, listener_on_connection);
    if (uv_error == UV_EADDRNOTAVAIL || uv_error == UV_EINVAL)
        return ERR_INVALID;
    if (uv_error == UV_EACCES)
        return ERR_REFUSED;
    return uv_error == 0 ? 0 : net_error(uv_error);
}

/* --- Unix sockets ----------------------------------------------------------------------------------------------- */

/* A socket file nobody listens on is what a killed node leaves behind. */
static bool local_is_stale(const char *path) {
    struct stat st;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    CHECK(strlen(path) < sizeof sa.sun_path);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    bool stale = connect(fd, (const struct sockaddr *)&sa, sizeof sa) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

/* The mode is set between bind and listen: until then nobody can connect, so there is no moment at which a stranger
 * could, and the process's umask, which other threads share, is left alone. */
static int listen_local(struct net_listener *l, const char *path) {
    struct sockaddr_un limit;
    if (path[0] == '\0' || strlen(path) >= sizeof limit.sun_path)
        return ERR_INVALID;
    int uv_error = uv_pipe_bind(&l->handle.pipe, path);
    if (uv_error == UV_EADDRINUSE && local_is_stale(path) && unlink(path) == 0)
        uv_error = uv_pipe_bind(&l->handle.pipe, path);
    if (uv_error == 0 && chmod(path, S_IRUSR | S_IWUSR) != 0)
        return ERR_IO;
    if (uv_error == 0)
        uv_error = uv_listen(&l->handle.stream, NET_BACKLOG, listener_on_connection);
    return uv_error == 0 ? 0 : net_error(uv_error);
}

/* --- the port --------------------------------------------------------------------------------------------------- */

static void listener_on_closed(uv_handle_t *handle) {
    struct net_listener *l = handle->data;
    CHECK(l->magic == LISTENER_MAGIC);
    l->magic = 0;
    free(l);
}

static struct net_listener *listener_new(struct net *n, enum net_kind kind) {
    CHECK(n->listener_count < NET_LISTENERS_MAX);
    struct net_listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    l->magic = LISTENER_MAGIC;
    l->kind = kind;
    l->net = n;
    if (kind == NET_PEER)
        CHECK(uv_tcp_init(n->loop, &l->handle.tcp) == 0);
    else
        CHECK(uv_pipe_init(n->loop, &l->handle.pipe, 0) == 0);
    l->handle.base.data = l;
    return l;
}

static void listener_addr(const struct net_listener *l, const char *addr, char *out, size_t size) {
    struct sockaddr_storage sa;
    int sa_size = sizeof sa;
    char bound[NET_ADDR_SIZE];
    CHECK(size > 0);
    if (l->kind == NET_LOCAL) {
        snprintf(out, size, "%s", addr);
        return;
    }
    CHECK(uv_tcp_getsockname(&l->handle.tcp, (struct sockaddr *)&sa, &sa_size) == 0);
    net_addr_format((const struct sockaddr *)&sa, bound);
    snprintf(out, size, "%s", bound);
}

int net_listen(struct net *n, enum net_kind kind, const char *addr, char *ret_addr, size_t ret_addr_size) {
    CHECK(n->magic == NET_MAGIC && !n->shut);
    CHECK(n->events.accepted != NULL);
    struct net_listener *l = listener_new(n, kind);
    if (l == NULL)
        return ERR_NOMEM;
    int error = kind == NET_PEER ? listen_tcp(l, addr) : listen_local(l, addr);
    if (error != 0) {
        uv_close(&l->handle.base, listener_on_closed);
        return error;
    }
    SLIST_INSERT_HEAD(&n->listeners, l, link);
    n->listener_count++;
    if (ret_addr != NULL)
        listener_addr(l, addr, ret_addr, ret_addr_size);
    return 0;
}
