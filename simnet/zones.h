/* Is a long history of one register linearizable, when no two writes wrote the same? Then every read tells which write
 * it saw, and the question is one of sorting: Gibbons and Korach, "Testing Shared Memories" (1997), §4.1. For short
 * histories with conditions, removals, or values written twice, see linear.h.
 *
 * A write and the reads of its value must stand together in the order; call them a cluster. One of them returned first,
 * at `first`; one was called last, at `last`. Cluster A must come before B when A's first return is before B's last
 * call. If a must-come-before chain is a circle, then there are two clusters in it that each must come before the other
 * (the least first return of a longer circle would be less than itself). So the history is linearizable when no read
 * returned before its write was called, and no two clusters have
 *
 *     A.first < B.last  and  B.first < A.last
 *
 * As intervals: those with first < last must not overlap each other, and must not contain one with last <= first.
 *
 * Operations that touch (one returns at the moment the other is called) overlap. */
#ifndef SHOAL_ZONES_H
#define SHOAL_ZONES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZONES_NEVER UINT64_MAX /* did not return: may have taken effect at any time since its call, or never */
#define ZONES_ABSENT 0         /* the value before the first write; never written */

struct zones_op {
    uint64_t call, ret; /* 0 < call <= ret */
    uint64_t value;
    bool writes; /* else reads; a read that did not return is to be left out */
};

enum zones_verdict {
    ZONES_LINEARIZABLE,
    ZONES_NO_WRITE,      /* `culprit` read what was never written */
    ZONES_FROM_FUTURE,   /* `culprit` read, and returned, before `other` was called to write it */
    ZONES_OUT_OF_ORDER,  /* `culprit` must come before another value that must come before its own: see below */
    ZONES_WRITTEN_TWICE, /* `culprit` wrote what `other` wrote: this check cannot tell */
};

struct zones_fault {
    size_t culprit, other; /* indices into ops */
    /* OUT_OF_ORDER: of culprit's value, what returned first; of the other value, what returned first. The first
     * returned before `other` was called, the second before culprit was. */
    size_t own_first, other_first;
};

/* In any order; n log n. Memory: three words an operation, freed at the end. */
enum zones_verdict zones_check(const struct zones_op *ops, size_t count, struct zones_fault *ret_fault);

#endif
