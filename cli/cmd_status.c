/* shoal status: how the swarm does. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "cli.h"
#include "digest.h"
#include "errors.h"
#include "format.h"
#include "local.h"

enum { OPTION_JSON = 256 };

#define SHORT_ID 6 /* bytes of an id that are enough for a person to tell nodes apart */

static void status_print_member_json(const struct client_member *m, bool first) {
    char id[HEX_SIZE(sizeof m->id)];
    const char *state = member_state_name((enum member_state)m->state);
    hex_encode(m->id, sizeof m->id, id);
    printf("%s{\"node\":%u,\"id\":\"%s\",", first ? "" : ",", m->node, id);
    format_json_pair(stdout, "addr", m->addr, strlen(m->addr));
    putchar(',');
    format_json_pair(stdout, "zone", m->zone, strlen(m->zone));
    printf(",\"state\":\"%s\",\"alive\":%s,\"capacity\":%llu,\"used\":", state, m->alive ? "true" : "false",
           (unsigned long long)m->capacity);
    if (m->alive)
        printf("%llu", (unsigned long long)m->used);
    else
        printf("null");
    printf(",\"leaders\":%u,\"replicas\":%u}", m->leaders, m->replicas);
}

static void status_print_member_text(const struct client_member *m, bool self) {
    char id[HEX_SIZE(SHORT_ID)], used[FORMAT_SIZE_MAX] = "-", capacity[FORMAT_SIZE_MAX];
    hex_encode(m->id, SHORT_ID, id);
    if (m->alive)
        format_size(m->used, used);
    format_size(m->capacity, capacity);
    printf("%c%5u  %s  %-22s  %-8s  %-9s  %-5s  %10s of %-10s  %7u  %8u\n", self ? '*' : ' ', m->node, id, m->addr,
           m->zone[0] != '\0' ? m->zone : "-", member_state_name((enum member_state)m->state),
           m->alive ? "alive" : "dead", used, capacity, m->leaders, m->replicas);
}

static void status_print_head_json(const struct client_message *m, const char *swarm) {
    printf("{\"swarm\":\"%s\",\"self\":%u,\"epoch\":%llu,\"replicas\":%u,", swarm, m->u.status_reply.self,
           (unsigned long long)m->u.status_reply.epoch, m->u.status_reply.replicas);
    printf("\"arcs\":{\"total\":%u,\"healthy\":%u,\"under_replicated\":%u,\"leaderless\":%u},\"members\":[",
           m->u.status_reply.arcs_total, m->u.status_reply.arcs_healthy, m->u.status_reply.arcs_under,
           m->u.status_reply.arcs_leaderless);
}

static void status_print_head_text(const struct client_message *m, const char *swarm) {
    printf("swarm     %s\nepoch     %llu\nreplicas  %u\n", swarm, (unsigned long long)m->u.status_reply.epoch,
           m->u.status_reply.replicas);
    printf("arcs      %u: %u healthy, %u under-replicated, %u leaderless\n\n", m->u.status_reply.arcs_total,
           m->u.status_reply.arcs_healthy, m->u.status_reply.arcs_under, m->u.status_reply.arcs_leaderless);
    printf("  node  id            address                 zone      state      seen         used of capacity    "
           "leaders  replicas\n");
}

static int status_print(struct local *l, const struct client_message *m, struct client_rows *rows, bool json) {
    char swarm[HEX_SIZE(sizeof m->u.status_reply.swarm)];
    struct client_member member;
    hex_encode(m->u.status_reply.swarm, sizeof m->u.status_reply.swarm, swarm);
    if (json)
        status_print_head_json(m, swarm);
    else
        status_print_head_text(m, swarm);
    int error;
    for (bool first = true; (error = client_member_next(rows, &member)) == 0; first = false) {
        if (member.state > MEMBER_GONE)
            return local_complain(l, local_broken(l));
        if (json)
            status_print_member_json(&member, first);
        else
            status_print_member_text(&member, member.node == m->u.status_reply.self);
    }
    if (error != ERR_NOT_FOUND)
        return local_complain(l, local_broken(l));
    if (json)
        puts("]}");
    return cli_finish_output();
}

static int status_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS, {"json", no_argument, NULL, OPTION_JSON}, {0}};
    struct cli_args args = {.command = &command_status,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    const struct client_message request = {.kind = CLIENT_STATUS};
    bool json = false;
    for (int option; (option = cli_next(&args)) != CLI_END; json = true) {
        if (option == CLI_STOP)
            return args.exit;
    }
    if (cli_expect_operands(&args, 0, 0) == CLI_STOP)
        return args.exit;
    struct local l;
    struct client_message m;
    struct client_rows rows;
    int exit_code;
    if (local_call(&l, args.dir, &request, CLIENT_STATUS_REPLY, &m, &rows, &exit_code) == 0)
        exit_code = status_print(&l, &m, &rows, json);
    local_close(&l);
    return exit_code;
}

const struct cli_command command_status = {
    .name = "status",
    .summary = "show the swarm's members and health",
    .usage = "  shoal status [-d DIR] [--json]\n\n"
             "  --json          {swarm, self, epoch, replicas,\n"
             "                  arcs: {total, healthy, under_replicated, leaderless},\n"
             "                  members: [{node, id, addr, zone, state, alive, capacity, used, leaders, replicas}]};\n"
             "                  used is null while the node is not alive\n"
             "  -d, --data DIR  data directory of the node to ask\n\n"
             "The node marked * is the one asked. STATE is what the swarm has decided about a node, SEEN whether\n"
             "the node asked hears from it, LEADERS and REPLICAS in how many groups it leads and serves: a node that\n"
             "is draining leaves when it serves none. An arc is healthy when every node that should keep it does,\n"
             "under-replicated when one does not, leaderless when no leader is heard of, mostly because a\n"
             "majority of its nodes is away: its files wait until they are back.\n",
    .run = status_run,
};
