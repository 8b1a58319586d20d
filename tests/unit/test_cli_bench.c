/* shoal bench against a node played by the test, which keeps files in memory and misbehaves as it is told. */
#include <fcntl.h>
#include <poll.h>
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
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "cli_child.h"
#include "client.h"
#include "digest.h"
#include "errors.h"
#include "frame.h"

#define FILE_SIZE 100
#define KEYS 20
#define CONNS_MAX 16
#define LIMIT_SECONDS 30

struct node;

struct conn {
    struct node *node;
    int fd;
    struct frame_reader frames;
    char name[64]; /* of the put under way */
    uint8_t content[FILE_SIZE];
};

struct stored {
    char name[64];
    uint8_t content[FILE_SIZE];
};

struct node {
    char dir[64];
    int listener;
    struct conn conns[CONNS_MAX];
    struct stored files[KEYS];
    unsigned file_count, puts, gets, accepted;
    unsigned dying;    /* hangs up instead of answering this many puts */
    bool leaving;      /* the last time, nobody is let in any more before that */
    unsigned refusing; /* so many puts are answered with an error */
    bool silent;       /* answers nothing */
    bool forgets;      /* every get finds nothing */
    bool mixes_up;     /* gets the bytes of another file */
};

struct fixture {
    struct node nodes[2];
    char base[SCRATCH_SIZE];
    pid_t child;
    char out[OUTPUT_MAX], err[OUTPUT_MAX];
};

/* ---- the node ---------------------------------------------------------------------------------------------------- */

static void node_open(struct node *n, const char *base, unsigned number) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(n->dir, sizeof n->dir, "%.40s/%u", base, number);
    assert_int_equal(mkdir(n->dir, 0700), 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/shoal.sock", n->dir);
    n->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(n->listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(n->listener, CONNS_MAX), 0);
    for (unsigned i = 0; i < CONNS_MAX; i++)
        n->conns[i] = (struct conn){.node = n, .fd = -1};
}

static void hang_up(struct conn *c) {
    close(c->fd);
    c->fd = -1;
    frame_reader_release(&c->frames);
}

static void stop_listening(struct node *n) {
    if (n->listener >= 0)
        close(n->listener);
    n->listener = -1;
}

static void node_close(struct node *n) {
    stop_listening(n);
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (n->conns[i].fd >= 0)
            hang_up(&n->conns[i]);
}

static void answer(const struct conn *c, const struct client_message *m) {
    struct buf b;
    buf_init(&b, FRAME_MAX);
    client_encode(m, &b);
    assert_int_equal(b.error, 0);
    (void)send(c->fd, b.bytes, b.size, MSG_NOSIGNAL);
    buf_release(&b);
}

static void answer_result(const struct conn *c, int status) {
    struct client_message m = {.kind = CLIENT_RESULT, .u.result.status = status};
    if (status != 0)
        m.u.result.message = (struct client_text){.bytes = "put: as told", .size = 12};
    answer(c, &m);
}

static struct stored *find(struct node *n, const char *name) {
    for (unsigned i = 0; i < n->file_count; i++)
        if (strcmp(n->files[i].name, name) == 0)
            return &n->files[i];
    return NULL;
}

/* Gives false when it hangs up instead. */
static bool end_put(struct conn *c) {
    struct node *n = c->node;
    n->puts++;
    if (n->dying > 0) {
        n->dying--;
        if (n->dying == 0 && n->leaving)
            stop_listening(n);
        return false;
    }
    if (n->refusing > 0) {
        n->refusing--;
        answer_result(c, ERR_UNAVAILABLE);
        return true;
    }
    struct stored *f = find(n, c->name);
    if (f == NULL) {
        assert_true(n->file_count < KEYS);
        f = &n->files[n->file_count++];
        memcpy(f->name, c->name, sizeof f->name);
    }
    memcpy(f->content, c->content, FILE_SIZE);
    answer_result(c, 0);
    return true;
}

