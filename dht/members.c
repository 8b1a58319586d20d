#include "members.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"

#define STATES (MEMBER_GONE + 1)
#define BIT(state) (1U << (state))
#define ROWS_FIRST 16 /* room of a new table; doubled up to MEMBERS_MAX */

/* One row per state: the states one committed change leads to. Staying is a change of some other field. */
static const unsigned step_allowed[STATES] = {
    [MEMBER_JOINING] = BIT(MEMBER_JOINING) | BIT(MEMBER_UP) | BIT(MEMBER_GONE),
    [MEMBER_UP] = BIT(MEMBER_UP) | BIT(MEMBER_DRAINING) | BIT(MEMBER_OUT) | BIT(MEMBER_GONE),
    [MEMBER_DRAINING] = BIT(MEMBER_DRAINING) | BIT(MEMBER_UP) | BIT(MEMBER_GONE),
    [MEMBER_OUT] = BIT(MEMBER_OUT) | BIT(MEMBER_UP) | BIT(MEMBER_GONE),
    [MEMBER_GONE] = 0,
};

/* The rows are looked up far more often than they change, so sorted arrays and binary search serve better than hash
 * maps: 24 bytes a member, no worst case to defend. Rows are separate blocks: their addresses stay valid. */
struct members {
    uint64_t epoch;
    size_t count;
    size_t room;
    struct member **by_node;
    struct member **by_id;
    struct member **by_dh;
};

/* A search key points into a row, so that the three orders share one signature. */
typedef int (*member_order)(const struct member *a, const struct member *b);

static int order_node(const struct member *a, const struct member *b) {
    return (a->node > b->node) - (a->node < b->node);
}

static int order_id(const struct member *a, const struct member *b) {
    return memcmp(a->id, b->id, sizeof a->id);
}

static int order_dh(const struct member *a, const struct member *b) {
    return memcmp(a->dh, b->dh, sizeof a->dh);
}

/* Index of the first row not before `key`; rows->count when all are before. */
static size_t lower_bound(struct member *const *rows, size_t count, const struct member *key, member_order order) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (order(rows[middle], key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    CHECK(low <= count);
    return low;
}

static struct member *find(struct member *const *rows, size_t count, const struct member *key, member_order order) {
    size_t at = lower_bound(rows, count, key, order);
    return at < count && order(rows[at], key) == 0 ? rows[at] : NULL;
}

static void insert(struct member **rows, size_t count, struct member *row, member_order order) {
    size_t at = lower_bound(rows, count, row, order);
    CHECK(at == count || order(rows[at], row) != 0);
    memmove(rows + at + 1, rows + at, (count - at) * sizeof(struct member *));
    rows[at] = row;
}

int members_new(struct members **ret_members) {
    CHECK(ret_members != NULL);
    struct members *m = calloc(1, sizeof *m);
    if (m == NULL)
        return ERR_NOMEM;
    *ret_members = m;
    return 0;
}

void members_free(struct members *m) {
    if (m == NULL)
        return;
    CHECK(m->count <= m->room);
    for (size_t i = 0; i < m->count; i++)
        free(m->by_node[i]);
    free(m->by_node);
    free(m->by_id);
    free(m->by_dh);
    free(m);
}

uint64_t members_epoch(const struct members *m) {
    CHECK(m != NULL);
    return m->epoch;
}

size_t members_count(const struct members *m) {
    CHECK(m != NULL);
    return m->count;
}

const struct member *members_at(const struct members *m, size_t i) {
    CHECK(m != NULL);
    CHECK(i < m->count);
    return m->by_node[i];
}

const struct member *members_find(const struct members *m, uint32_t node) {
    CHECK(m != NULL);
    struct member key = {.node = node};
    return find(m->by_node, m->count, &key, order_node);
}

const struct member *members_find_id(const struct members *m, const uint8_t id[32]) {
    CHECK(m != NULL);
    CHECK(id != NULL);
    struct member key = {.node = 0};
    memcpy(key.id, id, sizeof key.id);
    return find(m->by_id, m->count, &key, order_id);
}

const struct member *members_find_dh(const struct members *m, const uint8_t dh[32]) {
    CHECK(m != NULL);
    CHECK(dh != NULL);
    struct member key = {.node = 0};
    memcpy(key.dh, dh, sizeof key.dh);
    return find(m->by_dh, m->count, &key, order_dh);
}

static bool state_known(enum member_state s) {
    return (unsigned)s < STATES;
}

bool member_transition_allowed(enum member_state from, enum member_state to) {
    CHECK(state_known(from));
    CHECK(state_known(to));
    return (step_allowed[from] & BIT(to)) != 0;
}

/* A node that was away learns only the last state, so its copy may see several steps as one. */
static bool state_reachable(enum member_state from, enum member_state to) {
    unsigned reached = step_allowed[from];
    for (unsigned round = 0; round < STATES; round++) {
        for (unsigned s = 0; s < STATES; s++) {
            if (reached & BIT(s))
                reached |= step_allowed[s];
        }
    }
    CHECK((reached & step_allowed[from]) == step_allowed[from]);
    return (reached & BIT(to)) != 0;
}

bool member_serves(const struct member *row) {
    CHECK(row != NULL);
    CHECK(state_known(row->state));
    return row->state == MEMBER_UP;
}

const char *member_state_name(enum member_state s) {
    static const char *const names[STATES] = {
        [MEMBER_JOINING] = "joining", [MEMBER_UP] = "up",     [MEMBER_DRAINING] = "draining",
        [MEMBER_OUT] = "out",         [MEMBER_GONE] = "gone",
    };
    CHECK(state_known(s));
    CHECK(names[s] != NULL);
    return names[s];
}

/* Terminated, and only printable ASCII from `first` on: addresses and zones end up in logs and terminals. */
static bool text_ok(const char *text, size_t size, char first) {
    size_t length = strnlen(text, size);
    if (length == size)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < first || text[i] > '~')
            return false;
    }
    return true;
}

