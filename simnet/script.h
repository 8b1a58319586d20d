/* What a scenario is written with. A script goes on until something is wrong; from then on every step of it does
 * nothing and every question is answered 0, false or NULL, so that scenarios read as if nothing could fail.
 *
 * A scenario that does not get into the situation which it is about proves nothing: script_arose fails it then. */
#ifndef SHOAL_SCRIPT_H
#define SHOAL_SCRIPT_H

#include "run.h"

struct script {
    const struct run_options *options;
    uint64_t seed;
    struct run_result *result;
    bool failed;
    uint64_t hash;
    void (*tell)(void *ctx, uint64_t now_us, const char *line); /* NULL: nobody listens */
    void *tell_ctx;
    uint64_t (*now_us)(void *ctx); /* virtual time; NULL before anything runs */
    void *now_ctx;
};

/* The first trouble is the reason. */
void script_fail(struct script *s, enum run_checker checker, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A line of the schedule. */
void script_tell(struct script *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What must hold; the words say what does not. */
void script_expect(struct script *s, bool holds, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What the scenario is about has come to pass; the words say what has not. */
void script_arose(struct script *s, bool arose, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
