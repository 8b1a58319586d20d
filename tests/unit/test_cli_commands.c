/* The commands against a node played by the test: each runs in a process of its own, as a user would run it. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "cli_child.h"
#include "client.h"
#include "errors.h"

#define PREFIX_SIZE 4

struct fixture {
    char dir[SCRATCH_SIZE];
    char file[96]; /* what put reads and get writes */
    int listener;
    int fd; /* the command's connection */
    pid_t child;
    struct buf in;
    struct client_message got;
    char out[OUTPUT_MAX];
    char err[OUTPUT_MAX];
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    scratch_make(f->dir);
    snprintf(f->file, sizeof f->file, "%s/file", f->dir);
    buf_init(&f->in, PREFIX_SIZE + FRAME_MAX);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/shoal.sock", f->dir);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(f->listener, 4), 0);
    f->fd = -1;
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    if (f->fd >= 0)
        close(f->fd);
    close(f->listener);
    buf_release(&f->in);
    scratch_remove(f->dir);
    free(f);
    return 0;
}

/* Starts the command with -d DIR and the arguments given. */
static void start(struct fixture *f, const struct cli_command *command, const char *const *args) {
    const char *all[ARGS_MAX] = {command->name, "-d", f->dir};
    int argc = 3;
    for (; *args != NULL && argc < ARGS_MAX; args++)
        all[argc++] = *args;
    f->child = fork();
    assert_true(f->child >= 0);
    if (f->child == 0)
        child_run(f->dir, command, argc, all);
}

#define START(f, command, ...) start(f, command, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

/* Waits for the command's end; gives its exit code, or minus the signal it died of. */
static int finish(struct fixture *f) {
    int status = 0;
    assert_int_equal(waitpid(f->child, &status, 0), f->child);
    return child_end(f->dir, status, f->out, f->err);
}

/* --- playing the node ------------------------------------------------------------------------------------------- */

static void accept_command(struct fixture *f) {
    struct timeval limit = {.tv_sec = 5};
    setsockopt(f->listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    f->fd = accept(f->listener, NULL, NULL);
    assert_true(f->fd >= 0);
    setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

static void read_exactly(struct fixture *f, size_t size) {
    uint8_t *at = buf_extend(&f->in, size);
    assert_non_null(at);
    assert_int_equal(recv(f->fd, at, size, MSG_WAITALL), size);
}

static const struct client_message *receive(struct fixture *f, enum client_kind kind) {
    buf_clear(&f->in);
    read_exactly(f, PREFIX_SIZE);
    size_t size = get_u32(f->in.bytes);
    assert_in_range(size, 1, FRAME_MAX);
    read_exactly(f, size);
    assert_int_equal(client_decode(f->in.bytes + PREFIX_SIZE, size, &f->got, NULL), 0);
    assert_int_equal(f->got.kind, kind);
    return &f->got;
}

static void send_buf(struct fixture *f, struct buf *b) {
    assert_int_equal(b->error, 0);
    assert_int_equal(send(f->fd, b->bytes, b->size, MSG_NOSIGNAL), b->size);
    buf_release(b);
}

static void answer(struct fixture *f, const struct client_message *m) {
    struct buf b;
    buf_init(&b, PREFIX_SIZE + FRAME_MAX);
    client_encode(m, &b);
    send_buf(f, &b);
}

static void answer_result(struct fixture *f, int status, const char *message) {
    const struct client_message m = {
        .kind = CLIENT_RESULT, .u.result = {.status = status, .message = {.bytes = message, .size = strlen(message)}}};
    answer(f, &m);
}

static void answer_head(struct fixture *f, uint64_t size) {
    const struct client_message m = {.kind = CLIENT_HEAD, .u.head.size = size};
    answer(f, &m);
}

static void answer_data(struct fixture *f, const char *text) {
    const struct client_message m = {.kind = CLIENT_DATA,
                                     .u.data = {.bytes = (const uint8_t *)text, .size = strlen(text)}};
    answer(f, &m);
}

static void answer_end(struct fixture *f) {
    const struct client_message m = {.kind = CLIENT_END};
    answer(f, &m);
}

static void assert_text(struct client_text text, const char *expected) {
    assert_int_equal(text.size, strlen(expected));
    assert_memory_equal(text.bytes, expected, text.size);
}

static void write_file(const char *path, size_t size) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < size; i++)
        putc((int)('a' + i % 23), file);
    assert_int_equal(fclose(file), 0);
}

