#include "linear.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "prng.h"

#define NOBODY UINT32_MAX /* the state of a register that is absent */

/* A call or a return, in a list ordered by time. */
struct entry {
    uint64_t at_us;
    uint32_t op;
    bool is_return;
    struct entry *previous, *next;
};

/* The sets of operations already placed, each with the state they lead to, that were tried before. */
struct memory {
    uint64_t *rows; /* row_words each: the state (0: an empty row), then the set */
    size_t row_words, capacity, count;
};

struct frame {
    struct entry *call;
    uint32_t state_before;
};

struct search {
    const struct linear_op *ops;
    size_t count;
    struct entry *entries;
    struct entry **calls, **returns; /* by operation */
    struct entry head;
    uint64_t *placed;   /* row_words: see struct memory */
    uint32_t *source;   /* by get: the only put whose content it can have seen, or NOBODY */
    uint32_t *readers;  /* by put: gets not yet placed whose source it is */
    uint32_t *wanted;   /* by operation with LINEAR_MATCH: the put of that version, or NOBODY when not known */
    uint32_t *stand_in; /* by operation: the equal one that is to be placed before it, or NOBODY */
    struct frame *stack;
    size_t depth;
    size_t known_left; /* returned operations not yet placed */
    uint32_t state;    /* the put whose version is there, or NOBODY */
    struct memory memory;
    size_t furthest; /* the latest return that could not be passed */
    uint64_t furthest_us;
};

/* ---- the register ------------------------------------------------------------------------------------------------ */

static bool versions_agree(uint64_t a, uint64_t b) {
    return a == 0 || b == 0 || a == b;
}

/* Whether the condition of op may hold, or (want_false) may fail, in this state. What is not known may be either. */
static bool condition_may(const struct search *s, uint32_t state, const struct linear_op *op, bool want_false) {
    bool absent = state == NOBODY;
    switch (op->condition) {
    case LINEAR_ANY:
        return !want_false;
    case LINEAR_ABSENT:
        return absent != want_false;
    case LINEAR_MATCH:
        break;
    }
    uint32_t wanted = s->wanted[op - s->ops];
    if (wanted != NOBODY) {
        return (state == wanted) != want_false;
    }
    uint64_t there = absent ? 0 : s->ops[state].version;
    if (want_false) {
        return absent || there == 0 || there != op->match;
    }
    return !absent && versions_agree(there, op->match);
}

static bool step_get(const struct search *s, uint32_t state, const struct linear_op *op) {
    if (op->result == LINEAR_MISSING) {
        return state == NOBODY;
    }
    if (state == NOBODY) {
        return false;
    }
    const struct linear_op *put = &s->ops[state];
    return (op->content == 0 || put->content == op->content) && versions_agree(put->version, op->version);
}

/* Can op take effect next in this state? Gives the state after it. An operation of unknown outcome has an effect or is
 * not placed at all. */
static bool step(const struct search *s, uint32_t state, uint32_t index, uint32_t *ret_state) {
    const struct linear_op *op = &s->ops[index];
    *ret_state = state;
    if (op->kind == LINEAR_GET) {
        return op->result != LINEAR_UNKNOWN && step_get(s, state, op);
    }
    if (op->result == LINEAR_REFUSED) {
        return condition_may(s, state, op, true);
    }
    if (op->result == LINEAR_MISSING) {
        return state == NOBODY;
    }
    if (!condition_may(s, state, op, false) || (op->kind == LINEAR_REMOVE && state == NOBODY)) {
        return false;
    }
    *ret_state = op->kind == LINEAR_PUT ? index : NOBODY;
    return true;
}

/* ---- what was tried ---------------------------------------------------------------------------------------------- */

static size_t memory_slot(const struct memory *m, const uint64_t *row) {
    uint64_t hash = 0;
    for (size_t i = 0; i < m->row_words; i++) {
        hash = prng_mix(hash ^ row[i]);
    }
    size_t slot = hash & (m->capacity - 1);
    while (m->rows[slot * m->row_words] != 0 &&
           memcmp(&m->rows[slot * m->row_words], row, m->row_words * sizeof(*row)) != 0) {
        slot = (slot + 1) & (m->capacity - 1);
    }
    return slot;
}

