/* Hostile bytes to both roles of a session, at every stage of its life. The first bytes of the input choose:
 *   byte 0, bits 0-1: stage: fresh, half-way, open, or `changed` (below); bit 2: the initiator is attacked;
 *           bits 3 and 4: the initiator and the responder may use AESGCM, if this processor can
 *   byte 1: the fragments the bytes come in; byte 2 (changed only): which leg of the handshake is changed
 * In the stage `changed` the rest is not sent itself but laid over what the honest peer sends, by exclusive or, so
 * that the fuzzer reaches behind the authentication only if the authentication lets it. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "session.h"

#define WIRE_MAX 4096
#define MESSAGE "what an honest peer says"

#define ATTACK_INITIATOR 4
#define INITIATOR_AESGCM 8
#define RESPONDER_AESGCM 16

enum stage { STAGE_FRESH, STAGE_HALFWAY, STAGE_OPEN, STAGE_CHANGED };

struct end {
    struct session *session;
    uint8_t wire[WIRE_MAX];
    size_t wire_size;
    size_t plain_size;
};

struct input {
    const uint8_t *bytes;
    size_t size;
    size_t step;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_network(void *ctx, size_t size, uint8_t **ret_room) {
    struct end *e = ctx;
    CHECK(size <= WIRE_MAX - e->wire_size);
    *ret_room = e->wire + e->wire_size;
    e->wire_size += size;
    return 0;
}

static int on_plain(void *ctx, const uint8_t *bytes, size_t size) {
    struct end *e = ctx;
    CHECK(bytes != NULL && size > 0);
    e->plain_size += size;
    return 0;
}

static void end_init(struct end *e, bool initiator, bool aesgcm) {
    struct identity self;
    const uint8_t seed[IDENTITY_SEED_SIZE] = {initiator ? 1 : 2};
    const struct session_params params = {
        .initiator = initiator,
        .aesgcm = aesgcm && noise_aesgcm_available(),
        .self = &self,
        .ephemeral_secret = {initiator ? 3 : 4},
        .hello = "hello",
        .hello_size = 5,
    };
    memset(e, 0, sizeof *e);
    CHECK(identity_from_seed(seed, &self) == 0);
    CHECK(session_new(&params, &e->session) == 0);
    CHECK(session_start(e->session, on_network, e) == 0);
}

static int feed(struct end *to, struct input in) {
    const struct session_callbacks callbacks = {on_network, on_plain, NULL, to};
    int rc = 0;
    while (rc == 0 && in.size > 0) {
        size_t piece = in.size < in.step ? in.size : in.step;
        rc = session_receive(to->session, in.bytes, piece, &callbacks);
        in.bytes += piece;
        in.size -= piece;
    }
    CHECK((rc != 0) == (session_state(to->session) == SESSION_DEAD));
    return rc;
}

static int carry(struct end *from, struct end *to) {
    size_t size = from->wire_size;
    from->wire_size = 0;
    return feed(to, (struct input){from->wire, size, WIRE_MAX});
}

/* The stages of honest talk, until `legs` messages have been carried. Even ones are the initiator's. */
static void talk(struct end ends[2], unsigned legs) {
    for (unsigned i = 0; i < legs; i++) {
        CHECK(carry(&ends[i % 2], &ends[1 - i % 2]) == 0);
    }
}

static void attack_with_bytes(struct end ends[2], enum stage stage, unsigned target, struct input in) {
    static const unsigned legs[] = {[STAGE_FRESH] = 0, [STAGE_HALFWAY] = 2, [STAGE_OPEN] = 3};
    talk(ends, legs[stage]);
    (void)feed(&ends[target], in);
    CHECK(ends[target].plain_size == 0); /* nobody without the key makes it say anything */
}

/* Leg 3 is a sealed message of the responder. */
static void attack_with_changes(struct end ends[2], unsigned leg, struct input in) {
    talk(ends, leg);
    struct end *from = &ends[leg % 2], *to = &ends[1 - leg % 2];
    if (leg == 3) {
        CHECK(session_send(from->session, (const uint8_t *)MESSAGE, strlen(MESSAGE), on_network, from) == 0);
    }
    unsigned changes = 0;
    for (size_t i = 0; i < in.size && i < from->wire_size; i++) {
        from->wire[i] ^= in.bytes[i];
        changes |= in.bytes[i];
    }
    size_t size = from->wire_size;
    from->wire_size = 0;
    int rc = feed(to, (struct input){from->wire, size, in.step});
    if (changes == 0) {
        CHECK(rc == 0 && to->plain_size == (leg == 3 ? strlen(MESSAGE) : 0));
        return;
    }
    CHECK(to->plain_size == 0);
    CHECK(leg == 3 || session_state(to->session) != SESSION_OPEN);
    if (rc == 0 && leg == 0 && to->wire_size > 0) {
        CHECK(carry(to, from) != 0); /* the first message is in the clear: its writer notices, in the answer */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CHECK(crypto_init() == 0);
    if (size < 3) {
        return 0;
    }
    enum stage stage = (enum stage)(data[0] & 3);
    struct input in = {data + 3, size - 3, data[1] > 0 ? data[1] : WIRE_MAX};
    struct end *ends = malloc(2 * sizeof *ends);
    CHECK(ends != NULL);
    end_init(&ends[0], true, (data[0] & INITIATOR_AESGCM) != 0);
    end_init(&ends[1], false, (data[0] & RESPONDER_AESGCM) != 0);
    if (stage == STAGE_CHANGED) {
        attack_with_changes(ends, data[2] & 3, in);
    } else {
        attack_with_bytes(ends, stage, data[0] & ATTACK_INITIATOR ? 0 : 1, in);
    }
    session_free(ends[0].session);
    session_free(ends[1].session);
    free(ends);
    return 0;
}
