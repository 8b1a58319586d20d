#include "local.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "check.h"
#include "errors.h"

#define PREFIX_SIZE 4

static int __attribute__((format(printf, 3, 4))) local_fail(struct local *l, int status, const char *format, ...) {
    va_list list;
    CHECK(status < 0);
    va_start(list, format);
    vsnprintf(l->error, sizeof l->error, format, list);
    va_end(list);
    return status;
}

int local_broken(struct local *l) {
    return local_fail(l, ERR_PROTOCOL,
                      "the node answered something unexpected: are this program and the node of the "
                      "same version?");
}

static int local_connect_failed(struct local *l, const char *dir, int error) {
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
        return local_fail(l, ERR_UNREACHABLE, "no node is running in %s: start one with 'shoal node -d %s'", dir, dir);
    case EACCES:
        return local_fail(l, ERR_REFUSED, "%s: permission denied: run as the user who runs the node", dir);
    case EAGAIN:
        return local_fail(l, ERR_BUSY, "the node in %s takes no more connections: try again", dir);
    default:
        return local_fail(l, ERR_IO, "%s/" LOCAL_SOCKET ": %s", dir, strerror(error));
    }
}

int local_open(struct local *l, const char *dir, int interrupt_fd) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    *l = (struct local){.fd = -1, .interrupt_fd = interrupt_fd};
    buf_init(&l->in, PREFIX_SIZE + FRAME_MAX);
    buf_init(&l->out, PREFIX_SIZE + FRAME_MAX);
    _Static_assert(sizeof sa.sun_path == LOCAL_PATH_SIZE, "unix(7)");
    int size = snprintf(sa.sun_path, sizeof sa.sun_path, "%s/" LOCAL_SOCKET, dir);
    if (size < 0 || (size_t)size >= sizeof sa.sun_path)
        return local_fail(l, ERR_INVALID, "%s: the name is too long for a Unix socket in it: use a shorter one", dir);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return local_fail(l, ERR_IO, "socket: %s", strerror(errno));
    if (connect(l->fd, (const struct sockaddr *)&sa, sizeof sa) != 0)
        return local_connect_failed(l, dir, errno);
    return 0;
}

void local_close(struct local *l) {
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    buf_release(&l->in);
    buf_release(&l->out);
}

/* Waits until one of the events holds for the connection. */
static int local_wait(struct local *l, short events, short *ret_events) {
    CHECK(l->fd >= 0);
    struct pollfd fds[] = {{.fd = l->fd, .events = events}, {.fd = l->interrupt_fd, .events = POLLIN}};
    int ready;
    do
        ready = poll(fds, 2, LOCAL_SILENCE_MS);
    while (ready < 0 && errno == EINTR);
    if (ready < 0)
        return local_fail(l, ERR_IO, "poll: %s", strerror(errno));
    if (ready == 0)
        return local_fail(l, ERR_TIMEOUT, "%s: the node did not answer for %d seconds: see what it logs", l->what,
                          LOCAL_SILENCE_MS / 1000);
    if (fds[1].revents != 0)
        return local_fail(l, ERR_ABORTED, "interrupted");
    *ret_events = fds[0].revents;
    return 0;
}

/* Blocks of a file belong to the request before them. */
static void local_remember(struct local *l, const struct client_message *m) {
    static const char *const names[CLIENT_KINDS] = {
        [CLIENT_PUT] = "put",   [CLIENT_GET] = "get",       [CLIENT_RM] = "rm",         [CLIENT_LS] = "ls",
        [CLIENT_STAT] = "stat", [CLIENT_STATUS] = "status", [CLIENT_INVITE] = "invite", [CLIENT_MEMBER] = "drain"};
    struct client_text name = {.bytes = "", .size = 0};
    const char *command = names[m->kind];
    if (m->kind == CLIENT_PUT || m->kind == CLIENT_RM)
        name = m->u.put.name;
    else if (m->kind == CLIENT_GET)
        name = m->u.get.name;
    else if (m->kind == CLIENT_STAT)
        name = m->u.stat.name;
    else if (m->kind == CLIENT_MEMBER && m->u.member.action == CLIENT_DISMISS)
        command = "remove";
    if (command != NULL)
        snprintf(l->what, sizeof l->what, "%s%s%.*s", command, name.size > 0 ? " " : "", (int)name.size, name.bytes);
}

