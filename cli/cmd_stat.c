/* shoal stat: all that is known of one stored file. */
#include <stdbool.h>
#include <stdio.h>

#include "check.h"
#include "cli.h"
#include "digest.h"
#include "errors.h"
#include "format.h"
#include "local.h"
#include "names.h"
#include "parse.h"

enum { OPTION_JSON = 256 };

static void stat_print_replicas(const struct client_message *m, const char *separator) {
    CHECK(m->u.stat_reply.replica_count <= ROUTE_NODES_MAX);
    for (unsigned i = 0; i < m->u.stat_reply.replica_count; i++)
        printf("%s%u", i > 0 ? separator : "", m->u.stat_reply.replicas[i]);
}

static void stat_print_json(const struct client_message *m, const char *version, const char *modified) {
    putchar('{');
    format_json_pair(stdout, "name", m->u.stat_reply.name.bytes, m->u.stat_reply.name.size);
    printf(",\"size\":%llu,\"modified\":\"%s\",\"version\":\"%s\"", (unsigned long long)m->u.stat_reply.size, modified,
           version);
    printf(",\"chunks\":%u,\"inline\":%s,\"arc\":%u", m->u.stat_reply.chunks,
           m->u.stat_reply.is_inline ? "true" : "false", m->u.stat_reply.arc);
    if (m->u.stat_reply.leader != 0)
        printf(",\"leader\":%u", m->u.stat_reply.leader);
    else
        printf(",\"leader\":null");
    printf(",\"replicas\":[");
    stat_print_replicas(m, ",");
    printf("],\"chunk_replicas_min\":%u}\n", m->u.stat_reply.chunk_replicas_min);
}

static void stat_print_text(const struct client_message *m, const char *version, const char *modified) {
    char size[FORMAT_SIZE_MAX];
    format_size(m->u.stat_reply.size, size);
    printf("name      ");
    fwrite(m->u.stat_reply.name.bytes, 1, m->u.stat_reply.name.size, stdout);
    printf("\nsize      %llu bytes (%s)\nmodified  %s\nversion   %s\n", (unsigned long long)m->u.stat_reply.size, size,
           modified, version);
    if (m->u.stat_reply.is_inline)
        printf("chunks    0 (stored with the name)\n");
    else
        printf("chunks    %u, each kept by %u node%s or more\n", m->u.stat_reply.chunks,
               m->u.stat_reply.chunk_replicas_min, m->u.stat_reply.chunk_replicas_min == 1 ? "" : "s");
    printf("arc       %u\nkept by   node%s ", m->u.stat_reply.arc, m->u.stat_reply.replica_count == 1 ? "" : "s");
    stat_print_replicas(m, ", ");
    if (m->u.stat_reply.leader != 0)
        printf("; led by node %u\n", m->u.stat_reply.leader);
    else
        printf("; no leader is known\n");
}

static int stat_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS, {"json", no_argument, NULL, OPTION_JSON}, {0}};
    struct cli_args args = {.command = &command_stat,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    struct client_message request = {.kind = CLIENT_STAT}, m;
    bool json = false;
    for (int option; (option = cli_next(&args)) != CLI_END; json = true) {
        if (option == CLI_STOP)
            return args.exit;
    }
    if (cli_expect_operands(&args, 1, 1) == CLI_STOP ||
        names_check(&args, args.operands[0], &request.u.stat.name) == CLI_STOP)
        return args.exit;
    struct local l;
    int exit_code;
    if (local_call(&l, args.dir, &request, CLIENT_STAT_REPLY, &m, NULL, &exit_code) == 0) {
        char version[HEX_SIZE(VERSION_SIZE)], modified[FORMAT_TIME_MAX];
        hex_encode(m.u.stat_reply.version, sizeof m.u.stat_reply.version, version);
        format_time(m.u.stat_reply.modified_ms, modified);
        if (json)
            stat_print_json(&m, version, modified);
        else
            stat_print_text(&m, version, modified);
        exit_code = cli_finish_output();
    }
    local_close(&l);
    return exit_code;
}

const struct cli_command command_stat = {
    .name = "stat",
    .summary = "show what is known of a stored file",
    .usage = "  shoal stat [-d DIR] [--json] NAME\n\n"
             "  --json          {name, size, modified, version, chunks, inline, arc, leader, replicas,\n"
             "                  chunk_replicas_min}; nodes by their numbers, as in shoal status\n"
             "  -d, --data DIR  data directory of the node to use\n\n"
             "KEPT BY and replicas are the nodes that are to keep what is stored under the name; chunk_replicas_min\n"
             "is how many are to keep each chunk, at least. Copies are not counted: one that was away may still have\n"
             "to fetch its own.\n",
    .run = stat_run,
};
