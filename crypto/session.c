#include "session.h"

#include <sodium.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"

#define LENGTH_SIZE 2
#define OFFER_SIZE 1
#define CHOICE_SIZE 1
/* The longest message of XX (the second: e, s sealed, payload sealed) with the longest hello. */
#define HANDSHAKE_RECORD_MAX (CHOICE_SIZE + 32 + 32 + NOISE_TAG_SIZE + SESSION_HELLO_MAX + NOISE_TAG_SIZE)
#define STATES 3

_Static_assert(SESSION_HELLO_MAX <= NOISE_PAYLOAD_MAX, "a hello is a handshake payload");
_Static_assert(SESSION_RECORD_MAX <= NOISE_MESSAGE_MAX, "a record is a Noise message");
_Static_assert(NOISE_CHACHAPOLY == 0 && NOISE_AESGCM == 1, "these numbers go over the wire");
_Static_assert(NOISE_CIPHERS <= 8 * OFFER_SIZE, "an offer has a bit for each");

static const bool allowed[STATES][STATES] = {
    [SESSION_HANDSHAKE] = {[SESSION_OPEN] = true, [SESSION_DEAD] = true},
    [SESSION_OPEN] = {[SESSION_DEAD] = true},
};

struct input {
    const uint8_t *bytes;
    size_t size;
};

struct session {
    enum session_state state;
    bool started;
    bool opened;    /* has been OPEN: the peer is known */
    bool receiving; /* guards against calls from inside a callback */
    bool sending;
    bool initiator;
    struct noise *candidates[NOISE_CIPHERS]; /* one handshake per cipher we can use, until one of them is taken */
    struct noise *noise;                     /* the one that was; NULL once open or dead */
    struct noise_key send_key;
    struct noise_key receive_key;
    enum noise_cipher cipher; /* taken */
    uint8_t remote_key[32];
    uint8_t hash[NOISE_HASH_SIZE];
    uint8_t hello[SESSION_HELLO_MAX]; /* ours until sent */
    size_t hello_size;
    uint8_t remote_hello[SESSION_HELLO_MAX];
    size_t remote_hello_size;
    size_t in_used;                               /* bytes of the one partial record, its length prefix included */
    uint8_t in[LENGTH_SIZE + SESSION_RECORD_MAX]; /* the partial record, or the plaintext of the last one */
};

_Static_assert(alignof(struct session) <= alignof(max_align_t), "calloc aligns it");

static void free_candidates(struct session *s) {
    for (unsigned i = 0; i < NOISE_CIPHERS; i++) {
        noise_free(s->candidates[i]);
        s->candidates[i] = NULL;
    }
}

static void enter(struct session *s, enum session_state next) {
    CHECK(allowed[s->state][next]);
    s->state = next;
    free_candidates(s);
    noise_free(s->noise);
    s->noise = NULL;
    if (next == SESSION_DEAD) {
        noise_key_release(&s->send_key);
        noise_key_release(&s->receive_key);
    }
}

/* The session dies of any error; inside nested calls the innermost one has already done it. */
static int die_of(struct session *s, int rc) {
    if (rc != 0 && s->state != SESSION_DEAD) {
        enter(s, SESSION_DEAD);
    }
    return rc;
}

