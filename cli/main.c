/* shoal: one program, one command per file. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "identity.h"

static const struct cli_command *const commands[] = {&command_node,  &command_invite, &command_put,  &command_get,
                                                     &command_ls,    &command_rm,     &command_stat, &command_status,
                                                     &command_drain, &command_remove, &command_bench};

#define COMMANDS (sizeof commands / sizeof commands[0])

static const struct cli_command *find(const char *name) {
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_overview(FILE *out) {
    fputs("shoal: peer-to-peer storage that keeps files while machines come and go\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  shoal %-8s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "  shoal %-8s %s\n", "help", "tell what a command does: shoal help COMMAND");
    fprintf(out, "  shoal %-8s %s\n", "version", "print the version");
    fputs("\nshoal help COMMAND tells more; so does man shoal.\n", out);
}

static int help(const char *name) {
    const struct cli_command *command = name != NULL ? find(name) : NULL;
    if (name != NULL && command == NULL) {
        cli_error("no command is called '%s'; see: shoal help", name);
        return CLI_USAGE;
    }
    if (command != NULL)
        cli_print_usage(command);
    else
        print_overview(stdout);
    return cli_finish_output();
}

int main(int argc, char **argv) {
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc > 2 ? argv[2] : NULL);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        puts("shoal " SHOAL_VERSION);
        return cli_finish_output();
    }
    if (name[0] == '-') {
        cli_error("options come after the command: shoal COMMAND %s ...; see: shoal help", name);
        return CLI_USAGE;
    }
    const struct cli_command *command = find(name);
    if (command == NULL) {
        cli_error("no command is called '%s'; see: shoal help", name);
        return CLI_USAGE;
    }
    if (crypto_init() != 0) {
        cli_error("the cryptographic library does not start: is the system short of randomness?");
        return CLI_FAILED;
    }
    return command->run(argc - 1, argv + 1);
}
