/* Sealed sessions: two of them with a wire between, which the tests fragment, cut and damage. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "session.h"

#define WIRE_MAX (1 << 20)
#define PROLOGUE "shoal test swarm"
#define HELLO_I "hello from the initiator"
#define HELLO_R "and one from the responder"

struct bytes {
    uint8_t *data;
    size_t size;
};

/* One end, and what it has emitted and received. */
struct end {
    struct session *session;
    struct bytes wire;
    struct bytes plain;
    unsigned records;
    unsigned opened;
    size_t plain_size_opened; /* plain.size when `opened` was called */
    int fail_network;         /* what the callbacks return */
    int fail_plain;
    int fail_opened;
    const char *greeting; /* sent from inside `opened` */
};

struct link {
    struct end initiator;
    struct end responder;
};

/* Who may use AESGCM: every test is run with all four. */
struct abilities {
    bool initiator;
    bool responder;
};

static enum noise_cipher cipher_of(const struct abilities *a) {
    return a->initiator && a->responder ? NOISE_AESGCM : NOISE_CHACHAPOLY;
}

static uint8_t offer_of(const struct abilities *a) {
    return a->initiator ? 1U << NOISE_CHACHAPOLY | 1U << NOISE_AESGCM : 1U << NOISE_CHACHAPOLY;
}

static struct identity identity_number(uint8_t number) {
    uint8_t seed[IDENTITY_SEED_SIZE];
    struct identity id;
    memset(seed, number, sizeof seed);
    assert_int_equal(identity_from_seed(seed, &id), 0);
    return id;
}

static int append(struct bytes *to, const uint8_t *bytes, size_t size) {
    assert_true(to->size + size <= WIRE_MAX);
    memcpy(to->data + to->size, bytes, size);
    to->size += size;
    return 0;
}

static int on_network(void *ctx, size_t size, uint8_t **ret_room) {
    struct end *e = ctx;
    e->records++;
    if (e->fail_network != 0) {
        return e->fail_network;
    }
    assert_true(e->wire.size + size <= WIRE_MAX);
    *ret_room = e->wire.data + e->wire.size;
    e->wire.size += size;
    return 0;
}

static int on_plain(void *ctx, const uint8_t *bytes, size_t size) {
    struct end *e = ctx;
    return e->fail_plain != 0 ? e->fail_plain : append(&e->plain, bytes, size);
}

static int on_opened(void *ctx) {
    struct end *e = ctx;
    e->opened++;
    e->plain_size_opened = e->plain.size;
    assert_int_equal(session_state(e->session), SESSION_OPEN);
    if (e->greeting != NULL) {
        (void)session_send(e->session, (const uint8_t *)e->greeting, strlen(e->greeting), on_network, e);
    }
    return e->fail_opened;
}

static struct session_callbacks callbacks_of(struct end *e) {
    return (struct session_callbacks){on_network, on_plain, on_opened, e};
}

static void end_init(struct end *e, const struct abilities *a, bool initiator, const char *prologue,
                     const char *hello) {
    struct identity self = identity_number(initiator ? 1 : 2);
    struct session_params params = {
        .initiator = initiator,
        .aesgcm = initiator ? a->initiator : a->responder,
        .self = &self,
        .prologue = (const uint8_t *)prologue,
        .prologue_size = strlen(prologue),
        .hello = hello,
        .hello_size = strlen(hello),
    };
    memset(params.ephemeral_secret, initiator ? 11 : 12, sizeof params.ephemeral_secret);
    *e = (struct end){.wire.data = malloc(WIRE_MAX), .plain.data = malloc(WIRE_MAX)};
    assert_true(e->wire.data != NULL && e->plain.data != NULL);
    assert_int_equal(session_new(&params, &e->session), 0);
    assert_int_equal(session_state(e->session), SESSION_HANDSHAKE);
    assert_int_equal(session_start(e->session, on_network, e), 0);
}

static void end_release(struct end *e) {
    session_free(e->session);
    free(e->wire.data);
    free(e->plain.data);
}

