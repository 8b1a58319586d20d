/* Digests and hex, against RFC 7693 values computed with b2sum -l 256. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "digest.h"
#include "errors.h"

static void expect_digest(const struct digest *d, const char *hex) {
    char text[HEX_SIZE(DIGEST_SIZE)];
    hex_encode(d->bytes, DIGEST_SIZE, text);
    assert_string_equal(text, hex);
}

static void digest_is_blake2b_256(void **state) {
    (void)state;
    struct digest d;
    digest_of(NULL, 0, &d);
    expect_digest(&d, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    digest_of("abc", 3, &d);
    expect_digest(&d, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
}

static void parts_are_length_prefixed(void **state) {
    (void)state;
    static const uint8_t joined[] = {0, 0, 0, 0, 0, 0, 0, 2, 'a', 'b', 0, 0, 0, 0, 0, 0, 0, 1, 'c'};
    struct digest d, expected;
    digest_of_parts((struct digest_part[]){{"ab", 2}, {"c", 1}}, 2, &d);
    digest_of(joined, sizeof joined, &expected);
    assert_true(digest_equal(&d, &expected));
    digest_of_parts((struct digest_part[]){{"a", 1}, {"bc", 2}}, 2, &d);
    assert_false(digest_equal(&d, &expected));
    digest_of_parts(NULL, 0, &d);
    expect_digest(&d, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
}

static void a_key_changes_the_digest(void **state) {
    (void)state;
    uint8_t key[32] = {0};
    struct digest plain, one, other;
    digest_of("abc", 3, &plain);
    digest_keyed(key, "abc", 3, &one);
    key[31] = 1;
    digest_keyed(key, "abc", 3, &other);
    assert_false(digest_equal(&plain, &one));
    assert_false(digest_equal(&one, &other));
    for (unsigned i = 0; i < 32; i++) {
        key[i] = (uint8_t)i;
    }
    digest_keyed(key, "abc", 3, &one); /* Python: hashlib.blake2b(b"abc", key=bytes(range(32)), digest_size=32) */
    expect_digest(&one, "d63a32d3e44738d7907f964316c241adaba0abfeabc32349677578a15a203f7f");
}

static void equality_looks_at_every_byte(void **state) {
    (void)state;
    struct digest a, b;
    digest_of("x", 1, &a);
    for (unsigned i = 0; i < DIGEST_SIZE; i++) {
        b = a;
        assert_true(digest_equal(&a, &b));
        b.bytes[i] ^= 1;
        assert_false(digest_equal(&a, &b));
    }
}

static void hex_goes_there_and_back(void **state) {
    (void)state;
    static const uint8_t bytes[] = {0x00, 0x01, 0x9a, 0xbc, 0xde, 0xff};
    char text[HEX_SIZE(sizeof bytes)];
    uint8_t back[sizeof bytes];
    hex_encode(bytes, sizeof bytes, text);
    assert_string_equal(text, "00019abcdeff");
    assert_int_equal(hex_decode("00019ABcdeFF", sizeof back, back), 0);
    assert_memory_equal(back, bytes, sizeof bytes);
    assert_int_equal(hex_decode("", 0, back), 0);
}

static void wrong_hex_is_refused_and_changes_nothing(void **state) {
    (void)state;
    static const char *const wrong[] = {"", "0", "000", "00000", "0g00", "00 0", "0x00", "000:", "000\xff"};
    uint8_t out[2] = {7, 7};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(hex_decode(wrong[i], sizeof out, out), ERR_INVALID);
        assert_int_equal(out[0], 7);
        assert_int_equal(out[1], 7);
    }
    assert_int_equal(hex_decode("00", 0, out), ERR_INVALID);
}

static void every_error_has_a_name_and_a_sentence(void **state) {
    (void)state;
    assert_string_equal(err_text(0), "ok");
    assert_string_equal(err_name(ERR_NOT_FOUND), "NOT_FOUND");
    assert_string_equal(err_text(ERR_NOT_FOUND), "not found");
    assert_string_equal(err_name(1), "UNKNOWN");
    assert_string_equal(err_text(-1000), "unknown error");
    assert_true(err_known(0));
    assert_false(err_known(1));
    for (int code = -1; code >= ERR_STALE; code--) {
        assert_true(err_known(code));
        for (int other = 0; other > code; other--) {
            assert_string_not_equal(err_name(code), err_name(other));
        }
    }
    assert_false(err_known(ERR_STALE - 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_is_blake2b_256),
        cmocka_unit_test(parts_are_length_prefixed),
        cmocka_unit_test(a_key_changes_the_digest),
        cmocka_unit_test(equality_looks_at_every_byte),
        cmocka_unit_test(hex_goes_there_and_back),
        cmocka_unit_test(wrong_hex_is_refused_and_changes_nothing),
        cmocka_unit_test(every_error_has_a_name_and_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