/* --- put -------------------------------------------------------------------------------------------------------- */

static void put_sends_the_file_in_blocks_and_waits_for_the_answer(void **state) {
    struct fixture *f = *state;
    size_t size = CLIENT_DATA_MAX + 1000;
    write_file(f->file, size);
    START(f, &command_put, f->file);
    accept_command(f);
    const struct client_message *m = receive(f, CLIENT_PUT);
    assert_text(m->u.put.name, "file");
    assert_int_equal(m->u.put.condition, CLIENT_ANY);
    assert_int_equal(m->u.put.size, size);
    assert_int_equal(receive(f, CLIENT_DATA)->u.data.size, CLIENT_DATA_MAX);
    m = receive(f, CLIENT_DATA);
    assert_int_equal(m->u.data.size, 1000);
    assert_int_equal(m->u.data.bytes[999], 'a' + (size - 1) % 23);
    receive(f, CLIENT_END);
    answer_result(f, 0, "");
    assert_int_equal(finish(f), CLI_DONE);
    assert_string_equal(f->out, "");
    assert_string_equal(f->err, "");
}

static void put_passes_its_condition_on(void **state) {
    struct fixture *f = *state;
    write_file(f->file, 1);
    START(f, &command_put, f->file, "docs/x", "--if-version", "000102030405060708090a0b0c0d0e0f");
    accept_command(f);
    const struct client_message *m = receive(f, CLIENT_PUT);
    assert_text(m->u.put.name, "docs/x");
    assert_int_equal(m->u.put.condition, CLIENT_MATCH);
    assert_int_equal(m->u.put.match[15], 15);
    receive(f, CLIENT_DATA);
    receive(f, CLIENT_END);
    answer_result(f, ERR_PRECONDITION, "put docs/x: another version is stored: see shoal stat");
    assert_int_equal(finish(f), CLI_PRECONDITION);
    assert_string_equal(f->err, "shoal: put docs/x: another version is stored: see shoal stat\n");
}

static void put_stops_sending_when_the_node_says_no_early(void **state) {
    struct fixture *f = *state;
    write_file(f->file, 20 * CLIENT_DATA_MAX);
    START(f, &command_put, f->file, "--if-absent");
    accept_command(f);
    assert_int_equal(receive(f, CLIENT_PUT)->u.put.condition, CLIENT_ABSENT);
    answer_result(f, ERR_NO_SPACE, "put file: no space\nleft");
    assert_int_equal(finish(f), CLI_FAILED);
    assert_string_equal(f->err, "shoal: put file: no space?left\n");
}

static void put_does_not_believe_in_success_before_the_end(void **state) {
    struct fixture *f = *state;
    write_file(f->file, 20 * CLIENT_DATA_MAX);
    START(f, &command_put, f->file);
    accept_command(f);
    receive(f, CLIENT_PUT);
    answer_result(f, 0, "");
    assert_int_equal(finish(f), CLI_FAILED);
}

static void put_fails_when_the_node_dies(void **state) {
    struct fixture *f = *state;
    write_file(f->file, 10);
    START(f, &command_put, f->file);
    accept_command(f);
    receive(f, CLIENT_PUT);
    receive(f, CLIENT_DATA);
    receive(f, CLIENT_END);
    close(f->fd);
    f->fd = -1;
    assert_int_equal(finish(f), CLI_UNAVAILABLE);
    assert_string_equal(f->err, "shoal: put file: the node hung up: see what it logs\n");
}

/* --- get -------------------------------------------------------------------------------------------------------- */

static void get_writes_the_file(void **state) {
    struct fixture *f = *state;
    START(f, &command_get, "docs/a.txt", f->file);
    accept_command(f);
    assert_text(receive(f, CLIENT_GET)->u.get.name, "docs/a.txt");
    answer_head(f, 10);
    answer_data(f, "01234");
    answer_data(f, "56789");
    answer_end(f);
    assert_int_equal(finish(f), CLI_DONE);
    char got[OUTPUT_MAX];
    child_read(f->dir, "file", got);
    assert_string_equal(got, "0123456789");
}

