/* The member table: who belongs to the swarm. It is changed only by committed entries of the root group; every node
 * keeps a copy, brought up to date by deltas. Its number is the epoch.
 *
 *   joining ──▶ up ◀──▶ draining ──▶ gone   draining: its data go to others; this may be called off
 *      │        ▲ ▼ ╲                 ▲ ▲ ▲   gone is final: the id is never admitted again
 *      │        out  ╲────────────────┘ │ │   up to gone: removed by its owner's word
 *      │         └──────────────────────┘ │   out: dead for longer than the grace period; may come back, or is removed
 *      └──────────────────────────────────┘   an admission that was given up
 */
#ifndef SHOAL_MEMBERS_H
#define SHOAL_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEMBERS_MAX 16384
#define MEMBER_ADDR_SIZE 128 /* "host:port" with its terminator */
#define MEMBER_ZONE_SIZE 64  /* text with its terminator; "" is a zone like any other */

enum member_state { MEMBER_JOINING, MEMBER_UP, MEMBER_DRAINING, MEMBER_OUT, MEMBER_GONE };

struct member {
    uint32_t node;  /* number in this swarm, from 1, never reused */
    uint8_t id[32]; /* Ed25519 public key */
    uint8_t dh[32]; /* X25519 of it; two members never share one */
    enum member_state state;
    uint64_t capacity; /* bytes it offers */
    uint64_t changed;  /* epoch of the last change of this row */
    char addr[MEMBER_ADDR_SIZE];
    char zone[MEMBER_ZONE_SIZE];
};

struct members; /* opaque; rows ordered by node number */

int members_new(struct members **ret_members);
void members_free(struct members *m);
uint64_t members_epoch(const struct members *m);
size_t members_count(const struct members *m);
const struct member *members_at(const struct members *m, size_t i);
const struct member *members_find(const struct members *m, uint32_t node);           /* NULL when unknown */
const struct member *members_find_id(const struct members *m, const uint8_t id[32]); /* any state */
const struct member *members_find_dh(const struct members *m, const uint8_t dh[32]); /* any state */
/* Adds or replaces one row and sets the epoch. A delta since epoch E is every row with changed > E; its rows are
 * applied in any order, all with the sender's epoch, so an epoch equal to the current one is accepted. A delta skips
 * states in between: a row may go to any state that allowed steps lead to. Pointers to rows stay valid until
 * members_free; what they show changes.
 * ERR_INVALID: absurd fields, changed > epoch, another id or dh for a known node, an id or dh that another row holds
 * (also a gone one), an unreachable state. ERR_STALE: an older epoch, or a row changed earlier than the one held.
 * ERR_TOO_LARGE: past MEMBERS_MAX. Nothing is changed on failure. A row equal to the one held is always accepted. */
int members_apply(struct members *m, const struct member *row, uint64_t epoch);
/* One step of the diagram above, or staying (another field changes). Whoever proposes a change asks this. */
bool member_transition_allowed(enum member_state from, enum member_state to);
bool member_serves(const struct member *row); /* placed on: UP only */
const char *member_state_name(enum member_state s);
/* Field checks of a row that comes from outside: terminated printable texts (no space in the address), state in
 * range, node != 0, keys not all zero. 0 or ERR_INVALID. */
int member_check(const struct member *row);

#endif