static void memory_grow(struct memory *m) {
    struct memory old = *m;
    m->capacity = old.capacity == 0 ? 256 : old.capacity * 2;
    m->rows = calloc(m->capacity * m->row_words, sizeof(*m->rows));
    CHECK(m->rows != NULL);
    for (size_t i = 0; i < old.capacity; i++) {
        const uint64_t *row = &old.rows[i * m->row_words];
        if (row[0] != 0) {
            memcpy(&m->rows[memory_slot(m, row) * m->row_words], row, m->row_words * sizeof(*row));
        }
    }
    free(old.rows);
}

/* False when it was there already. */
static bool memory_add(struct memory *m, const uint64_t *row) {
    CHECK(row[0] != 0);
    if (m->count * 2 >= m->capacity) {
        memory_grow(m);
    }
    uint64_t *place = &m->rows[memory_slot(m, row) * m->row_words];
    if (place[0] != 0) {
        return false;
    }
    memcpy(place, row, m->row_words * sizeof(*row));
    m->count++;
    return true;
}

/* ---- the search -------------------------------------------------------------------------------------------------- */

/* By time; at the same moment calls come before returns, so that touching operations count as overlapping. */
static int compare_entries(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->at_us != y->at_us) {
        return x->at_us < y->at_us ? -1 : 1;
    }
    if (x->is_return != y->is_return) {
        return x->is_return ? 1 : -1;
    }
    return x->op < y->op ? -1 : x->op > y->op;
}

static void unlink_entry(struct entry *e) {
    e->previous->next = e->next;
    if (e->next != NULL) {
        e->next->previous = e->previous;
    }
}

static void relink_entry(struct entry *e) {
    e->previous->next = e;
    if (e->next != NULL) {
        e->next->previous = e;
    }
}

static void placed_flip(struct search *s, uint32_t op) {
    s->placed[1 + op / 64] ^= (uint64_t)1 << (op % 64);
}

/* Nobody can tell one such operation from another of its kind. */
static bool unobserved(const struct linear_op *ops, size_t count, const struct linear_op *op) {
    if (op->result != LINEAR_UNKNOWN || op->kind == LINEAR_GET || op->version != 0) {
        return false;
    }
    for (size_t i = 0; i < count && op->kind == LINEAR_PUT; i++) {
        if (ops[i].kind == LINEAR_GET && ops[i].result == LINEAR_DONE &&
            (ops[i].content == 0 || ops[i].content == op->content)) {
            return false;
        }
    }
    return true;
}

static bool alike(const struct linear_op *a, const struct linear_op *b) {
    return a->kind == b->kind && a->condition == b->condition && a->match == b->match;
}

/* Of operations that cannot be told apart, the one called first is placed first: it can stand in for any other. */
static void find_stand_ins(struct search *s) {
    bool *free_choice = calloc(s->count, sizeof(*free_choice));
    CHECK(free_choice != NULL);
    for (uint32_t i = 0; i < s->count; i++) {
        free_choice[i] = unobserved(s->ops, s->count, &s->ops[i]);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t found = NOBODY;
        for (uint32_t j = 0; j < s->count && free_choice[i]; j++) {
            bool before = s->ops[j].call_us < s->ops[i].call_us || (s->ops[j].call_us == s->ops[i].call_us && j < i);
            if (free_choice[j] && before && alike(&s->ops[i], &s->ops[j]) &&
                (found == NOBODY || s->ops[j].call_us >= s->ops[found].call_us)) {
                found = j;
            }
        }
        s->stand_in[i] = found;
    }
    free(free_choice);
}

