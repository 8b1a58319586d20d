/* Tickets: what goes in comes out, and nothing else is a ticket. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include <sodium.h>

#include "errors.h"
#include "identity.h"
#include "ticket.h"

static void set_addr(char addr[TICKET_ADDR_SIZE], const char *text) {
    assert_true(strlen(text) < TICKET_ADDR_SIZE);
    memset(addr, 0, TICKET_ADDR_SIZE);
    memcpy(addr, text, strlen(text));
}

static struct ticket ticket_with(uint32_t addr_count) {
    struct ticket t = {.expires_ms = 0x0102030405060708, .addr_count = addr_count};
    memset(t.swarm, 0xa1, sizeof t.swarm);
    memset(t.inviter, 0xb2, sizeof t.inviter);
    memset(t.id, 0xc3, sizeof t.id);
    memset(t.secret, 0xd4, sizeof t.secret);
    static const char *const addrs[] = {"127.0.0.1:4100", "[::1]:4101", "node.example.org:65535"};
    for (uint32_t i = 0; i < addr_count && i < TICKET_ADDRS_MAX; i++) {
        set_addr(t.addrs[i], addrs[i % 3]);
    }
    return t;
}

static size_t encode(const struct ticket *t, char text[TICKET_TEXT_MAX]) {
    assert_int_equal(ticket_encode(t, text, TICKET_TEXT_MAX), 0);
    return strlen(text);
}

/* A text whose checksum holds around any body, to reach the checks behind the checksum. */
static size_t encode_body(const uint8_t *body, size_t size, char text[TICKET_TEXT_MAX]) {
    uint8_t whole[1400];
    struct digest sum;
    assert_true(size + 4 <= sizeof whole);
    memcpy(whole, body, size);
    digest_of(body, size, &sum);
    memcpy(whole + size, sum.bytes, 4);
    memcpy(text, "shoal1", 6);
    sodium_bin2base64(text + 6, TICKET_TEXT_MAX - 6, whole, size + 4, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(text);
}

/* swarm, inviter, id, secret, expiry: what stands before the addresses */
#define FIXED (32 + 32 + 16 + 32 + 8)

static int decode_body(const uint8_t *addrs, size_t addrs_size) {
    uint8_t body[1400] = {0};
    char text[TICKET_TEXT_MAX];
    struct ticket out;
    memcpy(body + FIXED, addrs, addrs_size);
    return ticket_decode(text, encode_body(body, FIXED + addrs_size, text), &out);
}

static void a_ticket_survives_its_text(void **state) {
    (void)state;
    for (uint32_t count = 1; count <= TICKET_ADDRS_MAX; count++) {
        struct ticket t = ticket_with(count), back;
        char text[TICKET_TEXT_MAX];
        size_t size = encode(&t, text);
        assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"), size);
        assert_memory_equal(text, "shoal1", 6);
        assert_int_equal(ticket_decode(text, size, &back), 0);
        assert_memory_equal(&back, &t, sizeof t);
    }
}

static void the_longest_ticket_fits_its_text(void **state) {
    (void)state;
    struct ticket t = ticket_with(TICKET_ADDRS_MAX), back;
    for (unsigned i = 0; i < TICKET_ADDRS_MAX; i++) {
        memset(t.addrs[i], 'x', TICKET_ADDR_SIZE - 1);
    }
    char text[TICKET_TEXT_MAX];
    assert_int_equal(ticket_decode(text, encode(&t, text), &back), 0);
    assert_memory_equal(&back, &t, sizeof t);
}

static void a_short_buffer_is_refused(void **state) {
    (void)state;
    struct ticket t = ticket_with(1);
    char text[TICKET_TEXT_MAX];
    size_t size = encode(&t, text);
    assert_int_equal(ticket_encode(&t, text, size), ERR_TOO_LARGE);
    assert_int_equal(ticket_encode(&t, text, 0), ERR_TOO_LARGE);
    assert_int_equal(ticket_encode(&t, text, size + 1), 0);
}

static void addresses_must_be_usable(void **state) {
    (void)state;
    char text[TICKET_TEXT_MAX];
    struct ticket t = ticket_with(0);
    assert_int_equal(ticket_encode(&t, text, sizeof text), ERR_INVALID);
    t = ticket_with(TICKET_ADDRS_MAX + 1);
    assert_int_equal(ticket_encode(&t, text, sizeof text), ERR_INVALID);
    static const char *const wrong[] = {"", "a b:1", "a\n:1", "\x80:1", "a:1\x7f"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        t = ticket_with(1);
        set_addr(t.addrs[0], wrong[i]);
        assert_int_equal(ticket_encode(&t, text, sizeof text), ERR_INVALID);
    }
    memset(t.addrs[0], 'x', TICKET_ADDR_SIZE);
    assert_int_equal(ticket_encode(&t, text, sizeof text), ERR_INVALID);
}

static void white_space_around_is_ignored(void **state) {
    (void)state;
    struct ticket t = ticket_with(2), back;
    char text[TICKET_TEXT_MAX], padded[TICKET_TEXT_MAX + 8] = " \t\r\n";
    size_t size = encode(&t, text);
    memcpy(padded + 4, text, size);
    memcpy(padded + 4 + size, "\r\n \n", 4);
    assert_int_equal(ticket_decode(padded, size + 8, &back), 0);
    assert_memory_equal(&back, &t, sizeof t);
    memcpy(padded, text, size);
    memmove(padded + 41, padded + 40, size - 40);
    padded[40] = ' ';
    assert_int_equal(ticket_decode(padded, size + 1, &back), ERR_INVALID);
}

static void any_mistyped_character_is_noticed(void **state) {
    (void)state;
    struct ticket t = ticket_with(2), back;
    char text[TICKET_TEXT_MAX];
    size_t size = encode(&t, text);
    memset(&back, 7, sizeof back);
    for (size_t i = 0; i < size; i++) {
        char right = text[i];
        for (const char *wrong = "Aa0-_Z= \x80"; *wrong != '\0'; wrong++) {
            if (*wrong == right || (i == size - 1 && *wrong == ' ')) {
                continue;
            }
            text[i] = *wrong;
            int rc = ticket_decode(text, size, &back);
            assert_int_equal(rc, i == 5 && *wrong == '0' ? ERR_VERSION : ERR_INVALID);
        }
        text[i] = right;
    }
    assert_int_equal(back.swarm[0], 7);
}

static void a_ticket_cut_anywhere_is_refused(void **state) {
    (void)state;
    struct ticket t = ticket_with(2), back;
    char text[TICKET_TEXT_MAX];
    size_t size = encode(&t, text);
    for (size_t cut = 0; cut < size; cut++) {
        assert_int_equal(ticket_decode(text, cut, &back), ERR_INVALID);
        assert_int_equal(ticket_decode(text + size - cut, cut, &back), ERR_INVALID);
    }
}

static void another_version_says_so(void **state) {
    (void)state;
    struct ticket back;
    assert_int_equal(ticket_decode("shoal2AAAA", 10, &back), ERR_VERSION);
    assert_int_equal(ticket_decode("shoalxAAAA", 10, &back), ERR_INVALID);
    assert_int_equal(ticket_decode("", 0, &back), ERR_INVALID);
}

static void a_false_body_behind_a_true_checksum_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        int rc;
    } rows[] = {
        {"\1\3a:1", 5, 0},
        {"\0", 1, ERR_INVALID},       /* no address */
        {"", 0, ERR_INVALID},         /* no count */
        {"\1", 1, ERR_INVALID},       /* no length */
        {"\1\4a:1", 5, ERR_INVALID},  /* length past the end */
        {"\1\2a:1", 5, ERR_INVALID},  /* bytes left over */
        {"\2\3a:1", 5, ERR_INVALID},  /* one is missing */
        {"\1\0", 2, ERR_INVALID},     /* empty address */
        {"\1\3a\0b", 5, ERR_INVALID}, /* zero inside */
        {"\1\3a 1", 5, ERR_INVALID},  /* space inside */
        {"\1\x80"
         "a:1",
         5, ERR_INVALID}, /* longer than any */
        {"\1\xff"
         "a:1",
         5, ERR_INVALID},              /* longer than any */
        {"\xff\3a:1", 5, ERR_INVALID}, /* too many */
        {"\11\1a\1a\1a\1a\1a\1a\1a\1a\1a", 19, ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(decode_body((const uint8_t *)rows[i].bytes, rows[i].size), rows[i].rc);
    }
    uint8_t huge[1300];
    memset(huge, 'x', sizeof huge);
    assert_int_equal(decode_body(huge, 1200), ERR_INVALID);
}

