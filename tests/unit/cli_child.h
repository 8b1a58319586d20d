/* A command in a process of its own, as a user would run it; what it prints goes to files in the test's directory. */
#ifndef SHOAL_TEST_CLI_CHILD_H
#define SHOAL_TEST_CLI_CHILD_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "scratch.h"

#define OUTPUT_MAX 4096
#define ARGS_MAX 24

static inline void child_redirect(const char *dir, const char *name, int to) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || dup2(fd, to) != to)
        _exit(100);
    close(fd);
}

/* In the child: args are the command's name and what follows it. */
static inline _Noreturn void child_run(const char *dir, const struct cli_command *command, int argc,
                                       const char *const *args) {
    char *argv[ARGS_MAX + 1] = {NULL};
    for (int i = 0; i < argc; i++)
        argv[i] = strdup(args[i]);
    child_redirect(dir, "out", STDOUT_FILENO);
    child_redirect(dir, "err", STDERR_FILENO);
    optind = 0;
    int code = command->run(argc, argv);
    fflush(NULL);
    _exit(code);
}

static inline void child_read(const char *dir, const char *name, char out[OUTPUT_MAX]) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t got = read(fd, out, OUTPUT_MAX - 1);
    assert_true(got >= 0);
    out[got] = '\0';
    close(fd);
}

/* Its exit code, or minus the signal it died of. */
static inline int child_end(const char *dir, int status, char out[OUTPUT_MAX], char err[OUTPUT_MAX]) {
    child_read(dir, "out", out);
    child_read(dir, "err", err);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#endif
