/* Frames: cutting, limits, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "errors.h"
#include "frame.h"

#define SEEN_MAX 16

struct seen {
    size_t count;
    size_t sizes[SEEN_MAX];
    uint8_t firsts[SEEN_MAX];
    const uint8_t *at[SEEN_MAX];
    int refuse_at; /* -1: never */
};

static int see(void *ctx, const uint8_t *frame, size_t size) {
    struct seen *s = ctx;
    assert_true(s->count < SEEN_MAX);
    s->sizes[s->count] = size;
    s->firsts[s->count] = frame[0];
    s->at[s->count] = frame;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(frame[i], (uint8_t)(frame[0] + i));
    }
    return (int)s->count++ == s->refuse_at ? ERR_REFUSED : 0;
}

/* A frame whose bytes count up from `first`. */
static void put_frame(struct buf *b, uint8_t first, size_t size) {
    size_t mark = frame_begin(b);
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(first + i);
        buf_append(b, &byte, 1);
    }
    frame_end(b, mark);
}

static void put_three(struct buf *b) {
    buf_init(b, 4096);
    put_frame(b, 10, 1);
    put_frame(b, 20, 300);
    put_frame(b, 30, 7);
    assert_int_equal(b->error, 0);
    assert_int_equal(b->size, 3 * 4 + 308);
}

static void test_whole_frames_are_not_copied(void **state) {
    (void)state;
    struct buf b;
    struct frame_reader r;
    struct seen s = {.refuse_at = -1};
    put_three(&b);
    frame_reader_init(&r, 300);
    assert_int_equal(frame_read(&r, b.bytes, b.size, see, &s), 0);
    assert_int_equal(s.count, 3);
    assert_ptr_equal(s.at[0], b.bytes + 4);
    assert_ptr_equal(s.at[1], b.bytes + 9);
    assert_ptr_equal(s.at[2], b.bytes + 313);
    assert_int_equal(r.partial.capacity, 0);
    frame_reader_release(&r);
    buf_release(&b);
}

static void test_every_cut_in_two_gives_the_same_frames(void **state) {
    (void)state;
    struct buf b;
    put_three(&b);
    for (size_t cut = 0; cut <= b.size; cut++) {
        struct frame_reader r;
        struct seen s = {.refuse_at = -1};
        frame_reader_init(&r, 300);
        assert_int_equal(frame_read(&r, b.bytes, cut, see, &s), 0);
        assert_int_equal(frame_read(&r, b.bytes + cut, b.size - cut, see, &s), 0);
        assert_int_equal(s.count, 3);
        assert_int_equal(s.sizes[0], 1);
        assert_int_equal(s.sizes[1], 300);
        assert_int_equal(s.sizes[2], 7);
        assert_int_equal(s.firsts[2], 30);
        frame_reader_release(&r);
    }
    buf_release(&b);
}

static void test_byte_by_byte(void **state) {
    (void)state;
    struct buf b;
    struct frame_reader r;
    struct seen s = {.refuse_at = -1};
    put_three(&b);
    frame_reader_init(&r, 300);
    for (size_t i = 0; i < b.size; i++) {
        assert_int_equal(frame_read(&r, b.bytes + i, 1, see, &s), 0);
    }
    assert_int_equal(s.count, 3);
    assert_int_equal(r.partial.size, 0);
    frame_reader_release(&r);
    buf_release(&b);
}

static void test_length_zero_is_refused(void **state) {
    (void)state;
    struct frame_reader r;
    struct seen s = {.refuse_at = -1};
    frame_reader_init(&r, FRAME_MAX);
    assert_int_equal(frame_read(&r, (const uint8_t[]){0, 0, 0, 0, 1}, 5, see, &s), ERR_PROTOCOL);
    assert_int_equal(s.count, 0);
    frame_reader_release(&r);
}

static void test_a_claim_of_4_GiB_takes_no_memory(void **state) {
    (void)state;
    struct frame_reader r;
    struct seen s = {.refuse_at = -1};
    frame_reader_init(&r, FRAME_MAX);
    assert_int_equal(frame_read(&r, (const uint8_t[]){0xff, 0xff, 0xff, 0xff}, 4, see, &s), ERR_PROTOCOL);
    assert_true(r.partial.capacity <= 64);
    frame_reader_release(&r);
}

static void test_the_limit_is_exact(void **state) {
    (void)state;
    struct buf b;
    struct frame_reader r;
    struct seen s = {.refuse_at = -1};
    buf_init(&b, FRAME_MAX);
    put_frame(&b, 1, FRAME_GUEST_MAX);
    put_frame(&b, 2, FRAME_GUEST_MAX + 1);
    frame_reader_init(&r, FRAME_GUEST_MAX);
    assert_int_equal(frame_read(&r, b.bytes, b.size, see, &s), ERR_PROTOCOL);
    assert_int_equal(s.count, 1);
    frame_reader_release(&r);
    buf_release(&b);
}