int local_send(struct local *l, const struct client_message *m) {
    l->answered = false;
    local_remember(l, m);
    buf_clear(&l->out);
    client_encode(m, &l->out);
    if (l->out.error != 0)
        return local_fail(l, l->out.error, "the request: %s", err_text(l->out.error));
    for (size_t at = 0; at < l->out.size;) {
        short events = 0;
        int error = local_wait(l, POLLIN | POLLOUT, &events);
        if (error != 0)
            return error;
        if (events & (POLLIN | POLLHUP | POLLERR))
            return LOCAL_ANSWERED;
        ssize_t sent = send(l->fd, l->out.bytes + at, l->out.size - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0)
            at += (size_t)sent;
        else if (errno != EAGAIN && errno != EINTR)
            return LOCAL_ANSWERED; /* what it said before it hung up is still to be read */
    }
    return 0;
}

static int local_read(struct local *l, size_t size) {
    size_t at = l->in.size;
    if (buf_extend(&l->in, size) == NULL)
        return local_fail(l, l->in.error, "the answer: %s", err_text(l->in.error));
    while (at < l->in.size) {
        short events = 0;
        int error = local_wait(l, POLLIN, &events);
        if (error != 0)
            return error;
        ssize_t got = recv(l->fd, l->in.bytes + at, l->in.size - at, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return local_fail(l, ERR_CLOSED, "%s: the node hung up: see what it logs", l->what);
        if (got > 0)
            at += (size_t)got;
    }
    return 0;
}

int local_receive(struct local *l, struct client_message *ret_message, struct client_rows *ret_rows) {
    CHECK(l->fd >= 0 && ret_message != NULL);
    buf_clear(&l->in);
    int error = local_read(l, PREFIX_SIZE);
    if (error != 0)
        return error;
    size_t size = get_u32(l->in.bytes);
    if (size == 0 || size > FRAME_MAX)
        return local_broken(l);
    error = local_read(l, size);
    if (error != 0)
        return error;
    error = client_decode(l->in.bytes + PREFIX_SIZE, size, ret_message, ret_rows);
    return error != 0 ? local_broken(l) : 0;
}

int local_refused(struct local *l, const struct client_message *m) {
    if (m->kind != CLIENT_RESULT || m->u.result.status >= 0 || !err_known(m->u.result.status))
        return local_broken(l);
    struct client_text text = m->u.result.message;
    l->answered = true;
    if (text.size == 0)
        return local_fail(l, m->u.result.status, "%s", err_text(m->u.result.status));
    return local_fail(l, m->u.result.status, "%.*s", (int)text.size, text.bytes);
}

bool local_usable(const struct local *l) {
    return l->fd >= 0 && l->answered;
}

int local_expect(struct local *l, enum client_kind kind, struct client_message *ret_message,
                 struct client_rows *ret_rows) {
    int error = local_receive(l, ret_message, ret_rows);
    if (error != 0)
        return error;
    bool failed = ret_message->kind == CLIENT_RESULT && ret_message->u.result.status != 0;
    if (failed || ret_message->kind != kind)
        return local_refused(l, ret_message);
    l->answered = true;
    return 0;
}

int local_complain(const struct local *l, int status) {
    CHECK(status < 0);
    CHECK(l->error[0] != '\0');
    cli_error("%s", l->error);
    return cli_exit_of(status);
}

int local_call(struct local *l, const char *dir, const struct client_message *request, enum client_kind kind,
               struct client_message *ret_message, struct client_rows *ret_rows, int *ret_exit) {
    int error = local_open(l, dir, -1);
    if (error == 0)
        error = local_send(l, request);
    if (error >= 0)
        error = local_expect(l, kind, ret_message, ret_rows);
    *ret_exit = error != 0 ? local_complain(l, error) : CLI_DONE;
    return error;
}
