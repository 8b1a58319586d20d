/* The Noise handshake and its transport keys, message by message against the published vectors. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "data/noise_vectors.h"
#include "digest.h"
#include "errors.h"
#include "identity.h"
#include "noise.h"

#define BYTES_MAX 512
#define VECTORS (sizeof noise_vectors / sizeof noise_vectors[0])

struct bytes {
    uint8_t data[BYTES_MAX];
    size_t size;
};

static struct bytes from_hex(const char *hex) {
    struct bytes b = {.size = strlen(hex) / 2};
    assert_true(b.size <= BYTES_MAX);
    assert_int_equal(hex_decode(hex, b.size, b.data), 0);
    return b;
}

static unsigned handshake_messages_of(const struct noise_vector *v) {
    return v->init_remote_static == NULL ? 3 : 2;
}

/* Both ends of one handshake, as a vector describes them. */
struct pair {
    struct noise *ends[2]; /* initiator, responder */
    unsigned handshake_messages;
};

static struct noise *end_of(const struct noise_vector *v, bool initiator, const char *prologue_hex) {
    struct bytes prologue = from_hex(prologue_hex);
    struct bytes secret = from_hex(initiator ? v->init_static : v->resp_static);
    struct bytes ephemeral = from_hex(initiator ? v->init_ephemeral : v->resp_ephemeral);
    struct bytes remote = {.size = 0};
    if (initiator && v->init_remote_static != NULL) {
        remote = from_hex(v->init_remote_static);
    }
    uint8_t public_key[32];
    crypto_scalarmult_base(public_key, secret.data);
    const struct noise_params params = {
        .pattern = strncmp(v->protocol_name, "Noise_XX", 8) == 0 ? NOISE_XX : NOISE_IK,
        .cipher = strstr(v->protocol_name, "AESGCM") != NULL ? NOISE_AESGCM : NOISE_CHACHAPOLY,
        .initiator = initiator,
        .prologue = prologue.data,
        .prologue_size = prologue.size,
        .static_secret = secret.data,
        .static_public = public_key,
        .ephemeral_secret = ephemeral.data,
        .remote_static = remote.size > 0 ? remote.data : NULL,
    };
    struct noise *n = NULL;
    assert_int_equal(noise_new(&params, &n), 0);
    return n;
}

static struct pair pair_of(const struct noise_vector *v) {
    return (struct pair){
        .ends = {end_of(v, true, v->prologue), end_of(v, false, v->prologue)},
        .handshake_messages = handshake_messages_of(v),
    };
}

static void pair_free(struct pair *p) {
    noise_free(p->ends[0]);
    noise_free(p->ends[1]);
}

/* Message i of the handshake from its writer, checked against the vector. */
static struct bytes write_message(const struct pair *p, const struct noise_vector *v, unsigned i) {
    struct noise *writer = p->ends[i % 2];
    struct bytes payload = from_hex(v->messages[i].payload);
    struct bytes expected = from_hex(v->messages[i].ciphertext);
    struct bytes out;
    assert_true(noise_my_turn(writer));
    assert_int_equal(noise_write(writer, payload.data, payload.size, out.data, sizeof out.data, &out.size), 0);
    assert_int_equal(out.size, expected.size);
    assert_memory_equal(out.data, expected.data, expected.size);
    return out;
}

static void read_message(const struct pair *p, const struct noise_vector *v, unsigned i, const struct bytes *message) {
    struct noise *reader = p->ends[1 - i % 2];
    struct bytes expected = from_hex(v->messages[i].payload);
    uint8_t payload[NOISE_PAYLOAD_MAX];
    size_t size;
    assert_false(noise_my_turn(reader));
    assert_int_equal(noise_read(reader, message->data, message->size, payload, &size), 0);
    assert_int_equal(size, expected.size);
    assert_memory_equal(payload, expected.data, size);
}

static void handshake(const struct pair *p, const struct noise_vector *v, unsigned until) {
    for (unsigned i = 0; i < until; i++) {
        struct bytes message = write_message(p, v, i);
        read_message(p, v, i, &message);
    }
}

static bool cipher_missing(const struct noise_vector *v) {
    return strstr(v->protocol_name, "AESGCM") != NULL && !noise_aesgcm_available();
}

