/* Is a history of one name linearizable? A name is a register that is absent or holds one version; operations overlap
 * in time, and some never returned. Wing and Gong, "Testing and Verifying Concurrent Objects" (1993), with the memory
 * of Lowe, "Testing for linearizability" (2017). Names are independent, so each is checked alone (Herlihy and Wing
 * 1990, §3.1: linearizability is local).
 *
 * An operation whose outcome is unknown may have taken effect at any moment since its call, or never. */
#ifndef SHOAL_LINEAR_H
#define SHOAL_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINEAR_OPS_MAX 4096
#define LINEAR_NEVER UINT64_MAX

enum linear_kind { LINEAR_PUT, LINEAR_GET, LINEAR_REMOVE };
enum linear_condition { LINEAR_ANY, LINEAR_ABSENT, LINEAR_MATCH };
enum linear_result {
    LINEAR_DONE,    /* put: stored; get: found; remove: removed */
    LINEAR_MISSING, /* get, remove: there was nothing */
    LINEAR_REFUSED, /* put, remove: the condition did not hold */
    LINEAR_UNKNOWN  /* return_us is LINEAR_NEVER */
};

struct linear_op {
    uint64_t call_us, return_us;
    enum linear_kind kind;
    enum linear_condition condition;
    enum linear_result result;
    uint64_t content; /* what was put, or found: the same number for the same bytes; get: 0 when it was not looked at */
    uint64_t version; /* of what was put or found; 0: not known */
    uint64_t match;   /* LINEAR_MATCH: the version asked for */
};

enum linear_verdict {
    LINEAR_YES,
    LINEAR_NO,
    LINEAR_UNDECIDED /* more than steps_max were needed */
};

/* ops in any order; at most LINEAR_OPS_MAX. *ret_deepest (may be NULL) gets, for LINEAR_NO, the index of the first
 * operation (by return) that no order can explain. */
enum linear_verdict linear_check(const struct linear_op *ops, size_t count, size_t steps_max, size_t *ret_deepest);

#endif
