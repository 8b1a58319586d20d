/* shoal rm: removes files, one after another. */
#include "check.h"
#include "cli.h"
#include "errors.h"
#include "local.h"
#include "names.h"

/* Goes on after a name that failed, as rm(1) does; the exit code is that of the first failure. */
static int rm_names(struct cli_args *args, struct local *l) {
    int exit_code = CLI_DONE;
    for (int i = 0; i < args->operand_count; i++) {
        struct client_message request = {.kind = CLIENT_RM, .u.put.condition = CLIENT_ANY};
        struct client_message answer;
        CHECK(names_check(args, args->operands[i], &request.u.put.name) == CLI_END);
        int error = local_send(l, &request);
        if (error >= 0)
            error = local_expect(l, CLIENT_RESULT, &answer, NULL);
        if (error == 0)
            continue;
        int failed = local_complain(l, error);
        exit_code = exit_code == CLI_DONE ? failed : exit_code;
        if (!local_usable(l))
            break;
    }
    return exit_code;
}

static int rm_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS, {0}};
    struct cli_args args = {.command = &command_rm,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    if (cli_next(&args) == CLI_STOP || cli_expect_operands(&args, 1, argc) == CLI_STOP)
        return args.exit;
    for (int i = 0; i < args.operand_count; i++) {
        struct client_text name;
        if (names_check(&args, args.operands[i], &name) == CLI_STOP)
            return args.exit;
    }
    struct local l;
    int error = local_open(&l, args.dir, -1);
    int exit_code = error != 0 ? local_complain(&l, error) : rm_names(&args, &l);
    local_close(&l);
    return exit_code;
}

const struct cli_command command_rm = {
    .name = "rm",
    .summary = "remove files from the swarm",
    .usage = "  shoal rm [-d DIR] NAME...\n\n"
             "  -d, --data DIR  data directory of the node to use\n",
    .run = rm_run,
};
