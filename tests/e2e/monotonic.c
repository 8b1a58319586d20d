/* monotonic: the time in nanoseconds on the clock that `shoal bench --history` uses. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

int main(void) {
    struct timespec t;
    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
        return 1;
    return printf("%" PRId64 "\n", (int64_t)t.tv_sec * 1000000000 + t.tv_nsec) > 0 ? 0 : 1;
}