static void get_to_standard_output(void **state) {
    struct fixture *f = *state;
    START(f, &command_get, "a", "-");
    accept_command(f);
    receive(f, CLIENT_GET);
    answer_head(f, 3);
    answer_data(f, "abc");
    answer_end(f);
    assert_int_equal(finish(f), CLI_DONE);
    assert_string_equal(f->out, "abc");
}

static void get_of_nothing_is_not_found(void **state) {
    struct fixture *f = *state;
    START(f, &command_get, "a", f->file);
    accept_command(f);
    receive(f, CLIENT_GET);
    answer_result(f, ERR_NOT_FOUND, "get a: no such file: see shoal ls");
    assert_int_equal(finish(f), CLI_NOT_FOUND);
    assert_int_equal(access(f->file, F_OK), -1);
}

/* Only the two files of start() and the socket are left. */
static void assert_no_trace(struct fixture *f) {
    int count = 0;
    DIR *d = opendir(f->dir);
    assert_non_null(d);
    assert_int_equal(access(f->file, F_OK), -1);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    assert_int_equal(count, 3);
}

static void get_that_fails_midway_leaves_no_trace(void **state) {
    struct fixture *f = *state;
    START(f, &command_get, "a", f->file);
    accept_command(f);
    receive(f, CLIENT_GET);
    answer_head(f, 10);
    answer_data(f, "01234");
    answer_result(f, ERR_UNAVAILABLE, "get a: chunk 1: no node answers");
    assert_int_equal(finish(f), CLI_UNAVAILABLE);
    assert_string_equal(f->err, "shoal: get a: chunk 1: no node answers\n");
    assert_no_trace(f);
}

static void get_believes_neither_too_little_nor_too_much(void **state) {
    struct fixture *f = *state;
    for (int round = 0; round < 2; round++) {
        START(f, &command_get, "a", f->file);
        accept_command(f);
        receive(f, CLIENT_GET);
        answer_head(f, 10);
        answer_data(f, round == 0 ? "01234" : "0123456789a");
        if (round == 0) {
            answer_end(f); /* too much needs none: the command has hung up by then */
        }
        assert_int_equal(finish(f), CLI_FAILED);
        assert_no_trace(f);
        close(f->fd);
        f->fd = -1;
    }
}

static void get_that_is_interrupted_leaves_no_trace_and_dies_of_the_signal(void **state) {
    struct fixture *f = *state;
    START(f, &command_get, "a", f->file);
    accept_command(f);
    receive(f, CLIENT_GET);
    answer_head(f, 10);
    answer_data(f, "01234");
    kill(f->child, SIGINT);
    assert_int_equal(finish(f), -SIGINT);
    assert_no_trace(f);
}

/* --- the others ------------------------------------------------------------------------------------------------- */

static void answer_page(struct fixture *f, bool more, const char *const *names, uint32_t count) {
    struct client_entry entries[4] = {0};
    struct buf b;
    assert_true(count <= 4);
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct client_entry){.name = {.bytes = names[i], .size = strlen(names[i])}, .size = i + 1};
    buf_init(&b, PREFIX_SIZE + FRAME_MAX);
    client_encode_list(more, entries, count, &b);
    send_buf(f, &b);
}

static void ls_asks_for_page_after_page(void **state) {
    struct fixture *f = *state;
    START(f, &command_ls, "--json", "docs/");
    accept_command(f);
    const struct client_message *m = receive(f, CLIENT_LS);
    assert_text(m->u.ls.prefix, "docs/");
    assert_text(m->u.ls.after, "");
    answer_page(f, true, (const char *const[]){"docs/a", "docs/b"}, 2);
    assert_text(receive(f, CLIENT_LS)->u.ls.after, "docs/b");
    answer_page(f, false, (const char *const[]){"docs/c"}, 1);
    assert_int_equal(finish(f), CLI_DONE);
    assert_non_null(strstr(f->out, "[{\"name\":\"docs/a\",\"size\":1,"));
    assert_non_null(strstr(f->out, "{\"name\":\"docs/c\""));
    assert_non_null(strstr(f->out, "}]\n"));
}