static void expect_vector(const char *protocol_name) {
    const struct noise_vector *v = NULL;
    for (size_t i = 0; i < VECTORS; i++) {
        if (strcmp(noise_vectors[i].protocol_name, protocol_name) == 0) {
            v = &noise_vectors[i];
        }
    }
    assert_non_null(v);
    if (cipher_missing(v)) {
        print_message("%s: this processor has no AES instructions\n", protocol_name);
        skip();
    }
    struct pair p = pair_of(v);
    handshake(&p, v, p.handshake_messages);
    assert_true(noise_done(p.ends[0]) && noise_done(p.ends[1]));
    struct noise_key send[2], receive[2];
    struct bytes hash = from_hex(v->handshake_hash);
    for (unsigned end = 0; end < 2; end++) {
        uint8_t got[NOISE_HASH_SIZE];
        noise_split(p.ends[end], &send[end], &receive[end], got);
        assert_memory_equal(got, hash.data, hash.size);
    }
    for (unsigned i = p.handshake_messages; i < VECTOR_MESSAGES; i++) {
        struct bytes payload = from_hex(v->messages[i].payload);
        struct bytes expected = from_hex(v->messages[i].ciphertext);
        uint8_t sealed[BYTES_MAX], plain[BYTES_MAX];
        noise_seal(&send[i % 2], payload.data, payload.size, sealed);
        assert_memory_equal(sealed, expected.data, expected.size);
        assert_int_equal(noise_open(&receive[1 - i % 2], sealed, expected.size, plain), 0);
        assert_memory_equal(plain, payload.data, payload.size);
    }
    pair_free(&p);
}

static void xx_chachapoly_matches_its_vector(void **state) {
    (void)state;
    expect_vector("Noise_XX_25519_ChaChaPoly_SHA256");
}

static void ik_chachapoly_matches_its_vector(void **state) {
    (void)state;
    expect_vector("Noise_IK_25519_ChaChaPoly_SHA256");
}

static void xx_aesgcm_matches_its_vector(void **state) {
    (void)state;
    expect_vector("Noise_XX_25519_AESGCM_SHA256");
}

static void ik_aesgcm_matches_its_vector(void **state) {
    (void)state;
    expect_vector("Noise_IK_25519_AESGCM_SHA256");
}

/* Runs vector v with one change to message `bad`, and expects the handshake to fail at that message, or, where the
 * changed bytes are not authenticated yet, at the very next one. */
static void expect_refusal(const struct noise_vector *v, unsigned bad, size_t offset, uint8_t mask) {
    struct pair p = pair_of(v);
    handshake(&p, v, bad);
    struct bytes message = write_message(&p, v, bad);
    message.data[offset] ^= mask;
    uint8_t payload[NOISE_PAYLOAD_MAX];
    size_t size;
    struct noise *reader = p.ends[1 - bad % 2];
    int rc = noise_read(reader, message.data, message.size, payload, &size);
    if (rc == 0) {
        assert_int_equal(bad, 0); /* only message one of XX is in the clear */
        struct bytes answer;
        rc = noise_write(reader, NULL, 0, answer.data, sizeof answer.data, &answer.size);
        assert_int_equal(rc, 0);
        reader = p.ends[0];
        rc = noise_read(reader, answer.data, answer.size, payload, &size);
    }
    assert_int_equal(rc, ERR_AUTH);
    assert_false(noise_done(reader) || noise_my_turn(reader));
    assert_int_equal(noise_read(reader, message.data, message.size, payload, &size), ERR_PROTOCOL);
    pair_free(&p);
}

/* X25519 ignores the top bit of a public key, yet it is hashed; so every bit of every message counts. */
static void a_flipped_bit_anywhere_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct noise_vector *v = &noise_vectors[i];
        for (unsigned m = 0; !cipher_missing(v) && m < handshake_messages_of(v); m++) {
            size_t size = strlen(v->messages[m].ciphertext) / 2;
            for (size_t offset = 0; offset < size; offset++) {
                expect_refusal(v, m, offset, (uint8_t)(1U << (offset % 8)));
            }
            expect_refusal(v, m, 31, 0x80);
        }
    }
}

static void expect_cut_refused(const struct noise_vector *v, unsigned m, size_t size) {
    struct pair p = pair_of(v);
    handshake(&p, v, m);
    struct bytes message = write_message(&p, v, m);
    uint8_t payload[NOISE_PAYLOAD_MAX];
    size_t payload_size;
    int rc = noise_read(p.ends[1 - m % 2], message.data, size, payload, &payload_size);
    assert_true(rc == ERR_AUTH || rc == ERR_PROTOCOL);
    pair_free(&p);
}

/* Message one of XX is left out: it is in the clear, and any 32 bytes are one. */
static void a_message_cut_anywhere_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const struct noise_vector *v = &noise_vectors[i];
        unsigned first = v->init_remote_static == NULL ? 1 : 0;
        for (unsigned m = first; !cipher_missing(v) && m < handshake_messages_of(v); m++) {
            for (size_t size = 0; size < strlen(v->messages[m].ciphertext) / 2; size++) {
                expect_cut_refused(v, m, size);
            }
        }
    }
}

