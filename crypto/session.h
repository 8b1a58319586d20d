/* A sealed byte stream between two nodes, sans IO: bytes from the network go in, plaintext and bytes for the
 * network come out. Every record on the wire is a 2-byte big-endian length and that many bytes: first the three
 * handshake messages of Noise XX, then transport messages. Each direction rekeys every SESSION_REKEY_RECORDS: what one
 * key seals, 4 GiB at most, is far below what either cipher bears.
 *
 *   HANDSHAKE ──last message──▶ OPEN ──any error──▶ DEAD      (no way back)
 *
 * The cipher is agreed on along the way, without a message more. Nothing is sealed before message 2, so message 1 is
 * the same for every cipher:
 *
 *   1  ->  e, and in the clear, as its payload: one byte, bit c for every cipher c that the initiator can use
 *   2  <-  one byte: the cipher that the responder takes, and then the message as Noise has it
 *   3  ->  as Noise has it
 *
 * Both ends take AESGCM where both can, else ChaChaPoly. Nobody in the middle can make them take the lesser one: the
 * handshake hash begins with the name of the cipher taken, and covers the payload of message 1. Whoever changes the
 * offer or the choice makes the two hashes differ, and the tags of message 2 do not fit. */
#ifndef SHOAL_SESSION_H
#define SHOAL_SESSION_H

#include "identity.h"
#include "noise.h"

#define SESSION_RECORD_MAX 65535 /* bytes after the length prefix */
#define SESSION_PLAIN_MAX (SESSION_RECORD_MAX - NOISE_TAG_SIZE)
#define SESSION_REKEY_RECORDS 65536
#define SESSION_HELLO_MAX 512

enum session_state { SESSION_HANDSHAKE, SESSION_OPEN, SESSION_DEAD };

struct session; /* opaque */

struct session_params {
    bool initiator;
    bool aesgcm; /* may be used: only where noise_aesgcm_available() */
    const struct identity *self;
    const uint8_t *prologue; /* protocol version and swarm id */
    size_t prologue_size;
    uint8_t ephemeral_secret[32]; /* fresh random bytes; copied */
    const void *hello;            /* sent sealed to the peer: initiator in message 3, responder in message 2 */
    size_t hello_size;            /* <= SESSION_HELLO_MAX */
};

/* What a session asks of its owner. Each returns 0 or an error, which kills the session. `plain` and `opened` may call
 * session_send; no callback may call session_receive or session_free, and `room` nothing of the session at all.
 *
 * Room for one more record on its way to the network, `size` bytes: all of it is written before the session asks for
 * more and before the call that asked returns, so that records are sealed where they are sent from. */
typedef int session_room(void *ctx, size_t size, uint8_t **ret_room);
/* Decrypted bytes. They are the session's: valid during the call only. */
typedef int session_plain(void *ctx, const uint8_t *bytes, size_t size);

/* Copies what it needs of params. ERR_NOMEM, ERR_TOO_LARGE (hello), ERR_INVALID (no AESGCM here). */
int session_new(const struct session_params *params, struct session **ret_session);
void session_free(struct session *s); /* wipes; NULL is fine */
enum session_state session_state(const struct session *s);
/* The initiator's first bytes: call once after session_new, on both sides (a responder emits nothing). The error of
 * `room`. */
int session_start(struct session *s, session_room *room, void *ctx);
/* Feeds bytes from the network. Handshake answers go to `room`; decrypted bytes, in order, to plain. It keeps at
 * most one partial record, and refuses a record by its length before any byte of it arrives. ERR_AUTH / ERR_PROTOCOL
 * / a callback's error kill the session, ERR_CLOSED once it is dead. When the state turns OPEN inside this call,
 * decrypted bytes that follow in the same input are delivered after `opened` (may be NULL) returned 0. */
struct session_callbacks {
    session_room *room;
    session_plain *plain;
    int (*opened)(void *ctx);
    void *ctx;
};
int session_receive(struct session *s, const uint8_t *bytes, size_t size, const struct session_callbacks *cb);
/* Seals any amount of plaintext into records, each in a room of its own. ERR_PRECONDITION before OPEN, ERR_CLOSED once
 * dead, the error of `room` (which kills the session). */
int session_send(struct session *s, const uint8_t *plain, size_t size, session_room *room, void *ctx);
/* Once it has been OPEN: the peer's X25519 static key, its hello payload, the handshake hash, the cipher. */
const uint8_t *session_remote_key(const struct session *s);
const uint8_t *session_remote_hello(const struct session *s, size_t *ret_size);
const uint8_t *session_hash(const struct session *s);
enum noise_cipher session_cipher(const struct session *s);

#endif
