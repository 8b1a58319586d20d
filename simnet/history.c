#include "history.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "check.h"
#include "content.h"
#include "errors.h"

void history_init(struct history *h, struct sim *s) {
    *h = (struct history){.sim = s};
    CHECK(h->name_count == 0);
}

void history_release(struct history *h) {
    for (uint32_t i = 0; i < h->name_count; i++) {
        free(h->names[i].ops);
    }
    *h = (struct history){0};
}

uint32_t history_add_name(struct history *h, const char *text) {
    CHECK(h->name_count < HISTORY_NAMES_MAX);
    struct history_name *n = &h->names[h->name_count];
    CHECK(strlen(text) < sizeof(n->text));
    snprintf(n->text, sizeof(n->text), "%s", text);
    return h->name_count++;
}

bool history_room(const struct history *h, uint32_t name) {
    CHECK(name < h->name_count);
    return h->names[name].count < HISTORY_OPS_MAX;
}

static size_t add_op(struct history *h, uint32_t name, const struct linear_op *op) {
    CHECK(name < h->name_count);
    struct history_name *n = &h->names[name];
    if (n->count == n->capacity) {
        n->capacity = n->capacity == 0 ? 64 : n->capacity * 2;
        struct linear_op *ops = realloc(n->ops, n->capacity * sizeof(*ops));
        CHECK(ops != NULL);
        n->ops = ops;
    }
    n->ops[n->count] = *op;
    return n->count++;
}

static uint64_t version_number(const uint8_t version[16]) {
    return get_u64(version);
}

size_t history_call(struct history *h, uint32_t name, const struct user_request *request) {
    struct linear_op op = {.call_us = sim_now_us(h->sim), .return_us = LINEAR_NEVER, .result = LINEAR_UNKNOWN};
    switch (request->kind) {
    case USER_PUT:
        op.kind = LINEAR_PUT;
        op.content = content_identity(request->content, request->size);
        break;
    case USER_REMOVE:
        op.kind = LINEAR_REMOVE;
        break;
    default:
        CHECK(request->kind == USER_GET || request->kind == USER_STAT);
        op.kind = LINEAR_GET;
        break;
    }
    if (op.kind != LINEAR_GET && request->condition != CLIENT_ANY) {
        op.condition = request->condition == CLIENT_ABSENT ? LINEAR_ABSENT : LINEAR_MATCH;
        op.match = version_number(request->match);
    }
    return add_op(h, name, &op);
}

/* What an answer says about the outcome. Anything but a clear word leaves it open. */
static enum linear_result outcome(const struct linear_op *op, const struct user_result *result) {
    if (!result->answered) {
        return LINEAR_UNKNOWN;
    }
    switch (result->status) {
    case 0:
        return LINEAR_DONE;
    case ERR_NOT_FOUND:
        return op->kind == LINEAR_PUT ? LINEAR_REFUSED : LINEAR_MISSING;
    case ERR_PRECONDITION:
        return op->kind == LINEAR_GET ? LINEAR_UNKNOWN : LINEAR_REFUSED;
    default:
        return LINEAR_UNKNOWN;
    }
}

void history_return(struct history *h, uint32_t name, size_t op_index, const struct user_result *result) {
    struct history_name *n = &h->names[name];
    CHECK(name < h->name_count && op_index < n->count);
    struct linear_op *op = &n->ops[op_index];
    op->result = outcome(op, result);
    if (!result->answered && result->status == ERR_UNREACHABLE) {
        op->kind = LINEAR_GET; /* nobody was there to be asked: nothing can come of it */
    }
    if (op->result == LINEAR_UNKNOWN) {
        h->unanswered++;
        return;
    }
    h->answered++;
    op->return_us = sim_now_us(h->sim);
    if (op->result == LINEAR_DONE && op->kind != LINEAR_REMOVE) {
        op->version = version_number(result->version);
        memcpy(n->version, result->version, sizeof(n->version));
    }
    if (op->result == LINEAR_DONE && op->kind == LINEAR_GET) {
        op->content = result->content;
    }
}

void history_promise(struct history *h, uint32_t name, size_t op) {
    struct history_name *n = &h->names[name];
    CHECK(name < h->name_count && op < n->count && n->ops[op].kind == LINEAR_PUT);
    n->promised = true;
    n->promised_op = op;
}

