/* What a user calls a file: `bucket/key`; a name without a slash lives in bucket `default`. */
#ifndef SHOAL_NAME_H
#define SHOAL_NAME_H

#include <stddef.h>
#include <stdint.h>

#define NAME_BUCKET_MAX 63
#define NAME_KEY_MAX 1024
#define NAME_TEXT_MAX (NAME_BUCKET_MAX + 1 + NAME_KEY_MAX)
#define NAME_SHARDS 16 /* of every bucket: listings merge this many ordered streams */

struct name {
    char bucket[NAME_BUCKET_MAX + 1]; /* terminated */
    char key[NAME_KEY_MAX + 1];       /* terminated; any UTF-8 without NUL */
    size_t bucket_size, key_size;
    uint64_t position; /* where it lies on the ring: digests, so known once rather than asked for again and again */
    unsigned shard;
};

/* ERR_INVALID: empty, not UTF-8, a control character, a bucket that is not [a-z0-9][a-z0-9.-]* ; ERR_TOO_LARGE.
 * A leading slash is refused. Text whose part before the first slash is no valid bucket name is ERR_INVALID. */
int name_parse(const char *text, size_t size, struct name *out);
/* "bucket/key", or "key" alone in bucket default when the key has no slash. Returns the length. */
size_t name_text(const struct name *n, char out[NAME_TEXT_MAX + 1]);
unsigned name_shard(const struct name *n); /* digest(key) mod NAME_SHARDS */
uint64_t name_position(const struct name *n);
uint64_t name_shard_position(const char *bucket, size_t bucket_size, unsigned shard);

#endif
