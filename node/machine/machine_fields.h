/* Fields that commands, queries, rows and pages share, beside those of messages. Private to this folder. */
#ifndef SHOAL_MACHINE_FIELDS_H
#define SHOAL_MACHINE_FIELDS_H

#include "command.h"
#include "fields.h"

/* Two items: bucket, key. */
#define FIELDS_NAME 2
void fields_put_name(struct buf *b, const struct name *n);
void fields_get_name(struct cbor_reader *r, struct name *out);
/* The bucket and any text of at most NAME_KEY_MAX bytes, also an empty one, for its key. */
void fields_get_prefix(struct cbor_reader *r, struct name *out);
/* A terminated key in a caller's array. */
void fields_get_key(struct cbor_reader *r, char out[NAME_KEY_MAX + 1], size_t *ret_size);

void fields_put_version(struct buf *b, const struct version *v);
void fields_get_version(struct cbor_reader *r, struct version *out);
bool version_is_zero(const struct version *v);
bool version_equal(const struct version *a, const struct version *b);

void fields_put_digest(struct buf *b, const struct digest *d);
void fields_get_digest(struct cbor_reader *r, struct digest *out);

/* One array item of [digest, size]; at most COMMAND_CHUNKS_MAX of them, into space. */
void fields_put_chunks(struct buf *b, const struct chunk_ref *chunks, uint32_t count);
uint32_t fields_get_chunks(struct cbor_reader *r, struct chunk_ref *space);

/* What lies under a name, as two items: inline or not, and the bytes or the chunks. The sizes of the parts must add up
 * to `size`. */
struct content {
    bool is_inline;
    const uint8_t *bytes; /* inline: `size` of them */
    uint32_t chunk_count;
    struct chunk_ref *chunks;
};
#define FIELDS_CONTENT 2
void fields_put_content(struct buf *b, const struct content *c, uint64_t size);
void fields_get_content(struct cbor_reader *r, uint64_t size, struct chunk_ref *space, struct content *out);

/* Three items. */
#define FIELDS_SETTINGS 3
void fields_put_settings(struct buf *b, const struct swarm_settings *s);
void fields_get_settings(struct cbor_reader *r, struct swarm_settings *out);

/* A member row as the last item: it takes the rest of the input. */
void fields_get_last_member(struct cbor_reader *r, struct member *out);

#endif
