/* The rows of LIST and STATUS_REPLY. Private to this folder. */
#ifndef SHOAL_CLIENT_ROWS_H
#define SHOAL_CLIENT_ROWS_H

#include "client.h"
#include "codec.h"

void client_put_text(struct buf *out, struct client_text text);
struct client_text client_get_text(struct cbor_reader *r, size_t max);

/* An array of rows, to the end of the message. */
void client_put_entries(struct buf *out, const struct client_entry *entries, uint32_t count);
void client_put_members(struct buf *out, const struct client_member *members, uint32_t count);

#endif