static bool key_present(const uint8_t key[32]) {
    uint8_t any = 0;
    for (size_t i = 0; i < 32; i++)
        any |= key[i];
    return any != 0;
}

int member_check(const struct member *row) {
    CHECK(row != NULL);
    if (row->node == 0 || !state_known(row->state))
        return ERR_INVALID;
    if (!key_present(row->id) || !key_present(row->dh))
        return ERR_INVALID;
    if (!text_ok(row->addr, sizeof row->addr, '!') || !text_ok(row->zone, sizeof row->zone, ' '))
        return ERR_INVALID;
    return 0;
}

/* Same values; what follows a text's terminator does not count. */
static bool row_equal(const struct member *a, const struct member *b) {
    return a->node == b->node && order_id(a, b) == 0 && order_dh(a, b) == 0 && a->state == b->state &&
           a->capacity == b->capacity && a->changed == b->changed && strcmp(a->addr, b->addr) == 0 &&
           strcmp(a->zone, b->zone) == 0;
}

/* Field by field, so that equal rows are equal bytes whatever followed the texts. */
static void row_copy(struct member *to, const struct member *from) {
    memset(to, 0, sizeof *to);
    to->node = from->node;
    to->state = from->state;
    to->capacity = from->capacity;
    to->changed = from->changed;
    memcpy(to->id, from->id, sizeof to->id);
    memcpy(to->dh, from->dh, sizeof to->dh);
    memcpy(to->addr, from->addr, strnlen(from->addr, sizeof to->addr - 1));
    memcpy(to->zone, from->zone, strnlen(from->zone, sizeof to->zone - 1));
    CHECK(member_check(to) == 0);
    CHECK(row_equal(to, from));
}

static int replace(struct member *old, const struct member *row) {
    CHECK(old->node == row->node);
    if (row_equal(old, row))
        return 0;
    if (row->changed < old->changed)
        return ERR_STALE;
    if (order_id(old, row) != 0 || order_dh(old, row) != 0 || !state_reachable(old->state, row->state))
        return ERR_INVALID;
    row_copy(old, row);
    return 0;
}

/* Failing half-way leaves arrays of different size, never of less than m->room. */
static int grow(struct members *m) {
    CHECK(m->count == m->room);
    size_t room = m->room == 0 ? ROWS_FIRST : 2 * m->room;
    struct member ***arrays[] = {&m->by_node, &m->by_id, &m->by_dh};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        struct member **larger = realloc(*arrays[i], room * sizeof(struct member *));
        if (larger == NULL)
            return ERR_NOMEM;
        *arrays[i] = larger;
    }
    m->room = room;
    CHECK(m->count < m->room);
    return 0;
}

static int add(struct members *m, const struct member *row) {
    if (members_find_id(m, row->id) != NULL || members_find_dh(m, row->dh) != NULL)
        return ERR_INVALID;
    if (m->count == MEMBERS_MAX)
        return ERR_TOO_LARGE;
    if (m->count == m->room) {
        int rc = grow(m);
        if (rc != 0)
            return rc;
    }
    struct member *own = malloc(sizeof *own);
    if (own == NULL)
        return ERR_NOMEM;
    row_copy(own, row);
    insert(m->by_node, m->count, own, order_node);
    insert(m->by_id, m->count, own, order_id);
    insert(m->by_dh, m->count, own, order_dh);
    m->count++;
    return 0;
}

int members_apply(struct members *m, const struct member *row, uint64_t epoch) {
    CHECK(m != NULL);
    CHECK(row != NULL);
    if (epoch < m->epoch)
        return ERR_STALE;
    if (member_check(row) != 0 || row->changed > epoch)
        return ERR_INVALID;
    struct member *old = find(m->by_node, m->count, row, order_node);
    int rc = old != NULL ? replace(old, row) : add(m, row);
    if (rc == 0)
        m->epoch = epoch;
    return rc;
}
