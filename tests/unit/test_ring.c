#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "errors.h"
#include "ring.h"

static void position_is_the_first_eight_bytes_big_endian(void **state) {
    (void)state;
    struct digest d = {.bytes = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff}};
    assert_int_equal(ring_position(&d), UINT64_C(0x0123456789abcdef));
}

static void arc_is_the_highest_bits_of_a_position(void **state) {
    (void)state;
    assert_int_equal(ring_arc(0, 10), 0);
    assert_int_equal(ring_arc(UINT64_MAX, 10), 1023);
    assert_int_equal(ring_arc(UINT64_C(1) << 54, 10), 1);
    assert_int_equal(ring_arc((UINT64_C(1) << 54) - 1, 10), 0);
    assert_int_equal(ring_arc(UINT64_MAX, RING_BITS_MAX), (1 << RING_BITS_MAX) - 1);
}

static void one_arc_is_the_whole_circle(void **state) {
    (void)state;
    uint64_t first = 1, last = 1;
    ring_arc_range(0, 0, &first, &last);
    assert_int_equal(first, 0);
    assert_true(last == UINT64_MAX);
    assert_int_equal(ring_arc(UINT64_MAX, 0), 0);
    assert_int_equal(ring_arc(12345, 0), 0);
}

static void ranges_follow_each_other_and_hold_what_their_arc_serves(void **state) {
    (void)state;
    for (unsigned bits = 0; bits <= 12; bits++) {
        uint64_t next = 0;
        for (uint32_t arc = 0; arc < UINT32_C(1) << bits; arc++) {
            uint64_t first, last;
            ring_arc_range(arc, bits, &first, &last);
            assert_true(first == next);
            assert_true(last > first);
            assert_int_equal(ring_arc(first, bits), arc);
            assert_int_equal(ring_arc(last, bits), arc);
            next = last + 1;
        }
        assert_true(next == 0); /* back at the start of the circle */
    }
}

static void bits_are_known_for_powers_of_two_only(void **state) {
    (void)state;
    unsigned bits = 99;
    assert_int_equal(ring_bits_of(1, &bits), 0);
    assert_int_equal(bits, 0);
    assert_int_equal(ring_bits_of(1024, &bits), 0);
    assert_int_equal(bits, RING_BITS_DEFAULT);
    assert_int_equal(ring_bits_of(UINT64_C(1) << RING_BITS_MAX, &bits), 0);
    assert_int_equal(bits, RING_BITS_MAX);
    bits = 99;
    const uint64_t wrong[] = {0, 3, 1023, 1025, UINT64_C(1) << (RING_BITS_MAX + 1), UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(ring_bits_of(wrong[i], &bits), ERR_INVALID);
    assert_int_equal(bits, 99);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(position_is_the_first_eight_bytes_big_endian),
        cmocka_unit_test(arc_is_the_highest_bits_of_a_position),
        cmocka_unit_test(one_arc_is_the_whole_circle),
        cmocka_unit_test(ranges_follow_each_other_and_hold_what_their_arc_serves),
        cmocka_unit_test(bits_are_known_for_powers_of_two_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