static void find_sources(struct search *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        const struct linear_op *get = &s->ops[i];
        uint32_t candidates = 0;
        s->source[i] = NOBODY;
        for (uint32_t j = 0; j < s->count && get->kind == LINEAR_GET && get->result == LINEAR_DONE; j++) {
            const struct linear_op *put = &s->ops[j];
            bool possible = put->kind == LINEAR_PUT && (get->content == 0 || put->content == get->content) &&
                            versions_agree(put->version, get->version);
            candidates += possible;
            s->source[i] = possible ? j : s->source[i];
        }
        if (candidates == 1) {
            s->readers[s->source[i]]++;
        } else {
            s->source[i] = NOBODY;
        }
    }
}

static void find_wanted(struct search *s) {
    for (uint32_t i = 0; i < s->count; i++) {
        s->wanted[i] = NOBODY;
        for (uint32_t j = 0; j < s->count && s->ops[i].condition == LINEAR_MATCH; j++) {
            if (s->ops[j].kind == LINEAR_PUT && s->ops[j].version != 0 && s->ops[j].version == s->ops[i].match) {
                s->wanted[i] = j;
            }
        }
    }
}

static void search_init(struct search *s, const struct linear_op *ops, size_t count) {
    *s = (struct search){.ops = ops, .count = count, .state = NOBODY};
    s->memory.row_words = 1 + (count + 63) / 64;
    s->entries = calloc(count * 2, sizeof(*s->entries));
    s->calls = calloc(count, sizeof(struct entry *));
    s->returns = calloc(count, sizeof(struct entry *));
    s->placed = calloc(s->memory.row_words, sizeof(*s->placed));
    s->stack = calloc(count, sizeof(*s->stack));
    s->source = calloc(count, sizeof(*s->source));
    s->readers = calloc(count, sizeof(*s->readers));
    s->wanted = calloc(count, sizeof(*s->wanted));
    s->stand_in = calloc(count, sizeof(*s->stand_in));
    CHECK(s->entries && s->calls && s->returns && s->placed && s->stack);
    CHECK(s->source && s->readers && s->wanted && s->stand_in);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(ops[i].call_us <= ops[i].return_us);
        CHECK((ops[i].result == LINEAR_UNKNOWN) == (ops[i].return_us == LINEAR_NEVER));
        s->entries[i * 2] = (struct entry){.at_us = ops[i].call_us, .op = i};
        s->entries[i * 2 + 1] = (struct entry){.at_us = ops[i].return_us, .op = i, .is_return = true};
        s->known_left += ops[i].result != LINEAR_UNKNOWN;
    }
    qsort(s->entries, count * 2, sizeof(*s->entries), compare_entries);
    struct entry *last = &s->head;
    for (size_t i = 0; i < count * 2; i++) {
        struct entry *e = &s->entries[i];
        *(e->is_return ? &s->returns[e->op] : &s->calls[e->op]) = e;
        e->previous = last;
        last->next = e;
        last = e;
    }
    find_sources(s);
    find_wanted(s);
    find_stand_ins(s);
}

static void search_release(struct search *s) {
    free(s->entries);
    free(s->calls);
    free(s->returns);
    free(s->placed);
    free(s->stack);
    free(s->source);
    free(s->readers);
    free(s->wanted);
    free(s->stand_in);
    free(s->memory.rows);
}

/* The state before the last placed operation when its outcome is unknown, and NULL otherwise. */
static const uint32_t *state_before_unknown(const struct search *s) {
    if (s->depth == 0 || s->ops[s->stack[s->depth - 1].call->op].result != LINEAR_UNKNOWN) {
        return NULL;
    }
    return &s->stack[s->depth - 1].state_before;
}

/* An operation of unknown outcome need be placed only right before one that needs it: if the next one can do without,
 * the two change places (nothing forces the unknown one to be early), or the unknown one is left out (when it would be
 * overwritten unseen). This keeps the search from trying every subset of them everywhere. */
static bool wasted(const struct search *s, uint32_t op) {
    const uint32_t *before = state_before_unknown(s);
    uint32_t ignored;
    return before != NULL && step(s, *before, op, &ignored);
}

/* A version that is replaced does not come back: whoever must have seen it has to be placed before. */
static bool too_early(const struct search *s, uint32_t state_after) {
    return s->state != NOBODY && state_after != s->state && s->readers[s->state] > 0;
}