bool history_promised(const struct history *h, uint32_t name) {
    const struct history_name *n = &h->names[name];
    CHECK(name < h->name_count);
    uint64_t since = n->promised ? n->ops[n->promised_op].call_us : 0;
    for (size_t i = 0; i < n->count && n->promised; i++) {
        const struct linear_op *other = &n->ops[i];
        bool answered = other->return_us != LINEAR_NEVER;
        bool later = answered ? other->return_us >= since : other->call_us + HISTORY_LATE_US > since;
        bool changes = other->kind != LINEAR_GET && other->result != LINEAR_REFUSED && other->result != LINEAR_MISSING;
        if (i != n->promised_op && changes && later) {
            return false;
        }
    }
    return n->promised;
}

void history_listed(struct history *h, uint32_t name, uint64_t call_us, const uint8_t *version) {
    CHECK(call_us <= sim_now_us(h->sim));
    if (h->names[name].count + 1 >= LINEAR_OPS_MAX) {
        return;
    }
    struct linear_op op = {.call_us = call_us, .return_us = sim_now_us(h->sim), .kind = LINEAR_GET};
    op.result = version != NULL ? LINEAR_DONE : LINEAR_MISSING;
    op.version = version != NULL ? version_number(version) : 0;
    add_op(h, name, &op);
}

/* ---- checking ---------------------------------------------------------------------------------------------------- */

/* Who stored something and heard nothing learns its version from those who read the same bytes. */
static void learn_versions(struct linear_op *ops, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind != LINEAR_PUT || ops[i].version != 0 || ops[i].result != LINEAR_UNKNOWN) {
            continue;
        }
        size_t puts = 0;
        for (size_t j = 0; j < count; j++) {
            puts += ops[j].kind == LINEAR_PUT && ops[j].content == ops[i].content;
        }
        for (size_t j = 0; j < count && puts == 1; j++) {
            if (ops[j].kind == LINEAR_GET && ops[j].result == LINEAR_DONE && ops[j].content == ops[i].content) {
                ops[i].version = ops[j].version;
            }
        }
    }
}

/* Who saw a version only saw the content that was stored with it. */
static void learn_contents(struct linear_op *ops, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (ops[i].kind != LINEAR_GET || ops[i].result != LINEAR_DONE || ops[i].content != 0) {
            continue;
        }
        for (size_t j = 0; j < count; j++) {
            if (ops[j].kind == LINEAR_PUT && ops[j].version == ops[i].version) {
                ops[i].content = ops[j].content;
            }
        }
    }
}

static void show(const struct history *h, const struct linear_op *ops, size_t count, size_t culprit) {
    static const char *const kinds[] = {"put", "get", "rm"};
    static const char *const results[] = {"done", "missing", "refused", "unknown"};
    uint64_t until = ops[culprit].return_us;
    uint64_t since = until > 60 * (uint64_t)SIM_SECOND ? until - 60 * (uint64_t)SIM_SECOND : 0;
    for (size_t i = 0; i < count; i++) {
        const struct linear_op *op = &ops[i];
        if (op->call_us <= until && (op->return_us >= since || i == culprit)) {
            sim_note(h->sim,
                     "%s %s %" PRIu64 "..%" PRId64 " %s content=%016" PRIx64 " version=%016" PRIx64
                     " condition=%d match=%016" PRIx64,
                     i == culprit ? ">>" : "  ", kinds[op->kind], op->call_us, (int64_t)op->return_us,
                     results[op->result], op->content, op->version, (int)op->condition, op->match);
        }
    }
}

static bool check_name(const struct history *h, const struct history_name *n, char *message, size_t message_size) {
    struct linear_op *ops = calloc(n->count + 1, sizeof(*ops));
    CHECK(ops != NULL);
    size_t count = 0, culprit = 0;
    for (size_t i = 0; i < n->count; i++) {
        if (n->ops[i].kind != LINEAR_GET || n->ops[i].result != LINEAR_UNKNOWN) {
            ops[count++] = n->ops[i];
        }
    }
    learn_versions(ops, count);
    learn_contents(ops, count);
    enum linear_verdict verdict = linear_check(ops, count, HISTORY_STEPS_MAX, &culprit);
    if (verdict == LINEAR_NO) {
        show(h, ops, count, culprit);
        snprintf(message, message_size, "%s is not linearizable at %.6f s", n->text,
                 (double)ops[culprit].return_us / SIM_SECOND);
    } else if (verdict == LINEAR_UNDECIDED) {
        snprintf(message, message_size, "%s: its history is too tangled to decide", n->text);
    }
    free(ops);
    return verdict == LINEAR_YES;
}

bool history_check(const struct history *h, char *message, size_t message_size) {
    for (uint32_t i = 0; i < h->name_count; i++) {
        if (!check_name(h, &h->names[i], message, message_size)) {
            return false;
        }
    }
    return true;
}
