/* Applying one command: what the files of this folder share while it runs. Private to this folder.
 *
 * Every handler decides first and writes afterwards, so that a refused command leaves nothing behind. Their returned
 * errors are of the storage only; what the command deserves is r->status. */
#ifndef SHOAL_MACHINE_APPLY_H
#define SHOAL_MACHINE_APPLY_H

#include "machine_rows.h"

struct applying {
    struct txn *t;
    const struct machine_arc *arc;
    uint64_t stamp_ms;
    struct machine_effects *effects;
    struct buf row;             /* a value on its way to the table */
    struct client_value client; /* of a command that is to be answered once: as it was before it */
};

/* Reads a row; ERR_NOT_FOUND is an answer here, not an error of the storage. */
int applying_get(struct applying *a, enum txn_table table, const struct row_key *key, struct slice *ret_value);
/* Writes what lies in a->row, then clears it. */
int applying_put_row(struct applying *a, enum txn_table table, const struct row_key *key);
/* Deletes a row that may be absent. */
int applying_del(struct applying *a, enum txn_table table, const struct row_key *key);
int applying_effect(struct applying *a, enum machine_effect_kind kind, const struct digest *d, const struct version *v);

typedef int machine_handler(struct applying *a, const struct command *c, struct command_result *r);
machine_handler machine_name_put, machine_name_rm, machine_version_settle; /* names.c */
machine_handler machine_refs_add, machine_refs_del, machine_refs_confirm;  /* refs.c */
machine_handler machine_outbox_done;                                       /* outbox.c */
machine_handler machine_root_init;                                         /* root.c */
machine_handler machine_ticket_add;                                        /* tickets.c */
machine_handler machine_member_join, machine_member_set;                   /* root_members.c */
machine_handler machine_member_state;                                      /* root_states.c */

/* outbox.c: the chunks of a version that is no longer under its name. */
int machine_outbox_add(struct applying *a, const struct name *n, const struct version *v, struct slice chunks);

/* clients.c: exactly once, after Lee et al., "Implementing Linearizability at Large Scale and Low Latency" (RIFL),
 * SOSP 2015, §3. *ret_known: the command was seen before and its answer is in `result`. */
int machine_client_recall(struct applying *a, const struct command *c, struct buf *result, bool *ret_known);
int machine_client_record(struct applying *a, const struct command *c, struct slice answer);

/* root.c: ERR_NOT_FOUND before ROOT_INIT. */
int machine_root_get(struct applying *a, struct root_value *out);
int machine_root_put(struct applying *a, const struct root_value *v);
int machine_member_get(struct applying *a, uint32_t node, struct member *out);
/* Writes the row in a new epoch, and the settings with it. */
int machine_member_put(struct applying *a, struct root_value *root, struct member *row);
/* tickets.c */
int machine_ticket_get(struct applying *a, const uint8_t id[16], struct ticket_value *out);
int machine_ticket_put(struct applying *a, const uint8_t id[16], const struct ticket_value *v);

#endif
