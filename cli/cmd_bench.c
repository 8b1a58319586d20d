/* shoal bench: how many operations a second, and how long each takes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "check.h"
#include "cli.h"
#include "errors.h"
#include "format.h"
#include "interrupt.h"
#include "local.h"
#include "parse.h"

enum {
    OPTION_NODE = 256,
    OPTION_SIZE,
    OPTION_CLIENTS,
    OPTION_SECONDS,
    OPTION_KEYS,
    OPTION_TIMEOUT,
    OPTION_HISTORY,
    OPTION_JSON
};

#define SECONDS_MAX 86400
#define NS_PER_SECOND 1000000000ull
#define NS_PER_MS 1000000ull
#define HISTORY_BUFFER (64 * 1024)

struct bench_options {
    struct bench_params params;
    const char *nodes[BENCH_NODES_MAX]; /* --node */
    uint32_t node_count;
    const char *history;
    char *history_buffer; /* HISTORY_BUFFER */
    bool json;
};

static int bench_refuse(struct cli_args *args, const char *option, const char *remedy) {
    return cli_refuse(args, "bench: --%s %s: %s", option, optarg, remedy);
}

static int bench_read_number(struct cli_args *args, struct bench_params *p, int option) {
    uint64_t v = 0;
    switch (option) {
    case OPTION_SIZE:
        if (parse_size(optarg, &v) != 0 || v < BENCH_SIZE_MIN || v > BENCH_SIZE_MAX)
            return bench_refuse(args, "size", "give a size from 16B to 1MiB");
        p->size = (uint32_t)v;
        return CLI_END;
    case OPTION_CLIENTS:
        if (parse_count(optarg, 1, BENCH_CLIENTS_MAX, &v) != 0)
            return bench_refuse(args, "clients", "give a number from 1 to 1024");
        p->clients = (uint32_t)v;
        return CLI_END;
    case OPTION_SECONDS:
        if (parse_count(optarg, 1, SECONDS_MAX, &v) != 0)
            return bench_refuse(args, "seconds", "give a number from 1 to 86400");
        p->duration_ns = v * NS_PER_SECOND;
        return CLI_END;
    case OPTION_KEYS:
        if (parse_count(optarg, 1, BENCH_KEYS_MAX, &v) != 0)
            return bench_refuse(args, "keys", "give a number from 1 to 100000000");
        p->keys = (uint32_t)v;
        return CLI_END;
    default:
        CHECK(option == OPTION_TIMEOUT);
        if (parse_duration(optarg, &v) != 0 || v == 0 || v > SECONDS_MAX * 1000ull)
            return bench_refuse(args, "timeout", "give a time like 500ms or 10s");
        p->timeout_ns = v * NS_PER_MS;
        return CLI_END;
    }
}

static int bench_read_option(struct cli_args *args, struct bench_options *o, int option) {
    switch (option) {
    case OPTION_NODE:
        if (optarg[0] == '\0' || o->node_count == BENCH_NODES_MAX - 1)
            return bench_refuse(args, "node", "give a data directory, 63 times at most");
        o->nodes[o->node_count++] = optarg;
        return CLI_END;
    case OPTION_HISTORY:
        o->history = optarg;
        return CLI_END;
    case OPTION_JSON:
        o->json = true;
        return CLI_END;
    default:
        return bench_read_number(args, &o->params, option);
    }
}

static int bench_read_mode(struct cli_args *args, struct bench_params *p) {
    static const char *const names[] = {[BENCH_WRITE] = "write", [BENCH_READ] = "read", [BENCH_MIXED] = "mixed"};
    if (cli_expect_operands(args, 1, 1) == CLI_STOP)
        return CLI_STOP;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        p->mode = (enum bench_mode)i;
        if (strcmp(args->operands[0], names[i]) == 0)
            return CLI_END;
    }
    return cli_refuse(args, "bench: '%s' is nothing to measure: give write, read or mixed", args->operands[0]);
}

