#include "options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "ring.h"
#include "sim.h"

#define OPTIONS_NODES 5
#define OPTIONS_SECONDS 600
#define OPTIONS_BITS 4
#define OPTIONS_REPLICAS 3
#define OPTIONS_NODES_MAX 64
#define OPTIONS_SECONDS_MAX 6000000

void options_init(struct run_options *out) {
    *out = (struct run_options){.nodes = OPTIONS_NODES,
                                .faults_us = OPTIONS_SECONDS * (uint64_t)SIM_SECOND,
                                .bits = OPTIONS_BITS,
                                .replicas = OPTIONS_REPLICAS};
}

void options_copy(const struct run_options *from, struct run_options *out) {
    *out = *from;
    selection_copy(&from->faults, &out->faults);
    for (int i = 0; i < RUN_USERS_MAX; i++) {
        selection_copy(&from->asks[i], &out->asks[i]);
    }
}

void options_release(struct run_options *options) {
    selection_release(&options->faults);
    for (int i = 0; i < RUN_USERS_MAX; i++) {
        selection_release(&options->asks[i]);
    }
}

/* ---- from text --------------------------------------------------------------------------------------------------- */

bool options_number(const char *text, uint64_t low, uint64_t high, uint64_t *out) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < low || value > high) {
        fprintf(stderr, "shoal-simnet: '%s' is not a number from %" PRIu64 " to %" PRIu64 "\n", text, low, high);
        return false;
    }
    *out = value;
    return true;
}

static bool selection(const char *text, bool only, struct selection *out) {
    selection_release(out);
    out->only = only;
    if (!selection_parse(out, text, strlen(text))) {
        fprintf(stderr, "shoal-simnet: '%s' is not a list of ascending numbers, as in 1-5,9\n", text);
        return false;
    }
    return true;
}

/* "2", all of user 2, or "2:1-5,9", some. */
static bool selection_of_user(char *text, bool only, struct run_options *run) {
    uint64_t user = 0;
    char *colon = strchr(text, ':');
    if (colon != NULL) {
        *colon = '\0';
    }
    if (!options_number(text, 1, RUN_USERS_MAX, &user)) {
        return false;
    }
    if (colon != NULL) {
        return selection(colon + 1, only, &run->asks[user - 1]);
    }
    selection_release(&run->asks[user - 1]);
    run->asks[user - 1].only = !only; /* of an empty list: none, or all but none */
    return true;
}

static bool selections_of_users(char *text, bool only, struct run_options *run) {
    for (int i = 0; i < RUN_USERS_MAX; i++) {
        selection_release(&run->asks[i]);
        run->asks[i].only = only;
    }
    while (strcmp(text, "none") != 0) {
        char *slash = strchr(text, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        if (!selection_of_user(text, only, run)) {
            return false;
        }
        if (slash == NULL) {
            break;
        }
        text = slash + 1;
    }
    return true;
}

bool options_take(int option, const char *text, struct run_options *out) {
    uint64_t value = 0;
    char *copy;
    bool good;
    switch (option) {
    case 's':
        return options_number(text, 0, UINT64_MAX - 1, &out->seed);
    case 'n':
        return options_number(text, 1, OPTIONS_NODES_MAX, &value) && (out->nodes = (uint32_t)value, true);
    case 'm':
        return options_number(text, 0, OPTIONS_SECONDS_MAX / 60, &value) &&
               (out->faults_us = value * 60 * SIM_SECOND, true);
    case 'e':
        return options_number(text, 0, OPTIONS_SECONDS_MAX, &value) && (out->faults_us = value * SIM_SECOND, true);
    case 'a':
        return options_number(text, 1, 1u << RING_BITS_MAX, &value) && ring_bits_of(value, &out->bits) == 0;
    case 'c':
        return options_number(text, 1, 7, &value) && (out->replicas = (uint32_t)value, true);
    case 'F':
    case 'f':
        return selection(text, option == 'f', &out->faults);
    case 'A':
    case 'k':
        copy = strdup(text);
        CHECK(copy != NULL);
        good = selections_of_users(copy, option == 'k', out);
        free(copy);
        return good;
    default:
        return false;
    }
}

/* ---- to text ----------------------------------------------------------------------------------------------------- */

struct words {
    char *out;
    size_t room, size;
};

static void add(struct words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct words *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    size_t left = w->size < w->room ? w->room - w->size : 0;
    w->size += (size_t)vsnprintf(left > 0 ? w->out + w->size : NULL, left, format, args);
    va_end(args);
}

static void add_selection(struct words *w, const struct selection *s) {
    size_t left = w->size < w->room ? w->room - w->size : 0;
    w->size += selection_format(s, left > 0 ? w->out + w->size : NULL, left);
}

static bool is_all(const struct selection *s) {
    return !s->only && s->count == 0;
}

/* A list of the users that `only` lists: of those that ask at all, or of those of whom something is skipped. */
static void add_asks(struct words *w, const struct selection *asks, bool only) {
    const char *between = only ? " --only-asks " : " --skip-asks ";
    bool any = false;
    for (uint32_t i = 0; i < RUN_USERS_MAX; i++) {
        if (asks[i].count > 0) {
            CHECK(asks[i].only == only);
            add(w, "%s%" PRIu32 ":", between, i + 1);
            add_selection(w, &asks[i]);
        } else if (asks[i].only != only) {
            add(w, "%s%" PRIu32, between, i + 1);
        } else {
            continue;
        }
        between = "/";
        any = true;
    }
    if (!any) {
        add(w, "%snone", between);
    }
}

size_t options_format(const struct run_options *options, char *out, size_t out_size) {
    struct words w = {.room = out_size};
    struct run_options usual;
    bool all = true, only = true;
    w.out = out;
    options_init(&usual);
    add(&w, "--seed %" PRIu64, options->seed);
    if (options->nodes != usual.nodes) {
        add(&w, " --nodes %" PRIu32, options->nodes);
    }
    if (options->faults_us != usual.faults_us) {
        add(&w, " --seconds %" PRIu64, options->faults_us / SIM_SECOND);
    }
    if (options->bits != usual.bits) {
        add(&w, " --arcs %u", 1u << options->bits);
    }
    if (options->replicas != usual.replicas) {
        add(&w, " --replicas %" PRIu32, options->replicas);
    }
    if (!is_all(&options->faults)) {
        add(&w, options->faults.only ? " --only-faults " : " --skip-faults ");
        add_selection(&w, &options->faults);
    }
    for (uint32_t i = 0; i < RUN_USERS_MAX; i++) {
        all = all && is_all(&options->asks[i]);
        only = only && (options->asks[i].only || options->asks[i].count == 0);
    }
    if (!all) {
        add_asks(&w, options->asks, only);
    }
    return w.size;
}
