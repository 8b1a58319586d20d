/* The real network port: two ends of every connection live in this process, on one loop. */
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "errors.h"
#include "net.h"
#include "uv_world.h"

#define ENDS_MAX 256
#define LIMIT_MS 8000
#define MIB (1024 * 1024)

enum behaviour { STAY_QUIET, SEND_BACK, STAY_PAUSED };
enum event { NEVER, ON_ACCEPTED, ON_CONNECTED, ON_RECEIVED, ON_DRAINED };

/* One end of a connection, and all that was reported about it. */
struct end {
    struct fixture *f;
    struct net_conn *conn;
    bool accepted;
    int connected;
    int receives;
    int drains;
    int closes;
    int status;
    enum event close_on;
    size_t received;
    bool garbled; /* something else arrived than pattern() */
    char name[64];
};

struct fixture {
    struct uv_world w;
    uv_timer_t tick;
    uint64_t deadline;
    bool inside;              /* a call into the port is under way: nothing may be reported now */
    enum behaviour behaviour; /* of accepted ends */
    enum event close_accepted_on;
    size_t count;
    struct end ends[ENDS_MAX];
    char dir[64];
    char path[96];
    char addr[64];
};

static uint8_t pattern(size_t at) {
    return (uint8_t)(at * 2654435761u >> 13);
}

static struct end *end_new(struct fixture *f, struct net_conn *c) {
    assert_true(f->count < ENDS_MAX);
    struct end *e = &f->ends[f->count++];
    *e = (struct end){.f = f, .conn = c};
    net_set_user(c, e);
    return e;
}

static struct end *reported(void *ctx, struct net_conn *c, enum event event) {
    struct fixture *f = ctx;
    struct end *e = net_user(c);
    assert_false(f->inside);
    assert_ptr_equal(e->conn, c);
    assert_int_equal(e->closes, 0);
    if (event != NEVER && e->close_on == event)
        net_close(c);
    return e;
}

static void on_accepted(void *ctx, struct net_conn *c, enum net_kind kind) {
    struct fixture *f = ctx;
    struct end *e = end_new(f, c);
    e->accepted = true;
    e->close_on = f->close_accepted_on;
    assert_string_equal(kind == NET_LOCAL ? net_peer_name(c) : "local", "local");
    if (f->behaviour == STAY_PAUSED)
        net_pause(c);
    reported(ctx, c, ON_ACCEPTED);
}

static void on_connected(void *ctx, struct net_conn *c) {
    reported(ctx, c, ON_CONNECTED)->connected++;
}

static void on_received(void *ctx, struct net_conn *c, const uint8_t *bytes, size_t size) {
    struct end *e = reported(ctx, c, ON_RECEIVED);
    assert_in_range(size, 1, 256 * 1024);
    for (size_t i = 0; i < size; i++)
        e->garbled |= bytes[i] != pattern(e->received + i);
    e->received += size;
    e->receives++;
    if (e->accepted && e->f->behaviour == SEND_BACK && e->close_on != ON_RECEIVED)
        assert_int_equal(net_send(c, bytes, size), 0);
}

static void on_drained(void *ctx, struct net_conn *c) {
    assert_int_equal(net_unsent(c), 0);
    reported(ctx, c, ON_DRAINED)->drains++;
}

static void on_closed(void *ctx, struct net_conn *c, int status) {
    struct end *e = reported(ctx, c, NEVER);
    uint8_t *room = NULL;
    net_close(c);
    assert_int_equal(net_send(c, (const uint8_t *)"x", 1), ERR_CLOSED);
    assert_int_equal(net_extend(c, 1, &room), ERR_CLOSED);
    assert_null(room);
    e->closes++;
    e->status = status;
    e->conn = NULL;
}

