/* CBOR: the RFC 8949 Appendix A vectors of the supported types, and the refusal of everything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "codec.h"
#include "digest.h"
#include "errors.h"

#define INPUT_MAX 64

/* The bytes of a hex text, in memory of exactly that size, so that the sanitizer sees a read past the end. */
static uint8_t *from_hex(const char *hex, size_t *ret_size) {
    *ret_size = strlen(hex) / 2;
    uint8_t *bytes = malloc(*ret_size ? *ret_size : 1);
    assert_non_null(bytes);
    assert_int_equal(hex_decode(hex, *ret_size, bytes), 0);
    return bytes;
}

static void expect_encoded(struct buf *b, const char *hex) {
    char text[HEX_SIZE(INPUT_MAX)];
    assert_int_equal(b->error, 0);
    assert_true(b->size <= INPUT_MAX);
    hex_encode(b->bytes, b->size, text);
    assert_string_equal(text, hex);
    buf_clear(b);
}

static const struct uint_vector {
    uint64_t value;
    const char *hex;
} uint_vectors[] = {
    {0, "00"},
    {1, "01"},
    {10, "0a"},
    {23, "17"},
    {24, "1818"},
    {25, "1819"},
    {100, "1864"},
    {255, "18ff"},
    {256, "190100"},
    {1000, "1903e8"},
    {65535, "19ffff"},
    {65536, "1a00010000"},
    {1000000, "1a000f4240"},
    {UINT32_MAX, "1affffffff"},
    {(uint64_t)UINT32_MAX + 1, "1b0000000100000000"},
    {1000000000000, "1b000000e8d4a51000"},
    {UINT64_MAX, "1bffffffffffffffff"},
};

static void test_uint_vectors(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, INPUT_MAX);
    for (size_t i = 0; i < sizeof(uint_vectors) / sizeof(uint_vectors[0]); i++) {
        const struct uint_vector *v = &uint_vectors[i];
        struct cbor_reader r;
        size_t size;
        uint8_t *bytes = from_hex(v->hex, &size);
        cbor_put_uint(&b, v->value);
        expect_encoded(&b, v->hex);
        cbor_reader_init(&r, bytes, size);
        assert_true(cbor_get_uint(&r, v->value) == v->value);
        assert_int_equal(cbor_finish(&r), 0);
        if (v->value > 0) {
            cbor_reader_init(&r, bytes, size);
            assert_true(cbor_get_uint(&r, v->value - 1) == 0);
            assert_int_equal(r.error, ERR_PROTOCOL);
        }
        free(bytes);
    }
    buf_release(&b);
}

static const struct int_vector {
    int64_t value;
    const char *hex;
} int_vectors[] = {
    {-1, "20"},
    {-10, "29"},
    {-24, "37"},
    {-25, "3818"},
    {-100, "3863"},
    {-256, "38ff"},
    {-257, "390100"},
    {-1000, "3903e7"},
    {-65537, "3a00010000"},
    {INT64_MIN, "3b7fffffffffffffff"},
    {0, "00"},
    {1000, "1903e8"},
    {INT64_MAX, "1b7fffffffffffffff"},
};

static void test_int_vectors(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, INPUT_MAX);
    for (size_t i = 0; i < sizeof(int_vectors) / sizeof(int_vectors[0]); i++) {
        struct cbor_reader r;
        size_t size;
        uint8_t *bytes = from_hex(int_vectors[i].hex, &size);
        cbor_put_int(&b, int_vectors[i].value);
        expect_encoded(&b, int_vectors[i].hex);
        cbor_reader_init(&r, bytes, size);
        assert_true(cbor_get_int(&r) == int_vectors[i].value);
        assert_int_equal(cbor_finish(&r), 0);
        free(bytes);
    }
    buf_release(&b);
}

