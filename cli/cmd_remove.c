/* shoal remove: a member that will not come back is a member no more. */
#include <stdio.h>

#include "cli.h"
#include "local.h"
#include "parse.h"

enum { OPTION_FORCE = 256 };

static int remove_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS, {"force", no_argument, NULL, OPTION_FORCE}, {0}};
    struct cli_args args = {.command = &command_remove,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    struct client_message request = {.kind = CLIENT_MEMBER, .u.member.action = CLIENT_DISMISS};
    for (int option; (option = cli_next(&args)) != CLI_END; request.u.member.force = true) {
        if (option == CLI_STOP)
            return args.exit;
    }
    if (cli_expect_operands(&args, 1, 1) == CLI_STOP)
        return args.exit;
    uint64_t node;
    if (parse_count(args.operands[0], 1, MEMBERS_MAX, &node) != 0) {
        (void)cli_refuse(&args, "%s: give the number of a node as 'shoal status' shows it", args.operands[0]);
        return args.exit;
    }
    request.u.member.node = (uint32_t)node;
    struct local l;
    struct client_message m;
    int exit_code;
    if (local_call(&l, args.dir, &request, CLIENT_RESULT, &m, NULL, &exit_code) == 0) {
        printf("node %u is no longer a member\n", request.u.member.node);
        exit_code = cli_finish_output();
    }
    local_close(&l);
    return exit_code;
}

const struct cli_command command_remove = {
    .name = "remove",
    .summary = "remove a node that will not come back",
    .usage = "  shoal remove [-d DIR] [--force] NODE\n\n"
             "  NODE            its number, as 'shoal status' shows it\n"
             "  --force         also when it is alive, or when no majority that is alive would be left of some arc;\n"
             "                  not without a majority of the member table's own nodes, the root group\n"
             "  -d, --data DIR  data directory of the node to ask\n\n"
             "The node is removed for good, without what only it may hold; others make new copies of the rest. It is\n"
             "never let in again: should the machine come back, give it an empty directory and a new ticket. A node\n"
             "that is alive is better drained: 'shoal drain'.\n",
    .run = remove_run,
};
