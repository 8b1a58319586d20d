#include "noise_aead.h"

#include <sodium.h>
#include <stdalign.h>
#include <stddef.h>

#include "check.h"
#include "errors.h"

#define NONCE_BYTES 12

_Static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == NONCE_BYTES, "nonce size");
_Static_assert(crypto_aead_aes256gcm_NPUBBYTES == NONCE_BYTES, "nonce size");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == NOISE_TAG_SIZE, "tag size");
_Static_assert(crypto_aead_aes256gcm_ABYTES == NOISE_TAG_SIZE, "tag size");
_Static_assert(crypto_aead_chacha20poly1305_ietf_KEYBYTES == NOISE_KEY_SIZE, "key size");
_Static_assert(crypto_aead_aes256gcm_KEYBYTES == NOISE_KEY_SIZE, "key size");
_Static_assert(sizeof(crypto_aead_aes256gcm_state) == NOISE_SCHEDULE_SIZE, "schedule size");
_Static_assert(offsetof(struct noise_key, schedule) % alignof(crypto_aead_aes256gcm_state) == 0, "schedule alignment");
_Static_assert(alignof(struct noise_key) >= alignof(crypto_aead_aes256gcm_state), "schedule alignment");

/* §12.3 and §12.4: four zero bytes, then the counter, little-endian for ChaChaPoly and big-endian for AESGCM. */
static void nonce_bytes(enum noise_cipher cipher, uint64_t nonce, uint8_t out[NONCE_BYTES]) {
    CHECK(cipher == NOISE_CHACHAPOLY || cipher == NOISE_AESGCM);
    for (unsigned i = 0; i < 4; i++) {
        out[i] = 0;
    }
    for (unsigned i = 0; i < 8; i++) {
        unsigned shift = cipher == NOISE_CHACHAPOLY ? 8 * i : 56 - 8 * i;
        out[4 + i] = (uint8_t)(nonce >> shift);
    }
}

bool noise_aesgcm_available(void) {
    return crypto_aead_aes256gcm_is_available() == 1;
}

static const crypto_aead_aes256gcm_state *schedule_of(const struct noise_key *k) {
    return (const crypto_aead_aes256gcm_state *)(const void *)k->schedule;
}

void noise_aead_schedule(struct noise_key *k) {
    if (k->cipher == NOISE_AESGCM) {
        CHECK(crypto_aead_aes256gcm_beforenm((crypto_aead_aes256gcm_state *)(void *)k->schedule, k->key) == 0);
    }
}

void noise_aead_seal(const struct noise_key *k, struct noise_ad ad, const uint8_t *plain, size_t size, uint8_t *out) {
    CHECK(size <= NOISE_MESSAGE_MAX - NOISE_TAG_SIZE);
    uint8_t nonce[NONCE_BYTES];
    int rc;
    nonce_bytes(k->cipher, k->nonce, nonce);
    if (k->cipher == NOISE_CHACHAPOLY) {
        rc = crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, size, ad.bytes, ad.size, NULL, nonce, k->key);
    } else {
        rc = crypto_aead_aes256gcm_encrypt_afternm(out, NULL, plain, size, ad.bytes, ad.size, NULL, nonce,
                                                   schedule_of(k));
    }
    CHECK(rc == 0);
}

int noise_aead_open(const struct noise_key *k, struct noise_ad ad, const uint8_t *sealed, size_t size, uint8_t *out) {
    if (size < NOISE_TAG_SIZE || size > NOISE_MESSAGE_MAX) {
        return ERR_AUTH;
    }
    uint8_t nonce[NONCE_BYTES];
    int rc;
    nonce_bytes(k->cipher, k->nonce, nonce);
    if (k->cipher == NOISE_CHACHAPOLY) {
        rc = crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, size, ad.bytes, ad.size, nonce, k->key);
    } else {
        rc = crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, sealed, size, ad.bytes, ad.size, nonce,
                                                   schedule_of(k));
    }
    return rc == 0 ? 0 : ERR_AUTH;
}
