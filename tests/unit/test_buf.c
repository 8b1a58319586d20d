/* Buffers and blobs: growth, limits, sticky errors, ownership. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "blob.h"
#include "buf.h"
#include "errors.h"

/* A sanitizer's allocator answers what cannot be had with NULL, as malloc does, instead of ending the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

static void test_appends_in_order(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 100000);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t bytes[4];
        put_u32(bytes, i);
        buf_append(&b, bytes, sizeof(bytes));
    }
    assert_int_equal(b.error, 0);
    assert_int_equal(b.size, 80000);
    assert_true(b.capacity <= b.limit);
    for (unsigned i = 0; i < 20000; i++) {
        assert_int_equal(get_u32(b.bytes + 4 * i), i);
    }
    buf_release(&b);
    assert_int_equal(b.limit, 100000);
}

static void test_limit_is_exact_and_the_error_sticks(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    buf_append(&b, "0123456789", 10);
    assert_int_equal(b.error, 0);
    assert_true(b.capacity <= 10);
    buf_append(&b, "x", 1);
    assert_int_equal(b.error, ERR_TOO_LARGE);
    buf_drop_front(&b, 10);
    buf_append(&b, "x", 1);
    assert_null(buf_extend(&b, 1));
    assert_int_equal(b.error, ERR_TOO_LARGE);
    assert_int_equal(b.size, 0);
    buf_clear(&b);
    buf_append(&b, "x", 1);
    assert_int_equal(b.error, 0);
    assert_int_equal(b.size, 1);
    buf_release(&b);
}

static void test_a_claim_near_size_max_does_not_wrap(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    buf_append(&b, "abc", 3);
    assert_null(buf_extend(&b, SIZE_MAX - 1));
    assert_int_equal(b.error, ERR_TOO_LARGE);
    assert_int_equal(b.size, 3);
    buf_release(&b);
}

static void test_out_of_memory_is_an_error(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, SIZE_MAX);
    assert_null(buf_extend(&b, PTRDIFF_MAX));
    assert_int_equal(b.error, ERR_NOMEM);
    buf_release(&b);
}

static void test_drop_front_keeps_the_rest(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 64);
    buf_append(&b, "hello world", 11);
    buf_drop_front(&b, 0);
    buf_drop_front(&b, 6);
    assert_int_equal(b.size, 5);
    assert_memory_equal(b.bytes, "world", 5);
    buf_drop_front(&b, 5);
    assert_int_equal(b.size, 0);
    buf_append(&b, NULL, 0);
    assert_int_equal(b.error, 0);
    buf_release(&b);
}

static void test_detach_hands_the_memory_over(void **state) {
    (void)state;
    struct buf b;
    uint8_t *bytes;
    size_t size;
    buf_init(&b, 64);
    buf_append(&b, "abc", 3);
    buf_detach(&b, &bytes, &size);
    assert_int_equal(size, 3);
    assert_memory_equal(bytes, "abc", 3);
    assert_null(b.bytes);
    buf_append(&b, "defg", 4);
    assert_memory_equal(bytes, "abc", 3);
    free(bytes);
    buf_append(&b, (uint8_t[64]){0}, 64);
    buf_detach(&b, &bytes, &size);
    assert_null(bytes);
    assert_int_equal(size, 0);
    assert_int_equal(b.error, ERR_TOO_LARGE);
}

static void test_integers_are_big_endian(void **state) {
    (void)state;
    uint8_t p[8];
    put_u64(p, 0x0123456789abcdefULL);
    assert_memory_equal(p, "\x01\x23\x45\x67\x89\xab\xcd\xef", 8);
    assert_true(get_u64(p) == 0x0123456789abcdefULL);
    put_u32(p, 0xfedcba98);
    assert_memory_equal(p, "\xfe\xdc\xba\x98", 4);
    assert_true(get_u32(p) == 0xfedcba98);
    put_u16(p, 0x8001);
    assert_memory_equal(p, "\x80\x01", 2);
    assert_int_equal(get_u16(p), 0x8001);
}

static void test_a_blob_lives_as_long_as_its_references(void **state) {
    (void)state;
    struct blob *b = blob_copy("shared", 6);
    assert_non_null(b);
    assert_ptr_equal(blob_ref(b), b);
    blob_unref(b);
    assert_int_equal(b->refs, 1);
    assert_int_equal(b->size, 6);
    assert_memory_equal(b->bytes, "shared", 6);
    blob_unref(b);
    blob_unref(NULL);
    b = blob_copy(NULL, 0);
    assert_int_equal(b->size, 0);
    blob_unref(b);
    assert_null(blob_new(SIZE_MAX));
    assert_null(blob_new(PTRDIFF_MAX));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_in_order),
        cmocka_unit_test(test_limit_is_exact_and_the_error_sticks),
        cmocka_unit_test(test_a_claim_near_size_max_does_not_wrap),
        cmocka_unit_test(test_out_of_memory_is_an_error),
        cmocka_unit_test(test_drop_front_keeps_the_rest),
        cmocka_unit_test(test_detach_hands_the_memory_over),
        cmocka_unit_test(test_integers_are_big_endian),
        cmocka_unit_test(test_a_blob_lives_as_long_as_its_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
