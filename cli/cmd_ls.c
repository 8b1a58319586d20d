/* shoal ls: page after page of names, in order. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "cli.h"
#include "digest.h"
#include "errors.h"
#include "format.h"
#include "local.h"
#include "parse.h"

enum { OPTION_JSON = 256 };

struct ls {
    bool details, json;
    bool any; /* an entry was printed */
    struct client_message request;
    char last[CLIENT_NAME_MAX]; /* the last name printed, not terminated: where the next page begins */
    struct local local;
};

static void ls_print_json(struct ls *ls, const struct client_entry *e) {
    char version[HEX_SIZE(VERSION_SIZE)], modified[FORMAT_TIME_MAX];
    hex_encode(e->version, sizeof e->version, version);
    format_time(e->modified_ms, modified);
    fputs(ls->any ? ",\n " : "[", stdout);
    fputs("{", stdout);
    format_json_pair(stdout, "name", e->name.bytes, e->name.size);
    printf(",\"size\":%llu,\"modified\":\"%s\",\"version\":\"%s\"}", (unsigned long long)e->size, modified, version);
}

static void ls_print(struct ls *ls, const struct client_entry *e) {
    CHECK(e->name.size > 0);
    if (ls->json) {
        ls_print_json(ls, e);
    } else {
        char modified[FORMAT_TIME_MAX];
        format_time(e->modified_ms, modified);
        if (ls->details)
            printf("%14llu  %s  ", (unsigned long long)e->size, modified);
        fwrite(e->name.bytes, 1, e->name.size, stdout);
        putchar('\n');
    }
    ls->any = true;
}

/* Within a bucket names are ordered by key; keys of bucket default are written with it only when they hold a slash. */
static struct client_text ls_key(struct client_text name) {
    static const char bucket[] = "default/";
    size_t size = sizeof bucket - 1;
    if (name.size > size && memcmp(name.bytes, bucket, size) == 0)
        return (struct client_text){.bytes = name.bytes + size, .size = name.size - size};
    return name;
}

/* Names come in order; one that does not would let a broken node keep us here for ever. */
static bool ls_advances(const struct ls *ls, const struct client_text *name) {
    struct client_text after = ls_key(ls->request.u.ls.after), key = ls_key(*name);
    size_t common = key.size < after.size ? key.size : after.size;
    int order = common > 0 ? memcmp(key.bytes, after.bytes, common) : 0;
    return name->size <= sizeof ls->last && (order > 0 || (order == 0 && key.size > after.size));
}

/* One page; 0, *ret_more tells whether there is another. */
static int ls_page(struct ls *ls, bool *ret_more) {
    struct client_message answer;
    struct client_rows rows;
    struct client_entry e;
    int error = local_send(&ls->local, &ls->request);
    if (error >= 0)
        error = local_expect(&ls->local, CLIENT_LIST, &answer, &rows);
    if (error != 0)
        return error;
    uint32_t count = 0;
    while ((error = client_list_next(&rows, &e)) == 0) {
        if (!ls_advances(ls, &e.name))
            return local_broken(&ls->local);
        ls_print(ls, &e);
        memcpy(ls->last, e.name.bytes, e.name.size);
        ls->request.u.ls.after = (struct client_text){.bytes = ls->last, .size = e.name.size};
        count++;
    }
    *ret_more = answer.u.list.more;
    return error != ERR_NOT_FOUND || (*ret_more && count == 0) ? local_broken(&ls->local) : 0;
}

static int ls_list(struct ls *ls, const char *dir) {
    bool more = true;
    int error = local_open(&ls->local, dir, -1);
    while (error == 0 && more)
        error = ls_page(ls, &more);
    if (error != 0)
        return local_complain(&ls->local, error);
    if (ls->json)
        puts(ls->any ? "]" : "[]");
    return cli_finish_output();
}

static int ls_run(int argc, char **argv) {
    static const struct option options[] = {
        CLI_LONG_OPTIONS, {"long", no_argument, NULL, 'l'}, {"json", no_argument, NULL, OPTION_JSON}, {0}};
    struct cli_args args = {.command = &command_ls,
                            .argc = argc,
                            .argv = argv,
                            .short_options = CLI_SHORT_OPTIONS "l",
                            .long_options = options};
    struct ls ls = {.request = {.kind = CLIENT_LS}, .local = {.fd = -1}};
    for (int option; (option = cli_next(&args)) != CLI_END;) {
        if (option == CLI_STOP)
            return args.exit;
        ls.details |= option == 'l';
        ls.json |= option == OPTION_JSON;
    }
    if (cli_expect_operands(&args, 0, 1) == CLI_STOP)
        return args.exit;
    const char *prefix = args.operand_count == 1 ? args.operands[0] : "";
    if (strlen(prefix) > CLIENT_NAME_MAX) {
        (void)cli_refuse(&args, "ls: '%.40s...' is longer than any name", prefix);
        return args.exit;
    }
    ls.request.u.ls.prefix = (struct client_text){.bytes = prefix, .size = strlen(prefix)};
    ls.request.u.ls.after = (struct client_text){.bytes = ls.last, .size = 0};
    ls.request.u.ls.limit = CLIENT_LIST_MAX;
    int exit_code = ls_list(&ls, args.dir);
    local_close(&ls.local);
    return exit_code;
}

const struct cli_command command_ls = {
    .name = "ls",
    .summary = "list stored files",
    .usage = "  shoal ls [-d DIR] [-l] [--json] [PREFIX]\n\n"
             "  PREFIX          names that begin so: 'BUCKET/' or 'BUCKET/KEY...'; without a slash, in bucket default\n"
             "  -l, --long      size in bytes and time of storing before each name\n"
             "  --json          an array of {name, size, modified, version}\n"
             "  -d, --data DIR  data directory of the node to use\n",
    .run = ls_run,
};
