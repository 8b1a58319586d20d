#include "noise.h"

#include <sodium.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "noise_aead.h"

#define KEY_SIZE NOISE_KEY_SIZE
#define MESSAGES_MAX 3
#define TOKENS_MAX 5

_Static_assert(crypto_hash_sha256_BYTES == NOISE_HASH_SIZE, "SHA256");
_Static_assert(crypto_auth_hmacsha256_KEYBYTES == NOISE_HASH_SIZE, "the chaining key is the HMAC key");
_Static_assert(crypto_scalarmult_BYTES == KEY_SIZE, "25519");
_Static_assert(alignof(struct noise_key) <= alignof(max_align_t), "calloc aligns it");

enum token { TOKEN_END, TOKEN_E, TOKEN_S, TOKEN_EE, TOKEN_ES, TOKEN_SE, TOKEN_SS };

/* §7.5. The initiator writes the even messages. */
struct pattern {
    const char *names[NOISE_CIPHERS]; /* protocol name by cipher, §8 */
    bool responder_known;             /* pre-message "<- s" */
    unsigned messages;
    uint8_t tokens[MESSAGES_MAX][TOKENS_MAX];
};

static const struct pattern patterns[] = {
    [NOISE_XX] = {{"Noise_XX_25519_ChaChaPoly_SHA256", "Noise_XX_25519_AESGCM_SHA256"},
                  false,
                  3,
                  {{TOKEN_E}, {TOKEN_E, TOKEN_EE, TOKEN_S, TOKEN_ES}, {TOKEN_S, TOKEN_SE}}},
    [NOISE_IK] = {{"Noise_IK_25519_ChaChaPoly_SHA256", "Noise_IK_25519_AESGCM_SHA256"},
                  true,
                  2,
                  {{TOKEN_E, TOKEN_ES, TOKEN_S, TOKEN_SS}, {TOKEN_E, TOKEN_EE, TOKEN_SE}}},
};

struct noise {
    const struct pattern *pattern;
    bool initiator;
    bool failed;
    bool has_key;    /* the CipherState holds a key, §5.1 */
    bool has_remote; /* remote_static is set */
    unsigned next;   /* index of the next message; pattern->messages when done */
    uint8_t static_secret[KEY_SIZE];
    uint8_t static_public[KEY_SIZE];
    uint8_t ephemeral_secret[KEY_SIZE];
    uint8_t ephemeral_public[KEY_SIZE];
    uint8_t remote_static[KEY_SIZE];
    uint8_t remote_ephemeral[KEY_SIZE];
    uint8_t chaining_key[NOISE_HASH_SIZE];
    uint8_t hash[NOISE_HASH_SIZE];
    struct noise_key cipher;
};

static void hmac(const uint8_t key[NOISE_HASH_SIZE], const uint8_t *bytes, size_t size, uint8_t counter,
                 uint8_t out[NOISE_HASH_SIZE]) {
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, NOISE_HASH_SIZE);
    crypto_auth_hmacsha256_update(&state, bytes, size);
    if (counter != 0) {
        crypto_auth_hmacsha256_update(&state, &counter, 1);
    }
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

/* HKDF with two outputs, §4.3. first may be chaining_key itself. */
static void hkdf(const uint8_t chaining_key[NOISE_HASH_SIZE], const uint8_t *input, size_t size,
                 uint8_t first[NOISE_HASH_SIZE], uint8_t second[NOISE_HASH_SIZE]) {
    uint8_t temp_key[NOISE_HASH_SIZE];
    hmac(chaining_key, input, size, 0, temp_key);
    hmac(temp_key, NULL, 0, 1, first);
    hmac(temp_key, first, NOISE_HASH_SIZE, 2, second);
    sodium_memzero(temp_key, sizeof temp_key);
}

static void mix_hash(struct noise *n, const uint8_t *bytes, size_t size) {
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, n->hash, sizeof n->hash);
    crypto_hash_sha256_update(&state, bytes, size);
    crypto_hash_sha256_final(&state, n->hash);
}

/* MixKey(DH(secret, public)), §5.2. ERR_AUTH for a public key of small order, whose result nobody had to know a
 * secret for. */
static int mix_dh(struct noise *n, const uint8_t secret[KEY_SIZE], const uint8_t public_key[KEY_SIZE]) {
    uint8_t shared[KEY_SIZE], key[KEY_SIZE];
    if (crypto_scalarmult(shared, secret, public_key) != 0) {
        return ERR_AUTH;
    }
    hkdf(n->chaining_key, shared, sizeof shared, n->chaining_key, key);
    noise_key_init(&n->cipher, n->cipher.cipher, key);
    n->has_key = true;
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(key, sizeof key);
    return 0;
}