static void count_reader(struct search *s, uint32_t op, bool placed) {
    if (s->source[op] != NOBODY) {
        CHECK(!placed || s->readers[s->source[op]] > 0);
        s->readers[s->source[op]] += placed ? -1 : 1;
    }
}

static bool is_placed(const struct search *s, uint32_t op) {
    return s->placed[1 + op / 64] >> (op % 64) & 1;
}

static uint64_t state_word(uint32_t state) {
    return state == NOBODY ? 1 : (uint64_t)state + 2;
}

/* Places the operation of this call next, unless that leads where the search was before. */
static bool try_place(struct search *s, struct entry *call) {
    uint32_t state;
    uint32_t first = s->stand_in[call->op];
    if (!step(s, s->state, call->op, &state) || wasted(s, call->op) || too_early(s, state) ||
        (first != NOBODY && !is_placed(s, first))) {
        return false;
    }
    bool unknown = s->ops[call->op].result == LINEAR_UNKNOWN;
    placed_flip(s, call->op);
    s->placed[0] = state_word(state) | (unknown ? state_word(s->state) << 32 : 0);
    if (!memory_add(&s->memory, s->placed)) {
        placed_flip(s, call->op);
        return false;
    }
    CHECK(s->depth < s->count);
    s->stack[s->depth++] = (struct frame){.call = call, .state_before = s->state};
    s->state = state;
    s->known_left -= s->ops[call->op].result != LINEAR_UNKNOWN;
    count_reader(s, call->op, true);
    unlink_entry(call);
    unlink_entry(s->returns[call->op]);
    return true;
}

/* Takes the last placed operation back. Gives where to go on. */
static struct entry *take_back(struct search *s) {
    CHECK(s->depth > 0);
    struct frame f = s->stack[--s->depth];
    relink_entry(s->returns[f.call->op]);
    relink_entry(f.call);
    placed_flip(s, f.call->op);
    s->state = f.state_before;
    s->known_left += s->ops[f.call->op].result != LINEAR_UNKNOWN;
    count_reader(s, f.call->op, false);
    return f.call->next;
}

static void note_obstacle(struct search *s, const struct entry *e) {
    if (e->at_us >= s->furthest_us) {
        s->furthest_us = e->at_us;
        s->furthest = e->op;
    }
}

/* What can be tried at this point: first every returned operation, then those of unknown outcome, which are rarely
 * needed. A return that is reached means that its operation, still unplaced, can wait no longer. */
static enum linear_verdict search_run(struct search *s, size_t steps_max) {
    struct entry *e = s->head.next;
    bool unknowns = false;
    size_t steps = 0;
    while (s->known_left > 0) {
        if (++steps > steps_max) {
            return LINEAR_UNDECIDED;
        }
        CHECK(e != NULL);
        if (!e->is_return) {
            bool turn = (s->ops[e->op].result == LINEAR_UNKNOWN) == unknowns;
            bool placed = turn && try_place(s, e);
            unknowns = unknowns && !placed;
            e = placed ? s->head.next : e->next;
        } else if (!unknowns) {
            note_obstacle(s, e);
            unknowns = true;
            e = s->head.next;
        } else if (s->depth == 0) {
            return LINEAR_NO;
        } else {
            unknowns = s->ops[s->stack[s->depth - 1].call->op].result == LINEAR_UNKNOWN;
            e = take_back(s);
        }
    }
    return LINEAR_YES;
}

enum linear_verdict linear_check(const struct linear_op *ops, size_t count, size_t steps_max, size_t *ret_deepest) {
    CHECK(count <= LINEAR_OPS_MAX);
    if (count == 0) {
        return LINEAR_YES;
    }
    struct search s;
    search_init(&s, ops, count);
    enum linear_verdict verdict = search_run(&s, steps_max);
    if (verdict == LINEAR_NO && ret_deepest != NULL) {
        *ret_deepest = s.furthest;
    }
    search_release(&s);
    return verdict;
}