static void test_string_vectors(void **state) {
    (void)state;
    static const struct {
        const char *text, *hex;
    } texts[] = {
        {"", "60"},
        {"a", "6161"},
        {"IETF", "6449455446"},
        {"\"\\", "62225c"},
        {"\xc3\xbc", "62c3bc"},
        {"\xe6\xb0\xb4", "63e6b0b4"},
        {"\xf0\x90\x85\x91", "64f0908591"},
    };
    struct buf b;
    struct cbor_reader r;
    size_t size;
    buf_init(&b, INPUT_MAX);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        uint8_t *bytes = from_hex(texts[i].hex, &size);
        size_t length = strlen(texts[i].text);
        size_t got;
        cbor_put_text(&b, texts[i].text, length);
        expect_encoded(&b, texts[i].hex);
        cbor_reader_init(&r, bytes, size);
        const char *text = cbor_get_text(&r, length, &got);
        assert_int_equal(cbor_finish(&r), 0);
        assert_int_equal(got, length);
        assert_memory_equal(text, texts[i].text, length);
        free(bytes);
    }
    cbor_put_bytes(&b, NULL, 0);
    expect_encoded(&b, "40");
    cbor_put_bytes(&b, "\1\2\3\4", 4);
    expect_encoded(&b, "4401020304");
    buf_release(&b);
}

static void test_array_and_bool_vectors(void **state) {
    (void)state;
    struct buf b;
    struct cbor_reader r;
    buf_init(&b, INPUT_MAX);
    cbor_put_array(&b, 0);
    expect_encoded(&b, "80");
    cbor_put_bool(&b, false);
    cbor_put_bool(&b, true);
    expect_encoded(&b, "f4f5");
    /* [1, [2, 3], [4, 5]] */
    cbor_put_array(&b, 3);
    cbor_put_uint(&b, 1);
    for (uint64_t i = 2; i < 6; i += 2) {
        cbor_put_array(&b, 2);
        cbor_put_uint(&b, i);
        cbor_put_uint(&b, i + 1);
    }
    cbor_reader_init(&r, b.bytes, b.size);
    cbor_expect_array(&r, 3);
    assert_int_equal(cbor_get_uint(&r, 9), 1);
    assert_int_equal(cbor_get_array(&r, 2), 2);
    assert_int_equal(cbor_get_uint(&r, 9), 2);
    assert_int_equal(cbor_get_uint(&r, 9), 3);
    assert_int_equal(cbor_get_array(&r, 2), 2);
    assert_int_equal(cbor_get_uint(&r, 9), 4);
    assert_int_equal(cbor_get_uint(&r, 9), 5);
    assert_int_equal(cbor_finish(&r), 0);
    expect_encoded(&b, "8301820203820405");
    /* 25 items: the count no longer fits the initial byte */
    cbor_put_array(&b, 25);
    cbor_put_bool(&b, true);
    expect_encoded(&b, "9819f5");
    buf_release(&b);
}

/* Reads the input as each supported type; every one must be refused, leave zeros, and stay refused. */
static void expect_refused(const char *hex) {
    size_t size;
    uint8_t *bytes = from_hex(hex, &size);
    for (int kind = 0; kind < 7; kind++) {
        struct cbor_reader r;
        uint8_t fixed[4] = {1, 2, 3, 4};
        size_t got = 1;
        cbor_reader_init(&r, bytes, size);
        switch (kind) {
        case 0:
            assert_true(cbor_get_uint(&r, UINT64_MAX) == 0);
            break;
        case 1:
            assert_true(cbor_get_int(&r) == 0);
            break;
        case 2:
            assert_null(cbor_get_bytes(&r, SIZE_MAX, &got));
            assert_int_equal(got, 0);
            break;
        case 3:
            cbor_get_fixed(&r, fixed, sizeof(fixed));
            assert_memory_equal(fixed, "\0\0\0\0", 4);
            break;
        case 4:
            assert_null(cbor_get_text(&r, SIZE_MAX, &got));
            assert_int_equal(got, 0);
            break;
        case 5:
            assert_false(cbor_get_bool(&r));
            break;
        default:
            assert_true(cbor_get_array(&r, UINT64_MAX) == 0);
        }
        assert_int_equal(r.error, ERR_PROTOCOL);
        assert_true(cbor_get_uint(&r, UINT64_MAX) == 0);
        assert_int_equal(cbor_finish(&r), ERR_PROTOCOL);
    }
    free(bytes);
}

