/* A line on the terminal that tells how a long transfer goes. Silent unless standard error is a terminal, and for the
 * first second. */
#ifndef SHOAL_PROGRESS_H
#define SHOAL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_SIZE_UNKNOWN UINT64_MAX

struct progress {
    const char *name;
    uint64_t total; /* PROGRESS_SIZE_UNKNOWN: a pipe */
    uint64_t moved;
    uint64_t started_ms;
    uint64_t shown_ms;
    bool enabled;
    bool visible;
};

void progress_init(struct progress *p, const char *name, uint64_t total);
void progress_add(struct progress *p, uint64_t bytes);
void progress_clear(struct progress *p); /* takes the line away */

#endif
