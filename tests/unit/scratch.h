/* A directory of a test's own. */
#ifndef SHOAL_TEST_SCRATCH_H
#define SHOAL_TEST_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SCRATCH_TEMPLATE "/tmp/shoal-test-XXXXXX"
#define SCRATCH_SIZE sizeof(SCRATCH_TEMPLATE)

static inline void scratch_make(char ret_dir[SCRATCH_SIZE]) {
    memcpy(ret_dir, SCRATCH_TEMPLATE, SCRATCH_SIZE);
    assert_non_null(mkdtemp(ret_dir));
}

static inline int scratch_remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

/* With all that is in it. */
static inline void scratch_remove(const char *dir) {
    assert_int_equal(nftw(dir, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

#endif