static void ls_does_not_turn_in_circles(void **state) {
    struct fixture *f = *state;
    START(f, &command_ls);
    accept_command(f);
    receive(f, CLIENT_LS);
    answer_page(f, true, (const char *const[]){"b"}, 1);
    receive(f, CLIENT_LS);
    answer_page(f, true, (const char *const[]){"a"}, 1);
    assert_int_equal(finish(f), CLI_FAILED);
    assert_string_equal(f->out, "b\n");
}

static void rm_goes_on_after_a_name_that_is_not_there(void **state) {
    struct fixture *f = *state;
    START(f, &command_rm, "a", "b");
    accept_command(f);
    assert_text(receive(f, CLIENT_RM)->u.put.name, "a");
    answer_result(f, ERR_NOT_FOUND, "rm a: no such file");
    assert_text(receive(f, CLIENT_RM)->u.put.name, "b");
    answer_result(f, 0, "");
    assert_int_equal(finish(f), CLI_NOT_FOUND);
}

static void invite_prints_the_ticket_alone(void **state) {
    struct fixture *f = *state;
    START(f, &command_invite, "--expires", "30m", "--uses", "2");
    accept_command(f);
    const struct client_message *m = receive(f, CLIENT_INVITE);
    assert_int_equal(m->u.invite.expires_ms, 1800000);
    assert_int_equal(m->u.invite.uses, 2);
    const struct client_message text = {.kind = CLIENT_TEXT, .u.text = {.bytes = "shoal1abc", .size = 9}};
    answer(f, &text);
    assert_int_equal(finish(f), CLI_DONE);
    assert_string_equal(f->out, "shoal1abc\n");
}

static void answer_stat(struct fixture *f) {
    receive(f, CLIENT_STAT);
    const struct client_message m = {.kind = CLIENT_STAT_REPLY,
                                     .u.stat_reply = {.name = {.bytes = "docs/a", .size = 6},
                                                      .size = 5,
                                                      .chunks = 2,
                                                      .arc = 7,
                                                      .leader = 3,
                                                      .replica_count = 2,
                                                      .replicas = {1, 3},
                                                      .chunk_replicas_min = 2}};
    answer(f, &m);
}

static void stat_tells_who_is_to_keep_the_file(void **state) {
    struct fixture *f = *state;
    START(f, &command_stat, "docs/a");
    accept_command(f);
    answer_stat(f);
    assert_int_equal(finish(f), CLI_DONE);
    assert_non_null(strstr(f->out, "chunks    2, each kept by 2 nodes or more\n"));
    assert_non_null(strstr(f->out, "kept by   nodes 1, 3; led by node 3\n"));
}

static void stat_prints_json(void **state) {
    struct fixture *f = *state;
    START(f, &command_stat, "--json", "docs/a");
    accept_command(f);
    answer_stat(f);
    assert_int_equal(finish(f), CLI_DONE);
    assert_string_equal(f->out, "{\"name\":\"docs/a\",\"size\":5,\"modified\":\"1970-01-01T00:00:00Z\","
                                "\"version\":\"00000000000000000000000000000000\",\"chunks\":2,\"inline\":false,"
                                "\"arc\":7,\"leader\":3,\"replicas\":[1,3],\"chunk_replicas_min\":2}\n");
}

static void status_prints_json(void **state) {
    struct fixture *f = *state;
    START(f, &command_status, "--json");
    accept_command(f);
    receive(f, CLIENT_STATUS);
    const struct client_message m = {
        .kind = CLIENT_STATUS_REPLY,
        .u.status_reply = {
            .self = 1, .epoch = 9, .replicas = 3, .arcs_total = 8, .arcs_healthy = 7, .arcs_under = 1, .count = 1}};
    const struct client_member member = {.node = 1,
                                         .addr = "127.0.0.1:7440",
                                         .zone = "z",
                                         .state = MEMBER_UP,
                                         .alive = true,
                                         .leaders = 8,
                                         .replicas = 5};
    struct buf b;
    buf_init(&b, PREFIX_SIZE + FRAME_MAX);
    client_encode_status(&m, &member, &b);
    send_buf(f, &b);
    assert_int_equal(finish(f), CLI_DONE);
    assert_non_null(strstr(f->out, "\"arcs\":{\"total\":8,\"healthy\":7,\"under_replicated\":1,\"leaderless\":0}"));
    assert_non_null(strstr(f->out, "\"addr\":\"127.0.0.1:7440\",\"zone\":\"z\",\"state\":\"up\",\"alive\":true,"));
    assert_non_null(strstr(f->out, "\"used\":0,\"leaders\":8,\"replicas\":5}"));
}

