#include "node_options.h"

#include <stdio.h>
#include <string.h>

#include "advertise.h"
#include "check.h"
#include "errors.h"
#include "net_addr.h"
#include "parse.h"
#include "placement.h"
#include "ring.h"

enum {
    OPTION_LISTEN = 256,
    OPTION_ADVERTISE,
    OPTION_JOIN,
    OPTION_ZONE,
    OPTION_CAPACITY,
    OPTION_REPLICAS,
    OPTION_ARCS,
    OPTION_OUT_AFTER,
    OPTION_READS,
};

#define REPLICAS_DEFAULT 3
#define OUT_AFTER_DEFAULT_MS 600000
#define OUT_AFTER_LEAST_MS 5000 /* less is what a network does every day */

static int read_listen(struct cli_args *args, struct node_options *o) {
    struct net_addr addr;
    if (strlen(optarg) < sizeof o->listen && net_addr_parse(optarg, &addr) == 0) {
        memcpy(o->listen, optarg, strlen(optarg) + 1);
        return CLI_END;
    }
    return cli_refuse(args, "--listen %s: give HOST:PORT, like 0.0.0.0:7440 or [::]:7440", optarg);
}

static int read_advertise(struct cli_args *args, struct node_options *o) {
    struct net_addr addr;
    if (strlen(optarg) < sizeof o->advertise && net_addr_parse(optarg, &addr) == 0 && addr.port_number != 0 &&
        !addr_is_wildcard(&addr)) {
        memcpy(o->advertise, optarg, strlen(optarg) + 1);
        return CLI_END;
    }
    return cli_refuse(args, "--advertise %s: give the HOST:PORT under which other nodes reach this one", optarg);
}

static bool read_stdin_line(char *out, size_t size) {
    CHECK(size > 0);
    bool ok = fgets(out, (int)size, stdin) != NULL;
    return ok && strlen(out) + 1 < size;
}

static int read_join(struct cli_args *args, struct node_options *o) {
    char line[TICKET_TEXT_MAX + 2];
    const char *text = optarg;
    if (strcmp(text, "-") == 0) {
        if (!read_stdin_line(line, sizeof line))
            return cli_refuse(args, "--join -: no ticket came from standard input");
        text = line;
    }
    int error = ticket_decode(text, strlen(text), &o->ticket);
    o->joining = error == 0;
    if (error == 0)
        return CLI_END;
    return cli_refuse(args, error == ERR_VERSION ? "--join: the ticket is from an incompatible version of shoal"
                                                 : "--join: the ticket is damaged: copy all of what 'shoal invite' "
                                                   "printed");
}

static int read_zone(struct cli_args *args, struct node_options *o) {
    size_t size = strlen(optarg);
    bool valid = size < sizeof o->zone;
    for (size_t i = 0; i < size; i++)
        valid = valid && optarg[i] > ' ' && optarg[i] < 0x7f;
    if (valid) {
        memcpy(o->zone, optarg, size + 1);
        return CLI_END;
    }
    return cli_refuse(args, "--zone: give a word of at most %zu plain characters", sizeof o->zone - 1);
}

static int read_capacity(struct cli_args *args, struct node_options *o) {
    if (parse_size(optarg, &o->capacity) == 0 && o->capacity >= NODE_CAPACITY_MIN && o->capacity <= INT64_MAX)
        return CLI_END;
    return cli_refuse(args, "--capacity %s: give a size like 500GB or 10TiB, at least 16MiB", optarg);
}

static int read_replicas(struct cli_args *args, struct node_options *o) {
    uint64_t v;
    if (parse_count(optarg, 1, PLACEMENT_REPLICAS_MAX, &v) == 0) {
        o->replicas = (unsigned)v;
        return CLI_END;
    }
    return cli_refuse(args, "--replicas %s: give a number from 1 to %d", optarg, PLACEMENT_REPLICAS_MAX);
}

