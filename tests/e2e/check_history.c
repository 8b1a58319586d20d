/* check_history FILE... [--final FILE]: are these histories (of `shoal bench --history`) together linearizable, name by
 * name? With --final, a history of reads that were made when all was quiet: every name that was ever acknowledged as
 * written must have been found by each of its clients. Exit status 1 and the earliest offence when not. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "zones.h"

#define FILES_MAX 64
#define LINE_SHOWN_MAX 300

enum result { RESULT_OK, RESULT_ABSENT, RESULT_FAIL, RESULT_UNKNOWN };

struct text {
    const char *bytes; /* not terminated; NULL for null */
    size_t size;
};

struct op {
    struct text line, key, value;
    uint64_t client, call, ret;
    bool writes, final;
    enum result result;
};

struct history {
    struct op *ops;
    size_t count, capacity;
    char *files[FILES_MAX];
    size_t file_count;
    uint64_t *finals; /* clients that occur in the final reads */
    size_t final_count;
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* One line: a flat object of strings without escapes, numbers and nulls. */
struct cursor {
    const char *at, *end;
    bool bad;
};

static void expect(struct cursor *c, char byte) {
    if (c->bad || c->at == c->end || *c->at != byte) {
        c->bad = true;
        return;
    }
    c->at++;
}

static struct text take_string(struct cursor *c) {
    expect(c, '"');
    struct text t = {.bytes = c->at};
    while (!c->bad && c->at < c->end && *c->at != '"') {
        c->bad = *c->at == '\\';
        c->at++;
    }
    t.size = (size_t)(c->at - t.bytes);
    expect(c, '"');
    return t;
}

static bool take_null(struct cursor *c) {
    if (c->bad || c->end - c->at < 4 || memcmp(c->at, "null", 4) != 0) {
        return false;
    }
    c->at += 4;
    return true;
}

static uint64_t take_number(struct cursor *c) {
    uint64_t v = 0;
    c->bad = c->bad || c->at == c->end || *c->at < '0' || *c->at > '9';
    for (; !c->bad && c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        c->bad = __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*c->at - '0'), &v);
    }
    return v;
}

static bool is(struct text t, const char *word) {
    return t.size == strlen(word) && memcmp(t.bytes, word, t.size) == 0;
}

/* Which of the words, ended by NULL, the string is. */
static unsigned take_word(struct cursor *c, const char *const *words) {
    struct text t = take_string(c);
    unsigned i = 0;
    while (words[i] != NULL && !is(t, words[i])) {
        i++;
    }
    c->bad = c->bad || words[i] == NULL;
    return i;
}

static void take_field(struct cursor *c, struct op *op) {
    static const char *const kinds[] = {"read", "write", NULL};
    static const char *const results[] = {[RESULT_OK] = "ok",
                                          [RESULT_ABSENT] = "absent",
                                          [RESULT_FAIL] = "fail",
                                          [RESULT_UNKNOWN] = "unknown",
                                          [RESULT_UNKNOWN + 1] = NULL};
    struct text name = take_string(c);
    expect(c, ':');
    if (is(name, "client")) {
        op->client = take_number(c);
    } else if (is(name, "op")) {
        op->writes = take_word(c, kinds) == 1;
    } else if (is(name, "key")) {
        op->key = take_string(c);
    } else if (is(name, "value")) {
        op->value = take_null(c) ? (struct text){NULL, 0} : take_string(c);
    } else if (is(name, "call")) {
        op->call = take_number(c);
    } else if (is(name, "return")) {
        op->ret = take_null(c) ? ZONES_NEVER : take_number(c);
    } else if (is(name, "result")) {
        op->result = (enum result)take_word(c, results);
    } else {
        c->bad = true;
    }
}

/* What the fields must say of each other. */
static bool sensible(const struct op *op) {
    bool value_due = op->writes || op->result == RESULT_OK;
    return op->key.bytes != NULL && op->call > 0 && op->call <= op->ret && (op->value.bytes != NULL) == value_due &&
           (op->ret == ZONES_NEVER) == (op->result == RESULT_UNKNOWN) && !(op->writes && op->result == RESULT_ABSENT);
}

static bool parse_line(struct text line, struct op *out) {
    struct cursor c = {.at = line.bytes, .end = line.bytes + line.size};
    *out = (struct op){.line = line};
    expect(&c, '{');
    take_field(&c, out);
    while (!c.bad && c.at < c.end && *c.at == ',') {
        c.at++;
        take_field(&c, out);
    }
    expect(&c, '}');
    return !c.bad && c.at == c.end && sensible(out);
}