static void test_non_minimal_is_refused(void **state) {
    (void)state;
    static const char *const inputs[] = {
        "1800",
        "1817",
        "190000",
        "1900ff",
        "1a0000ffff",
        "1b00000000ffffffff", /* unsigned */
        "3800",
        "3900ff",
        "3a0000ffff",
        "3b00000000ffffffff", /* negative */
        "580401020304",
        "59000401020304",
        "5a0000000401020304",
        "5b000000000000000401020304",
        "780161",
        "79000161",
        "7a0000000161",
        "7b000000000000000161", /* text */
        "9800",
        "990017",
        "9a0000ffff",
        "9b00000000ffffffff", /* arrays */
        "f814",
        "f815", /* false and true in two bytes */
    };
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        expect_refused(inputs[i]);
    }
}

static void test_unsupported_types_are_refused(void **state) {
    (void)state;
    static const char *const inputs[] = {
        "5f41014102ff",
        "7f61616162ff",
        "9f0102ff",
        "bf0102ff",
        "ff", /* indefinite, break */
        "a0",
        "a10102",
        "c074323031332d30332d32315432303a30343a30305a", /* maps, tags */
        "c11a514b67b0",
        "c249010000000000000000",
        "d74401020304",
        "d818456449455446",
        "f93c00",
        "f97e00",
        "fa47c35000",
        "fb3ff199999999999a",
        "fb7ff0000000000000", /* floats */
        "f6",
        "f7",
        "f0",
        "f818",
        "f8ff",
        "e0", /* null, undefined, simple */
        "1c",
        "1d",
        "1e",
        "1f",
        "3c",
        "3f",
        "5c",
        "7d",
        "9e",
        "fc",
        "fd",
        "fe", /* reserved */
        "",
    };
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        expect_refused(inputs[i]);
    }
}

static void test_huge_claims_are_refused(void **state) {
    (void)state;
    static const char *const strings[] = {"5bffffffffffffffff00", "5b7fffffffffffffff00", "5affffffff00",
                                          "7bffffffffffffffff61", "7bfffffffffffffff761", "590100"};
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        expect_refused(strings[i]);
    }
    size_t size;
    uint8_t *bytes = from_hex("9bffffffffffffffff", &size);
    struct cbor_reader r;
    cbor_reader_init(&r, bytes, size);
    assert_true(cbor_get_array(&r, 1000) == 0);
    assert_int_equal(r.error, ERR_PROTOCOL);
    free(bytes);
}

static void test_limits_are_exact(void **state) {
    (void)state;
    size_t size;
    size_t got;
    uint8_t fixed[5];
    uint8_t *bytes = from_hex("4401020304", &size);
    struct cbor_reader r;
    cbor_reader_init(&r, bytes, size);
    assert_ptr_equal(cbor_get_bytes(&r, 4, &got), bytes + 1);
    assert_int_equal(got, 4);
    cbor_reader_init(&r, bytes, size);
    assert_null(cbor_get_bytes(&r, 3, &got));
    for (size_t want = 3; want <= 5; want++) {
        cbor_reader_init(&r, bytes, size);
        cbor_get_fixed(&r, fixed, want);
        assert_int_equal(r.error, want == 4 ? 0 : ERR_PROTOCOL);
    }
    free(bytes);
    bytes = from_hex("83010203", &size);
    for (uint64_t count = 2; count <= 4; count++) {
        cbor_reader_init(&r, bytes, size);
        cbor_expect_array(&r, count);
        assert_int_equal(r.error, count == 3 ? 0 : ERR_PROTOCOL);
    }
    cbor_reader_init(&r, bytes, size);
    cbor_expect_array(&r, 3);
    assert_int_equal(cbor_finish(&r), ERR_PROTOCOL); /* items left over */
    free(bytes);
}

