#include "progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "format.h"

#define PROGRESS_EVERY_MS 200
#define PROGRESS_FIRST_MS 1000
#define PROGRESS_NAME_WIDTH 32

static uint64_t now_ms(void) {
    struct timespec ts;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void progress_init(struct progress *p, const char *name, uint64_t total) {
    CHECK(name != NULL);
    uint64_t now = now_ms();
    *p = (struct progress){.name = name, .total = total, .started_ms = now, .shown_ms = now};
    p->enabled = isatty(STDERR_FILENO) == 1;
}

static void progress_show(struct progress *p, uint64_t now) {
    char moved[FORMAT_SIZE_MAX], rate[FORMAT_SIZE_MAX], total[FORMAT_SIZE_MAX];
    uint64_t took_ms = now - p->started_ms;
    CHECK(took_ms > 0);
    double per_ms = (double)p->moved / (double)took_ms;
    format_size(p->moved, moved);
    format_size((uint64_t)(per_ms * 1000), rate);
    fprintf(stderr, "\r\033[K%.*s  %s", PROGRESS_NAME_WIDTH, p->name, moved);
    if (p->total != PROGRESS_SIZE_UNKNOWN && p->total >= p->moved && p->moved > 0) {
        uint64_t left_s = (uint64_t)((double)(p->total - p->moved) / per_ms / 1000);
        format_size(p->total, total);
        fprintf(stderr, " of %s  %.0f %%  %s/s  %llu:%02llu left", total, 100 * (double)p->moved / (double)p->total,
                rate, (unsigned long long)left_s / 60, (unsigned long long)left_s % 60);
    } else {
        fprintf(stderr, "  %s/s", rate);
    }
    fflush(stderr);
    p->visible = true;
    p->shown_ms = now;
}

void progress_add(struct progress *p, uint64_t bytes) {
    CHECK(p->name != NULL);
    p->moved += bytes;
    if (!p->enabled)
        return;
    uint64_t now = now_ms();
    if (now - p->started_ms >= PROGRESS_FIRST_MS && now - p->shown_ms >= PROGRESS_EVERY_MS)
        progress_show(p, now);
}

void progress_clear(struct progress *p) {
    if (p->visible)
        fputs("\r\033[K", stderr);
    p->visible = false;
}