static void link_init(struct link *l, const struct abilities *a) {
    end_init(&l->initiator, a, true, PROLOGUE, HELLO_I);
    end_init(&l->responder, a, false, PROLOGUE, HELLO_R);
}

static void link_release(struct link *l) {
    end_release(&l->initiator);
    end_release(&l->responder);
}

static int receive(struct end *to, const uint8_t *bytes, size_t size) {
    const struct session_callbacks callbacks = callbacks_of(to);
    return session_receive(to->session, bytes, size, &callbacks);
}

/* Everything `from` has emitted goes to `to`, `step` bytes at a time; the first error ends it. */
static int carry(struct end *from, struct end *to, size_t step) {
    struct bytes wire = from->wire;
    from->wire.size = 0;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < wire.size; at += step) {
        size_t left = wire.size - at;
        rc = receive(to, wire.data + at, left < step ? left : step);
    }
    return rc;
}

static void link_open(struct link *l, const struct abilities *a, size_t step) {
    link_init(l, a);
    assert_int_equal(carry(&l->initiator, &l->responder, step), 0);
    assert_int_equal(carry(&l->responder, &l->initiator, step), 0);
    assert_int_equal(carry(&l->initiator, &l->responder, step), 0);
    assert_int_equal(session_state(l->initiator.session), SESSION_OPEN);
    assert_int_equal(session_state(l->responder.session), SESSION_OPEN);
}

static void send_text(struct end *e, const char *text) {
    assert_int_equal(session_send(e->session, (const uint8_t *)text, strlen(text), on_network, e), 0);
}

static void expect_plain(struct end *e, const char *text) {
    assert_int_equal(e->plain.size, strlen(text));
    assert_memory_equal(e->plain.data, text, strlen(text));
    e->plain.size = 0;
}

static void expect_dead(struct end *e) {
    const uint8_t byte = 0;
    unsigned records = e->records;
    assert_int_equal(session_state(e->session), SESSION_DEAD);
    assert_int_equal(receive(e, &byte, 1), ERR_CLOSED);
    assert_int_equal(session_send(e->session, &byte, 1, on_network, e), ERR_CLOSED);
    assert_int_equal(e->records, records);
}

static void both_ends_learn_who_the_other_is(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    struct identity initiator = identity_number(1), responder = identity_number(2);
    size_t size;
    assert_memory_equal(session_remote_key(l.initiator.session), responder.dh_public, 32);
    assert_memory_equal(session_remote_key(l.responder.session), initiator.dh_public, 32);
    assert_memory_equal(session_remote_hello(l.responder.session, &size), HELLO_I, strlen(HELLO_I));
    assert_int_equal(size, strlen(HELLO_I));
    assert_memory_equal(session_remote_hello(l.initiator.session, &size), HELLO_R, strlen(HELLO_R));
    assert_int_equal(size, strlen(HELLO_R));
    assert_memory_equal(session_hash(l.initiator.session), session_hash(l.responder.session), NOISE_HASH_SIZE);
    assert_int_equal(l.initiator.opened, 1);
    assert_int_equal(l.responder.opened, 1);
    link_release(&l);
}

static void text_goes_both_ways_in_any_fragments(void **state) {
    static const size_t steps[] = {1, 2, 3, 17, 100, WIRE_MAX};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct link l;
        link_open(&l, *state, steps[i]);
        send_text(&l.initiator, "one ");
        send_text(&l.initiator, "two");
        send_text(&l.responder, "three");
        assert_int_equal(carry(&l.initiator, &l.responder, steps[i]), 0);
        assert_int_equal(carry(&l.responder, &l.initiator, steps[i]), 0);
        expect_plain(&l.responder, "one two");
        expect_plain(&l.initiator, "three");
        link_release(&l);
    }
}

