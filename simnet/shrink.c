#include "shrink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "options.h"
#include "sim.h"

#define SHRINK_ITEMS_MAX SELECT_RANGES_MAX
#define SHRINK_LINE_SIZE 160

/* What can be left out: the three kinds of items. */
enum stage { STAGE_FAULTS, STAGE_USERS, STAGE_ASKS };

struct item {
    uint32_t user;   /* from 1; 0 of a fault */
    uint32_t number; /* 0 of a whole user */
};

struct items {
    enum stage stage;
    struct item *list; /* by user, then by number */
    uint32_t count;
};

struct shrinking {
    const struct shrink *shrink;
    struct run_options *options;
    struct run_result *result;
    uint32_t passes;
};

static void say(const struct shrinking *s, const char *what, uint64_t left) {
    char line[SHRINK_LINE_SIZE];
    snprintf(line, sizeof(line), "pass %" PRIu32 ", %s: %" PRIu64 " left", s->passes, what, left);
    if (s->shrink->progress != NULL) {
        s->shrink->progress(s->shrink->ctx, line);
    }
}

/* Goes on with the first of the round that fails, if one does. */
static bool try_round(struct shrinking *s, struct shrink_round *round, uint32_t *ret_which) {
    struct run_result result;
    round->from = s->options;
    if (round->count == 0 || s->shrink->out_of_time(s->shrink->ctx)) {
        return false;
    }
    uint32_t i = s->shrink->first_failing(s->shrink->ctx, round, &result);
    CHECK(i <= round->count);
    if (i == round->count) {
        return false;
    }
    struct run_options next;
    round->make(round, i, &next);
    options_release(s->options);
    *s->options = next;
    *s->result = result;
    *ret_which = i;
    return true;
}

/* ---- leaving out items ------------------------------------------------------------------------------------------- */

static void add_item(struct items *items, uint32_t user, uint32_t number) {
    if (items->count < SHRINK_ITEMS_MAX) {
        items->list[items->count++] = (struct item){user, number};
    }
}

/* What the options let happen. */
static void list_items(const struct shrinking *s, struct items *out) {
    out->count = 0;
    for (uint32_t n = 1; out->stage == STAGE_FAULTS && n <= s->result->faults; n++) {
        if (selected(&s->options->faults, n)) {
            add_item(out, 0, n);
        }
    }
    for (uint32_t user = 1; out->stage != STAGE_FAULTS && user <= RUN_USERS_MAX; user++) {
        const struct selection *asks = &s->options->asks[user - 1];
        bool any = false;
        for (uint32_t n = 1; n <= s->result->asks[user - 1]; n++) {
            any = any || selected(asks, n);
            if (out->stage == STAGE_ASKS && selected(asks, n)) {
                add_item(out, user, n);
            }
        }
        if (out->stage == STAGE_USERS && any) {
            add_item(out, user, 0);
        }
    }
}

static struct selection *selection_of(struct run_options *options, const struct item *item) {
    return item->user == 0 ? &options->faults : &options->asks[item->user - 1];
}

static void select_nothing(struct selection *s) {
    selection_release(s);
    s->only = true;
}

/* The items but those from `first` up to `end` happen, and no others of their kind. */
static void leave_out(const struct items *items, uint32_t first, uint32_t end, struct run_options *out) {
    bool asks[RUN_USERS_MAX] = {false};
    for (uint32_t i = 0; i < items->count; i++) {
        bool left_out = i >= first && i < end;
        if (items->list[i].user > 0 && !left_out) {
            asks[items->list[i].user - 1] = true;
        }
    }
    if (items->stage == STAGE_FAULTS) {
        select_nothing(&out->faults);
    }
    for (uint32_t i = 0; i < RUN_USERS_MAX; i++) {
        if (items->stage == STAGE_ASKS || (items->stage == STAGE_USERS && !asks[i])) {
            select_nothing(&out->asks[i]);
        }
    }
    for (uint32_t i = 0; items->stage != STAGE_USERS && i < items->count; i++) {
        const struct item *item = &items->list[i];
        if (i < first || i >= end) {
            CHECK(selection_add(selection_of(out, item), item->number, item->number));
        }
    }
}

/* The items in equal parts; each candidate lacks one of them, beginning with number `start`. */
struct parts {
    const struct items *items;
    uint32_t count, start;
};

static void bounds_of(const struct parts *p, uint32_t i, uint32_t *ret_first, uint32_t *ret_end) {
    uint64_t part = (p->start + (uint64_t)i) % p->count;
    *ret_first = (uint32_t)(part * p->items->count / p->count);
    *ret_end = (uint32_t)((part + 1) * p->items->count / p->count);
}

static void make_without_part(const struct shrink_round *round, uint32_t i, struct run_options *out) {
    uint32_t first, end;
    const struct parts *parts = round->ctx;
    bounds_of(parts, i, &first, &end);
    options_copy(round->from, out);
    leave_out(parts->items, first, end, out);
}

