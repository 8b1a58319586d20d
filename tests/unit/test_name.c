/* Names: what is one, how it is written, and where on the ring it lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "errors.h"
#include "name.h"

static int parse(const char *text, struct name *out) {
    return name_parse(text, strlen(text), out);
}

static void check_parsed(const char *text, const char *bucket, const char *key, const char *written) {
    struct name n;
    char back[NAME_TEXT_MAX + 1];
    assert_int_equal(parse(text, &n), 0);
    assert_string_equal(n.bucket, bucket);
    assert_string_equal(n.key, key);
    assert_int_equal(n.bucket_size, strlen(bucket));
    assert_int_equal(n.key_size, strlen(key));
    assert_int_equal(name_text(&n, back), strlen(written));
    assert_string_equal(back, written);
}

static void test_parts(void **state) {
    (void)state;
    check_parsed("a.txt", "default", "a.txt", "a.txt");
    check_parsed("photos/a.jpg", "photos", "a.jpg", "photos/a.jpg");
    check_parsed("photos/2024/a.jpg", "photos", "2024/a.jpg", "photos/2024/a.jpg");
    check_parsed("default/a.txt", "default", "a.txt", "a.txt");
    check_parsed("default/x/y", "default", "x/y", "default/x/y");
    check_parsed("b//k", "b", "/k", "b//k");
    check_parsed("0-a.b/k", "0-a.b", "k", "0-a.b/k");
    check_parsed("b/h\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f", "b", "h\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f",
                 "b/h\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x9f");
}

static void test_refused(void **state) {
    (void)state;
    static const char *const refused[] = {
        "",
        "/a",
        "/",
        "bucket/",
        "Upper/a",
        "-a/b",
        ".a/b",
        "a_b/c",
        "sp ace/a",
        "caf\xc3\xa9/a",
        "a\nb",
        "a\x7f",
        "a\x01",
        "b/\xc2\x85",         /* C1: NEXT LINE */
        "b/\xc0\xaf",         /* overlong */
        "b/\xe0\x80\xaf",     /* overlong */
        "b/\xed\xa0\x80",     /* surrogate */
        "b/\xf4\x90\x80\x80", /* past U+10FFFF */
        "b/\xf8\x88\x80\x80\x80",
        "b/\xe2\x82", /* cut */
        "b/\x80",
        "b/a\xff",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct name n = {.key_size = 77};
        assert_int_equal(parse(refused[i], &n), ERR_INVALID);
        assert_int_equal(n.key_size, 77);
    }
    struct name n;
    assert_int_equal(name_parse("a\0b", 3, &n), ERR_INVALID);
    assert_int_equal(name_parse(NULL, 0, &n), ERR_INVALID);
}

static void test_limits(void **state) {
    (void)state;
    char text[NAME_TEXT_MAX + 2];
    struct name n;
    memset(text, 'a', sizeof(text));
    assert_int_equal(name_parse(text, NAME_KEY_MAX, &n), 0);
    assert_int_equal(name_parse(text, NAME_KEY_MAX + 1, &n), ERR_TOO_LARGE);
    text[NAME_BUCKET_MAX] = '/';
    assert_int_equal(name_parse(text, NAME_TEXT_MAX, &n), 0);
    assert_int_equal(n.bucket_size, NAME_BUCKET_MAX);
    assert_int_equal(n.key_size, NAME_KEY_MAX);
    assert_int_equal(name_parse(text, NAME_TEXT_MAX + 1, &n), ERR_TOO_LARGE);
    memset(text, 'a', sizeof(text));
    text[NAME_BUCKET_MAX + 1] = '/';
    assert_int_equal(name_parse(text, NAME_TEXT_MAX, &n), ERR_TOO_LARGE);
}

/* Every key of a bucket is in one of its shards, and its position is that shard's, so a listing needs no more than
 * NAME_SHARDS groups. */
static void test_shards(void **state) {
    (void)state;
    unsigned used[NAME_SHARDS] = {0};
    for (unsigned i = 0; i < 400; i++) {
        char text[32];
        struct name n;
        snprintf(text, sizeof(text), "bucket/file-%u", i);
        assert_int_equal(parse(text, &n), 0);
        unsigned shard = name_shard(&n);
        assert_true(shard < NAME_SHARDS);
        used[shard]++;
        assert_true(name_position(&n) == name_shard_position("bucket", strlen("bucket"), shard));
    }
    for (unsigned i = 0; i < NAME_SHARDS; i++) {
        assert_true(used[i] > 5);
        assert_true(name_shard_position("bucket", 6, i) != name_shard_position("bucker", 6, i));
        assert_true(name_shard_position("bucket", 6, i) != name_shard_position("bucket", 6, (i + 1) % NAME_SHARDS));
    }
}

/* Names on disk are found by these numbers: they may never change. Computed from RFC 7693 by another program. */
static void test_positions_pinned(void **state) {
    (void)state;
    struct name n;
    assert_int_equal(parse("photos/a.jpg", &n), 0);
    assert_int_equal(name_shard(&n), 10);
    assert_true(name_position(&n) == 0xada76adb2379923dull);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),  cmocka_unit_test(test_refused),          cmocka_unit_test(test_limits),
        cmocka_unit_test(test_shards), cmocka_unit_test(test_positions_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
