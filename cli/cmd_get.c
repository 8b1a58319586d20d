/* shoal get: takes a file from the node, and lets it appear under its name only when it is whole. */
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "cli.h"
#include "errors.h"
#include "interrupt.h"
#include "local.h"
#include "names.h"
#include "output.h"
#include "parse.h"
#include "progress.h"

struct get {
    const char *name;
    const char *base; /* the last part of the name */
    const char *path;
    struct client_message request;
    struct local local;
    struct output output;
    struct progress progress;
};

static int get_read_options(struct cli_args *args, struct get *g) {
    int option = cli_next(args);
    if (option == CLI_STOP || cli_expect_operands(args, 1, 2) == CLI_STOP)
        return CLI_STOP;
    CHECK(option == CLI_END);
    g->name = args->operands[0];
    if (names_check(args, g->name, &g->request.u.get.name) == CLI_STOP)
        return CLI_STOP;
    bool has_base = parse_base_name(g->name, &g->base) == 0;
    if (!has_base && args->operand_count == 1)
        return cli_refuse(args, "get: '%s' has no last part to call a file by: give FILE", g->name);
    g->base = has_base ? g->base : "";
    g->path = args->operand_count == 2 ? args->operands[1] : g->base;
    return CLI_END;
}

/* Takes data until the end; 0 when all of it came and was written. */
static int get_take(struct get *g, uint64_t size, int *ret_exit) {
    uint64_t taken = 0;
    for (;;) {
        struct client_message m;
        int error = local_receive(&g->local, &m, NULL);
        if (error != 0)
            return error;
        if (m.kind == CLIENT_END)
            return taken == size ? 0 : local_broken(&g->local);
        if (m.kind != CLIENT_DATA)
            return local_refused(&g->local, &m);
        if (m.u.data.size > size - taken)
            return local_broken(&g->local);
        if (output_write(&g->output, m.u.data.bytes, m.u.data.size) != 0) {
            progress_clear(&g->progress);
            cli_error("%s", g->output.error);
            *ret_exit = CLI_FAILED;
            return 0;
        }
        taken += m.u.data.size;
        progress_add(&g->progress, m.u.data.size);
    }
}

static int get_into_output(struct get *g, uint64_t size) {
    int exit_code = CLI_DONE;
    progress_init(&g->progress, g->name, size);
    int error = get_take(g, size, &exit_code);
    progress_clear(&g->progress);
    if (error != 0 && error != ERR_ABORTED)
        exit_code = local_complain(&g->local, error);
    if (error != 0 || exit_code != CLI_DONE) {
        output_abandon(&g->output);
        return error == ERR_ABORTED ? CLI_FAILED : exit_code;
    }
    if (output_commit(&g->output) == 0)
        return CLI_DONE;
    cli_error("%s", g->output.error);
    return CLI_FAILED;
}

static int get_transfer(struct get *g, const char *dir, int interrupt_fd) {
    struct client_message head;
    int error = local_open(&g->local, dir, interrupt_fd);
    if (error == 0)
        error = local_send(&g->local, &g->request);
    if (error >= 0)
        error = local_expect(&g->local, CLIENT_HEAD, &head, NULL);
    if (error == ERR_ABORTED)
        return CLI_FAILED;
    if (error != 0)
        return local_complain(&g->local, error);
    if (output_open(&g->output, g->path, g->base) != 0) {
        cli_error("%s", g->output.error);
        return CLI_FAILED;
    }
    return get_into_output(g, head.u.head.size);
}

static int get_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS, {0}};
    struct cli_args args = {.command = &command_get,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    struct get g = {.request = {.kind = CLIENT_GET, .u.get.length = CLIENT_SIZE_UNKNOWN}, .local = {.fd = -1}};
    if (get_read_options(&args, &g) == CLI_STOP)
        return args.exit;
    struct interrupt interrupt;
    interrupt_open(&interrupt);
    int exit_code = get_transfer(&g, args.dir, interrupt.fd);
    local_close(&g.local);
    interrupt_close(&interrupt);
    return exit_code;
}

const struct cli_command command_get = {
    .name = "get",
    .summary = "fetch a file from the swarm",
    .usage = "  shoal get [-d DIR] NAME [FILE|-]\n\n"
             "  NAME            a stored file\n"
             "  FILE            where to; a directory takes it under the last part of NAME; - is standard output;\n"
             "                  default: the last part of NAME, here\n"
             "  -d, --data DIR  data directory of the node to use\n\n"
             "FILE is there whole or not at all, also when this is interrupted.\n",
    .run = get_run,
};