static int new_candidates(struct session *s, const struct session_params *params) {
    for (unsigned i = 0; i < NOISE_CIPHERS; i++) {
        if (i == NOISE_AESGCM && !params->aesgcm) {
            continue;
        }
        const struct noise_params noise = {
            .pattern = NOISE_XX,
            .cipher = (enum noise_cipher)i,
            .initiator = params->initiator,
            .prologue = params->prologue,
            .prologue_size = params->prologue_size,
            .static_secret = params->self->dh_secret,
            .static_public = params->self->dh_public,
            .ephemeral_secret = params->ephemeral_secret,
        };
        int rc = noise_new(&noise, &s->candidates[i]);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int session_new(const struct session_params *params, struct session **ret_session) {
    CHECK(params->hello != NULL || params->hello_size == 0);
    if (params->hello_size > SESSION_HELLO_MAX) {
        return ERR_TOO_LARGE;
    }
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ERR_NOMEM;
    }
    int rc = new_candidates(s, params);
    if (rc != 0) {
        session_free(s);
        return rc;
    }
    s->state = SESSION_HANDSHAKE;
    s->initiator = params->initiator;
    if (params->hello_size > 0) {
        memcpy(s->hello, params->hello, params->hello_size);
    }
    s->hello_size = params->hello_size;
    *ret_session = s;
    return 0;
}

void session_free(struct session *s) {
    if (s != NULL) {
        CHECK(!s->receiving && !s->sending);
        free_candidates(s);
        noise_free(s->noise);
        sodium_memzero(s, sizeof *s);
        free(s);
    }
}

enum session_state session_state(const struct session *s) {
    bool handshaking = s->noise != NULL || s->candidates[NOISE_CHACHAPOLY] != NULL;
    CHECK((s->state == SESSION_HANDSHAKE) == handshaking);
    return s->state;
}

/* Room for a record of this size, and its length before it. */
static int record_room(struct session *s, size_t size, session_room *room, void *ctx, uint8_t **ret_record) {
    uint8_t *at = NULL;
    CHECK(size > 0 && size <= SESSION_RECORD_MAX);
    CHECK(!s->sending);
    s->sending = true;
    int rc = room(ctx, LENGTH_SIZE + size, &at);
    s->sending = false;
    if (rc != 0) {
        return rc;
    }
    CHECK(at != NULL);
    at[0] = (uint8_t)(size >> 8);
    at[1] = (uint8_t)size;
    *ret_record = at + LENGTH_SIZE;
    return 0;
}

static int emit(struct session *s, const uint8_t *record, size_t size, session_room *room, void *ctx) {
    uint8_t *at;
    int rc = record_room(s, size, room, ctx, &at);
    if (rc == 0) {
        memcpy(at, record, size);
    }
    return rc;
}

/* Message 1. No candidate differs from the others in it: there is no key yet, and the ephemeral key is the same. That
 * key is used with the cipher taken only, because only that candidate goes on. */
static int write_offer(struct session *s, session_room *room, void *ctx) {
    uint8_t offer = 0;
    uint8_t message[HANDSHAKE_RECORD_MAX];
    size_t size = 0;
    for (unsigned i = 0; i < NOISE_CIPHERS; i++) {
        offer |= (uint8_t)(s->candidates[i] != NULL ? 1U << i : 0);
    }
    for (unsigned i = 0; i < NOISE_CIPHERS; i++) {
        if (s->candidates[i] != NULL) {
            CHECK(noise_write(s->candidates[i], &offer, sizeof offer, message, sizeof message, &size) == 0);
        }
    }
    return emit(s, message, size, room, ctx);
}

/* Message 2, behind our choice, or message 3: with our hello. */
static int write_handshake(struct session *s, session_room *room, void *ctx) {
    uint8_t message[HANDSHAKE_RECORD_MAX];
    size_t prefix = s->initiator ? 0 : CHOICE_SIZE, size;
    message[0] = (uint8_t)s->cipher;
    int rc = noise_write(s->noise, s->hello, s->hello_size, message + prefix, sizeof message - prefix, &size);
    return rc != 0 ? rc : emit(s, message, prefix + size, room, ctx);
}

int session_start(struct session *s, session_room *room, void *ctx) {
    CHECK(!s->started && s->state == SESSION_HANDSHAKE);
    s->started = true;
    return s->initiator ? die_of(s, write_offer(s, room, ctx)) : 0;
}

/* Goes on with this candidate alone. ERR_PROTOCOL when it is none. */
static int take_cipher(struct session *s, unsigned cipher) {
    CHECK(s->noise == NULL);
    if (cipher >= NOISE_CIPHERS || s->candidates[cipher] == NULL) {
        return ERR_PROTOCOL;
    }
    s->noise = s->candidates[cipher];
    s->cipher = (enum noise_cipher)cipher;
    s->candidates[cipher] = NULL;
    free_candidates(s);
    return 0;
}

/* Message 1, to the responder: takes the last cipher that both have. Bits of ciphers unknown here mean nothing. */
static int read_offer(struct session *s, struct input message) {
    uint8_t payload[NOISE_PAYLOAD_MAX];
    unsigned taken = NOISE_CIPHERS;
    for (unsigned i = 0; i < NOISE_CIPHERS; i++) {
        if (s->candidates[i] == NULL) {
            continue;
        }
        size_t size;
        int rc = noise_read(s->candidates[i], message.bytes, message.size, payload, &size);
        if (rc != 0) {
            return rc;
        }
        if (size != OFFER_SIZE) {
            return ERR_PROTOCOL;
        }
        taken = (payload[0] >> i & 1) != 0 ? i : taken;
    }
    return take_cipher(s, taken);
}

static int answer_offer(struct session *s, struct input message, const struct session_callbacks *cb) {
    int rc = read_offer(s, message);
    return rc != 0 ? rc : write_handshake(s, cb->room, cb->ctx);
}

/* Messages 2 and 3: sealed, with the peer's hello. */
static int read_handshake(struct session *s, struct input message) {
    uint8_t payload[NOISE_PAYLOAD_MAX];
    size_t size;
    int rc = noise_read(s->noise, message.bytes, message.size, payload, &size);
    if (rc != 0) {
        return rc;
    }
    if (size > SESSION_HELLO_MAX) {
        return ERR_PROTOCOL;
    }
    memcpy(s->remote_hello, payload, size);
    s->remote_hello_size = size;
    return 0;
}

static void finish_handshake(struct session *s) {
    CHECK(noise_done(s->noise));
    CHECK(noise_remote_static(s->noise) != NULL);
    memcpy(s->remote_key, noise_remote_static(s->noise), sizeof s->remote_key);
    noise_split(s->noise, &s->send_key, &s->receive_key, s->hash);
    s->opened = true;
    enter(s, SESSION_OPEN);
}

/* Message 2 to the initiator, who answers it; or message 3. */
static int receive_last(struct session *s, struct input message, const struct session_callbacks *cb) {
    int rc = 0;
    if (s->initiator) {
        CHECK(message.size >= CHOICE_SIZE);
        rc = take_cipher(s, message.bytes[0]);
        message.bytes += CHOICE_SIZE;
        message.size -= CHOICE_SIZE;
    }
    rc = rc != 0 ? rc : read_handshake(s, message);
    if (rc == 0 && s->initiator) {
        rc = write_handshake(s, cb->room, cb->ctx);
    }
    if (rc != 0) {
        return rc;
    }
    finish_handshake(s);
    return cb->opened != NULL ? cb->opened(cb->ctx) : 0;
}

static int receive_handshake(struct session *s, struct input message, const struct session_callbacks *cb) {
    bool first = !s->initiator && s->noise == NULL;
    return first ? answer_offer(s, message, cb) : receive_last(s, message, cb);
}

/* Both sides count the same records: the nonce is the count. */
static void rekey_when_due(struct noise_key *key) {
    CHECK(key->nonce > 0);
    if (key->nonce % SESSION_REKEY_RECORDS == 0) {
        noise_rekey(key);
    }
}

static int receive_sealed(struct session *s, struct input record, const struct session_callbacks *cb) {
    uint8_t *plain = s->in + LENGTH_SIZE; /* where the record lies, if it came in pieces: then opened in place */
    CHECK(record.bytes == plain || s->in_used == 0);
    int rc = noise_open(&s->receive_key, record.bytes, record.size, plain);
    if (rc != 0) {
        return rc;
    }
    rekey_when_due(&s->receive_key);
    return cb->plain(cb->ctx, plain, record.size - NOISE_TAG_SIZE);
}

/* A peer that claims too much is cut off by the claim alone. The sender never seals nothing, so an empty record is
 * no record. */
static bool size_acceptable(const struct session *s, size_t size) {
    return s->state == SESSION_HANDSHAKE ? size > 0 && size <= HANDSHAKE_RECORD_MAX : size > NOISE_TAG_SIZE;
}

static size_t record_size(const uint8_t *prefix) {
    return (size_t)prefix[0] << 8 | prefix[1];
}

static void take(struct session *s, struct input *input, size_t until) {
    CHECK(until <= sizeof s->in);
    size_t wanted = until > s->in_used ? until - s->in_used : 0;
    size_t taken = wanted < input->size ? wanted : input->size;
    if (taken > 0) {
        memcpy(s->in + s->in_used, input->bytes, taken);
        s->in_used += taken;
        input->bytes += taken;
        input->size -= taken;
    }
}

/* Finds the next whole record: in the input itself when it lies there whole, else gathered in s->in.
 * ret_record->bytes is NULL when more input is needed. */
static int next_record(struct session *s, struct input *input, struct input *ret_record) {
    *ret_record = (struct input){NULL, 0};
    if (s->in_used == 0 && input->size >= LENGTH_SIZE) {
        size_t size = record_size(input->bytes);
        if (!size_acceptable(s, size)) {
            return ERR_PROTOCOL;
        }
        if (input->size - LENGTH_SIZE >= size) {
            *ret_record = (struct input){input->bytes + LENGTH_SIZE, size};
            input->bytes += LENGTH_SIZE + size;
            input->size -= LENGTH_SIZE + size;
            return 0;
        }
    }
    take(s, input, LENGTH_SIZE);
    if (s->in_used < LENGTH_SIZE) {
        return 0;
    }
    size_t size = record_size(s->in);
    if (!size_acceptable(s, size)) {
        return ERR_PROTOCOL;
    }
    take(s, input, LENGTH_SIZE + size);
    if (s->in_used == LENGTH_SIZE + size) {
        *ret_record = (struct input){s->in + LENGTH_SIZE, size};
        s->in_used = 0;
    }
    return 0;
}

static int receive_records(struct session *s, struct input input, const struct session_callbacks *cb) {
    while (input.size > 0) {
        struct input record;
        int rc = next_record(s, &input, &record);
        if (rc != 0) {
            return rc;
        }
        if (record.bytes == NULL) {
            CHECK(input.size == 0);
            break;
        }
        rc = s->state == SESSION_HANDSHAKE ? receive_handshake(s, record, cb) : receive_sealed(s, record, cb);
        if (rc != 0) {
            return rc;
        }
        if (s->state == SESSION_DEAD) {
            return ERR_CLOSED; /* a callback sent, and that failed */
        }
    }
    return 0;
}

int session_receive(struct session *s, const uint8_t *bytes, size_t size, const struct session_callbacks *cb) {
    CHECK(s->started);
    CHECK(!s->receiving);
    CHECK(bytes != NULL || size == 0);
    if (s->state == SESSION_DEAD) {
        return ERR_CLOSED;
    }
    s->receiving = true;
    int rc = die_of(s, receive_records(s, (struct input){bytes, size}, cb));
    s->receiving = false;
    return rc;
}

int session_send(struct session *s, const uint8_t *plain, size_t size, session_room *room, void *ctx) {
    CHECK(plain != NULL || size == 0);
    CHECK(!s->sending);
    if (s->state != SESSION_OPEN) {
        return s->state == SESSION_DEAD ? ERR_CLOSED : ERR_PRECONDITION;
    }
    while (size > 0) {
        size_t piece = size < SESSION_PLAIN_MAX ? size : SESSION_PLAIN_MAX;
        uint8_t *record;
        int rc = record_room(s, piece + NOISE_TAG_SIZE, room, ctx, &record);
        if (rc != 0) {
            return die_of(s, rc);
        }
        noise_seal(&s->send_key, plain, piece, record);
        rekey_when_due(&s->send_key);
        plain += piece;
        size -= piece;
    }
    return 0;
}

const uint8_t *session_remote_key(const struct session *s) {
    CHECK(s->opened);
    return s->remote_key;
}

const uint8_t *session_remote_hello(const struct session *s, size_t *ret_size) {
    CHECK(s->opened);
    *ret_size = s->remote_hello_size;
    return s->remote_hello;
}

const uint8_t *session_hash(const struct session *s) {
    CHECK(s->opened);
    return s->hash;
}

enum noise_cipher session_cipher(const struct session *s) {
    CHECK(s->opened);
    return s->cipher;
}