static int bench_read_options(struct cli_args *args, struct bench_options *o) {
    struct bench_params *p = &o->params;
    for (int option; (option = cli_next(args)) != CLI_END;)
        if (option == CLI_STOP || bench_read_option(args, o, option) == CLI_STOP)
            return CLI_STOP;
    if (bench_read_mode(args, p) == CLI_STOP)
        return CLI_STOP;
    /* The default directory is for those who name no node at all. */
    if (args->dir_given || o->node_count == 0)
        p->dirs[p->dir_count++] = args->dir;
    for (uint32_t i = 0; i < o->node_count; i++)
        p->dirs[p->dir_count++] = o->nodes[i];
    return CLI_END;
}

/* ---- the result -------------------------------------------------------------------------------------------------- */

struct bench_figures {
    double operations, mib;          /* a second */
    double p50, p95, p99, p999, max; /* ms */
    double seconds;
};

static double ms_of(uint64_t ns) {
    return (double)ns / 1e6;
}

static struct bench_figures bench_figures_of(const struct bench_params *p, const struct bench_result *r) {
    struct bench_figures f = {.seconds = (double)r->elapsed_ns / 1e9};
    if (r->elapsed_ns > 0)
        f.operations = (double)r->operations / f.seconds;
    f.mib = f.operations * p->size / (1 << 20);
    f.p50 = ms_of(histogram_quantile(&r->latency, 500));
    f.p95 = ms_of(histogram_quantile(&r->latency, 950));
    f.p99 = ms_of(histogram_quantile(&r->latency, 990));
    f.p999 = ms_of(histogram_quantile(&r->latency, 999));
    f.max = ms_of(r->latency.max);
    return f;
}

static void bench_print_prefix(FILE *out, const struct bench_result *r) {
    fprintf(out, "files     %s, which stay\n", r->prefix);
}

static void bench_print_json(const struct bench_figures *f, uint64_t errors) {
    printf("{\"ops_per_second\":%.1f,\"mib_per_second\":%.3f,", f->operations, f->mib);
    printf("\"latency_ms\":{\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f},", f->p50, f->p95,
           f->p99, f->p999, f->max);
    printf("\"errors\":%llu,\"seconds\":%.3f}\n", (unsigned long long)errors, f->seconds);
}

static void bench_print_text(const struct bench_params *p, const struct bench_result *r,
                             const struct bench_figures *f) {
    static const char *const what[] = {"writes", "reads", "reads and writes, half and half,"};
    char size[FORMAT_SIZE_MAX];
    format_size(p->size, size);
    printf("%llu %s of %s in %.1f s, %u client%s at %u node%s\n", (unsigned long long)r->operations, what[p->mode],
           size, f->seconds, p->clients, p->clients == 1 ? "" : "s", p->dir_count, p->dir_count == 1 ? "" : "s");
    printf("rate      %.0f operations/s, %.1f MiB/s\n", f->operations, f->mib);
    printf("latency   p50 %.2f ms, p95 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms\n", f->p50, f->p95, f->p99,
           f->p999, f->max);
    printf("errors    %llu", (unsigned long long)r->errors);
    if (r->errors > 0) {
        char error[sizeof r->error];
        memcpy(error, r->error, sizeof error);
        cli_sanitise(error);
        printf(", the last: %s", error);
    }
    putchar('\n');
    bench_print_prefix(stdout, r);
}

