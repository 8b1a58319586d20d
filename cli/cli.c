#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"

#define LINE_MAX_SIZE 2048

void cli_sanitise(char *line) {
    for (; *line != '\0'; line++)
        if ((unsigned char)*line < ' ' || *line == 0x7f)
            *line = '?';
}

static void __attribute__((format(printf, 1, 0)))
cli_error_list(const char *format, va_list list, const char *more, const char *more_name) {
    char line[LINE_MAX_SIZE];
    vsnprintf(line, sizeof line, format, list);
    cli_sanitise(line);
    fflush(stdout);
    fprintf(stderr, "shoal: %s%s%s\n", line, more, more_name);
}

void cli_error(const char *format, ...) {
    va_list list;
    va_start(list, format);
    cli_error_list(format, list, "", "");
    va_end(list);
}

int cli_refuse(struct cli_args *args, const char *format, ...) {
    va_list list;
    va_start(list, format);
    cli_error_list(format, list, "; see: shoal help ", args->command->name);
    va_end(list);
    args->exit = CLI_USAGE;
    return CLI_STOP;
}

int cli_exit_of(int error) {
    switch (error) {
    case ERR_NONE:
        return CLI_DONE;
    case ERR_NOT_FOUND:
        return CLI_NOT_FOUND;
    case ERR_PRECONDITION:
    case ERR_EXISTS:
        return CLI_PRECONDITION;
    case ERR_UNAVAILABLE:
    case ERR_TIMEOUT:
    case ERR_BUSY:
    case ERR_NOT_LEADER:
    case ERR_MOVED:
    case ERR_UNREACHABLE:
    case ERR_CLOSED:
        return CLI_UNAVAILABLE;
    default:
        return CLI_FAILED;
    }
}

int cli_finish_output(void) {
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return CLI_DONE;
    cli_error("standard output: %s", strerror(errno));
    return CLI_FAILED;
}

void cli_print_usage(const struct cli_command *command) {
    printf("shoal %s: %s\n\n%s", command->name, command->summary, command->usage);
    puts("\nWithout -d, DIR is $SHOAL_DATA, or else ~/.local/share/shoal.");
}

static int cli_default_dir(struct cli_args *args) {
    const char *dir = getenv("SHOAL_DATA");
    const char *home = getenv("HOME");
    if (args->dir[0] != '\0')
        return CLI_END;
    int size = -1;
    if (dir != NULL && dir[0] != '\0')
        size = snprintf(args->dir, sizeof args->dir, "%s", dir);
    else if (home != NULL && home[0] != '\0')
        size = snprintf(args->dir, sizeof args->dir, "%s/.local/share/shoal", home);
    if (size > 0 && (size_t)size < sizeof args->dir)
        return CLI_END;
    return cli_refuse(args, "%s: no data directory: give one with -d DIR", args->command->name);
}

static int cli_bad_option(struct cli_args *args, int code) {
    const char *text = args->argv[optind - 1];
    char letter[3] = {'-', (char)optopt, '\0'};
    /* An unknown letter may stand inside a cluster of them, so it is named by itself. */
    if (optopt != 0 && strncmp(text, "--", 2) != 0)
        text = letter;
    return cli_refuse(args, code == ':' ? "%s: option %s needs a value" : "%s: unknown option %s", args->command->name,
                      text);
}

int cli_next(struct cli_args *args) {
    CHECK(strncmp(args->short_options, CLI_SHORT_OPTIONS, strlen(CLI_SHORT_OPTIONS)) == 0);
    for (;;) {
        int code = getopt_long(args->argc, args->argv, args->short_options, args->long_options, NULL);
        if (code == '?' || code == ':')
            return cli_bad_option(args, code);
        if (code == 'h') {
            cli_print_usage(args->command);
            args->exit = cli_finish_output();
            return CLI_STOP;
        }
        if (code == -1) {
            args->operand_count = args->argc - optind;
            args->operands = args->argv + optind;
            return cli_default_dir(args);
        }
        if (code != 'd')
            return code;
        args->dir_given = true;
        int size = snprintf(args->dir, sizeof args->dir, "%s", optarg);
        if (size <= 0 || (size_t)size >= sizeof args->dir)
            return cli_refuse(args, "-d: not a directory name");
    }
}

int cli_expect_operands(struct cli_args *args, int least, int most) {
    CHECK(least <= most);
    if (args->operand_count >= least && args->operand_count <= most)
        return CLI_END;
    if (args->operand_count < least)
        return cli_refuse(args, "%s: too few arguments", args->command->name);
    return cli_refuse(args, "%s: one argument too many: '%s'", args->command->name, args->operands[most]);
}