static void big_data_goes_in_whole_records(void **state) {
    static const size_t sizes[] = {SESSION_PLAIN_MAX - 1, SESSION_PLAIN_MAX, SESSION_PLAIN_MAX + 1,
                                   3 * SESSION_PLAIN_MAX + 5};
    uint8_t *data = malloc(4 * SESSION_PLAIN_MAX);
    assert_non_null(data);
    for (size_t i = 0; i < 4 * SESSION_PLAIN_MAX; i++) {
        data[i] = (uint8_t)(i * 31 + (i >> 9));
    }
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        l.initiator.records = 0;
        assert_int_equal(session_send(l.initiator.session, data, sizes[i], on_network, &l.initiator), 0);
        assert_int_equal(l.initiator.records, (sizes[i] + SESSION_PLAIN_MAX - 1) / SESSION_PLAIN_MAX);
        assert_int_equal(carry(&l.initiator, &l.responder, 40001), 0);
        assert_int_equal(l.responder.plain.size, sizes[i]);
        assert_memory_equal(l.responder.plain.data, data, sizes[i]);
        l.responder.plain.size = 0;
    }
    link_release(&l);
    free(data);
}

static void sending_nothing_emits_nothing(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    l.initiator.records = 0;
    assert_int_equal(session_send(l.initiator.session, NULL, 0, on_network, &l.initiator), 0);
    assert_int_equal(l.initiator.records, 0);
    link_release(&l);
}

static void nothing_is_sent_before_the_handshake_ends(void **state) {
    struct link l;
    link_init(&l, *state);
    const uint8_t byte = 0;
    assert_int_equal(session_send(l.responder.session, &byte, 1, on_network, &l.responder), ERR_PRECONDITION);
    assert_int_equal(l.responder.records, 0);
    assert_int_equal(session_state(l.responder.session), SESSION_HANDSHAKE);
    link_release(&l);
}

static void bytes_behind_the_handshake_come_after_opened(void **state) {
    struct link l;
    link_init(&l, *state);
    l.initiator.greeting = "sent from inside opened";
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), 0);
    assert_int_equal(carry(&l.responder, &l.initiator, WIRE_MAX), 0);
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), 0);
    assert_int_equal(l.responder.opened, 1);
    assert_int_equal(l.responder.plain_size_opened, 0);
    expect_plain(&l.responder, "sent from inside opened");
    link_release(&l);
}

/* Leg 0 and 2 are the initiator's handshake messages, leg 1 the responder's, leg 3 a sealed record. Everything
 * before `leg` is carried as it is. */
static struct end *run_until(struct link *l, const struct abilities *a, unsigned leg, struct end **ret_to) {
    link_init(l, a);
    for (unsigned i = 0; i < leg && i < 3; i++) {
        struct end *from = i % 2 == 0 ? &l->initiator : &l->responder;
        assert_int_equal(carry(from, from == &l->initiator ? &l->responder : &l->initiator, WIRE_MAX), 0);
    }
    if (leg == 3) {
        send_text(&l->responder, "a sealed record");
    }
    struct end *from = leg % 2 == 0 ? &l->initiator : &l->responder;
    *ret_to = from == &l->initiator ? &l->responder : &l->initiator;
    return from;
}

static size_t leg_size(const struct abilities *a, unsigned leg) {
    struct link l;
    struct end *to;
    size_t size = run_until(&l, a, leg, &to)->wire.size;
    link_release(&l);
    return size;
}

/* A flip may enlarge a length: then the end waits for more, so a second record follows to make up for it. Message
 * one is in the clear: a changed one is refused by its sender, in the answer. */
static int receive_flipped(struct end *from, struct end *to) {
    static const uint8_t more[SESSION_RECORD_MAX];
    int rc = carry(from, to, WIRE_MAX);
    if (rc == 0 && from->opened == 0 && to->wire.size > 0) {
        return carry(to, from, WIRE_MAX);
    }
    for (unsigned i = 0; rc == 0 && i < 2; i++) {
        rc = receive(to, more, sizeof more);
    }
    return rc;
}

static void a_bit_flipped_anywhere_kills_the_session(void **state) {
    for (unsigned leg = 0; leg < 4; leg++) {
        size_t size = leg_size(*state, leg);
        for (size_t offset = 0; offset < size; offset++) {
            struct link l;
            struct end *to;
            struct end *from = run_until(&l, *state, leg, &to);
            unsigned opened = to->opened;
            from->wire.data[offset] ^= (uint8_t)(1U << (offset % 8));
            int rc = receive_flipped(from, to);
            assert_true(rc == ERR_AUTH || rc == ERR_PROTOCOL);
            assert_int_equal(to->opened, opened);
            assert_int_equal(to->plain.size, 0);
            expect_dead(session_state(to->session) == SESSION_DEAD ? to : from);
            link_release(&l);
        }
    }
}