static void drop(struct items *items, uint32_t first, uint32_t end) {
    memmove(items->list + first, items->list + end, (items->count - end) * sizeof(*items->list));
    items->count -= end - first;
}

/* Everything at once, then halves, then ever smaller parts. */
static bool reduce_items(struct shrinking *s, enum stage stage, const char *name) {
    struct items items = {.stage = stage, .list = calloc(SHRINK_ITEMS_MAX, sizeof(struct item))};
    CHECK(items.list != NULL);
    list_items(s, &items);
    struct parts parts = {.items = &items, .count = 1};
    bool any = false;
    while (items.count > 0) {
        struct shrink_round round = {.count = parts.count, .make = make_without_part, .ctx = &parts};
        uint32_t which = 0, first, end;
        if (try_round(s, &round, &which)) {
            bounds_of(&parts, which, &first, &end);
            drop(&items, first, end);
            say(s, name, items.count);
            parts.start = (parts.start + which) % parts.count;
            parts.count = parts.count > 2 ? parts.count - 1 : 2;
            any = true;
        } else if (parts.count >= items.count) {
            break;
        } else {
            parts.count *= 2;
            parts.start *= 2;
        }
        parts.count = parts.count < items.count ? parts.count : items.count;
        parts.start = parts.count > 0 ? parts.start % parts.count : 0;
    }
    free(items.list);
    return any;
}

/* ---- shorter, fewer, smaller ------------------------------------------------------------------------------------- */

struct ladder {
    uint64_t values[8];
};

static void make_shorter(const struct shrink_round *round, uint32_t i, struct run_options *out) {
    options_copy(round->from, out);
    out->faults_us = ((const struct ladder *)round->ctx)->values[i];
}

static void make_fewer_nodes(const struct shrink_round *round, uint32_t i, struct run_options *out) {
    options_copy(round->from, out);
    out->nodes = i + 1;
}

static void make_fewer_arcs(const struct shrink_round *round, uint32_t i, struct run_options *out) {
    options_copy(round->from, out);
    out->bits = i;
}

static uint64_t whole_seconds(uint64_t us) {
    return (us + SIM_SECOND - 1) / SIM_SECOND * SIM_SECOND;
}

/* Up to the failure if it comes before the healing, or else as early a healing as still shows it. */
static uint32_t draw_ladder(const struct shrinking *s, struct ladder *out) {
    static const unsigned eighths[] = {0, 1, 2, 4, 6, 7};
    const uint64_t now_us = s->options->faults_us;
    uint64_t passed_us = s->result->simulated_us - s->result->faults_from_us;
    uint32_t count = 0;
    if (passed_us < now_us) {
        out->values[count++] = whole_seconds(passed_us);
    }
    for (size_t i = 0; passed_us >= now_us && i < sizeof(eighths) / sizeof(eighths[0]); i++) {
        out->values[count++] = whole_seconds(now_us * eighths[i] / 8);
    }
    while (count > 0 && out->values[count - 1] >= now_us) {
        count--;
    }
    return count;
}

static bool reduce_time(struct shrinking *s) {
    bool any = false;
    uint32_t which;
    struct ladder ladder;
    struct shrink_round round = {.make = make_shorter, .ctx = &ladder};
    while (s->result->faults_from_us > 0) {
        round.count = draw_ladder(s, &ladder);
        if (!try_round(s, &round, &which)) {
            break;
        }
        any = true;
        say(s, "seconds", s->options->faults_us / SIM_SECOND);
    }
    return any;
}

static bool reduce_swarm(struct shrinking *s) {
    uint32_t which;
    struct shrink_round nodes = {.count = s->options->nodes - 1, .make = make_fewer_nodes};
    bool fewer = try_round(s, &nodes, &which);
    if (fewer) {
        say(s, "nodes", s->options->nodes);
    }
    struct shrink_round arcs = {.count = s->options->bits, .make = make_fewer_arcs};
    bool smaller = try_round(s, &arcs, &which);
    if (smaller) {
        say(s, "arcs", (uint64_t)1 << s->options->bits);
    }
    return fewer || smaller;
}

void shrink_run(const struct shrink *shrink, struct run_options *options, struct run_result *result) {
    CHECK(!result->passed);
    struct shrinking s = {.shrink = shrink, .options = options, .result = result};
    bool smaller = true;
    while (smaller && s.passes < SHRINK_PASSES_MAX && !shrink->out_of_time(shrink->ctx)) {
        s.passes++;
        smaller = reduce_time(&s);
        smaller = reduce_items(&s, STAGE_FAULTS, "faults") || smaller;
        smaller = reduce_items(&s, STAGE_USERS, "users") || smaller;
        smaller = reduce_items(&s, STAGE_ASKS, "requests") || smaller;
        smaller = reduce_swarm(&s) || smaller;
    }
}
