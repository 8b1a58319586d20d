#include "pool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "options.h"

#define LINE_SIZE 4096

struct slot {
    pid_t pid; /* 0: free */
    struct pool_run run;
    struct run_result *result; /* shared with the child, which writes it as it goes */
    FILE *errors;              /* a file without a name, which the child writes */
    double began;
};

static double wall_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void slot_clear(struct slot *s) {
    if (s->result != NULL) {
        munmap(s->result, sizeof(*s->result));
    }
    if (s->errors != NULL) {
        fclose(s->errors);
    }
    options_release(&s->run.options);
    *s = (struct slot){0};
}

/* ---- the child --------------------------------------------------------------------------------------------------- */

static _Noreturn void play_and_exit(const struct pool *pool, const struct slot *s) {
    if (dup2(fileno(s->errors), STDERR_FILENO) < 0) {
        _exit(1);
    }
    alarm(pool->limit_seconds);
    pool->play(&s->run.options, s->result);
    fflush(stdout);
    exit(0); /* runs the leak check of a sanitizer */
}

static struct run_result *share_result(void) {
    void *result = mmap(NULL, sizeof(struct run_result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return result == MAP_FAILED ? NULL : result;
}

static bool start(const struct pool *pool, struct slot *s, size_t number) {
    s->run.number = number;
    s->result = share_result();
    s->errors = tmpfile();
    s->began = wall_seconds();
    fflush(stdout);
    s->pid = s->result != NULL && s->errors != NULL ? fork() : -1;
    if (s->pid == 0) {
        play_and_exit(pool, s);
    }
    if (s->pid < 0) {
        perror("shoal-simnet: a process for a run");
        s->pid = 0;
        slot_clear(s);
        return false;
    }
    return true;
}

/* ---- what became of it ------------------------------------------------------------------------------------------- */

/* What killed it, in its own words: the line of a failed assertion, or the summary of a sanitizer. */
static void last_words(FILE *errors, int status, char *out, size_t out_size) {
    char line[LINE_SIZE];
    bool found = false;
    rewind(errors);
    while (fgets(line, sizeof(line), errors) != NULL) {
        const char *summary = strstr(line, "SUMMARY: ");
        if (summary != NULL || strstr(line, ": check failed: ") != NULL) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(out, out_size, "%.*s", (int)out_size - 1, summary != NULL ? summary : line);
            found = true;
        }
    }
    if (!found && WIFSIGNALED(status)) {
        snprintf(out, out_size, "signal %d", WTERMSIG(status));
    } else if (!found) {
        snprintf(out, out_size, "exit %d", WEXITSTATUS(status));
    }
}

static void pass_on(FILE *errors) {
    char bytes[LINE_SIZE];
    size_t size;
    rewind(errors);
    while ((size = fread(bytes, 1, sizeof(bytes), errors)) > 0) {
        (void)fwrite(bytes, 1, size, stderr);
    }
}

static void take_result(const struct pool *pool, struct slot *s, int status) {
    struct run_result *r = &s->run.result;
    s->run.wall_seconds = wall_seconds() - s->began;
    *r = *s->result;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        r->passed = false;
        r->checker = RUN_DEATH;
        last_words(s->errors, status, r->reason, sizeof(r->reason));
    }
    if (!pool->quiet) {
        pass_on(s->errors);
    }
}

/* Waits for one of the children. */
static struct slot *reap(const struct pool *pool, struct slot *slots) {
    int status;
    pid_t pid;
    do {
        pid = wait(&status);
    } while (pid < 0 && errno == EINTR);
    for (uint32_t i = 0; i < pool->jobs; i++) {
        if (slots[i].pid == pid) {
            take_result(pool, &slots[i], status);
            return &slots[i];
        }
    }
    CHECK(false);
    return NULL;
}

static void end_all(const struct pool *pool, struct slot *slots) {
    for (uint32_t i = 0; i < pool->jobs; i++) {
        if (slots[i].pid != 0) {
            int status;
            kill(slots[i].pid, SIGKILL);
            (void)waitpid(slots[i].pid, &status, 0);
            slot_clear(&slots[i]);
        }
    }
}

bool pool_play(const struct pool *pool) {
    struct slot slots[POOL_JOBS_MAX] = {0};
    size_t number = 0;
    uint32_t running = 0;
    bool more = true, good = true;
    CHECK(pool->jobs >= 1 && pool->jobs <= POOL_JOBS_MAX);
    while (good && (more || running > 0)) {
        struct slot *s = slots;
        while (more && running < pool->jobs && s->pid != 0) {
            s++;
        }
        if (more && running < pool->jobs) {
            more = pool->next(pool->ctx, number, &s->run.options);
            good = !more || start(pool, s, number);
            number += more && good;
            running += more && good;
            continue;
        }
        if (running > 0) {
            s = reap(pool, slots);
            running--;
            bool go_on = pool->done(pool->ctx, &s->run);
            slot_clear(s);
            if (!go_on) {
                break;
            }
        }
    }
    end_all(pool, slots);
    return good;
}