static void another_prologue_is_refused(void **state) {
    (void)state;
    const struct noise_vector *v = &noise_vectors[1]; /* IK, ChaChaPoly: message one is authenticated */
    struct pair p = {.ends = {end_of(v, true, v->prologue), end_of(v, false, "4a6f686e2047616c75")}};
    struct bytes message = write_message(&p, v, 0);
    uint8_t payload[NOISE_PAYLOAD_MAX];
    size_t size;
    assert_int_equal(noise_read(p.ends[1], message.data, message.size, payload, &size), ERR_AUTH);
    pair_free(&p);
}

static void an_ephemeral_key_of_small_order_is_refused(void **state) {
    (void)state;
    const struct noise_vector *v = &noise_vectors[3]; /* XX, ChaChaPoly */
    struct pair p = pair_of(v);
    uint8_t message[32] = {0}, payload[NOISE_PAYLOAD_MAX], out[BYTES_MAX];
    size_t size;
    assert_int_equal(noise_read(p.ends[1], message, sizeof message, payload, &size), 0);
    assert_int_equal(noise_write(p.ends[1], NULL, 0, out, sizeof out, &size), ERR_AUTH);
    assert_false(noise_my_turn(p.ends[1]) || noise_done(p.ends[1]));
    pair_free(&p);
}

static void payloads_have_a_limit_both_ways(void **state) {
    (void)state;
    const struct noise_vector *v = &noise_vectors[3];
    static const uint8_t big[NOISE_PAYLOAD_MAX + 1];
    uint8_t out[NOISE_PAYLOAD_MAX + 100], payload[NOISE_PAYLOAD_MAX];
    size_t size;
    struct pair p = pair_of(v);
    assert_int_equal(noise_write(p.ends[0], big, sizeof big, out, sizeof out, &size), ERR_TOO_LARGE);
    assert_int_equal(noise_write(p.ends[0], big, 10, out, 41, &size), ERR_TOO_LARGE);
    assert_int_equal(noise_write(p.ends[0], big, NOISE_PAYLOAD_MAX, out, sizeof out, &size), 0);
    assert_int_equal(size, 32 + NOISE_PAYLOAD_MAX);
    assert_int_equal(noise_read(p.ends[1], out, size + 1, payload, &size), ERR_PROTOCOL);
    pair_free(&p);
}

static void the_remote_key_is_known_when_it_has_come(void **state) {
    (void)state;
    const struct noise_vector *v = &noise_vectors[3];
    struct pair p = pair_of(v);
    uint8_t expected[32];
    assert_null(noise_remote_static(p.ends[0]));
    handshake(&p, v, 2);
    assert_null(noise_remote_static(p.ends[1]));
    crypto_scalarmult_base(expected, from_hex(v->resp_static).data);
    assert_memory_equal(noise_remote_static(p.ends[0]), expected, 32);
    pair_free(&p);
}

static void ik_needs_the_remote_key_and_xx_refuses_one(void **state) {
    (void)state;
    const uint8_t key[32] = {1};
    struct noise *n = NULL;
    struct noise_params params = {.pattern = NOISE_IK,
                                  .cipher = NOISE_CHACHAPOLY,
                                  .initiator = true,
                                  .static_secret = key,
                                  .static_public = key,
                                  .ephemeral_secret = key};
    assert_int_equal(noise_new(&params, &n), ERR_INVALID);
    params.pattern = NOISE_XX;
    params.remote_static = key;
    assert_int_equal(noise_new(&params, &n), ERR_INVALID);
    assert_null(n);
}

static void transport_refuses_replay_change_and_cuts(void **state) {
    (void)state;
    const uint8_t key[NOISE_KEY_SIZE] = {1, 2, 3};
    struct noise_key a, b;
    noise_key_init(&a, NOISE_CHACHAPOLY, key);
    noise_key_init(&b, NOISE_CHACHAPOLY, key);
    uint8_t sealed[5 + NOISE_TAG_SIZE], plain[5];
    noise_seal(&a, (const uint8_t *)"hello", 5, sealed);
    for (size_t i = 0; i < sizeof sealed; i++) {
        sealed[i] ^= 0x10;
        assert_int_equal(noise_open(&b, sealed, sizeof sealed, plain), ERR_AUTH);
        sealed[i] ^= 0x10;
        assert_int_equal(noise_open(&b, sealed, i, plain), ERR_AUTH);
    }
    assert_int_equal(b.nonce, 0);
    assert_int_equal(noise_open(&b, sealed, sizeof sealed, plain), 0);
    assert_memory_equal(plain, "hello", 5);
    assert_int_equal(b.nonce, 1);
    assert_int_equal(noise_open(&b, sealed, sizeof sealed, plain), ERR_AUTH);
}