/* The first letter of a DH token is the initiator's key, the second the responder's. */
static int mix_token(struct noise *n, enum token token) {
    CHECK(token >= TOKEN_EE && token <= TOKEN_SS);
    bool initiator_static = token == TOKEN_SE || token == TOKEN_SS;
    bool responder_static = token == TOKEN_ES || token == TOKEN_SS;
    bool own_static = n->initiator ? initiator_static : responder_static;
    bool remote_static = n->initiator ? responder_static : initiator_static;
    CHECK(!remote_static || n->has_remote);
    return mix_dh(n, own_static ? n->static_secret : n->ephemeral_secret,
                  remote_static ? n->remote_static : n->remote_ephemeral);
}

static size_t seal_overhead(const struct noise *n) {
    return n->has_key ? NOISE_TAG_SIZE : 0;
}

/* EncryptAndHash, §5.2: returns the bytes written. */
static size_t seal_and_hash(struct noise *n, const uint8_t *plain, size_t size, uint8_t *out) {
    size_t written = size + seal_overhead(n);
    if (n->has_key) {
        noise_aead_seal(&n->cipher, (struct noise_ad){n->hash, sizeof n->hash}, plain, size, out);
        n->cipher.nonce++;
    } else if (size > 0) {
        memcpy(out, plain, size);
    }
    mix_hash(n, out, written);
    return written;
}

/* DecryptAndHash, §5.2; out takes size - seal_overhead() bytes. */
static int open_and_hash(struct noise *n, const uint8_t *sealed, size_t size, uint8_t *out) {
    CHECK(size >= seal_overhead(n));
    if (n->has_key) {
        int rc = noise_aead_open(&n->cipher, (struct noise_ad){n->hash, sizeof n->hash}, sealed, size, out);
        if (rc != 0) {
            return rc;
        }
        n->cipher.nonce++;
    } else if (size > 0) {
        memcpy(out, sealed, size);
    }
    mix_hash(n, sealed, size);
    return 0;
}

/* Initialize(), §5.3. */
static void start(struct noise *n, const struct noise_params *params) {
    const char *name = n->pattern->names[params->cipher];
    size_t length = strlen(name);
    CHECK(length <= NOISE_HASH_SIZE); /* then the name is zero-padded instead of hashed, §5.2 */
    memcpy(n->hash, name, length);
    memcpy(n->chaining_key, n->hash, sizeof n->chaining_key);
    mix_hash(n, params->prologue, params->prologue_size);
    if (n->pattern->responder_known) {
        mix_hash(n, n->initiator ? n->remote_static : n->static_public, KEY_SIZE);
    }
}

int noise_new(const struct noise_params *params, struct noise **ret_noise) {
    CHECK(params->prologue != NULL || params->prologue_size == 0);
    CHECK(params->pattern == NOISE_XX || params->pattern == NOISE_IK);
    bool wants_remote = params->pattern == NOISE_IK && params->initiator;
    if ((params->remote_static != NULL) != wants_remote ||
        (params->cipher == NOISE_AESGCM && !noise_aesgcm_available())) {
        return ERR_INVALID;
    }
    struct noise *n = calloc(1, sizeof *n);
    if (n == NULL) {
        return ERR_NOMEM;
    }
    n->pattern = &patterns[params->pattern];
    n->initiator = params->initiator;
    n->cipher.cipher = params->cipher;
    memcpy(n->static_secret, params->static_secret, KEY_SIZE);
    memcpy(n->static_public, params->static_public, KEY_SIZE);
    memcpy(n->ephemeral_secret, params->ephemeral_secret, KEY_SIZE);
    CHECK(crypto_scalarmult_base(n->ephemeral_public, n->ephemeral_secret) == 0);
    if (wants_remote) {
        memcpy(n->remote_static, params->remote_static, KEY_SIZE);
        n->has_remote = true;
    }
    start(n, params);
    *ret_noise = n;
    return 0;
}

void noise_free(struct noise *n) {
    if (n != NULL) {
        sodium_memzero(n, sizeof *n);
        free(n);
    }
}

bool noise_done(const struct noise *n) {
    CHECK(n->next <= n->pattern->messages);
    return !n->failed && n->next == n->pattern->messages;
}

bool noise_my_turn(const struct noise *n) {
    CHECK(n->next <= n->pattern->messages);
    bool initiators = n->next % 2 == 0;
    return !n->failed && n->next < n->pattern->messages && initiators == n->initiator;
}

/* Bytes the next message takes around its payload. A DH token turns the sealing of what follows on. */
static size_t message_overhead(const struct noise *n) {
    const uint8_t *tokens = n->pattern->tokens[n->next];
    bool sealed = n->has_key;
    size_t size = 0;
    for (unsigned i = 0; i < TOKENS_MAX && tokens[i] != TOKEN_END; i++) {
        if (tokens[i] == TOKEN_E) {
            size += KEY_SIZE;
        } else if (tokens[i] == TOKEN_S) {
            size += KEY_SIZE + (sealed ? NOISE_TAG_SIZE : 0);
        } else {
            sealed = true;
        }
    }
    return size + (sealed ? NOISE_TAG_SIZE : 0);
}