static void answer_status_of_a_dead_node(struct fixture *f) {
    receive(f, CLIENT_STATUS);
    const struct client_message m = {.kind = CLIENT_STATUS_REPLY, .u.status_reply = {.self = 1, .count = 1}};
    const struct client_member member = {.node = 2, .addr = "127.0.0.1:7440", .state = MEMBER_UP, .capacity = 2048};
    struct buf b;
    buf_init(&b, PREFIX_SIZE + FRAME_MAX);
    client_encode_status(&m, &member, &b);
    send_buf(f, &b);
}

static void status_does_not_tell_what_a_dead_node_uses(void **state) {
    struct fixture *f = *state;
    START(f, &command_status);
    accept_command(f);
    answer_status_of_a_dead_node(f);
    assert_int_equal(finish(f), CLI_DONE);
    assert_non_null(strstr(f->out, "  dead            - of 2.0 KiB "));
}

static void status_does_not_tell_in_json_what_a_dead_node_uses(void **state) {
    struct fixture *f = *state;
    START(f, &command_status, "--json");
    accept_command(f);
    answer_status_of_a_dead_node(f);
    assert_int_equal(finish(f), CLI_DONE);
    assert_non_null(strstr(f->out, "\"alive\":false,\"capacity\":2048,\"used\":null,\"leaders\":0"));
}

/* --- names ------------------------------------------------------------------------------------------------------ */