/* ENCRYPT(k, maxnonce, zerolen, zeros), the slow way. */
static void rekeyed(enum noise_cipher cipher, const uint8_t key[NOISE_KEY_SIZE], uint8_t out[48]) {
    const uint8_t zeros[32] = {0};
    uint8_t nonce[12];
    memset(nonce, 0xff, sizeof nonce);
    memset(nonce, 0, 4);
    if (cipher == NOISE_CHACHAPOLY) {
        crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, zeros, sizeof zeros, NULL, 0, NULL, nonce, key);
    } else {
        crypto_aead_aes256gcm_encrypt(out, NULL, zeros, sizeof zeros, NULL, 0, NULL, nonce, key);
    }
}

static bool cipher_usable(enum noise_cipher cipher) {
    if (cipher == NOISE_AESGCM && !noise_aesgcm_available()) {
        print_message("AESGCM: this processor has no AES instructions\n");
        return false;
    }
    return true;
}

/* §11.3: REKEY(k) is the first 32 bytes of that. */
static void rekey_is_the_specified_function(void **state) {
    (void)state;
    for (enum noise_cipher cipher = NOISE_CHACHAPOLY; cipher <= NOISE_AESGCM && cipher_usable(cipher); cipher++) {
        const uint8_t key[NOISE_KEY_SIZE] = {9, 8, 7};
        struct noise_key k, fresh;
        uint8_t expected[48], sealed[1 + NOISE_TAG_SIZE], plain;
        rekeyed(cipher, key, expected);
        noise_key_init(&k, cipher, key);
        k.nonce = 5;
        noise_rekey(&k);
        assert_memory_equal(k.key, expected, 32);
        assert_int_equal(k.nonce, 5);
        /* And it is the key that is used. */
        noise_key_init(&fresh, cipher, expected);
        fresh.nonce = 5;
        noise_seal(&k, (const uint8_t *)"x", 1, sealed);
        assert_int_equal(noise_open(&fresh, sealed, sizeof sealed, &plain), 0);
        assert_int_equal(plain, 'x');
    }
}

static void both_ciphers_open_in_place(void **state) {
    (void)state;
    for (enum noise_cipher cipher = NOISE_CHACHAPOLY; cipher <= NOISE_AESGCM && cipher_usable(cipher); cipher++) {
        const uint8_t key[NOISE_KEY_SIZE] = {4};
        struct noise_key send, receive;
        uint8_t plain[1000], buffer[sizeof plain + NOISE_TAG_SIZE];
        noise_key_init(&send, cipher, key);
        noise_key_init(&receive, cipher, key);
        for (size_t i = 0; i < sizeof plain; i++) {
            plain[i] = (uint8_t)(i * 7);
        }
        memcpy(buffer, plain, sizeof plain);
        noise_seal(&send, buffer, sizeof plain, buffer);
        assert_memory_not_equal(buffer, plain, sizeof plain);
        assert_int_equal(noise_open(&receive, buffer, sizeof buffer, buffer), 0);
        assert_memory_equal(buffer, plain, sizeof plain);
    }
}

static void a_released_key_is_wiped(void **state) {
    (void)state;
    static const struct noise_key zero;
    for (enum noise_cipher cipher = NOISE_CHACHAPOLY; cipher <= NOISE_AESGCM && cipher_usable(cipher); cipher++) {
        struct noise_key k;
        memset(&k, 0xa5, sizeof k);
        noise_key_init(&k, cipher, (const uint8_t *)"a key of as many bytes as needed");
        noise_key_release(&k);
        assert_memory_equal(&k, &zero, sizeof k);
    }
}

static int setup(void **state) {
    (void)state;
    return crypto_init();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xx_chachapoly_matches_its_vector),
        cmocka_unit_test(ik_chachapoly_matches_its_vector),
        cmocka_unit_test(xx_aesgcm_matches_its_vector),
        cmocka_unit_test(ik_aesgcm_matches_its_vector),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(a_message_cut_anywhere_is_refused),
        cmocka_unit_test(another_prologue_is_refused),
        cmocka_unit_test(an_ephemeral_key_of_small_order_is_refused),
        cmocka_unit_test(payloads_have_a_limit_both_ways),
        cmocka_unit_test(the_remote_key_is_known_when_it_has_come),
        cmocka_unit_test(ik_needs_the_remote_key_and_xx_refuses_one),
        cmocka_unit_test(transport_refuses_replay_change_and_cuts),
        cmocka_unit_test(rekey_is_the_specified_function),
        cmocka_unit_test(both_ciphers_open_in_place),
        cmocka_unit_test(a_released_key_is_wiped),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