static void a_cut_delivers_nothing(void **state) {
    for (unsigned leg = 0; leg < 4; leg++) {
        size_t size = leg_size(*state, leg);
        for (size_t cut = 0; cut < size; cut++) {
            struct link l;
            struct end *to;
            struct end *from = run_until(&l, *state, leg, &to);
            enum session_state before = session_state(to->session);
            to->wire.size = 0;
            assert_int_equal(receive(to, from->wire.data, cut), 0);
            assert_int_equal(session_state(to->session), before);
            assert_int_equal(to->plain.size, 0);
            assert_int_equal(to->wire.size, 0);
            link_release(&l);
        }
    }
}

static void a_replayed_or_swapped_record_is_refused(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    send_text(&l.initiator, "once");
    struct bytes wire = l.initiator.wire;
    assert_int_equal(receive(&l.responder, wire.data, wire.size), 0);
    assert_int_equal(receive(&l.responder, wire.data, wire.size), ERR_AUTH);
    expect_dead(&l.responder);
    link_release(&l);
    link_open(&l, *state, WIRE_MAX);
    send_text(&l.initiator, "aaaa");
    size_t first = l.initiator.wire.size;
    send_text(&l.initiator, "bbbb");
    assert_int_equal(receive(&l.responder, l.initiator.wire.data + first, first), ERR_AUTH);
    link_release(&l);
}

static void own_records_reflected_are_refused(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    send_text(&l.initiator, "mine");
    assert_int_equal(receive(&l.initiator, l.initiator.wire.data, l.initiator.wire.size), ERR_AUTH);
    link_release(&l);
}

static void garbage_is_refused_at_its_length(void **state) {
    static const char *const garbage[] = {"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02", "SSH-2.0-OpenSSH_9.2\r\n",
                                          "\xff\xff\xff\xff", "\x80\x00"};
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        struct link l;
        link_init(&l, *state);
        /* Two bytes are enough: nothing is kept for a length that no handshake message has. */
        assert_int_equal(receive(&l.responder, (const uint8_t *)garbage[i], 1), 0);
        assert_int_equal(receive(&l.responder, (const uint8_t *)garbage[i] + 1, 1), ERR_PROTOCOL);
        expect_dead(&l.responder);
        assert_int_equal(l.responder.records, 0);
        link_release(&l);
    }
    struct link l;
    link_init(&l, *state);
    assert_int_equal(receive(&l.responder, (const uint8_t *)"\0\0", 2), ERR_PROTOCOL);
    expect_dead(&l.responder);
    link_release(&l);
}

static void an_empty_record_is_refused(void **state) {
    for (uint8_t size = 0; size <= NOISE_TAG_SIZE; size += NOISE_TAG_SIZE / 2) {
        struct link l;
        link_open(&l, *state, WIRE_MAX);
        const uint8_t prefix[2] = {0, size};
        assert_int_equal(receive(&l.responder, prefix, sizeof prefix), ERR_PROTOCOL);
        expect_dead(&l.responder);
        link_release(&l);
    }
}

static void another_prologue_is_refused(void **state) {
    struct link l;
    end_init(&l.initiator, *state, true, PROLOGUE, HELLO_I);
    end_init(&l.responder, *state, false, "another swarm", HELLO_R);
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), 0);
    assert_int_equal(carry(&l.responder, &l.initiator, WIRE_MAX), ERR_AUTH);
    expect_dead(&l.initiator);
    assert_int_equal(l.initiator.opened, 0);
    link_release(&l);
}