static void on_tick(uv_timer_t *timer) {
    (void)timer; /* wakes the loop, so that RUN looks at its condition and its limit */
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(uv_world_init(&f->w), 0);
    const struct net_events events = {.accepted = on_accepted,
                                      .connected = on_connected,
                                      .received = on_received,
                                      .drained = on_drained,
                                      .closed = on_closed,
                                      .ctx = f};
    net_on_events(f->w.net, &events);
    uv_timer_init(f->w.loop, &f->tick);
    uv_timer_start(&f->tick, on_tick, 20, 20);
    f->deadline = uv_hrtime() / 1000000 + LIMIT_MS;
    snprintf(f->dir, sizeof f->dir, "/tmp/shoal-net-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/sock", f->dir);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    uv_close((uv_handle_t *)&f->tick, NULL);
    uv_world_release(&f->w);
    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

#define RUN(f, condition)                                       \
    do {                                                        \
        while (!(condition)) {                                  \
            assert_true(uv_hrtime() / 1000000 < (f)->deadline); \
            uv_run((f)->w.loop, UV_RUN_ONCE);                   \
        }                                                       \
    } while (0)

static void listen_peer(struct fixture *f, enum behaviour behaviour) {
    f->behaviour = behaviour;
    assert_int_equal(net_listen(f->w.net, NET_PEER, "127.0.0.1:0", f->addr, sizeof f->addr), 0);
}

static struct end *dial_to(struct fixture *f, const char *addr) {
    struct net_conn *c;
    f->inside = true;
    assert_int_equal(net_connect(f->w.net, addr, &c), 0);
    f->inside = false;
    return end_new(f, c);
}

/* Connects; the other end is the next one accepted. */
static void pair(struct fixture *f, struct end **ret_client, struct end **ret_server) {
    struct end *client = dial_to(f, f->addr);
    size_t at = f->count;
    RUN(f, client->connected == 1 && f->count > at);
    *ret_client = client;
    *ret_server = &f->ends[at];
    assert_true((*ret_server)->accepted);
}

static void send_pattern(struct end *e, size_t from, size_t size) {
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = pattern(from + i);
    e->f->inside = true;
    assert_int_equal(net_send(e->conn, bytes, size), 0);
    e->f->inside = false;
    free(bytes);
}

/* The same, written where it leaves from. */
static void extend_pattern(struct end *e, size_t from, size_t size) {
    uint8_t *room = NULL;
    size_t unsent = net_unsent(e->conn);
    e->f->inside = true;
    assert_int_equal(net_extend(e->conn, size, &room), 0);
    e->f->inside = false;
    for (size_t i = 0; i < size; i++)
        room[i] = pattern(from + i);
    assert_int_equal(net_unsent(e->conn), unsent + size);
}

static void close_end(struct end *e) {
    e->f->inside = true;
    net_close(e->conn);
    e->f->inside = false;
}

/* --- moving bytes ----------------------------------------------------------------------------------------------- */

static void bytes_come_back_whole_however_they_were_cut(void **state) {
    struct fixture *f = *state;
    struct end *client, *server;
    listen_peer(f, SEND_BACK);
    pair(f, &client, &server);
    size_t sent = 0;
    for (size_t size = 1; sent < 3 * MIB; size = size * 7 % 100003) {
        send_pattern(client, sent, size);
        sent += size;
        if (net_unsent(client->conn) > 512 * 1024)
            RUN(f, net_unsent(client->conn) == 0);
    }
    RUN(f, client->received == sent);
    assert_false(client->garbled || server->garbled);
    assert_int_equal(server->received, sent);
}

static void bytes_written_in_place_keep_their_order_among_copied_ones(void **state) {
    struct fixture *f = *state;
    struct end *client, *server;
    listen_peer(f, SEND_BACK);
    pair(f, &client, &server);
    size_t sent = 0, turn = 0;
    for (size_t size = 1; sent < 3 * MIB; size = size * 7 % 100003) {
        if (turn++ % 3 == 0)
            send_pattern(client, sent, size);
        else
            extend_pattern(client, sent, size);
        sent += size;
        if (net_unsent(client->conn) > 512 * 1024)
            RUN(f, net_unsent(client->conn) < 100 * 1024); /* also behind bytes that are under way */
    }
    extend_pattern(client, sent, NET_EXTEND_MAX);
    sent += NET_EXTEND_MAX;
    RUN(f, client->received == sent);
    assert_false(client->garbled || server->garbled);
    assert_int_equal(server->received, sent);
}

static void what_one_turn_sends_leaves_together(void **state) {
    struct fixture *f = *state;
    struct end *client, *server;
    listen_peer(f, STAY_QUIET);
    pair(f, &client, &server);
    for (size_t i = 0; i < 1000; i++)
        send_pattern(client, i * 20, 20);
    assert_int_equal(net_unsent(client->conn), 20000);
    RUN(f, server->received == 20000);
    assert_false(server->garbled);
    assert_in_range(server->receives, 1, 10);
    assert_int_equal(client->drains, 1);
}

static void bytes_sent_before_the_connection_is_there_are_kept(void **state) {
    struct fixture *f = *state;
    listen_peer(f, STAY_QUIET);
    struct end *client = dial_to(f, f->addr);
    send_pattern(client, 0, 5000);
    RUN(f, f->count == 2 && f->ends[1].received == 5000);
    assert_false(f->ends[1].garbled);
    assert_int_equal(client->drains, 1);
}

static void a_reader_that_pauses_holds_the_writer_back(void **state) {
    struct fixture *f = *state;
    struct end *client, *server;
    listen_peer(f, STAY_PAUSED);
    pair(f, &client, &server);
    for (size_t i = 0; i < 24; i++)
        send_pattern(client, i * MIB, MIB);
    for (int turn = 0; turn < 20; turn++)
        uv_run(f->w.loop, UV_RUN_ONCE);
    assert_true(net_unsent(client->conn) > MIB);
    assert_int_equal(client->drains, 0);
    assert_int_equal(server->received, 0);
    net_resume(server->conn);
    RUN(f, server->received == 24 * MIB && client->drains == 1);
    assert_int_equal(net_unsent(client->conn), 0);
    assert_false(server->garbled);
}

static void local_sockets_carry_bytes_too(void **state) {
    struct fixture *f = *state;
    f->behaviour = SEND_BACK;
    char addr[128];
    assert_int_equal(net_listen(f->w.net, NET_LOCAL, f->path, addr, sizeof addr), 0);
    assert_string_equal(addr, f->path);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, f->path, strlen(f->path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    uint8_t bytes[100], back[100];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = pattern(i);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    RUN(f, f->count == 1 && f->ends[0].drains == 1);
    assert_int_equal(read(fd, back, sizeof back), sizeof back);
    assert_memory_equal(bytes, back, sizeof bytes);
    close(fd);
    RUN(f, f->ends[0].closes == 1);
    assert_int_equal(f->ends[0].status, ERR_CLOSED);
}

/* --- addresses and listeners ------------------------------------------------------------------------------------ */

static void text_that_is_no_address_is_refused(void **state) {
    struct fixture *f = *state;
    static const char *const bad[] = {"", "nonsense", "a b:1", "host:70000", "[::1:5", "1.2.3.4"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct net_conn *c = NULL;
        assert_int_equal(net_connect(f->w.net, bad[i], &c), ERR_INVALID);
        assert_null(c);
        assert_int_equal(net_listen(f->w.net, NET_PEER, bad[i], NULL, 0), ERR_INVALID);
    }
    struct net_conn *c = NULL;
    assert_int_equal(net_connect(f->w.net, "127.0.0.1:0", &c), ERR_INVALID);
    assert_int_equal(net_listen(f->w.net, NET_PEER, "192.0.2.1:0", NULL, 0), ERR_INVALID);
}

static void a_port_in_use_is_refused(void **state) {
    struct fixture *f = *state;
    listen_peer(f, STAY_QUIET);
    assert_int_equal(net_listen(f->w.net, NET_PEER, f->addr, NULL, 0), ERR_IN_USE);
}

static void a_name_with_several_addresses_is_tried_until_one_answers(void **state) {
    struct fixture *f = *state;
    char addr[80];
    listen_peer(f, STAY_QUIET); /* on IPv4 alone: where localhost is ::1 as well, one attempt fails first */
    snprintf(addr, sizeof addr, "localhost:%s", strrchr(f->addr, ':') + 1);
    struct end *client = dial_to(f, addr);
    RUN(f, client->connected == 1);
    assert_string_equal(net_peer_name(client->conn), addr);
}

static void a_refused_connection_is_closed_and_never_connected(void **state) {
    struct fixture *f = *state;
    char addr[64];
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
    snprintf(addr, sizeof addr, "127.0.0.1:%u", ntohs(sa.sin_port));
    struct end *numeric = dial_to(f, addr);
    snprintf(addr, sizeof addr, "localhost:%u", ntohs(sa.sin_port));
    struct end *named = dial_to(f, addr);
    RUN(f, numeric->closes == 1 && named->closes == 1);
    assert_int_equal(numeric->connected + named->connected, 0);
    assert_int_equal(numeric->status, ERR_UNREACHABLE);
    assert_int_equal(named->status, ERR_UNREACHABLE);
    close(fd);
}

static void a_socket_file_is_replaced_only_when_nobody_answers_on_it(void **state) {
    struct fixture *f = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, f->path, strlen(f->path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(net_listen(f->w.net, NET_LOCAL, f->path, NULL, 0), ERR_IN_USE);
    close(fd);
    assert_int_equal(net_listen(f->w.net, NET_LOCAL, f->path, NULL, 0), 0);
}

static void a_file_that_is_no_socket_is_never_removed(void **state) {
    struct fixture *f = *state;
    int fd = open(f->path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(net_listen(f->w.net, NET_LOCAL, f->path, NULL, 0), ERR_IN_USE);
    assert_int_equal(access(f->path, F_OK), 0);
}

static void a_socket_path_that_does_not_fit_is_refused(void **state) {
    struct fixture *f = *state;
    char path[200];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(net_listen(f->w.net, NET_LOCAL, path, NULL, 0), ERR_INVALID);
    assert_int_equal(net_listen(f->w.net, NET_LOCAL, "", NULL, 0), ERR_INVALID);
}

/* --- closing ---------------------------------------------------------------------------------------------------- */

static void either_end_may_close_from_any_callback(void **state) {
    struct fixture *f = *state;
    listen_peer(f, SEND_BACK);
    static const enum event events[] = {ON_CONNECTED, ON_DRAINED, ON_RECEIVED, ON_ACCEPTED};
    for (size_t i = 0; i < 4; i++) {
        bool server_closes = events[i] == ON_ACCEPTED;
        f->close_accepted_on = server_closes ? ON_ACCEPTED : NEVER;
        struct end *client = dial_to(f, f->addr);
        struct end *server = &f->ends[f->count];
        client->close_on = server_closes ? NEVER : events[i];
        send_pattern(client, 0, 1000);
        RUN(f, client->closes == 1 && server->closes == 1);
        struct end *closer = server_closes ? server : client;
        assert_int_equal(closer->status, 0);
        assert_int_equal((server_closes ? client : server)->status, ERR_CLOSED);
    }
    f->close_accepted_on = ON_RECEIVED;
    struct end *client = dial_to(f, f->addr);
    struct end *server = &f->ends[f->count];
    send_pattern(client, 0, 1000);
    RUN(f, client->closes == 1 && server->closes == 1);
    assert_int_equal(server->receives, 1);
}

static void closing_sends_what_is_queued(void **state) {
    struct fixture *f = *state;
    struct end *client, *server;
    listen_peer(f, STAY_QUIET);
    pair(f, &client, &server);
    send_pattern(client, 0, 8 * MIB);
    send_pattern(server, 0, 3 * MIB); /* must not turn into a reset that eats the client's bytes */
    close_end(client);
    assert_int_equal(net_send(client->conn, (const uint8_t *)"x", 1), ERR_CLOSED);
    RUN(f, client->closes == 1 && server->closes == 1);
    assert_int_equal(server->received, 8 * MIB);
    assert_false(server->garbled);
    assert_int_equal(client->status, 0);
    assert_int_equal(client->received, 0);
    assert_int_equal(client->drains, 0);
}

static void closing_does_not_wait_for_a_peer_that_does_not_read(void **state) {
    struct fixture *f = *state;
    struct end *client, *server;
    listen_peer(f, STAY_PAUSED);
    pair(f, &client, &server);
    for (size_t i = 0; i < 24; i++)
        send_pattern(client, i * MIB, MIB);
    uv_update_time(f->w.loop);
    uint64_t before = uv_hrtime();
    close_end(client);
    RUN(f, client->closes == 1);
    uint64_t took_ms = (uv_hrtime() - before) / 1000000;
    assert_in_range(took_ms, 900, 3000);
    assert_int_equal(client->status, 0);
}

static void closing_before_connected_is_just_closed(void **state) {
    struct fixture *f = *state;
    listen_peer(f, STAY_QUIET);
    char addr[80];
    snprintf(addr, sizeof addr, "localhost:%s", strrchr(f->addr, ':') + 1);
    struct end *numeric = dial_to(f, f->addr);
    struct end *named = dial_to(f, addr);
    send_pattern(numeric, 0, 100);
    close_end(numeric);
    close_end(named);
    RUN(f, numeric->closes == 1 && named->closes == 1);
    assert_int_equal(numeric->connected + named->connected, 0);
    assert_int_equal(numeric->status, 0);
    assert_int_equal(named->status, 0);
}

static void a_peer_that_resets_is_closed_with_an_error(void **state) {
    struct fixture *f = *state;
    listen_peer(f, STAY_QUIET);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sa.sin_port = htons((uint16_t)strtoul(strrchr(f->addr, ':') + 1, NULL, 10));
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    RUN(f, f->count == 1);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    close(fd);
    send_pattern(&f->ends[0], 0, MIB);
    RUN(f, f->ends[0].closes == 1);
    assert_int_equal(f->ends[0].status, ERR_CLOSED);
}

static void releasing_the_world_calls_nobody_back(void **state) {
    struct fixture *f = *state;
    struct end *client, *server;
    listen_peer(f, STAY_PAUSED);
    pair(f, &client, &server);
    for (size_t i = 0; i < 16; i++)
        send_pattern(client, i * MIB, MIB);
    uv_run(f->w.loop, UV_RUN_NOWAIT);
    dial_to(f, "localhost:1");
    dial_to(f, f->addr);
    f->inside = true; /* every report fails the test; the release itself happens in tear_down */
}

/* --- running out ------------------------------------------------------------------------------------------------ */

static int lowest_free_fd(void) {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    return fd;
}

static void running_out_of_file_descriptors_is_survived(void **state) {
    struct fixture *f = *state;
    struct rlimit old, low;
    listen_peer(f, SEND_BACK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)lowest_free_fd() + 21;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct end *clients[40];
    for (int i = 0; i < 40; i++)
        clients[i] = dial_to(f, f->addr);
    int settled;
    do {
        settled = 0;
        for (int i = 0; i < 40; i++)
            settled += clients[i]->connected || clients[i]->closes;
        uv_run(f->w.loop, UV_RUN_ONCE);
        assert_true(uv_hrtime() / 1000000 < f->deadline);
    } while (settled < 40);
    int failed = 0;
    for (int i = 0; i < 40; i++) {
        failed += clients[i]->connected == 0 && clients[i]->status == ERR_IO;
        if (clients[i]->conn != NULL)
            close_end(clients[i]);
    }
    assert_true(failed >= 19);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    struct end *again = dial_to(f, f->addr);
    send_pattern(again, 0, 100);
    RUN(f, again->received == 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bytes_come_back_whole_however_they_were_cut),
        TEST(bytes_written_in_place_keep_their_order_among_copied_ones),
        TEST(what_one_turn_sends_leaves_together),
        TEST(bytes_sent_before_the_connection_is_there_are_kept),
        TEST(a_reader_that_pauses_holds_the_writer_back),
        TEST(local_sockets_carry_bytes_too),
        TEST(text_that_is_no_address_is_refused),
        TEST(a_port_in_use_is_refused),
        TEST(a_name_with_several_addresses_is_tried_until_one_answers),
        TEST(a_refused_connection_is_closed_and_never_connected),
        TEST(a_socket_file_is_replaced_only_when_nobody_answers_on_it),
        TEST(a_file_that_is_no_socket_is_never_removed),
        TEST(a_socket_path_that_does_not_fit_is_refused),
        TEST(either_end_may_close_from_any_callback),
        TEST(closing_sends_what_is_queued),
        TEST(closing_does_not_wait_for_a_peer_that_does_not_read),
        TEST(closing_before_connected_is_just_closed),
        TEST(a_peer_that_resets_is_closed_with_an_error),
        TEST(releasing_the_world_calls_nobody_back),
        TEST(running_out_of_file_descriptors_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
