/* What every decoder must withstand, for one well-formed message: any truncation, a byte too many, any single byte
 * changed to any other. The bytes are copied to memory of exactly their size, so that a sanitizer sees one read past
 * the end. */
#ifndef SHOAL_WIRE_SWEEP_H
#define SHOAL_WIRE_SWEEP_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire_families.h"

#define SWEEP_FULL_MAX 256 /* longer messages get every bit flipped instead of every value tried */

static inline int sweep_exact(int (*pass)(const uint8_t *, size_t), const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    if (size > 0) {
        memcpy(copy, bytes, size);
    }
    int rc = pass(copy, size);
    free(copy);
    return rc;
}

static inline void sweep_lengths(int (*pass)(const uint8_t *, size_t), const uint8_t *bytes, size_t size) {
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(sweep_exact(pass, bytes, cut), ERR_PROTOCOL);
    }
    uint8_t *longer = malloc(size + 1);
    assert_non_null(longer);
    memcpy(longer, bytes, size);
    for (int last = 0; last < 256; last++) {
        longer[size] = (uint8_t)last;
        assert_int_equal(pass(longer, size + 1), ERR_PROTOCOL);
    }
    free(longer);
}

/* The pass itself checks that whatever still decodes is within bounds and canonical. */
static inline void sweep_mutations(int (*pass)(const uint8_t *, size_t), const uint8_t *bytes, size_t size) {
    uint8_t *copy = malloc(size);
    size_t refused = 0;
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    for (size_t at = 0; at < size; at++) {
        for (int change = 1; change<256; change = size> SWEEP_FULL_MAX ? change * 2 : change + 1) {
            copy[at] = (uint8_t)(bytes[at] ^ change);
            refused += pass(copy, size) != 0;
        }
        copy[at] = bytes[at];
    }
    assert_true(refused > 0);
    assert_int_equal(pass(copy, size), 0);
    free(copy);
}

static inline void sweep(int (*pass)(const uint8_t *, size_t), const uint8_t *bytes, size_t size) {
    assert_int_equal(sweep_exact(pass, bytes, size), 0);
    sweep_lengths(pass, bytes, size);
    sweep_mutations(pass, bytes, size);
}

#endif
