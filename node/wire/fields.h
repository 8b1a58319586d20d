/* Fields that several families of messages share, over the cursor of codec.h. Private to this folder and
 * node/machine. */
#ifndef SHOAL_FIELDS_H
#define SHOAL_FIELDS_H

#include "codec.h"
#include "raft.h"

/* A condition on what was read: marks the cursor wrong when it does not hold. */
void field_require(struct cbor_reader *r, bool holds);
uint32_t field_get_u32(struct cbor_reader *r);

/* A terminated text in a caller's array of `capacity`; the rest of the array is zeroed. */
void field_put_string(struct buf *b, const char *text);
void field_get_string(struct cbor_reader *r, char *out, size_t capacity);

/* 0 or an error of errors.h. */
void field_put_status(struct buf *b, int status);
int field_get_status(struct cbor_reader *r);

/* Distinct node numbers, none 0, at most ROUTE_NODES_MAX. */
void field_put_nodes(struct buf *b, const uint32_t *nodes, uint8_t count);
uint8_t field_get_nodes(struct cbor_reader *r, uint32_t *nodes);

/* index, and the rest as raft_config_encode writes it in a byte string: two items. */
void field_put_config(struct buf *b, const struct raft_config *c);
void field_get_config(struct cbor_reader *r, struct raft_config *out);

/* The head of a byte string whose `size` bytes the caller appends next, and how long such a head is. */
void field_put_bytes_head(struct buf *b, size_t size);
size_t field_head_size(uint64_t argument);
/* What was appended from `at` on becomes a byte string, or the items of an array. Canonical heads vary in length
 * (RFC 8949 §4.2.1), so one that depends on what follows it can only be put in afterwards. */
void field_wrap_bytes(struct buf *b, size_t at);
void field_wrap_array(struct buf *b, size_t at, uint64_t count);

#endif