static void get(struct conn *c, const char *name) {
    struct node *n = c->node;
    const struct stored *f = n->forgets ? NULL : find(n, name);
    n->gets++;
    if (f == NULL) {
        answer_result(c, ERR_NOT_FOUND);
        return;
    }
    if (n->mixes_up)
        f = f == n->files ? f + 1 : n->files;
    /* In pieces, cut where the stamp at the front is not yet whole. */
    answer(c, &(struct client_message){.kind = CLIENT_HEAD, .u.head.size = FILE_SIZE});
    answer(c, &(struct client_message){.kind = CLIENT_DATA, .u.data = {.bytes = f->content, .size = 7}});
    answer(c,
           &(struct client_message){.kind = CLIENT_DATA, .u.data = {.bytes = f->content + 7, .size = FILE_SIZE - 7}});
    answer(c, &(struct client_message){.kind = CLIENT_END});
}

static int take_frame(void *ctx, const uint8_t *frame, size_t size) {
    struct conn *c = ctx;
    struct client_message m;
    char name[64];
    assert_int_equal(client_decode(frame, size, &m, NULL), 0);
    if (c->node->silent)
        return 0;
    switch (m.kind) {
    case CLIENT_PUT:
        assert_int_equal(m.u.put.size, FILE_SIZE);
        snprintf(c->name, sizeof c->name, "%.*s", (int)m.u.put.name.size, m.u.put.name.bytes);
        return 0;
    case CLIENT_DATA:
        assert_int_equal(m.u.data.size, FILE_SIZE);
        memcpy(c->content, m.u.data.bytes, FILE_SIZE);
        return 0;
    case CLIENT_END:
        return end_put(c) ? 0 : ERR_CLOSED;
    default:
        assert_int_equal(m.kind, CLIENT_GET);
        snprintf(name, sizeof name, "%.*s", (int)m.u.get.name.size, m.u.get.name.bytes);
        get(c, name);
        return 0;
    }
}

static void accept_one(struct node *n) {
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &n->conns[i];
        if (c->fd >= 0)
            continue;
        c->fd = accept(n->listener, NULL, NULL);
        assert_true(c->fd >= 0);
        frame_reader_init(&c->frames, FRAME_MAX);
        n->accepted++;
        return;
    }
    fail_msg("too many connections");
}

static void serve_conn(struct conn *c) {
    uint8_t bytes[4096];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got <= 0 || frame_read(&c->frames, bytes, (size_t)got, take_frame, c) != 0)
        hang_up(c);
}

static void serve(struct node *n) {
    struct pollfd fds[CONNS_MAX + 1];
    for (unsigned i = 0; i < CONNS_MAX; i++)
        fds[i] = (struct pollfd){.fd = n->conns[i].fd, .events = POLLIN};
    fds[CONNS_MAX] = (struct pollfd){.fd = n->listener, .events = POLLIN};
    assert_true(poll(fds, CONNS_MAX + 1, 1) >= 0);
    for (unsigned i = 0; i < CONNS_MAX; i++)
        if (fds[i].revents != 0)
            serve_conn(&n->conns[i]);
    if (fds[CONNS_MAX].revents != 0)
        accept_one(n);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    scratch_make(f->base);
    node_open(&f->nodes[0], f->base, 0);
    node_open(&f->nodes[1], f->base, 1);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    node_close(&f->nodes[0]);
    node_close(&f->nodes[1]);
    scratch_remove(f->base);
    free(f);
    return 0;
}

/* shoal bench MODE -d (the first node) and the arguments given. */
static void start(struct fixture *f, const char *const *args) {
    char size[8], keys[8];
    snprintf(size, sizeof size, "%d", FILE_SIZE);
    snprintf(keys, sizeof keys, "%d", KEYS);
    const char *all[ARGS_MAX + 1] = {"bench", "-d", f->nodes[0].dir, "--size", size, "--keys", keys};
    int argc = 7;
    for (; *args != NULL && argc < ARGS_MAX; args++)
        all[argc++] = *args;
    f->child = fork();
    assert_true(f->child >= 0);
    if (f->child != 0)
        return;
    node_close(&f->nodes[0]); /* the copies that this process has */
    node_close(&f->nodes[1]);
    child_run(f->base, &command_bench, argc, all);
}

static time_t seconds(void) {
    struct timespec t;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &t), 0);
    return t.tv_sec;
}