static void test_ints_outside_64_bits_are_refused(void **state) {
    (void)state;
    static const char *const inputs[] = {"1b8000000000000000", "1bffffffffffffffff", "3b8000000000000000",
                                         "3bffffffffffffffff"};
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        size_t size;
        uint8_t *bytes = from_hex(inputs[i], &size);
        struct cbor_reader r;
        cbor_reader_init(&r, bytes, size);
        assert_true(cbor_get_int(&r) == 0);
        assert_int_equal(r.error, ERR_PROTOCOL);
        free(bytes);
    }
}

static void test_text_must_be_utf8_without_nul(void **state) {
    (void)state;
    static const char *const inputs[] = {
        "6100",       "63610062",                                         /* NUL */
        "6180",       "61bf",       "61ff",       "61fe",                 /* no lead byte */
        "62c080",     "62c1bf",     "63e08080",                           /* overlong */
        "63e09fbf",   "64f0808080", "64f08fbfbf", "63eda080", "63edbfbf", /* surrogates */
        "64f4908080", "64f5808080",                                       /* past U+10FFFF */
        "61c3",       "62e6b0",     "63f09085",                           /* cut short */
        "62c328",     "63e62841",   "64f0902885",                         /* no continuation */
    };
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
        expect_refused(inputs[i]);
    }
}

static void read_sample(struct cbor_reader *r) {
    size_t got;
    uint8_t fixed[3];
    cbor_expect_array(r, 8);
    cbor_get_uint(r, UINT64_MAX);
    cbor_get_int(r);
    cbor_get_bytes(r, 100, &got);
    cbor_get_fixed(r, fixed, sizeof(fixed));
    cbor_get_text(r, 100, &got);
    cbor_get_bool(r);
    cbor_get_array(r, 300);
    cbor_get_uint(r, 70000);
}

static void test_every_truncation_and_every_extra_byte_is_refused(void **state) {
    (void)state;
    struct buf b;
    struct cbor_reader r;
    uint8_t long_bytes[40] = {0};
    buf_init(&b, 256);
    cbor_put_array(&b, 8);
    cbor_put_uint(&b, UINT64_MAX);
    cbor_put_int(&b, -70000);
    cbor_put_bytes(&b, long_bytes, sizeof(long_bytes));
    cbor_put_bytes(&b, "abc", 3);
    cbor_put_text(&b, "\xc3\xbcx", 3);
    cbor_put_bool(&b, true);
    cbor_put_array(&b, 300);
    cbor_put_uint(&b, 70000);
    assert_int_equal(b.error, 0);
    for (size_t size = 0; size <= b.size + 1; size++) {
        uint8_t *exact = calloc(1, size ? size : 1);
        assert_non_null(exact);
        memcpy(exact, b.bytes, size < b.size ? size : b.size);
        cbor_reader_init(&r, exact, size);
        read_sample(&r);
        assert_int_equal(cbor_finish(&r), size == b.size ? 0 : ERR_PROTOCOL);
        free(exact);
    }
    buf_release(&b);
}

static void test_writing_past_the_limit_sticks(void **state) {
    (void)state;
    struct buf b;
    buf_init(&b, 8);
    cbor_put_text(&b, "12345678", 8);
    assert_int_equal(b.error, ERR_TOO_LARGE);
    cbor_put_bool(&b, true);
    assert_int_equal(b.size, 1); /* the head that fitted */
    assert_int_equal(b.error, ERR_TOO_LARGE);
    buf_release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uint_vectors),
        cmocka_unit_test(test_int_vectors),
        cmocka_unit_test(test_string_vectors),
        cmocka_unit_test(test_array_and_bool_vectors),
        cmocka_unit_test(test_non_minimal_is_refused),
        cmocka_unit_test(test_unsupported_types_are_refused),
        cmocka_unit_test(test_huge_claims_are_refused),
        cmocka_unit_test(test_limits_are_exact),
        cmocka_unit_test(test_ints_outside_64_bits_are_refused),
        cmocka_unit_test(test_text_must_be_utf8_without_nul),
        cmocka_unit_test(test_every_truncation_and_every_extra_byte_is_refused),
        cmocka_unit_test(test_writing_past_the_limit_sticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
