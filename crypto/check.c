#include "check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *expression, const char *file, int line) {
    /* A broken guarantee: the state can no longer be trusted, so nothing more may be written or acknowledged. */
    (void)fprintf(stderr, "shoal: %s:%d: check failed: %s\n", file, line, expression);
    abort();
}