static void a_proof_is_bound_to_secret_and_session(void **state) {
    (void)state;
    uint8_t secret[TICKET_SECRET_SIZE] = {1}, hash[32] = {2};
    struct digest verifier, proof, again, other;
    ticket_verifier(secret, &verifier);
    ticket_prove(&verifier, hash, &proof);
    ticket_prove(&verifier, hash, &again);
    assert_true(digest_equal(&proof, &again));
    hash[31] ^= 1;
    ticket_prove(&verifier, hash, &other);
    assert_false(digest_equal(&proof, &other));
    hash[31] ^= 1;
    secret[31] ^= 1;
    ticket_verifier(secret, &verifier);
    ticket_prove(&verifier, hash, &other);
    assert_false(digest_equal(&proof, &other));
    struct digest plain;
    digest_of(secret, sizeof secret, &plain);
    assert_false(digest_equal(&plain, &verifier));
}

static void release_wipes_everything(void **state) {
    (void)state;
    static const struct ticket zero;
    struct ticket t = ticket_with(3);
    ticket_release(&t);
    assert_memory_equal(&t, &zero, sizeof t);
}

static int setup(void **state) {
    (void)state;
    return crypto_init();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ticket_survives_its_text),
        cmocka_unit_test(the_longest_ticket_fits_its_text),
        cmocka_unit_test(a_short_buffer_is_refused),
        cmocka_unit_test(addresses_must_be_usable),
        cmocka_unit_test(white_space_around_is_ignored),
        cmocka_unit_test(any_mistyped_character_is_noticed),
        cmocka_unit_test(a_ticket_cut_anywhere_is_refused),
        cmocka_unit_test(another_version_says_so),
        cmocka_unit_test(a_false_body_behind_a_true_checksum_is_refused),
        cmocka_unit_test(a_proof_is_bound_to_secret_and_session),
        cmocka_unit_test(release_wipes_everything),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
