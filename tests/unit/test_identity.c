/* Identities, against RFC 8032 §7.1 test 1; its X25519 twin was computed with another library. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "errors.h"
#include "identity.h"

#define SEED "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define PUBLIC_KEY "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
#define DH_SECRET "307c83864f2833cb427a2ef1c00a013cfdff2768d980c0a3a520f006904de94f"
#define DH_PUBLIC "d85e07ec22b0ad881537c2f44d662d1a143cf830c57aca4305d85c7a90f6b62e"

static void expect_hex(const uint8_t bytes[32], const char *hex) {
    char text[HEX_SIZE(32)];
    hex_encode(bytes, 32, text);
    assert_string_equal(text, hex);
}

static struct identity known_identity(void) {
    uint8_t seed[IDENTITY_SEED_SIZE];
    struct identity id;
    assert_int_equal(hex_decode(SEED, sizeof seed, seed), 0);
    assert_int_equal(identity_from_seed(seed, &id), 0);
    return id;
}

static int setup(void **state) {
    (void)state;
    return crypto_init();
}

static void a_seed_gives_the_published_keys(void **state) {
    (void)state;
    struct identity id = known_identity();
    expect_hex(id.seed, SEED);
    expect_hex(id.public_key, PUBLIC_KEY);
    expect_hex(id.dh_secret, DH_SECRET);
    expect_hex(id.dh_public, DH_PUBLIC);
    uint8_t converted[32];
    assert_int_equal(identity_dh_public(id.public_key, converted), 0);
    assert_memory_equal(converted, id.dh_public, 32);
}

static void release_wipes_everything(void **state) {
    (void)state;
    static const struct identity zero;
    struct identity id = known_identity();
    identity_release(&id);
    assert_memory_equal(&id, &zero, sizeof id);
}

static void points_that_are_no_keys_are_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "0000000000000000000000000000000000000000000000000000000000000000", /* order 4 */
        "0100000000000000000000000000000000000000000000000000000000000000", /* the neutral element */
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* order 2 */
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", /* order 8 */
        "0200000000000000000000000000000000000000000000000000000000000000", /* not on the curve */
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* not canonical: p + 3 */
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        uint8_t point[32];
        uint8_t out[32] = {7};
        assert_int_equal(hex_decode(wrong[i], sizeof point, point), 0);
        assert_int_equal(identity_dh_public(point, out), ERR_INVALID);
        assert_int_equal(out[0], 7);
    }
}

static void the_key_file_is_one_line(void **state) {
    (void)state;
    struct identity id = known_identity();
    struct identity back;
    char text[IDENTITY_FILE_MAX];
    size_t size = identity_encode(&id, text);
    assert_string_equal(text, "shoal-identity-1 " SEED "\n");
    assert_int_equal(size, strlen(text));
    assert_int_equal(identity_decode(text, size, &back), 0);
    assert_memory_equal(&back, &id, sizeof id);
}

static void a_key_file_cut_anywhere_is_refused(void **state) {
    (void)state;
    static const char text[] = "shoal-identity-1 " SEED "\n";
    struct identity out;
    memset(&out, 7, sizeof out);
    for (size_t size = 0; size < sizeof text - 1; size++) {
        assert_int_not_equal(identity_decode(text, size, &out), 0);
    }
    assert_int_equal(out.seed[0], 7);
    assert_int_equal(identity_decode(text, sizeof text - 1, &out), 0);
}

static void wrong_key_files_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int rc;
    } rows[] = {
        {"shoal-identity-2 " SEED "\n", ERR_VERSION},   {"shoal-identity-1 " SEED "00\n", ERR_INVALID},
        {"shoal-identity-1 " SEED "\n\n", ERR_INVALID}, {"shoal-identity-1 " SEED "0", ERR_INVALID},
        {"shoal-identity-1 x" SEED "\n", ERR_INVALID},  {"Shoal-identity-1 " SEED "\n", ERR_INVALID},
        {"-----BEGIN PRIVATE KEY-----\n", ERR_INVALID}, {"", ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct identity out;
        assert_int_equal(identity_decode(rows[i].text, strlen(rows[i].text), &out), rows[i].rc);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_the_published_keys),     cmocka_unit_test(release_wipes_everything),
        cmocka_unit_test(points_that_are_no_keys_are_refused), cmocka_unit_test(the_key_file_is_one_line),
        cmocka_unit_test(a_key_file_cut_anywhere_is_refused),  cmocka_unit_test(wrong_key_files_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