static void a_hello_has_a_limit(void **state) {
    static const uint8_t hello[SESSION_HELLO_MAX + 1];
    struct identity self = identity_number(1);
    struct session_params params = {.self = &self, .hello = hello, .hello_size = sizeof hello};
    struct session *s = NULL;
    assert_int_equal(session_new(&params, &s), ERR_TOO_LARGE);
    assert_null(s);
    struct link l;
    char longest[SESSION_HELLO_MAX + 1];
    memset(longest, 'x', SESSION_HELLO_MAX);
    longest[SESSION_HELLO_MAX] = '\0';
    end_init(&l.initiator, *state, true, PROLOGUE, longest);
    end_init(&l.responder, *state, false, PROLOGUE, longest);
    assert_int_equal(carry(&l.initiator, &l.responder, 1), 0);
    assert_int_equal(carry(&l.responder, &l.initiator, 1), 0);
    assert_int_equal(carry(&l.initiator, &l.responder, 1), 0);
    size_t size;
    assert_memory_equal(session_remote_hello(l.responder.session, &size), longest, SESSION_HELLO_MAX);
    assert_int_equal(size, SESSION_HELLO_MAX);
    link_release(&l);
}

/* A peer built straight from Noise, which may say what a session never would. */
static struct noise *raw_initiator(const struct abilities *a) {
    struct identity self = identity_number(1);
    const uint8_t ephemeral[32] = {77};
    const struct noise_params params = {
        .pattern = NOISE_XX,
        .cipher = cipher_of(a),
        .initiator = true,
        .prologue = (const uint8_t *)PROLOGUE,
        .prologue_size = strlen(PROLOGUE),
        .static_secret = self.dh_secret,
        .static_public = self.dh_public,
        .ephemeral_secret = ephemeral,
    };
    struct noise *n = NULL;
    assert_int_equal(noise_new(&params, &n), 0);
    return n;
}

static int raw_write(struct noise *n, struct end *to, const uint8_t *payload, size_t payload_size) {
    uint8_t record[2 + 2048];
    size_t size;
    assert_int_equal(noise_write(n, payload, payload_size, record + 2, sizeof record - 2, &size), 0);
    record[0] = (uint8_t)(size >> 8);
    record[1] = (uint8_t)size;
    return receive(to, record, 2 + size);
}

static int raw_offer(struct noise *n, struct end *to, uint8_t offer) {
    return raw_write(n, to, &offer, 1);
}

static void raw_read_answer(struct noise *n, struct end *from, enum noise_cipher expected) {
    uint8_t payload[NOISE_PAYLOAD_MAX];
    size_t size;
    assert_int_equal(from->wire.data[2], expected);
    assert_int_equal(noise_read(n, from->wire.data + 3, from->wire.size - 3, payload, &size), 0);
    from->wire.size = 0;
}

static void a_hello_that_is_too_long_is_refused(void **state) {
    static const uint8_t hello[SESSION_HELLO_MAX + 1];
    struct end e;
    end_init(&e, *state, false, PROLOGUE, HELLO_R);
    struct noise *n = raw_initiator(*state);
    assert_int_equal(raw_offer(n, &e, offer_of(*state)), 0);
    raw_read_answer(n, &e, cipher_of(*state));
    assert_int_equal(raw_write(n, &e, hello, sizeof hello), ERR_PROTOCOL);
    expect_dead(&e);
    assert_int_equal(e.opened, 0);
    noise_free(n);
    end_release(&e);
}

/* ---- which cipher ------------------------------------------------------------------------------------------------ */

static void both_ends_take_the_best_that_both_have(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    assert_int_equal(session_cipher(l.initiator.session), cipher_of(*state));
    assert_int_equal(session_cipher(l.responder.session), cipher_of(*state));
    link_release(&l);
}

static void an_offer_is_one_byte(void **state) {
    for (size_t size = 0; size <= 2; size++) {
        const uint8_t offer[2] = {offer_of(*state), offer_of(*state)};
        struct end e;
        end_init(&e, *state, false, PROLOGUE, HELLO_R);
        struct noise *n = raw_initiator(*state);
        assert_int_equal(raw_write(n, &e, offer, size), size == 1 ? 0 : ERR_PROTOCOL);
        assert_int_equal(e.records, size == 1 ? 1 : 0);
        if (size != 1) {
            expect_dead(&e);
        }
        noise_free(n);
        end_release(&e);
    }
}