static void add(struct history *h, const struct op *op) {
    if (h->count == h->capacity) {
        h->capacity = h->capacity == 0 ? 4096 : h->capacity * 2;
        h->ops = realloc(h->ops, h->capacity * sizeof(*h->ops));
        CHECK(h->ops != NULL);
    }
    h->ops[h->count++] = *op;
}

static char *read_file(const char *path, size_t *ret_size) {
    FILE *f = fopen(path, "re");
    char *text = NULL;
    long size = -1;
    if (f != NULL && fseek(f, 0, SEEK_END) == 0 && (size = ftell(f)) >= 0) {
        rewind(f);
        text = malloc((size_t)size + 1);
        CHECK(text != NULL);
        if (fread(text, 1, (size_t)size, f) != (size_t)size) {
            free(text);
            text = NULL;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    *ret_size = (size_t)size;
    return text;
}

static bool read_history(struct history *h, const char *path, bool final) {
    size_t size = 0, number = 1;
    char *text = h->file_count < FILES_MAX ? read_file(path, &size) : NULL;
    if (text == NULL) {
        (void)fprintf(stderr, "check_history: %s: cannot be read: %s\n", path, strerror(errno));
        return false;
    }
    h->files[h->file_count++] = text;
    for (const char *at = text, *end; at < text + size; at = end + 1, number++) {
        struct op op;
        end = memchr(at, '\n', (size_t)(text + size - at));
        if (end == NULL || !parse_line((struct text){.bytes = at, .size = (size_t)(end - at)}, &op)) {
            (void)fprintf(stderr, "check_history: %s:%zu: not a line of a history\n", path, number);
            return false;
        }
        op.final = final;
        add(h, &op);
    }
    return true;
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

static int compare_texts(struct text a, struct text b) {
    size_t size = a.size < b.size ? a.size : b.size;
    int order = a.bytes != NULL && b.bytes != NULL ? memcmp(a.bytes, b.bytes, size) : 0;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_ops(const void *a, const void *b) {
    const struct op *x = a, *y = b;
    int order = compare_texts(x->key, y->key);
    return order != 0 ? order : compare_texts(x->value, y->value);
}

/* What is known to have had no effect and to have seen nothing says nothing. */
static bool tells(const struct op *op) {
    return op->writes ? op->result != RESULT_FAIL : op->result == RESULT_OK || op->result == RESULT_ABSENT;
}

/* The operations of one name, ordered by value: numbers the values. */
static size_t translate(const struct op *ops, size_t count, struct zones_op *out, size_t *ret_origin) {
    uint64_t value = ZONES_ABSENT;
    size_t told = 0;
    for (size_t i = 0; i < count; i++) {
        bool absent = ops[i].value.bytes == NULL;
        value += !absent && (i == 0 || compare_texts(ops[i].value, ops[i - 1].value) != 0);
        if (!tells(&ops[i])) {
            continue;
        }
        out[told] = (struct zones_op){
            .call = ops[i].call, .ret = ops[i].ret, .value = absent ? ZONES_ABSENT : value, .writes = ops[i].writes};
        ret_origin[told++] = i;
    }
    return told;
}

static void show(const char *what, const struct op *op) {
    int size = op->line.size < LINE_SHOWN_MAX ? (int)op->line.size : LINE_SHOWN_MAX;
    printf("  %s\n    %.*s\n", what, size, op->line.bytes);
}

static void show_fault(enum zones_verdict verdict, const struct op *ops, const size_t *origin,
                       const struct zones_fault *f) {
    const struct op *culprit = &ops[origin[f->culprit]];
    printf("not linearizable: %.*s\n", (int)culprit->key.size, culprit->key.bytes);
    switch (verdict) {
    case ZONES_NO_WRITE:
        show("read what was never written:", culprit);
        break;
    case ZONES_FROM_FUTURE:
        show("read before it was written:", culprit);
        show("the write:", &ops[origin[f->other]]);
        break;
    case ZONES_WRITTEN_TWICE:
        show("cannot be checked, for it wrote the same:", culprit);
        show("as:", &ops[origin[f->other]]);
        break;
    default:
        show("no order explains:", culprit);
        show("this one wrote or saw the same value:", &ops[origin[f->own_first]]);
        show("before this one, of another value, was called:", &ops[origin[f->other]]);
        show("and this one, of that other value, returned before the first was called:", &ops[origin[f->other_first]]);
    }
}

/* Each name by itself, for linearizability is local; tells of the offence that was called first. */
static bool check_orders(const struct history *h, size_t *ret_keys) {
    struct zones_op *told = calloc(h->count + 1, sizeof(*told));
    size_t *origin = calloc(h->count + 1, sizeof(*origin));
    size_t bad_from = 0, bad_count = 0, bad_keys = 0;
    uint64_t earliest = UINT64_MAX;
    struct zones_fault fault;
    CHECK(told != NULL && origin != NULL);
    for (size_t from = 0, to; from < h->count; from = to, ++*ret_keys) {
        for (to = from; to < h->count && compare_texts(h->ops[to].key, h->ops[from].key) == 0;) {
            to++;
        }
        size_t count = translate(&h->ops[from], to - from, told, origin);
        if (zones_check(told, count, &fault) != ZONES_LINEARIZABLE) {
            bad_keys++;
            if (told[fault.culprit].call < earliest) {
                earliest = told[fault.culprit].call;
                bad_from = from;
                bad_count = to - from;
            }
        }
    }
    if (bad_keys > 0) {
        size_t count = translate(&h->ops[bad_from], bad_count, told, origin);
        enum zones_verdict verdict = zones_check(told, count, &fault);
        show_fault(verdict, &h->ops[bad_from], origin, &fault);
        printf("%zu names are not linearizable; this was the first\n", bad_keys);
    }
    free(told);
    free(origin);
    return bad_keys == 0;
}

static void find_finals(struct history *h) {
    h->finals = calloc(h->count + 1, sizeof(*h->finals));
    CHECK(h->finals != NULL);
    for (size_t i = 0; i < h->count; i++) {
        size_t j = 0;
        while (j < h->final_count && h->finals[j] != h->ops[i].client) {
            j++;
        }
        if (h->ops[i].final && j == h->final_count) {
            h->finals[h->final_count++] = h->ops[i].client;
        }
    }
}

static bool found_by(const struct op *ops, size_t count, uint64_t client) {
    for (size_t i = 0; i < count; i++) {
        if (ops[i].final && ops[i].client == client && ops[i].result == RESULT_OK) {
            return true;
        }
    }
    return false;
}

/* That what is found at the end is not too old follows from the orders; that it is found is asked here. */
static bool check_finals(struct history *h) {
    find_finals(h);
    for (size_t from = 0, to; from < h->count; from = to) {
        const struct op *stored = NULL;
        for (to = from; to < h->count && compare_texts(h->ops[to].key, h->ops[from].key) == 0; to++) {
            if (h->ops[to].writes && h->ops[to].result == RESULT_OK) {
                stored = &h->ops[to];
            }
        }
        for (size_t i = 0; i < h->final_count && stored != NULL; i++) {
            if (!found_by(&h->ops[from], to - from, h->finals[i])) {
                printf("lost: %.*s\n", (int)stored->key.size, stored->key.bytes);
                show("was acknowledged:", stored);
                printf("  and client %" PRIu64 " did not find it at the end\n", h->finals[i]);
                return false;
            }
        }
    }
    return true;
}

static bool check(struct history *h, bool finals) {
    size_t keys = 0, unknown = 0;
    if (h->count > 0) {
        qsort(h->ops, h->count, sizeof(*h->ops), compare_ops);
    }
    bool good = check_orders(h, &keys) && (!finals || check_finals(h));
    for (size_t i = 0; i < h->count; i++) {
        unknown += h->ops[i].result == RESULT_UNKNOWN;
    }
    if (good) {
        printf("linearizable: %zu operations, %zu of them of unknown outcome, on %zu names\n", h->count, unknown, keys);
    }
    return good;
}

int main(int argc, char **argv) {
    struct history h = {0};
    bool final = false, readable = argc > 1;
    for (int i = 1; i < argc && readable; i++) {
        if (strcmp(argv[i], "--final") == 0) {
            final = true;
        } else {
            readable = read_history(&h, argv[i], final);
        }
    }
    if (argc == 1) {
        (void)fprintf(stderr, "usage: check_history FILE... [--final FILE...]\n");
    }
    bool good = readable && check(&h, final);
    for (size_t i = 0; i < h.file_count; i++) {
        free(h.files[i]);
    }
    free(h.ops);
    free(h.finals);
    if (!readable) {
        return 2;
    }
    return good ? 0 : 1;
}