/* Plays both nodes until the command ends; its exit code, or minus the signal it died of. */
static int finish(struct fixture *f) {
    int status = 0;
    time_t limit = seconds() + LIMIT_SECONDS;
    while (waitpid(f->child, &status, WNOHANG) == 0) {
        if (seconds() > limit)
            kill(f->child, SIGKILL);
        serve(&f->nodes[0]);
        serve(&f->nodes[1]);
    }
    return child_end(f->base, status, f->out, f->err);
}

#define RUN(f, ...) (start(f, (const char *const[]){__VA_ARGS__, NULL}), finish(f))

static double figure(const char *text, const char *name) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(text, quoted);
    assert_non_null(at);
    return strtod(at + strlen(quoted), NULL);
}

static char *history_of(const struct fixture *f) {
    char path[128];
    size_t size = 0;
    char *text = NULL;
    snprintf(path, sizeof path, "%s/history", f->base);
    FILE *in = fopen(path, "re");
    assert_non_null(in);
    assert_true(getdelim(&text, &size, '\0', in) >= 0);
    fclose(in);
    return text;
}

static unsigned count_of(const char *text, const char *part) {
    unsigned count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void writes_are_counted_and_timed(void **state) {
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "write", "--clients", "3", "--seconds", "1", "--json"), CLI_DONE);
    double seconds = figure(f->out, "seconds");
    assert_true(seconds >= 1 && seconds < 2);
    double operations = figure(f->out, "ops_per_second") * seconds;
    /* All but what was under way at the end, and what rounding takes. */
    assert_true(operations > 0 && operations < f->nodes[0].puts + 1 && operations + 4 >= f->nodes[0].puts);
    assert_true(figure(f->out, "mib_per_second") > 0);
    assert_true(figure(f->out, "p50") > 0);
    assert_true(figure(f->out, "p50") <= figure(f->out, "p95"));
    assert_true(figure(f->out, "p95") <= figure(f->out, "p99"));
    assert_true(figure(f->out, "p99") <= figure(f->out, "p999"));
    assert_true(figure(f->out, "p999") <= figure(f->out, "max"));
    assert_true(figure(f->out, "errors") == 0);
    assert_int_equal(f->nodes[0].accepted, 3 + 1); /* one looked whether a node is there */
    assert_int_equal(f->nodes[0].gets, 0);
    assert_int_equal(f->nodes[0].file_count, KEYS);
    assert_int_equal(strncmp(f->err, "files     bench/", 16), 0);
    assert_ptr_equal(strchr(f->err, '\n'), f->err + strlen(f->err) - 1);
}

static void no_two_writes_are_alike(void **state) {
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "write", "--clients", "2", "--seconds", "1"), CLI_DONE);
    const struct stored *files = f->nodes[0].files;
    for (unsigned i = 0; i < KEYS; i++)
        for (unsigned j = 0; j < i; j++)
            assert_memory_not_equal(files[i].content, files[j].content, FILE_SIZE);
}

static void reads_find_what_was_filled_in(void **state) {
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "read", "--clients", "3", "--seconds", "1", "--json"), CLI_DONE);
    assert_int_equal(f->nodes[0].puts, KEYS);
    assert_true(f->nodes[0].gets > 0);
    assert_true(figure(f->out, "ops_per_second") > 0);
    assert_true(figure(f->out, "errors") == 0);
}

static void mixed_is_half_and_half(void **state) {
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "mixed", "--clients", "3", "--seconds", "1"), CLI_DONE);
    assert_non_null(strstr(f->out, "errors    0\n"));
    unsigned puts = f->nodes[0].puts - KEYS;
    assert_true(puts > f->nodes[0].gets / 2 && f->nodes[0].gets > puts / 2);
}

static void clients_are_spread_over_the_nodes(void **state) {
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "write", "--node", f->nodes[1].dir, "--clients", "5", "--seconds", "1"), CLI_DONE);
    assert_int_equal(f->nodes[0].accepted, 3 + 1);
    assert_int_equal(f->nodes[1].accepted, 2 + 1);
    assert_non_null(strstr(f->out, "5 clients at 2 nodes"));
}