static int bench_report(const struct bench_options *o, const struct bench_result *r) {
    struct bench_figures f = bench_figures_of(&o->params, r);
    if (o->json)
        bench_print_json(&f, r->errors);
    else
        bench_print_text(&o->params, r, &f);
    int exit_code = cli_finish_output();
    if (o->json)
        bench_print_prefix(stderr, r);
    if (exit_code != CLI_DONE || r->latency.total > 0 || r->errors == 0)
        return exit_code;
    cli_error("bench: no operation succeeded; the last: %s", r->error);
    return cli_exit_of(r->status);
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static int bench_find_nodes(const struct bench_params *p) {
    int exit_code = CLI_DONE;
    for (uint32_t i = 0; i < p->dir_count && exit_code == CLI_DONE; i++) {
        struct local l;
        int error = local_open(&l, p->dirs[i], -1);
        if (error != 0)
            exit_code = local_complain(&l, error);
        local_close(&l);
    }
    return exit_code;
}

static int bench_open_history(struct bench_options *o) {
    if (o->history == NULL)
        return CLI_DONE;
    o->params.history = fopen(o->history, "we");
    if (o->params.history == NULL) {
        cli_error("%s: %s", o->history, strerror(errno));
        return CLI_FAILED;
    }
    o->history_buffer = malloc(HISTORY_BUFFER);
    CHECK(o->history_buffer != NULL);
    CHECK(setvbuf(o->params.history, o->history_buffer, _IOFBF, HISTORY_BUFFER) == 0);
    return CLI_DONE;
}

static int bench_close_history(struct bench_options *o) {
    FILE *f = o->params.history;
    if (f == NULL)
        return CLI_DONE;
    bool failed = ferror(f) != 0;
    failed = fclose(f) != 0 || failed;
    free(o->history_buffer);
    if (!failed)
        return CLI_DONE;
    cli_error("%s: the history could not be written whole: %s", o->history, strerror(errno));
    return CLI_FAILED;
}

static int bench_measure(struct bench_options *o, struct bench_result *r) {
    struct interrupt in;
    interrupt_open(&in);
    o->params.interrupt_fd = in.fd;
    int error = bench_run(&o->params, r);
    int exit_code = cli_exit_of(error);
    if (error == 0)
        exit_code = bench_report(o, r);
    else if (error != ERR_ABORTED)
        cli_error("bench: %s", r->error);
    int closed = bench_close_history(o);
    interrupt_close(&in);
    return exit_code == CLI_DONE ? closed : exit_code;
}

static int bench_command_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS,
                                            {"node", required_argument, NULL, OPTION_NODE},
                                            {"size", required_argument, NULL, OPTION_SIZE},
                                            {"clients", required_argument, NULL, OPTION_CLIENTS},
                                            {"seconds", required_argument, NULL, OPTION_SECONDS},
                                            {"keys", required_argument, NULL, OPTION_KEYS},
                                            {"timeout", required_argument, NULL, OPTION_TIMEOUT},
                                            {"history", required_argument, NULL, OPTION_HISTORY},
                                            {"json", no_argument, NULL, OPTION_JSON},
                                            {0}};
    struct cli_args args = {.command = &command_bench,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    struct bench_options o = {.params = {.clients = 64,
                                         .keys = 10000,
                                         .size = 4096,
                                         .duration_ns = 10 * NS_PER_SECOND,
                                         .timeout_ns = 10 * NS_PER_SECOND}};
    if (bench_read_options(&args, &o) == CLI_STOP)
        return args.exit;
    int exit_code = bench_find_nodes(&o.params);
    if (exit_code == CLI_DONE)
        exit_code = bench_open_history(&o);
    if (exit_code != CLI_DONE)
        return exit_code;
    struct bench_result *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    exit_code = bench_measure(&o, r);
    free(r);
    return exit_code;
}

const struct cli_command command_bench = {
    .name = "bench",
    .summary = "measure a running swarm: operations a second, latency",
    .usage = "  shoal bench [-d DIR] [--node DIR]... [--size SIZE] [--clients N] [--seconds N]\n"
             "              [--keys N] [--timeout TIME] [--history FILE] [--json] write|read|mixed\n\n"
             "  write           put files, whole and durable\n"
             "  read            get files, which are stored before the clock starts\n"
             "  mixed           either, as a coin falls\n"
             "  -d, --data DIR  data directory of a node to use\n"
             "  --node DIR      of another one on this machine; the clients are spread over all\n"
             "  --size SIZE     of each file, up to 1MiB; default 4KiB\n"
             "  --clients N     connections, each with one operation under way; default 64\n"
             "  --seconds N     how long; default 10\n"
             "  --keys N        over how many names; default 10000\n"
             "  --timeout TIME  give an operation up after that; default 10s\n"
             "  --history FILE  write down every operation, one JSON object a line:\n"
             "                  {client, op, key, value, call, return, result}; value is the digest,\n"
             "                  the times are nanoseconds of the monotonic clock, result is ok, absent,\n"
             "                  fail or unknown (and then return is null)\n"
             "  --json          {ops_per_second, mib_per_second,\n"
             "                  latency_ms: {p50, p95, p99, p999, max}, errors, seconds}\n\n"
             "A client whose node does not answer goes on at the next one. Ctrl-C ends the run with the\n"
             "result so far. The files stay: names under bench/, told at the end; with --json on\n"
             "standard error.\n",
    .run = bench_command_run,
};
