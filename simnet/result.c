#include <string.h>

#include "check.h"
#include "run.h"

/* What is left of a message without its numbers, up to its first colon: the kind of trouble. */
static void outline_of(const char *message, char *out, size_t out_size) {
    size_t size = 0;
    for (; *message != '\0' && *message != ':' && size + 1 < out_size; message++) {
        if (*message < '0' || *message > '9') {
            out[size++] = *message;
        }
    }
    out[size] = '\0';
}

bool run_same_failure(const struct run_result *a, const struct run_result *b) {
    char outline_a[RUN_REASON_SIZE], outline_b[RUN_REASON_SIZE];
    if (a->passed || b->passed || a->checker != b->checker) {
        return false;
    }
    if (a->checker == RUN_DEATH) {
        return strcmp(a->reason, b->reason) == 0;
    }
    outline_of(a->reason, outline_a, sizeof(outline_a));
    outline_of(b->reason, outline_b, sizeof(outline_b));
    return a->checker != RUN_INVARIANT || strcmp(outline_a, outline_b) == 0;
}

const char *run_checker_name(enum run_checker checker) {
    static const char *const names[] = {
#define RUN_CHECKER_NAME(id, name) name,
        RUN_CHECKERS(RUN_CHECKER_NAME)
#undef RUN_CHECKER_NAME
    };
    CHECK(checker < RUN_CHECKER_COUNT);
    return names[checker];
}