static void test_the_limit_may_be_raised_between_frames(void **state) {
    (void)state;
    struct buf b;
    struct frame_reader r;
    struct seen s = {.refuse_at = -1};
    buf_init(&b, FRAME_MAX);
    put_frame(&b, 2, FRAME_GUEST_MAX + 1);
    frame_reader_init(&r, FRAME_GUEST_MAX);
    r.limit = FRAME_MAX;
    assert_int_equal(frame_read(&r, b.bytes, 100, see, &s), 0);
    assert_int_equal(frame_read(&r, b.bytes + 100, b.size - 100, see, &s), 0);
    assert_int_equal(s.sizes[0], FRAME_GUEST_MAX + 1);
    frame_reader_release(&r);
    buf_release(&b);
}

static void test_memory_grows_with_what_arrives(void **state) {
    (void)state;
    struct frame_reader r;
    struct seen s = {.refuse_at = -1};
    uint8_t prefix[4];
    uint8_t *zeros = calloc(1, FRAME_MAX);
    assert_non_null(zeros);
    put_u32(prefix, FRAME_MAX);
    frame_reader_init(&r, FRAME_MAX);
    assert_int_equal(frame_read(&r, prefix, sizeof(prefix), see, &s), 0);
    assert_true(r.partial.capacity <= 64);
    assert_int_equal(frame_read(&r, zeros, 1000, see, &s), 0);
    assert_true(r.partial.capacity <= 2 * 1004);
    frame_reader_release(&r);
    free(zeros);
}

static void test_an_idle_reader_gives_memory_back(void **state) {
    (void)state;
    struct buf b;
    struct frame_reader r;
    struct seen s = {.refuse_at = -1};
    buf_init(&b, 4 + FRAME_MAX);
    put_frame(&b, 1, FRAME_MAX);
    frame_reader_init(&r, FRAME_MAX);
    assert_int_equal(frame_read(&r, b.bytes, b.size / 2, see, &s), 0);
    assert_int_equal(frame_read(&r, b.bytes + b.size / 2, b.size - b.size / 2, see, &s), 0);
    assert_int_equal(s.sizes[0], FRAME_MAX);
    assert_true(r.partial.capacity <= 64 * 1024);
    frame_reader_release(&r);
    buf_release(&b);
}

static void test_the_first_refusal_of_the_sink_ends_it(void **state) {
    (void)state;
    struct buf b;
    put_three(&b);
    for (int whole = 0; whole < 2; whole++) {
        struct frame_reader r;
        struct seen s = {.refuse_at = 1};
        frame_reader_init(&r, 300);
        size_t first = whole ? 0 : 50;
        assert_int_equal(frame_read(&r, b.bytes, first, see, &s), 0);
        assert_int_equal(frame_read(&r, b.bytes + first, b.size - first, see, &s), ERR_REFUSED);
        assert_int_equal(s.count, 2);
        frame_reader_release(&r);
    }
    buf_release(&b);
}

static void test_writing_more_than_a_frame_holds(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 2 * FRAME_MAX);
    put_frame(&b, 1, FRAME_MAX);
    assert_int_equal(b.error, 0);
    buf_clear(&b);
    put_frame(&b, 1, FRAME_MAX + 1);
    assert_int_equal(b.error, ERR_TOO_LARGE);
    buf_release(&b);
}

static void test_a_full_buffer_keeps_its_error(void **state) {
    (void)state;
    struct buf b;
    for (size_t limit = 0; limit < 12; limit++) {
        buf_init(&b, limit);
        put_frame(&b, 1, 8);
        assert_int_equal(b.error, ERR_TOO_LARGE);
        buf_release(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_frames_are_not_copied),
        cmocka_unit_test(test_every_cut_in_two_gives_the_same_frames),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_length_zero_is_refused),
        cmocka_unit_test(test_a_claim_of_4_GiB_takes_no_memory),
        cmocka_unit_test(test_the_limit_is_exact),
        cmocka_unit_test(test_the_limit_may_be_raised_between_frames),
        cmocka_unit_test(test_memory_grows_with_what_arrives),
        cmocka_unit_test(test_an_idle_reader_gives_memory_back),
        cmocka_unit_test(test_the_first_refusal_of_the_sink_ends_it),
        cmocka_unit_test(test_writing_more_than_a_frame_holds),
        cmocka_unit_test(test_a_full_buffer_keeps_its_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