/* Two that found nobody at home in between: each lost operation is an error, and of unknown outcome. */
static void a_broken_connection_is_an_error_and_is_made_again(void **state) {
    struct fixture *f = *state;
    char history[128];
    snprintf(history, sizeof history, "%s/history", f->base);
    f->nodes[0].dying = 2;
    assert_int_equal(RUN(f, "write", "--clients", "1", "--seconds", "1", "--json", "--history", history), CLI_DONE);
    assert_true(figure(f->out, "errors") == 2);
    char *text = history_of(f);
    assert_int_equal(count_of(text, "\"return\":null,\"result\":\"unknown\"}\n"), 2);
    assert_int_equal(count_of(text, "\"client\":0,"), 1);
    assert_int_equal(count_of(text, "\"client\":1,"), 1);
    assert_int_equal(count_of(text, "\"client\":2,"), f->nodes[0].puts - 2);
    assert_int_equal(count_of(text, "\"result\":\"ok\"}\n"), f->nodes[0].puts - 2);
    free(text);
}

static void a_node_that_is_gone_is_left_for_the_next(void **state) {
    struct fixture *f = *state;
    f->nodes[0].dying = 1;
    f->nodes[0].leaving = true;
    start(f, (const char *const[]){"write", "--node", f->nodes[1].dir, "--clients", "1", "--seconds", "1", "--json",
                                   NULL});
    while (f->nodes[0].dying > 0)
        serve(&f->nodes[0]);
    node_close(&f->nodes[0]);
    assert_int_equal(finish(f), CLI_DONE);
    assert_true(figure(f->out, "errors") == 1);
    assert_true(f->nodes[1].puts > 0);
}

static void a_refusal_is_an_error_and_tries_the_next_node(void **state) {
    struct fixture *f = *state;
    f->nodes[0].refusing = 1;
    assert_int_equal(RUN(f, "write", "--node", f->nodes[1].dir, "--clients", "1", "--seconds", "1"), CLI_DONE);
    assert_non_null(strstr(f->out, "errors    1, the last: put: as told\n"));
    assert_true(f->nodes[1].puts > 0);
}

static void silence_is_given_up(void **state) {
    struct fixture *f = *state;
    f->nodes[0].silent = true;
    f->nodes[1].silent = true;
    assert_int_equal(
        RUN(f, "write", "--node", f->nodes[1].dir, "--clients", "2", "--seconds", "1", "--timeout", "300ms"),
        CLI_UNAVAILABLE);
    assert_non_null(strstr(f->err, "shoal: bench: no operation succeeded"));
    assert_non_null(strstr(f->out, "took too long"));
}

static void a_file_that_is_gone_is_an_error(void **state) {
    struct fixture *f = *state;
    f->nodes[0].forgets = true;
    assert_int_equal(RUN(f, "read", "--clients", "1", "--seconds", "1"), CLI_NOT_FOUND);
    assert_non_null(strstr(f->err, "no operation succeeded"));
}

static void a_file_of_another_name_ends_the_run(void **state) {
    struct fixture *f = *state;
    f->nodes[0].mixes_up = true;
    assert_int_equal(RUN(f, "read", "--clients", "2", "--seconds", "1"), CLI_FAILED);
    assert_string_equal(f->out, "");
    assert_string_equal(f->err, "shoal: bench: what was read is not what was written under that name\n");
}

/* Every line of the history is of the promised shape, and the last write of each key is what the node has. */
static void the_history_tells_what_happened(void **state) {
    struct fixture *f = *state;
    char path[128], hex[HEX_SIZE(DIGEST_SIZE)], expected[160];
    snprintf(path, sizeof path, "%s/history", f->base);
    assert_int_equal(RUN(f, "mixed", "--clients", "1", "--seconds", "1", "--history", path), CLI_DONE);
    char *text = history_of(f);
    assert_int_equal(count_of(text, "\n"), f->nodes[0].puts + f->nodes[0].gets);
    assert_int_equal(count_of(text, "{\"client\":0,\"op\":\"write\",\"key\":\"bench/"), f->nodes[0].puts);
    assert_int_equal(count_of(text, "{\"client\":0,\"op\":\"read\",\"key\":\"bench/"), f->nodes[0].gets);
    assert_int_equal(count_of(text, ",\"result\":\"ok\"}\n"), f->nodes[0].puts + f->nodes[0].gets);
    for (unsigned i = 0; i < f->nodes[0].file_count; i++) {
        struct digest d;
        const char *last = text;
        const struct stored *file = &f->nodes[0].files[i];
        digest_of(file->content, FILE_SIZE, &d);
        hex_encode(d.bytes, sizeof d.bytes, hex);
        snprintf(expected, sizeof expected, "\"key\":\"%s\",\"value\":", file->name);
        for (const char *at; (at = strstr(last, expected)) != NULL;)
            last = at + strlen(expected);
        assert_memory_equal(last + 1, hex, sizeof hex - 1);
    }
    free(text);
}

