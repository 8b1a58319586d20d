#include <sodium.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "noise_aead.h"

static const struct noise_ad no_ad = {NULL, 0};

void noise_seal(struct noise_key *k, const uint8_t *plain, size_t size, uint8_t *out) {
    CHECK(k->nonce < NOISE_NONCE_REKEY); /* a nonce used twice would give the plaintext away */
    noise_aead_seal(k, no_ad, plain, size, out);
    k->nonce++;
}

int noise_open(struct noise_key *k, const uint8_t *sealed, size_t size, uint8_t *out) {
    CHECK(k->nonce < NOISE_NONCE_REKEY);
    int rc = noise_aead_open(k, no_ad, sealed, size, out);
    if (rc == 0) {
        k->nonce++;
    }
    return rc;
}

void noise_rekey(struct noise_key *k) {
    const uint8_t zeros[sizeof k->key] = {0};
    uint8_t sealed[sizeof k->key + NOISE_TAG_SIZE];
    struct noise_key last = *k;
    last.nonce = NOISE_NONCE_REKEY;
    noise_aead_seal(&last, no_ad, zeros, sizeof zeros, sealed);
    memcpy(k->key, sealed, sizeof k->key);
    sodium_memzero(&last, sizeof last);
    sodium_memzero(sealed, sizeof sealed);
}

void noise_key_release(struct noise_key *k) {
    CHECK(k != NULL);
    sodium_memzero(k, sizeof *k);
}
