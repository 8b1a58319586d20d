/* shoal invite: a ticket for one more node. */
#include <stdio.h>

#include "cli.h"
#include "local.h"
#include "parse.h"

enum { OPTION_EXPIRES = 256, OPTION_USES };

#define EXPIRES_DEFAULT_MS 3600000ull
#define EXPIRES_MAX_MS (30ull * 86400000ull)
#define USES_MAX 10000

static int invite_read_option(struct cli_args *args, struct client_message *request, int option) {
    uint64_t v;
    if (option == OPTION_EXPIRES) {
        if (parse_duration(optarg, &v) != 0 || v < 1000 || v > EXPIRES_MAX_MS)
            return cli_refuse(args, "--expires %s: give a time like 30m, 1h or 7d, from 1s to 30d", optarg);
        request->u.invite.expires_ms = v;
        return CLI_END;
    }
    if (parse_count(optarg, 1, USES_MAX, &v) != 0)
        return cli_refuse(args, "--uses %s: give a number from 1 to %d", optarg, USES_MAX);
    request->u.invite.uses = (uint32_t)v;
    return CLI_END;
}

static int invite_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS,
                                            {"expires", required_argument, NULL, OPTION_EXPIRES},
                                            {"uses", required_argument, NULL, OPTION_USES},
                                            {0}};
    struct cli_args args = {.command = &command_invite,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    struct client_message request = {.kind = CLIENT_INVITE, .u.invite = {.expires_ms = EXPIRES_DEFAULT_MS, .uses = 1}};
    for (int option; (option = cli_next(&args)) != CLI_END;) {
        if (option == CLI_STOP || invite_read_option(&args, &request, option) == CLI_STOP)
            return args.exit;
    }
    if (cli_expect_operands(&args, 0, 0) == CLI_STOP)
        return args.exit;
    struct local l;
    struct client_message m;
    int exit_code;
    if (local_call(&l, args.dir, &request, CLIENT_TEXT, &m, NULL, &exit_code) == 0) {
        printf("%.*s\n", (int)m.u.text.size, m.u.text.bytes);
        exit_code = cli_finish_output();
    }
    local_close(&l);
    return exit_code;
}

const struct cli_command command_invite = {
    .name = "invite",
    .summary = "make a ticket that lets a node join",
    .usage = "  shoal invite [-d DIR] [--expires TIME] [--uses N]\n\n"
             "  --expires TIME  how long it is good for: 30m, 1h (default), 7d\n"
             "  --uses N        how many nodes may join with it; default 1\n"
             "  -d, --data DIR  data directory of the node to ask\n\n"
             "Prints the ticket. Whoever has it can join: give it away like a password.\n",
    .run = invite_run,
};
