/* shoal put: reads a file in blocks and hands them to the node, which answers once they are safe. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "cli.h"
#include "errors.h"
#include "local.h"
#include "names.h"
#include "parse.h"
#include "progress.h"

enum { OPTION_IF_ABSENT = 256, OPTION_IF_VERSION };

struct put {
    const char *path;
    int fd;
    struct client_message request;
    struct progress progress;
    struct local local;
    uint8_t *block; /* CLIENT_DATA_MAX */
};

static int put_set_condition(struct cli_args *args, struct put *p, int option) {
    if (p->request.u.put.condition != CLIENT_ANY)
        return cli_refuse(args, "put: give --if-absent or --if-version, once");
    p->request.u.put.condition = option == OPTION_IF_ABSENT ? CLIENT_ABSENT : CLIENT_MATCH;
    return option == OPTION_IF_ABSENT ? CLI_END : names_check_version(args, optarg, p->request.u.put.match);
}

static int put_name(struct cli_args *args, struct put *p) {
    const char *name;
    p->path = args->operands[0];
    if (args->operand_count == 2)
        name = args->operands[1];
    else if (strcmp(p->path, "-") == 0)
        return cli_refuse(args, "put: what comes from standard input needs a NAME");
    else if (parse_base_name(p->path, &name) != 0)
        return cli_refuse(args, "put: '%s' is not a file", p->path);
    progress_init(&p->progress, name, PROGRESS_SIZE_UNKNOWN);
    return names_check(args, name, &p->request.u.put.name);
}

static int put_read_options(struct cli_args *args, struct put *p) {
    for (int option; (option = cli_next(args)) != CLI_END;) {
        if (option == CLI_STOP || put_set_condition(args, p, option) == CLI_STOP)
            return CLI_STOP;
    }
    if (cli_expect_operands(args, 1, 2) == CLI_STOP)
        return CLI_STOP;
    return put_name(args, p);
}

static int put_open_file(struct put *p) {
    struct stat st;
    if (strcmp(p->path, "-") == 0)
        p->fd = STDIN_FILENO;
    else
        p->fd = open(p->path, O_RDONLY | O_CLOEXEC);
    if (p->fd < 0 || fstat(p->fd, &st) != 0) {
        cli_error("%s: %s", p->path, strerror(errno));
        return CLI_FAILED;
    }
    if (S_ISDIR(st.st_mode)) {
        cli_error("%s is a directory: put its files one by one", p->path);
        return CLI_FAILED;
    }
    p->request.u.put.size = CLIENT_SIZE_UNKNOWN;
    if (!S_ISREG(st.st_mode))
        return CLI_DONE;
    off_t at = lseek(p->fd, 0, SEEK_CUR);
    CHECK(at >= 0);
    p->request.u.put.size = st.st_size > at ? (uint64_t)(st.st_size - at) : 0;
    p->progress.total = p->request.u.put.size;
    return CLI_DONE;
}

/* Fills a block as far as the file goes. */
static int put_read_block(struct put *p, size_t *ret_size) {
    size_t size = 0;
    while (size < CLIENT_DATA_MAX) {
        ssize_t got = read(p->fd, p->block + size, CLIENT_DATA_MAX - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR_IO;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    *ret_size = size;
    return 0;
}

/* 0, LOCAL_ANSWERED or an error of the connection; *ret_exit is set when the file could not be read. */
static int put_send_file(struct put *p, int *ret_exit) {
    for (;;) {
        size_t size = 0;
        if (put_read_block(p, &size) != 0) {
            int error = errno;
            progress_clear(&p->progress);
            cli_error("%s: %s", p->path, strerror(error));
            *ret_exit = CLI_FAILED;
            return 0;
        }
        struct client_message m = {.kind = size > 0 ? CLIENT_DATA : CLIENT_END};
        if (size > 0) {
            m.u.data.bytes = p->block;
            m.u.data.size = size;
        }
        int status = local_send(&p->local, &m);
        if (status != 0 || size == 0)
            return status;
        progress_add(&p->progress, size);
    }
}

static int put_transfer(struct put *p, const char *dir) {
    struct client_message answer;
    int exit_code = CLI_DONE;
    int error = local_open(&p->local, dir, -1);
    if (error == 0)
        error = local_send(&p->local, &p->request);
    if (error == 0)
        error = put_send_file(p, &exit_code);
    if (exit_code != CLI_DONE)
        return exit_code;
    if (error >= 0) {
        bool early = error == LOCAL_ANSWERED;
        error = local_expect(&p->local, CLIENT_RESULT, &answer, NULL);
        if (error == 0 && early)
            error = local_broken(&p->local); /* it cannot have stored what it was not given */
    }
    progress_clear(&p->progress);
    return error != 0 ? local_complain(&p->local, error) : CLI_DONE;
}

static int put_run(int argc, char **argv) {
    static const struct option options[] = {CLI_LONG_OPTIONS,
                                            {"if-absent", no_argument, NULL, OPTION_IF_ABSENT},
                                            {"if-version", required_argument, NULL, OPTION_IF_VERSION},
                                            {0}};
    struct cli_args args = {.command = &command_put,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS,
                            .long_options = options};
    struct put p = {.fd = -1, .request = {.kind = CLIENT_PUT}, .local = {.fd = -1}};
    if (put_read_options(&args, &p) == CLI_STOP)
        return args.exit;
    int exit_code = put_open_file(&p);
    if (exit_code == CLI_DONE) {
        p.block = malloc(CLIENT_DATA_MAX);
        CHECK(p.block != NULL);
        exit_code = put_transfer(&p, args.dir);
        local_close(&p.local);
        free(p.block);
    }
    if (p.fd > STDIN_FILENO)
        close(p.fd);
    return exit_code;
}

const struct cli_command command_put = {
    .name = "put",
    .summary = "store a file in the swarm",
    .usage = "  shoal put [-d DIR] [--if-absent | --if-version V] FILE|- [NAME]\n\n"
             "  FILE            what to store; - is standard input\n"
             "  NAME            under which name; default: the last part of FILE\n"
             "  --if-absent     only when there is no file of that name yet\n"
             "  --if-version V  only when the stored version is V (see shoal stat)\n"
             "  -d, --data DIR  data directory of the node to use\n\n"
             "When it returns with 0, the file is on the disks of a majority of its replicas.\n",
    .run = put_run,
};
