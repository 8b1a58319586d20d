/* shoal drain: a member leaves, after all that it holds is on others. */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "cli.h"
#include "errors.h"
#include "interrupt.h"
#include "local.h"
#include "parse.h"

enum { OPTION_CANCEL = 256, OPTION_NO_WAIT };

#define DRAIN_LOOK_MS 250 /* shorter than a node that is gone stays to be asked */

struct drain {
    struct local local;
    struct interrupt interrupt;
    struct client_message request;
    bool wait;
    uint32_t node; /* that drains */
    uint32_t most; /* groups that it served when we looked first */
    bool seen;     /* it was draining when we looked */
    bool shown;    /* the line of progress is on the terminal */
};

static void drain_clear(struct drain *d) {
    if (d->shown)
        fputs("\r\033[K", stderr);
    d->shown = false;
}

static void drain_show(struct drain *d, uint32_t left) {
    if (isatty(STDERR_FILENO) != 1)
        return;
    fprintf(stderr, "\r\033[Knode %u is draining: %u of %u groups are still with it", d->node, left, d->most);
    fflush(stderr);
    d->shown = true;
}

/* The row of the member that drains; its number is in the answer when none was given. */
static int drain_look(struct drain *d, struct client_member *out) {
    const struct client_message status = {.kind = CLIENT_STATUS};
    struct client_message m;
    struct client_rows rows;
    int error = local_send(&d->local, &status);
    if (error >= 0)
        error = local_expect(&d->local, CLIENT_STATUS_REPLY, &m, &rows);
    if (error != 0)
        return error;
    if (d->node == 0)
        d->node = m.u.status_reply.self;
    while (client_member_next(&rows, out) == 0)
        if (out->node == d->node)
            return out->state > MEMBER_GONE ? local_broken(&d->local) : 0;
    return local_broken(&d->local);
}

/* Until it is gone or stays after all; *ret_over says that one of the two holds, and *ret_exit what to make of it. */
static void drain_judge(struct drain *d, const struct client_member *row, bool *ret_over, int *ret_exit) {
    d->most = row->replicas > d->most ? row->replicas : d->most;
    *ret_over = row->state == MEMBER_GONE || (d->seen && row->state != MEMBER_DRAINING);
    d->seen = d->seen || row->state == MEMBER_DRAINING;
    if (!*ret_over) {
        drain_show(d, row->replicas);
        return;
    }
    drain_clear(d);
    if (row->state == MEMBER_GONE) {
        printf("node %u has left the swarm\n", d->node);
        *ret_exit = cli_finish_output();
    } else {
        cli_error("drain: node %u stays: the drain was called off", d->node);
        *ret_exit = CLI_FAILED;
    }
}

static int drain_interrupted(struct drain *d) {
    drain_clear(d);
    cli_error("the drain goes on: 'shoal status' shows how far it is, 'shoal drain --cancel' calls it off");
    return CLI_FAILED;
}

static int drain_wait(struct drain *d) {
    struct pollfd signals = {.fd = d->interrupt.fd, .events = POLLIN};
    struct client_member row;
    for (;;) {
        bool over = false;
        int exit_code = CLI_DONE;
        int error = drain_look(d, &row);
        if (error == ERR_ABORTED)
            return drain_interrupted(d);
        if (error != 0) {
            drain_clear(d);
            return local_complain(&d->local, error);
        }
        drain_judge(d, &row, &over, &exit_code);
        if (over)
            return exit_code;
        if (poll(&signals, 1, DRAIN_LOOK_MS) > 0)
            return drain_interrupted(d);
    }
}

static int drain_tell(struct drain *d) {
    struct client_member row;
    int error = drain_look(d, &row);
    if (error != 0)
        return local_complain(&d->local, error);
    if (row.state == MEMBER_DRAINING)
        printf("node %u is draining: %u groups are still with it\n", d->node, row.replicas);
    else
        printf("node %u is %s\n", d->node, member_state_name((enum member_state)row.state));
    return cli_finish_output();
}

static int drain_ask(struct drain *d, const char *dir) {
    struct client_message m;
    int error = local_open(&d->local, dir, d->interrupt.fd);
    if (error == 0)
        error = local_send(&d->local, &d->request);
    if (error >= 0)
        error = local_expect(&d->local, CLIENT_RESULT, &m, NULL);
    return error;
}

static int drain_do(struct drain *d, const char *dir) {
    int error = drain_ask(d, dir);
    if (error != 0)
        return local_complain(&d->local, error);
    return d->wait ? drain_wait(d) : drain_tell(d);
}

static int drain_read_options(struct cli_args *args, struct drain *d) {
    uint64_t node = 0;
    for (int option; (option = cli_next(args)) != CLI_END;) {
        if (option == CLI_STOP)
            return CLI_STOP;
        if (option == OPTION_CANCEL)
            d->request.u.member.action = CLIENT_DRAIN_STOP;
        d->wait = false;
    }
    if (cli_expect_operands(args, 0, 1) == CLI_STOP)
        return CLI_STOP;
    if (args->operand_count == 1 && parse_count(args->operands[0], 1, MEMBERS_MAX, &node) != 0)
        return cli_refuse(args, "%s: give the number of a node as 'shoal status' shows it", args->operands[0]);
    d->node = (uint32_t)node;
    d->request.u.member.node = d->node;
    return CLI_END;
}

static int drain_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS,
                                            {"cancel", no_argument, NULL, OPTION_CANCEL},
                                            {"no-wait", no_argument, NULL, OPTION_NO_WAIT},
                                            {0}};
    struct cli_args args = {.command = &command_drain,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    struct drain d = {.request = {.kind = CLIENT_MEMBER, .u.member.action = CLIENT_DRAIN}, .wait = true};
    if (drain_read_options(&args, &d) == CLI_STOP)
        return args.exit;
    interrupt_open(&d.interrupt);
    int exit_code = drain_do(&d, args.dir);
    local_close(&d.local);
    interrupt_close(&d.interrupt);
    return exit_code;
}

const struct cli_command command_drain = {
    .name = "drain",
    .summary = "let a node leave the swarm, its data first",
    .usage = "  shoal drain [-d DIR] [--no-wait] [NODE]\n"
             "  shoal drain [-d DIR] --cancel [NODE]\n\n"
             "  NODE            its number, as 'shoal status' shows it; default: the node asked\n"
             "  --no-wait       do not wait until it has left\n"
             "  --cancel        it stays after all\n"
             "  -d, --data DIR  data directory of the node to ask\n\n"
             "Others take over what the node holds; then it leaves for good and its process ends. It may be down\n"
             "meanwhile, if the others have everything. Interrupting the command does not interrupt the drain. With\n"
             "fewer nodes left than copies are wanted there are fewer copies.\n",
    .run = drain_run,
};