static int write_message(struct noise *n, const uint8_t *payload, size_t payload_size, uint8_t *out) {
    const uint8_t *tokens = n->pattern->tokens[n->next];
    for (unsigned i = 0; i < TOKENS_MAX && tokens[i] != TOKEN_END; i++) {
        if (tokens[i] == TOKEN_E) {
            memcpy(out, n->ephemeral_public, KEY_SIZE);
            mix_hash(n, n->ephemeral_public, KEY_SIZE);
            out += KEY_SIZE;
        } else if (tokens[i] == TOKEN_S) {
            out += seal_and_hash(n, n->static_public, KEY_SIZE, out);
        } else if (mix_token(n, tokens[i]) != 0) {
            return ERR_AUTH;
        }
    }
    (void)seal_and_hash(n, payload, payload_size, out);
    return 0;
}

int noise_write(struct noise *n, const void *payload, size_t payload_size, uint8_t *out, size_t capacity,
                size_t *ret_size) {
    CHECK(noise_my_turn(n));
    CHECK(payload != NULL || payload_size == 0);
    size_t overhead = message_overhead(n);
    if (payload_size > NOISE_PAYLOAD_MAX || overhead + payload_size > capacity) {
        return ERR_TOO_LARGE;
    }
    int rc = write_message(n, payload, payload_size, out);
    if (rc != 0) {
        n->failed = true;
        return rc;
    }
    n->next++;
    *ret_size = overhead + payload_size;
    return 0;
}

/* `size` has been checked against message_overhead(), so every token finds its bytes. */
static int read_message(struct noise *n, const uint8_t *in, const uint8_t *end, uint8_t *payload) {
    const uint8_t *tokens = n->pattern->tokens[n->next];
    for (unsigned i = 0; i < TOKENS_MAX && tokens[i] != TOKEN_END; i++) {
        int rc = 0;
        if (tokens[i] == TOKEN_E) {
            memcpy(n->remote_ephemeral, in, KEY_SIZE);
            mix_hash(n, in, KEY_SIZE);
            in += KEY_SIZE;
        } else if (tokens[i] == TOKEN_S) {
            CHECK(!n->has_remote);
            size_t size = KEY_SIZE + seal_overhead(n);
            rc = open_and_hash(n, in, size, n->remote_static);
            n->has_remote = rc == 0;
            in += size;
        } else {
            rc = mix_token(n, tokens[i]);
        }
        if (rc != 0) {
            return rc;
        }
    }
    CHECK(in <= end);
    return open_and_hash(n, in, (size_t)(end - in), payload);
}

int noise_read(struct noise *n, const uint8_t *message, size_t size, uint8_t payload[NOISE_PAYLOAD_MAX],
               size_t *ret_payload_size) {
    int rc = ERR_PROTOCOL;
    if (n->failed || noise_done(n) || noise_my_turn(n)) {
        goto done;
    }
    size_t overhead = message_overhead(n);
    if (size < overhead || size - overhead > NOISE_PAYLOAD_MAX) {
        goto done;
    }
    rc = read_message(n, message, message + size, payload);
    if (rc == 0) {
        n->next++;
        *ret_payload_size = size - overhead;
    }
done:
    n->failed = n->failed || rc != 0;
    return rc;
}

const uint8_t *noise_remote_static(const struct noise *n) {
    return n->has_remote ? n->remote_static : NULL;
}

void noise_split(struct noise *n, struct noise_key *ret_send, struct noise_key *ret_receive,
                 uint8_t ret_hash[NOISE_HASH_SIZE]) {
    CHECK(noise_done(n));
    CHECK(n->has_key); /* gone after a split: the same keys must not count nonces twice */
    struct noise_key *first = n->initiator ? ret_send : ret_receive;
    struct noise_key *second = n->initiator ? ret_receive : ret_send;
    uint8_t first_key[KEY_SIZE], second_key[KEY_SIZE];
    hkdf(n->chaining_key, NULL, 0, first_key, second_key);
    noise_key_init(first, n->cipher.cipher, first_key);
    noise_key_init(second, n->cipher.cipher, second_key);
    memcpy(ret_hash, n->hash, NOISE_HASH_SIZE);
    n->has_key = false;
    noise_key_release(&n->cipher);
    sodium_memzero(first_key, sizeof first_key);
    sodium_memzero(second_key, sizeof second_key);
    sodium_memzero(n->chaining_key, sizeof n->chaining_key);
    sodium_memzero(n->static_secret, sizeof n->static_secret);
    sodium_memzero(n->ephemeral_secret, sizeof n->ephemeral_secret);
}