static int read_arcs(struct cli_args *args, struct node_options *o) {
    uint64_t v;
    if (parse_count(optarg, 1, 1ull << RING_BITS_MAX, &v) == 0 && (v & (v - 1)) == 0) {
        o->bits = (unsigned)__builtin_ctzll(v);
        return CLI_END;
    }
    return cli_refuse(args, "--arcs %s: give a power of two up to %d", optarg, 1 << RING_BITS_MAX);
}

static int read_out_after(struct cli_args *args, struct node_options *o) {
    uint64_t ms = 0;
    bool never = strcmp(optarg, "0") == 0;
    if (never || (parse_duration(optarg, &ms) == 0 && ms >= OUT_AFTER_LEAST_MS)) {
        o->out_after_ms = ms;
        return CLI_END;
    }
    return cli_refuse(args, "--out-after %s: give a time like 10m or 1h, at least 5s, or 0 for never", optarg);
}

static int read_reads(struct cli_args *args, struct node_options *o) {
    o->lease_reads = strcmp(optarg, "lease") == 0;
    if (o->lease_reads || strcmp(optarg, "quorum") == 0)
        return CLI_END;
    return cli_refuse(args, "--reads %s: give quorum or lease", optarg);
}

static int read_option(struct cli_args *args, struct node_options *o, int option) {
    switch (option) {
    case OPTION_LISTEN:
        return read_listen(args, o);
    case OPTION_ADVERTISE:
        return read_advertise(args, o);
    case OPTION_JOIN:
        return read_join(args, o);
    case OPTION_ZONE:
        return read_zone(args, o);
    case OPTION_CAPACITY:
        return read_capacity(args, o);
    case OPTION_REPLICAS:
        return read_replicas(args, o);
    case OPTION_ARCS:
        return read_arcs(args, o);
    case OPTION_READS:
        return read_reads(args, o);
    default:
        CHECK(option == OPTION_OUT_AFTER);
        return read_out_after(args, o);
    }
}

/* Nobody can dial 0.0.0.0: a node that listens everywhere tells the others one address of this machine. */
static int complete_advertise(struct cli_args *args, struct node_options *o) {
    struct net_addr addr;
    CHECK(net_addr_parse(o->listen, &addr) == 0);
    if (o->advertise[0] != '\0' || !addr_is_wildcard(&addr))
        return CLI_END;
    if (addr.port_number != 0 && advertise_guess(&addr, o->advertise, sizeof o->advertise) == 0)
        return CLI_END;
    return cli_refuse(args, "node: cannot tell at which address other nodes reach this one: give "
                            "--advertise HOST:PORT");
}

int node_options_read(struct cli_args *args, struct node_options *out) {
    memset(out, 0, sizeof *out);
    memcpy(out->listen, NODE_LISTEN_DEFAULT, sizeof NODE_LISTEN_DEFAULT);
    out->replicas = REPLICAS_DEFAULT;
    out->bits = RING_BITS_DEFAULT;
    out->out_after_ms = OUT_AFTER_DEFAULT_MS;
    static const struct option options[] = {CLI_LONG_OPTIONS,
                                            {"listen", required_argument, NULL, OPTION_LISTEN},
                                            {"advertise", required_argument, NULL, OPTION_ADVERTISE},
                                            {"join", required_argument, NULL, OPTION_JOIN},
                                            {"zone", required_argument, NULL, OPTION_ZONE},
                                            {"capacity", required_argument, NULL, OPTION_CAPACITY},
                                            {"replicas", required_argument, NULL, OPTION_REPLICAS},
                                            {"arcs", required_argument, NULL, OPTION_ARCS},
                                            {"out-after", required_argument, NULL, OPTION_OUT_AFTER},
                                            {"reads", required_argument, NULL, OPTION_READS},
                                            {0}};
    args->short_options = CLI_SHORT_OPTIONS;
    args->long_options = options;
    for (int option; (option = cli_next(args)) != CLI_END;) {
        if (option == CLI_STOP || read_option(args, out, option) == CLI_STOP)
            return CLI_STOP;
    }
    if (cli_expect_operands(args, 0, 0) == CLI_STOP)
        return CLI_STOP;
    return complete_advertise(args, out);
}

void node_options_release(struct node_options *o) {
    ticket_release(&o->ticket);
    o->joining = false;
}