static void a_name_that_cannot_be_is_told_the_rule(void **state) {
    struct fixture *f = *state;
    static const char *const names[][2] = {
        {"Bucket/key", "no capitals"}, {"b_c/key", "only a-z"}, {".b/key", "begins with"},
        {"/key", "no bucket"},         {"b/", "no key"},        {"a\tb", "control"},
        {"B/\xff", "no capitals"},     {"b/\xff", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        START(f, &command_stat, names[i][0]);
        assert_int_equal(finish(f), CLI_USAGE);
        assert_non_null(strstr(f->err, "cannot be a name"));
        assert_non_null(strstr(f->err, names[i][1]));
    }
}

/* --- drain, remove ---------------------------------------------------------------------------------------------- */

/* Asked for the status: the answer comes from node 2, which drains or has drained. */
static void answer_status(struct fixture *f, enum member_state state, uint32_t replicas) {
    receive(f, CLIENT_STATUS);
    const struct client_message m = {.kind = CLIENT_STATUS_REPLY, .u.status_reply = {.self = 2, .count = 2}};
    const struct client_member members[2] = {{.node = 1, .state = MEMBER_UP, .replicas = 9},
                                             {.node = 2, .state = (uint8_t)state, .replicas = replicas}};
    struct buf b;
    buf_init(&b, PREFIX_SIZE + FRAME_MAX);
    client_encode_status(&m, members, &b);
    send_buf(f, &b);
}

static void expect_change(struct fixture *f, enum client_action action, uint32_t node, bool force) {
    accept_command(f);
    const struct client_message *m = receive(f, CLIENT_MEMBER);
    assert_int_equal(m->u.member.action, action);
    assert_int_equal(m->u.member.node, node);
    assert_int_equal(m->u.member.force, force);
}

static void drain_waits_until_the_node_is_gone(void **state) {
    struct fixture *f = *state;
    START(f, &command_drain);
    expect_change(f, CLIENT_DRAIN, 0, false);
    answer_result(f, 0, "");
    answer_status(f, MEMBER_UP, 9); /* the table of the node asked may be older than the decision */
    answer_status(f, MEMBER_DRAINING, 9);
    answer_status(f, MEMBER_DRAINING, 0);
    answer_status(f, MEMBER_GONE, 0);
    assert_int_equal(finish(f), CLI_DONE);
    assert_string_equal(f->out, "node 2 has left the swarm\n");
    assert_string_equal(f->err, "");
}

static void drain_tells_when_it_was_called_off(void **state) {
    struct fixture *f = *state;
    START(f, &command_drain, "2");
    expect_change(f, CLIENT_DRAIN, 2, false);
    answer_result(f, 0, "");
    answer_status(f, MEMBER_DRAINING, 9);
    answer_status(f, MEMBER_UP, 9);
    assert_int_equal(finish(f), CLI_FAILED);
    assert_non_null(strstr(f->err, "called off"));
}

static void drain_need_not_wait(void **state) {
    struct fixture *f = *state;
    START(f, &command_drain, "--no-wait", "2");
    expect_change(f, CLIENT_DRAIN, 2, false);
    answer_result(f, 0, "");
    answer_status(f, MEMBER_DRAINING, 7);
    assert_int_equal(finish(f), CLI_DONE);
    assert_string_equal(f->out, "node 2 is draining: 7 groups are still with it\n");
}

static void drain_is_cancelled(void **state) {
    struct fixture *f = *state;
    START(f, &command_drain, "--cancel");
    expect_change(f, CLIENT_DRAIN_STOP, 0, false);
    answer_result(f, 0, "");
    answer_status(f, MEMBER_UP, 7);
    assert_int_equal(finish(f), CLI_DONE);
    assert_string_equal(f->out, "node 2 is up\n");
}

static void an_interrupted_drain_goes_on(void **state) {
    struct fixture *f = *state;
    START(f, &command_drain);
    expect_change(f, CLIENT_DRAIN, 0, false);
    answer_result(f, 0, "");
    answer_status(f, MEMBER_DRAINING, 7);
    assert_int_equal(kill(f->child, SIGINT), 0);
    assert_int_equal(finish(f), -SIGINT); /* as the caller's shell expects */
    assert_non_null(strstr(f->err, "the drain goes on"));
}

static void a_refused_drain_says_why(void **state) {
    struct fixture *f = *state;
    START(f, &command_drain, "2");
    expect_change(f, CLIENT_DRAIN, 2, false);
    answer_result(f, ERR_NO_SPACE, "drain: no room");
    assert_int_equal(finish(f), CLI_FAILED);
    assert_string_equal(f->err, "shoal: drain: no room\n");
}

static void remove_asks_for_what_it_was_told(void **state) {
    struct fixture *f = *state;
    START(f, &command_remove, "--force", "2");
    expect_change(f, CLIENT_DISMISS, 2, true);
    answer_result(f, 0, "");
    assert_int_equal(finish(f), CLI_DONE);
    assert_string_equal(f->out, "node 2 is no longer a member\n");
}

static void a_refused_removal_says_why(void **state) {
    struct fixture *f = *state;
    START(f, &command_remove, "2");
    expect_change(f, CLIENT_DISMISS, 2, false);
    answer_result(f, ERR_REFUSED, "remove: node 2 is alive");
    assert_int_equal(finish(f), CLI_FAILED);
    assert_string_equal(f->err, "shoal: remove: node 2 is alive\n");
}

static void without_a_node_the_remedy_is_told(void **state) {
    struct fixture *f = *state;
    close(f->listener);
    f->listener = -1;
    START(f, &command_ls);
    assert_int_equal(finish(f), CLI_UNAVAILABLE);
    char expected[OUTPUT_MAX];
    snprintf(expected, sizeof expected, "shoal: no node is running in %s: start one with 'shoal node -d %s'\n", f->dir,
             f->dir);
    assert_string_equal(f->err, expected);
}

static void rubbish_from_the_node_is_told(void **state) {
    struct fixture *f = *state;
    static const char rubbish[] = "\xff\xff\xff\xff rubbish";
    START(f, &command_status);
    accept_command(f);
    assert_int_equal(send(f->fd, rubbish, sizeof rubbish, 0), sizeof rubbish);
    assert_int_equal(finish(f), CLI_FAILED);
    assert_non_null(strstr(f->err, "same version"));
}

static void wrong_usage_is_told_before_any_node_is_asked(void **state) {
    struct fixture *f = *state;
    static const struct {
        const struct cli_command *command;
        const char *args[4];
    } cases[] = {
        {&command_put, {NULL}},
        {&command_put, {"-"}},
        {&command_put, {"/etc/hostname", "a", "b"}},
        {&command_put, {"/etc/hostname", "--if-absent", "--if-absent"}},
        {&command_put, {"/etc/hostname", "--if-version", "1"}},
        {&command_put, {"/etc/hostname", "/leading"}},
        {&command_get, {NULL}},
        {&command_get, {"--nonsense", "a"}},
        {&command_rm, {"a", ""}},
        {&command_ls, {"-x"}},
        {&command_stat, {NULL}},
        {&command_status, {"a"}},
        {&command_invite, {"--expires", "soon"}},
        {&command_invite, {"--uses"}},
        {&command_drain, {"0"}},
        {&command_drain, {"1", "2"}},
        {&command_remove, {NULL}},
        {&command_remove, {"one"}},
        {&command_remove, {"--force"}},
        {&command_node, {"--out-after", "10"}},
        {&command_node, {"--listen", "nowhere"}},
        {&command_node, {"--advertise", "0.0.0.0:1"}},
        {&command_node, {"--join", "ticket"}},
        {&command_node, {"--replicas", "0"}},
        {&command_node, {"--arcs", "1000"}},
        {&command_node, {"--capacity", "much"}},
        {&command_node, {"--zone", "a b"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(f, cases[i].command, cases[i].args);
        assert_int_equal(finish(f), CLI_USAGE);
        assert_int_equal(strncmp(f->err, "shoal: ", 7), 0);
        assert_ptr_equal(strchr(f->err, '\n'), f->err + strlen(f->err) - 1);
    }
}

static void help_is_printed_for_every_command(void **state) {
    struct fixture *f = *state;
    static const struct cli_command *const commands[] = {
        &command_node, &command_invite, &command_put,   &command_get,   &command_ls,    &command_rm,
        &command_stat, &command_status, &command_bench, &command_drain, &command_remove};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        START(f, commands[i], "--help");
        assert_int_equal(finish(f), CLI_DONE);
        assert_non_null(strstr(f->out, commands[i]->summary));
        assert_string_equal(f->err, "");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(put_sends_the_file_in_blocks_and_waits_for_the_answer),
        TEST(put_passes_its_condition_on),
        TEST(put_stops_sending_when_the_node_says_no_early),
        TEST(put_does_not_believe_in_success_before_the_end),
        TEST(put_fails_when_the_node_dies),
        TEST(get_writes_the_file),
        TEST(get_to_standard_output),
        TEST(get_of_nothing_is_not_found),
        TEST(get_that_fails_midway_leaves_no_trace),
        TEST(get_believes_neither_too_little_nor_too_much),
        TEST(get_that_is_interrupted_leaves_no_trace_and_dies_of_the_signal),
        TEST(ls_asks_for_page_after_page),
        TEST(ls_does_not_turn_in_circles),
        TEST(rm_goes_on_after_a_name_that_is_not_there),
        TEST(invite_prints_the_ticket_alone),
        TEST(stat_prints_json),
        TEST(stat_tells_who_is_to_keep_the_file),
        TEST(status_prints_json),
        TEST(status_does_not_tell_what_a_dead_node_uses),
        TEST(status_does_not_tell_in_json_what_a_dead_node_uses),
        TEST(a_name_that_cannot_be_is_told_the_rule),
        TEST(drain_waits_until_the_node_is_gone),
        TEST(drain_tells_when_it_was_called_off),
        TEST(drain_need_not_wait),
        TEST(drain_is_cancelled),
        TEST(an_interrupted_drain_goes_on),
        TEST(a_refused_drain_says_why),
        TEST(remove_asks_for_what_it_was_told),
        TEST(a_refused_removal_says_why),
        TEST(without_a_node_the_remedy_is_told),
        TEST(rubbish_from_the_node_is_told),
        TEST(wrong_usage_is_told_before_any_node_is_asked),
        TEST(help_is_printed_for_every_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
