#include "zones.h"

#include <stdlib.h>

#include "check.h"

/* A write and the reads of what it wrote, or all reads that found nothing. */
struct cluster {
    uint64_t first, last;
    size_t first_op, last_op;
};

struct sorted {
    const struct zones_op *op;
    size_t index;
};

/* By value; the write before its reads. */
static int compare_ops(const void *a, const void *b) {
    const struct sorted *x = a, *y = b;
    if (x->op->value != y->op->value) {
        return x->op->value < y->op->value ? -1 : 1;
    }
    if (x->op->writes != y->op->writes) {
        return x->op->writes ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_clusters(const void *a, const void *b) {
    const struct cluster *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

static void extend(struct cluster *c, const struct sorted *s) {
    if (s->op->ret < c->first) {
        c->first = s->op->ret;
        c->first_op = s->index;
    }
    if (s->op->call >= c->last) {
        c->last = s->op->call;
        c->last_op = s->index;
    }
}

/* The operations of one value; sets *ret_last to 0 for what nobody saw and may never have happened. */
static enum zones_verdict gather(const struct sorted *ops, size_t count, struct cluster *ret, struct zones_fault *f) {
    const struct sorted *write = &ops[0];
    *ret = (struct cluster){.first = ZONES_NEVER, .first_op = write->index};
    if (write->op->value == ZONES_ABSENT) {
        CHECK(!write->op->writes);
        ret->first = 0;
    } else if (!write->op->writes) {
        *f = (struct zones_fault){.culprit = write->index};
        return ZONES_NO_WRITE;
    } else if (count > 1 && ops[1].op->writes) {
        *f = (struct zones_fault){.culprit = ops[1].index, .other = write->index};
        return ZONES_WRITTEN_TWICE;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(ops[i].op->call > 0 && ops[i].op->call <= ops[i].op->ret);
        CHECK(ops[i].op->writes || ops[i].op->ret != ZONES_NEVER);
        if (write->op->writes && ops[i].op->ret < write->op->call) {
            *f = (struct zones_fault){.culprit = ops[i].index, .other = write->index};
            return ZONES_FROM_FUTURE;
        }
        extend(ret, &ops[i]);
    }
    return ZONES_LINEARIZABLE;
}

static enum zones_verdict conflict(const struct zones_op *ops, const struct cluster *a, const struct cluster *b,
                                   struct zones_fault *f) {
    CHECK(a->first < b->last && b->first < a->last);
    if (ops[a->last_op].call < ops[b->last_op].call) {
        const struct cluster *swap = a;
        a = b;
        b = swap;
    }
    *f = (struct zones_fault){
        .culprit = a->last_op, .other = b->last_op, .own_first = a->first_op, .other_first = b->first_op};
    return ZONES_OUT_OF_ORDER;
}

static bool is_forward(const struct cluster *c) {
    return c->first < c->last;
}

/* Clusters in the order of first. Of those that run forward and were found not to overlap, only the latest that begins
 * before b->last can contain b. */
static const struct cluster *container(const struct cluster *forward, size_t count, const struct cluster *b) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (forward[middle].first < b->last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && b->first < forward[low - 1].last ? &forward[low - 1] : NULL;
}

static enum zones_verdict check_clusters(const struct zones_op *ops, struct cluster *clusters, size_t count,
                                         struct zones_fault *f) {
    struct cluster *forward = malloc((count + 1) * sizeof(*forward));
    enum zones_verdict verdict = ZONES_LINEARIZABLE;
    size_t forward_count = 0;
    CHECK(forward != NULL);
    qsort(clusters, count, sizeof(*clusters), compare_clusters);
    for (size_t i = 0; i < count; i++) {
        if (is_forward(&clusters[i])) {
            forward[forward_count++] = clusters[i];
        }
    }
    for (size_t i = 1; i < forward_count && verdict == ZONES_LINEARIZABLE; i++) {
        if (forward[i].first < forward[i - 1].last) {
            verdict = conflict(ops, &forward[i - 1], &forward[i], f);
        }
    }
    for (size_t i = 0; i < count && verdict == ZONES_LINEARIZABLE; i++) {
        const struct cluster *outer = is_forward(&clusters[i]) ? NULL : container(forward, forward_count, &clusters[i]);
        if (outer != NULL) {
            verdict = conflict(ops, outer, &clusters[i], f);
        }
    }
    free(forward);
    return verdict;
}

enum zones_verdict zones_check(const struct zones_op *ops, size_t count, struct zones_fault *ret_fault) {
    struct sorted *sorted = malloc((count + 1) * sizeof(*sorted));
    struct cluster *clusters = malloc((count + 1) * sizeof(*clusters));
    enum zones_verdict verdict = ZONES_LINEARIZABLE;
    size_t cluster_count = 0;
    CHECK(sorted != NULL && clusters != NULL);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = (struct sorted){.op = &ops[i], .index = i};
    }
    qsort(sorted, count, sizeof(*sorted), compare_ops);
    for (size_t i = 0, next; i < count && verdict == ZONES_LINEARIZABLE; i = next) {
        for (next = i + 1; next < count && sorted[next].op->value == sorted[i].op->value;) {
            next++;
        }
        verdict = gather(&sorted[i], next - i, &clusters[cluster_count], ret_fault);
        /* A write that did not return and was not read need not have happened. */
        cluster_count += clusters[cluster_count].first != ZONES_NEVER;
    }
    if (verdict == ZONES_LINEARIZABLE) {
        verdict = check_clusters(ops, clusters, cluster_count, ret_fault);
    }
    free(sorted);
    free(clusters);
    return verdict;
}