static void ciphers_nobody_knows_yet_may_be_offered_too(void **state) {
    struct end e;
    end_init(&e, *state, false, PROLOGUE, HELLO_R);
    struct noise *n = raw_initiator(*state);
    assert_int_equal(raw_offer(n, &e, 0xf0 | offer_of(*state)), 0);
    raw_read_answer(n, &e, cipher_of(*state));
    assert_int_equal(raw_write(n, &e, NULL, 0), 0);
    assert_int_equal(session_state(e.session), SESSION_OPEN);
    noise_free(n);
    end_release(&e);
}

static void an_offer_without_a_common_cipher_is_refused(void **state) {
    const struct abilities *a = *state;
    const uint8_t offers[] = {0, 0xf0, a->responder ? 0 : 1U << NOISE_AESGCM};
    for (size_t i = 0; i < sizeof offers; i++) {
        struct end e;
        end_init(&e, a, false, PROLOGUE, HELLO_R);
        struct noise *n = raw_initiator(a);
        assert_int_equal(raw_offer(n, &e, offers[i]), ERR_PROTOCOL);
        expect_dead(&e);
        assert_int_equal(e.records, 0);
        noise_free(n);
        end_release(&e);
    }
}

/* Where the offer stands in message 1, and the choice in message 2. */
#define OFFER_AT (2 + 32)
#define CHOICE_AT 2

static void expect_refused_choice(struct link *l, uint8_t choice, int error) {
    l->responder.wire.data[CHOICE_AT] = choice;
    assert_int_equal(carry(&l->responder, &l->initiator, WIRE_MAX), error);
    expect_dead(&l->initiator);
    assert_int_equal(l->initiator.opened, 0);
}

static void a_forged_choice_is_refused(void **state) {
    const struct abilities *a = *state;
    for (unsigned choice = 0; choice <= UINT8_MAX; choice++) {
        if (choice == cipher_of(a)) {
            continue;
        }
        struct link l;
        link_init(&l, a);
        assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), 0);
        bool offered = choice < NOISE_CIPHERS && (offer_of(a) >> choice & 1) != 0;
        expect_refused_choice(&l, (uint8_t)choice, offered ? ERR_AUTH : ERR_PROTOCOL);
        link_release(&l);
    }
}

/* Somebody in the middle wants the other cipher, and may change the choice as well as the offer. */
static void a_forged_offer_is_noticed_whatever_is_chosen(void **state) {
    const struct abilities *a = *state;
    for (unsigned offer = 0; offer <= UINT8_MAX; offer++) {
        for (uint8_t choice = 0; offer != offer_of(a) && choice < NOISE_CIPHERS; choice++) {
            struct link l;
            link_init(&l, a);
            l.initiator.wire.data[OFFER_AT] = (uint8_t)offer;
            int rc = carry(&l.initiator, &l.responder, WIRE_MAX);
            assert_true(rc == 0 || rc == ERR_PROTOCOL);
            if (rc == 0) {
                bool offered = (offer_of(a) >> choice & 1) != 0;
                expect_refused_choice(&l, choice, offered ? ERR_AUTH : ERR_PROTOCOL);
            }
            assert_int_equal(l.responder.opened, 0);
            link_release(&l);
        }
    }
}

static void aesgcm_needs_its_instructions(void **state) {
    (void)state;
    struct identity self = identity_number(1);
    const struct session_params params = {.aesgcm = true, .self = &self};
    struct session *s = NULL;
    assert_int_equal(session_new(&params, &s), noise_aesgcm_available() ? 0 : ERR_INVALID);
    session_free(s);
}

/* ---- later ------------------------------------------------------------------------------------------------------- */

static int discard(void *ctx, const uint8_t *bytes, size_t size) {
    (void)bytes;
    *(size_t *)ctx += size;
    return 0;
}

