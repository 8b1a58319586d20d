#include "identity.h"

#include <sodium.h>
#include <string.h>

#include "check.h"
#include "errors.h"

#define FILE_PREFIX "shoal-identity-"
#define FILE_HEAD FILE_PREFIX "1 "
#define FILE_SIZE (sizeof FILE_HEAD - 1 + 2 * IDENTITY_SEED_SIZE + 1)

_Static_assert(FILE_SIZE < IDENTITY_FILE_MAX, "the key file fits its buffer");

int crypto_init(void) {
    return sodium_init() < 0 ? ERR_IO : 0;
}

int identity_from_seed(const uint8_t seed[IDENTITY_SEED_SIZE], struct identity *out) {
    struct identity id;
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
    int rc = ERR_INVALID;
    memcpy(id.seed, seed, IDENTITY_SEED_SIZE);
    if (crypto_sign_seed_keypair(id.public_key, secret_key, seed) != 0 ||
        crypto_sign_ed25519_sk_to_curve25519(id.dh_secret, secret_key) != 0) {
        goto done;
    }
    rc = identity_dh_public(id.public_key, id.dh_public);
    if (rc == 0) {
        *out = id;
    }
done:
    sodium_memzero(secret_key, sizeof secret_key);
    sodium_memzero(&id, sizeof id);
    return rc;
}

void identity_release(struct identity *id) {
    CHECK(id != NULL);
    sodium_memzero(id, sizeof *id);
}

int identity_dh_public(const uint8_t ed25519_public[32], uint8_t ret_x25519[32]) {
    /* The validity check also refuses second encodings of one point, so that a key has one id. */
    uint8_t x25519[32];
    if (crypto_core_ed25519_is_valid_point(ed25519_public) != 1 ||
        crypto_sign_ed25519_pk_to_curve25519(x25519, ed25519_public) != 0) {
        return ERR_INVALID;
    }
    memcpy(ret_x25519, x25519, sizeof x25519);
    return 0;
}

size_t identity_encode(const struct identity *id, char out[IDENTITY_FILE_MAX]) {
    const size_t head = sizeof FILE_HEAD - 1;
    memcpy(out, FILE_HEAD, head);
    hex_encode(id->seed, IDENTITY_SEED_SIZE, out + head);
    out[FILE_SIZE - 1] = '\n';
    out[FILE_SIZE] = '\0';
    return FILE_SIZE;
}

static int has_prefix(const char *text, size_t size, const char *prefix) {
    size_t length = strlen(prefix);
    return size >= length && memcmp(text, prefix, length) == 0;
}

int identity_decode(const char *text, size_t size, struct identity *out) {
    CHECK(text != NULL || size == 0);
    if (!has_prefix(text, size, FILE_HEAD)) {
        return has_prefix(text, size, FILE_PREFIX) ? ERR_VERSION : ERR_INVALID;
    }
    if (size != FILE_SIZE || text[size - 1] != '\n') {
        return ERR_INVALID;
    }
    char hex[HEX_SIZE(IDENTITY_SEED_SIZE)];
    uint8_t seed[IDENTITY_SEED_SIZE];
    memcpy(hex, text + sizeof FILE_HEAD - 1, sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    int rc = hex_decode(hex, sizeof seed, seed);
    if (rc == 0) {
        rc = identity_from_seed(seed, out);
    }
    sodium_memzero(hex, sizeof hex);
    sodium_memzero(seed, sizeof seed);
    return rc;
}
