/* What tests that use a store say often. */
#ifndef SHOAL_TEST_STORE_USE_H
#define SHOAL_TEST_STORE_USE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store.h"

static inline struct slice text(const char *s) {
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

static inline struct txn *begin(struct store *s, bool write) {
    struct txn *t = NULL;
    assert_int_equal(store_begin(s, write, &t), 0);
    return t;
}

#endif
