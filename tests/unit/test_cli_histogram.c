#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "histogram.h"

static struct histogram *fresh(void) {
    struct histogram *h = malloc(sizeof *h);
    assert_non_null(h);
    histogram_clear(h);
    return h;
}

static void nothing_seen_is_nothing(void **state) {
    (void)state;
    struct histogram *h = fresh();
    assert_int_equal(histogram_quantile(h, 0), 0);
    assert_int_equal(histogram_quantile(h, 500), 0);
    assert_int_equal(histogram_quantile(h, 1000), 0);
    free(h);
}

static void quantiles_of_a_hundred_are_its_ranks(void **state) {
    (void)state;
    struct histogram *h = fresh();
    for (uint64_t v = 100; v > 0; v--)
        histogram_add(h, v);
    assert_int_equal(h->total, 100);
    assert_int_equal(h->max, 100);
    assert_int_equal(histogram_quantile(h, 10), 1);
    assert_int_equal(histogram_quantile(h, 500), 50);
    assert_int_equal(histogram_quantile(h, 501), 51);
    assert_int_equal(histogram_quantile(h, 990), 99);
    assert_int_equal(histogram_quantile(h, 991), 100);
    assert_int_equal(histogram_quantile(h, 1000), 100);
    free(h);
}

/* One value below, one far above: the quantile in between is the value itself, rounded up by less than 1 %. */
static void a_value_is_told_within_one_percent(void **state) {
    (void)state;
    struct histogram *h = fresh();
    for (unsigned shift = 0; shift < 63; shift++)
        for (uint64_t step = 0; step < 5; step++) {
            uint64_t value = ((uint64_t)1 << shift) + ((uint64_t)1 << shift) / 5 * step;
            histogram_clear(h);
            histogram_add(h, 0);
            histogram_add(h, value);
            histogram_add(h, UINT64_MAX);
            uint64_t told = histogram_quantile(h, 500);
            assert_true(told >= value);
            assert_true(told - value <= value / 100);
        }
    free(h);
}

static void neighbouring_buckets_leave_no_gap(void **state) {
    (void)state;
    struct histogram *h = fresh();
    uint64_t before = 0;
    for (uint64_t value = 0; value < 100000; value++) {
        histogram_clear(h);
        histogram_add(h, value);
        histogram_add(h, UINT64_MAX);
        uint64_t told = histogram_quantile(h, 500);
        assert_true(told >= value && told >= before);
        before = told;
    }
    free(h);
}

static void the_largest_values_fit(void **state) {
    (void)state;
    struct histogram *h = fresh();
    histogram_add(h, UINT64_MAX);
    histogram_add(h, (uint64_t)1 << 63);
    assert_int_equal(histogram_quantile(h, 1000), UINT64_MAX);
    assert_int_equal(h->counts[HISTOGRAM_BUCKETS - 1], 1);
    free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_seen_is_nothing),
        cmocka_unit_test(quantiles_of_a_hundred_are_its_ranks),
        cmocka_unit_test(a_value_is_told_within_one_percent),
        cmocka_unit_test(neighbouring_buckets_leave_no_gap),
        cmocka_unit_test(the_largest_values_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