/* Sends one byte per record until the `count`th record has been sent, received and thrown away. */
static void burn_records(struct link *l, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const uint8_t byte = (uint8_t)i;
        assert_int_equal(session_send(l->initiator.session, &byte, 1, on_network, &l->initiator), 0);
        assert_int_equal(carry(&l->initiator, &l->responder, WIRE_MAX), 0);
        assert_int_equal(l->responder.plain.data[0], byte);
        l->responder.plain.size = 0;
    }
}

static void data_crosses_the_rekeying(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    burn_records(&l, SESSION_REKEY_RECORDS - 1);
    for (unsigned i = 0; i < 3; i++) {
        send_text(&l.initiator, "across ");
        assert_int_equal(carry(&l.initiator, &l.responder, 1), 0);
    }
    expect_plain(&l.responder, "across across across ");
    send_text(&l.responder, "the other direction has its own count");
    assert_int_equal(carry(&l.responder, &l.initiator, WIRE_MAX), 0);
    expect_plain(&l.initiator, "the other direction has its own count");
    link_release(&l);
}

/* Seen from a peer built straight from Noise: the key of record N is another one than that of record N - 1. */
static void the_key_changes_after_exactly_so_many_records(void **state) {
    struct end e;
    struct noise_key send, receive_key;
    uint8_t hash[NOISE_HASH_SIZE];
    uint8_t plain[16];
    end_init(&e, *state, false, PROLOGUE, HELLO_R);
    struct noise *n = raw_initiator(*state);
    assert_int_equal(raw_offer(n, &e, offer_of(*state)), 0);
    raw_read_answer(n, &e, cipher_of(*state));
    assert_int_equal(raw_write(n, &e, NULL, 0), 0);
    noise_split(n, &send, &receive_key, hash);
    noise_free(n);
    for (unsigned i = 0; i < SESSION_REKEY_RECORDS; i++) {
        e.wire.size = 0;
        send_text(&e, "x");
        assert_int_equal(noise_open(&receive_key, e.wire.data + 2, e.wire.size - 2, plain), 0);
    }
    e.wire.size = 0;
    send_text(&e, "y");
    assert_int_equal(noise_open(&receive_key, e.wire.data + 2, e.wire.size - 2, plain), ERR_AUTH);
    noise_rekey(&receive_key);
    assert_int_equal(noise_open(&receive_key, e.wire.data + 2, e.wire.size - 2, plain), 0);
    assert_int_equal(plain[0], 'y');
    end_release(&e);
}

static void a_failing_network_kills_the_session(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    l.initiator.fail_network = ERR_IO;
    assert_int_equal(session_send(l.initiator.session, (const uint8_t *)"x", 1, on_network, &l.initiator), ERR_IO);
    expect_dead(&l.initiator);
    link_release(&l);
    link_init(&l, *state);
    l.responder.fail_network = ERR_IO;
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), ERR_IO);
    expect_dead(&l.responder);
    link_release(&l);
}

static void a_failing_callback_kills_the_session(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    l.responder.fail_plain = ERR_PROTOCOL;
    send_text(&l.initiator, "x");
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), ERR_PROTOCOL);
    expect_dead(&l.responder);
    link_release(&l);
    link_init(&l, *state);
    l.responder.fail_opened = ERR_REFUSED;
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), 0);
    assert_int_equal(carry(&l.responder, &l.initiator, WIRE_MAX), 0);
    send_text(&l.initiator, "must not be delivered");
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), ERR_REFUSED);
    assert_int_equal(l.responder.plain.size, 0);
    expect_dead(&l.responder);
    link_release(&l);
}

static void death_inside_a_callback_stops_the_delivery(void **state) {
    struct link l;
    link_init(&l, *state);
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), 0);
    assert_int_equal(carry(&l.responder, &l.initiator, WIRE_MAX), 0);
    send_text(&l.initiator, "must not be delivered");
    l.responder.greeting = "this fails";
    l.responder.fail_network = ERR_IO;
    assert_int_equal(carry(&l.initiator, &l.responder, WIRE_MAX), ERR_CLOSED);
    assert_int_equal(l.responder.plain.size, 0);
    expect_dead(&l.responder);
    link_release(&l);
}

