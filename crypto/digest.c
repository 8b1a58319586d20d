#include "digest.h"

#include <sodium.h>
#include <string.h>

#include "check.h"
#include "errors.h"

_Static_assert(DIGEST_SIZE == crypto_generichash_BYTES, "BLAKE2b-256");

void digest_of(const void *bytes, size_t size, struct digest *out) {
    CHECK(bytes != NULL || size == 0);
    CHECK(crypto_generichash(out->bytes, DIGEST_SIZE, bytes, size, NULL, 0) == 0);
}

void digest_of_parts(const struct digest_part *parts, size_t count, struct digest *out) {
    CHECK(parts != NULL || count == 0);
    crypto_generichash_state state;
    CHECK(crypto_generichash_init(&state, NULL, 0, DIGEST_SIZE) == 0);
    for (size_t i = 0; i < count; i++) {
        uint8_t length[8];
        for (size_t b = 0; b < sizeof length; b++) {
            length[b] = (uint8_t)((uint64_t)parts[i].size >> (56 - 8 * b));
        }
        CHECK(parts[i].bytes != NULL || parts[i].size == 0);
        CHECK(crypto_generichash_update(&state, length, sizeof length) == 0);
        CHECK(crypto_generichash_update(&state, parts[i].bytes, parts[i].size) == 0);
    }
    CHECK(crypto_generichash_final(&state, out->bytes, DIGEST_SIZE) == 0);
    sodium_memzero(&state, sizeof state); /* a part may be a secret */
}

void digest_keyed(const uint8_t key[32], const void *bytes, size_t size, struct digest *out) {
    CHECK(bytes != NULL || size == 0);
    CHECK(crypto_generichash(out->bytes, DIGEST_SIZE, bytes, size, key, 32) == 0);
}

int digest_equal(const struct digest *a, const struct digest *b) {
    return sodium_memcmp(a->bytes, b->bytes, DIGEST_SIZE) == 0;
}

void hex_encode(const uint8_t *bytes, size_t size, char *out) {
    CHECK(size < SIZE_MAX / 2);
    CHECK(sodium_bin2hex(out, HEX_SIZE(size), bytes, size) == out);
}

int hex_decode(const char *text, size_t size, uint8_t *out) {
    CHECK(size < SIZE_MAX / 2);
    size_t digits = 0;
    while (digits < 2 * size && strchr("0123456789abcdefABCDEF", text[digits]) != NULL && text[digits] != '\0') {
        digits++;
    }
    if (digits != 2 * size || text[digits] != '\0') {
        return ERR_INVALID;
    }
    size_t decoded;
    CHECK(sodium_hex2bin(out, size, text, digits, NULL, &decoded, NULL) == 0);
    CHECK(decoded == size);
    return 0;
}