static void an_interrupt_ends_it_with_the_result_so_far(void **state) {
    struct fixture *f = *state;
    start(f, (const char *const[]){"write", "--clients", "2", "--seconds", "60", "--json", NULL});
    while (f->nodes[0].puts < 10)
        serve(&f->nodes[0]);
    kill(f->child, SIGINT);
    assert_int_equal(finish(f), CLI_DONE);
    assert_true(figure(f->out, "seconds") < 30);
    assert_true(figure(f->out, "ops_per_second") > 0);
}

static void an_interrupt_while_filling_acts_as_ever(void **state) {
    struct fixture *f = *state;
    start(f, (const char *const[]){"read", "--clients", "2", "--seconds", "60", NULL});
    while (f->nodes[0].accepted < 2)
        serve(&f->nodes[0]);
    f->nodes[0].silent = true;
    kill(f->child, SIGINT);
    assert_int_equal(finish(f), -SIGINT);
    assert_string_equal(f->out, "");
}

static void wrong_usage_is_told(void **state) {
    struct fixture *f = *state;
    static const char *const cases[][4] = {
        {NULL},
        {"append"},
        {"read", "write"},
        {"write", "--size", "15"},
        {"write", "--size", "2MiB"},
        {"write", "--size", "big"},
        {"write", "--clients", "0"},
        {"write", "--clients", "1025"},
        {"write", "--seconds", "0"},
        {"write", "--keys", "0"},
        {"write", "--timeout", "10"},
        {"write", "--node", ""},
        {"write", "--history"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(f, cases[i]);
        assert_int_equal(finish(f), CLI_USAGE);
        assert_int_equal(strncmp(f->err, "shoal: ", 7), 0);
        assert_ptr_equal(strchr(f->err, '\n'), f->err + strlen(f->err) - 1);
    }
}

static void every_node_must_be_there_at_the_start(void **state) {
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "write", "--node", "/nonexistent"), CLI_UNAVAILABLE);
    assert_non_null(strstr(f->err, "no node is running in /nonexistent"));
    assert_int_equal(f->nodes[0].puts, 0);
}

static void a_history_that_cannot_be_written_is_told(void **state) {
    struct fixture *f = *state;
    assert_int_equal(RUN(f, "write", "--history", "/nonexistent/history"), CLI_FAILED);
    assert_non_null(strstr(f->err, "/nonexistent/history"));
    assert_int_equal(RUN(f, "write", "--clients", "1", "--seconds", "1", "--history", "/dev/full"), CLI_FAILED);
    assert_non_null(strstr(f->err, "/dev/full: the history could not be written"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(writes_are_counted_and_timed),
        TEST(no_two_writes_are_alike),
        TEST(reads_find_what_was_filled_in),
        TEST(mixed_is_half_and_half),
        TEST(clients_are_spread_over_the_nodes),
        TEST(a_broken_connection_is_an_error_and_is_made_again),
        TEST(a_node_that_is_gone_is_left_for_the_next),
        TEST(a_refusal_is_an_error_and_tries_the_next_node),
        TEST(silence_is_given_up),
        TEST(a_file_that_is_gone_is_an_error),
        TEST(a_file_of_another_name_ends_the_run),
        TEST(the_history_tells_what_happened),
        TEST(an_interrupt_ends_it_with_the_result_so_far),
        TEST(an_interrupt_while_filling_acts_as_ever),
        TEST(wrong_usage_is_told),
        TEST(every_node_must_be_there_at_the_start),
        TEST(a_history_that_cannot_be_written_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