/* What a peer sends never makes a session allocate. */
static void memory_stays_flat(void **state) {
    struct link l;
    link_open(&l, *state, WIRE_MAX);
    uint8_t *data = calloc(1, SESSION_PLAIN_MAX);
    assert_non_null(data);
    size_t discarded = 0, before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (unsigned i = 0; i < 200; i++) {
        l.initiator.wire.size = 0;
        assert_int_equal(session_send(l.initiator.session, data, SESSION_PLAIN_MAX, on_network, &l.initiator), 0);
        const struct session_callbacks callbacks = {on_network, discard, NULL, &discarded};
        for (size_t at = 0; at < l.initiator.wire.size; at += 1 << 15) {
            size_t left = l.initiator.wire.size - at;
            assert_int_equal(session_receive(l.responder.session, l.initiator.wire.data + at,
                                             left < 1 << 15 ? left : 1 << 15, &callbacks),
                             0);
        }
    }
    assert_int_equal(discarded, 200 * (size_t)SESSION_PLAIN_MAX);
    assert_int_equal(mallinfo2().uordblks + mallinfo2().hblkhd, before);
    free(data);
    link_release(&l);
}

static struct abilities abilities[] = {{false, false}, {true, false}, {false, true}, {true, true}};

static int neither(void **state) {
    *state = &abilities[0];
    return crypto_init();
}

static int only_initiator(void **state) {
    *state = &abilities[1];
    return crypto_init();
}

static int only_responder(void **state) {
    *state = &abilities[2];
    return crypto_init();
}

static int both(void **state) {
    *state = &abilities[3];
    return crypto_init();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_learn_who_the_other_is),
        cmocka_unit_test(text_goes_both_ways_in_any_fragments),
        cmocka_unit_test(big_data_goes_in_whole_records),
        cmocka_unit_test(sending_nothing_emits_nothing),
        cmocka_unit_test(nothing_is_sent_before_the_handshake_ends),
        cmocka_unit_test(bytes_behind_the_handshake_come_after_opened),
        cmocka_unit_test(a_bit_flipped_anywhere_kills_the_session),
        cmocka_unit_test(a_cut_delivers_nothing),
        cmocka_unit_test(a_replayed_or_swapped_record_is_refused),
        cmocka_unit_test(own_records_reflected_are_refused),
        cmocka_unit_test(garbage_is_refused_at_its_length),
        cmocka_unit_test(an_empty_record_is_refused),
        cmocka_unit_test(another_prologue_is_refused),
        cmocka_unit_test(a_hello_has_a_limit),
        cmocka_unit_test(a_hello_that_is_too_long_is_refused),
        cmocka_unit_test(both_ends_take_the_best_that_both_have),
        cmocka_unit_test(an_offer_is_one_byte),
        cmocka_unit_test(ciphers_nobody_knows_yet_may_be_offered_too),
        cmocka_unit_test(an_offer_without_a_common_cipher_is_refused),
        cmocka_unit_test(a_forged_choice_is_refused),
        cmocka_unit_test(a_forged_offer_is_noticed_whatever_is_chosen),
        cmocka_unit_test(aesgcm_needs_its_instructions),
        cmocka_unit_test(data_crosses_the_rekeying),
        cmocka_unit_test(the_key_changes_after_exactly_so_many_records),
        cmocka_unit_test(a_failing_network_kills_the_session),
        cmocka_unit_test(a_failing_callback_kills_the_session),
        cmocka_unit_test(death_inside_a_callback_stops_the_delivery),
        cmocka_unit_test(memory_stays_flat),
    };
    int failed = cmocka_run_group_tests_name("neither may use AESGCM", tests, neither, NULL);
    if (!noise_aesgcm_available()) {
        print_message("AESGCM: this processor has no AES instructions\n");
        return failed;
    }
    failed += cmocka_run_group_tests_name("the initiator may use AESGCM", tests, only_initiator, NULL);
    failed += cmocka_run_group_tests_name("the responder may use AESGCM", tests, only_responder, NULL);
    failed += cmocka_run_group_tests_name("both may use AESGCM", tests, both, NULL);
    return failed;
}
