/* What every command shares: the table entry, options, exit codes, errors. */
#ifndef SHOAL_CLI_H
#define SHOAL_CLI_H

#include <getopt.h>
#include <stdbool.h>

enum cli_exit { CLI_DONE, CLI_FAILED, CLI_USAGE, CLI_NOT_FOUND, CLI_PRECONDITION, CLI_UNAVAILABLE };

#define CLI_DIR_MAX 4096

struct cli_command {
    const char *name;
    const char *summary; /* for `shoal help` */
    const char *usage;   /* for `shoal help NAME`: whole lines */
    int (*run)(int argc, char **argv);
};

extern const struct cli_command command_node, command_invite, command_put, command_get, command_ls, command_rm,
    command_stat, command_status, command_bench, command_drain, command_remove;

/* Reading a command's options. -d and -h are read here; a command adds its own. */
#define CLI_SHORT_OPTIONS ":d:h"
#define CLI_LONG_OPTIONS                      \
    {"data", required_argument, NULL, 'd'}, { \
        "help", no_argument, NULL, 'h'        \
    }
#define CLI_END (-1)  /* no more options: args->operands and operand_count are set */
#define CLI_STOP (-2) /* the command is over: return args->exit */

struct cli_args {
    const struct cli_command *command;
    int argc;
    char **argv;
    const char *short_options; /* begins with CLI_SHORT_OPTIONS */
    const struct option *long_options;
    char dir[CLI_DIR_MAX]; /* of the node: -d, $SHOAL_DATA, ~/.local/share/shoal */
    bool dir_given;        /* by -d */
    int operand_count;
    char **operands;
    int exit;
};

/* The code of the next option (its value is in optarg), CLI_END or CLI_STOP. */
int cli_next(struct cli_args *args);
/* CLI_END when the count of operands is in range, else complains and gives CLI_STOP. */
int cli_expect_operands(struct cli_args *args, int least, int most);
/* Prints usage on standard output. */
void cli_print_usage(const struct cli_command *command);

/* One line on standard error, "shoal: ...": what and the remedy. Control characters are shown as '?'. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, followed by where to read on; sets args->exit to CLI_USAGE and gives CLI_STOP. */
int cli_refuse(struct cli_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Shows control characters as '?'. */
void cli_sanitise(char *line);
/* The exit code for an error of errors.h; 0 gives CLI_DONE. */
int cli_exit_of(int error);
/* Standard output reached its end whole: CLI_DONE, or complains and gives CLI_FAILED (a full disk, say). */
int cli_finish_output(void);

#endif
