#include "name.h"

#include <stdbool.h>
#include <string.h>

#include "check.h"
#include "digest.h"
#include "errors.h"
#include "machine_name.h"
#include "ring.h"

#define BUCKET_DEFAULT "default"

/* The code point at p and its length in bytes; 0 when it is no UTF-8 (RFC 3629 §3: no overlong forms, no surrogates,
 * nothing past U+10FFFF). */
static size_t utf8_point(const uint8_t *p, size_t left, uint32_t *ret_point) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf8 ? 4 : 0;
    if (length == 0 || length > left) {
        return 0;
    }
    uint32_t point = length == 1 ? p[0] : p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        point = point << 6 | (p[i] & 0x3fu);
    }
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    if (point < smallest[length] || point > 0x10ffff || surrogate) {
        return 0;
    }
    *ret_point = point;
    return length;
}

static bool key_valid(const char *key, size_t size) {
    const uint8_t *p = (const uint8_t *)key;
    size_t at = 0;
    while (at < size) {
        uint32_t point = 0;
        size_t length = utf8_point(p + at, size - at, &point);
        bool control = point < 0x20 || (point >= 0x7f && point < 0xa0); /* C0, DEL and C1 */
        if (length == 0 || control) {
            return false;
        }
        at += length;
    }
    CHECK(at == size);
    return size > 0;
}

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool bucket_valid(const char *bucket, size_t size) {
    if (size == 0 || !is_alnum(bucket[0])) {
        return false;
    }
    for (size_t i = 1; i < size; i++) {
        if (!is_alnum(bucket[i]) && bucket[i] != '.' && bucket[i] != '-') {
            return false;
        }
    }
    return true;
}

static int part_set(char *out, size_t max, size_t *ret_size, const char *text, size_t size) {
    if (size > max) {
        return ERR_TOO_LARGE;
    }
    if (size > 0) {
        memcpy(out, text, size);
    }
    out[size] = 0;
    *ret_size = size;
    return 0;
}

int name_set_bucket(struct name *n, const char *bucket, size_t size) {
    if (!bucket_valid(bucket, size)) {
        return ERR_INVALID;
    }
    return part_set(n->bucket, NAME_BUCKET_MAX, &n->bucket_size, bucket, size);
}

static unsigned shard_of(const struct name *n) {
    struct digest d;
    digest_of(n->key, n->key_size, &d);
    return (unsigned)(ring_position(&d) % NAME_SHARDS);
}

/* Its bucket is set already: both say where it lies. */
int name_set_key(struct name *n, const char *key, size_t size) {
    if (!key_valid(key, size)) {
        return ERR_INVALID;
    }
    int rc = part_set(n->key, NAME_KEY_MAX, &n->key_size, key, size);
    if (rc == 0) {
        n->shard = shard_of(n);
        n->position = name_shard_position(n->bucket, n->bucket_size, n->shard);
    }
    return rc;
}

int name_parse(const char *text, size_t size, struct name *out) {
    struct name n = {.bucket = BUCKET_DEFAULT, .bucket_size = sizeof(BUCKET_DEFAULT) - 1};
    CHECK(text || size == 0);
    const char *slash = size > 0 ? memchr(text, '/', size) : NULL;
    const char *key = slash ? slash + 1 : text;
    size_t key_size = slash ? size - (size_t)(key - text) : size;
    int rc = slash ? name_set_bucket(&n, text, (size_t)(slash - text)) : 0;
    if (rc == 0) {
        rc = name_set_key(&n, key, key_size);
    }
    if (rc == 0) {
        *out = n;
    }
    return rc;
}

size_t name_text(const struct name *n, char out[NAME_TEXT_MAX + 1]) {
    CHECK(n->bucket_size > 0 && n->bucket_size <= NAME_BUCKET_MAX);
    CHECK(n->key_size <= NAME_KEY_MAX);
    size_t at = 0;
    bool bare = strcmp(n->bucket, BUCKET_DEFAULT) == 0 && !memchr(n->key, '/', n->key_size);
    if (!bare) {
        memcpy(out, n->bucket, n->bucket_size);
        out[n->bucket_size] = '/';
        at = n->bucket_size + 1;
    }
    memcpy(out + at, n->key, n->key_size);
    out[at + n->key_size] = 0;
    return at + n->key_size;
}

unsigned name_shard(const struct name *n) {
    CHECK(n->key_size > 0);
    return n->shard;
}

uint64_t name_shard_position(const char *bucket, size_t bucket_size, unsigned shard) {
    CHECK(bucket_size <= NAME_BUCKET_MAX);
    CHECK(shard < NAME_SHARDS);
    uint8_t number = (uint8_t)shard;
    const struct digest_part parts[] = {{bucket, bucket_size}, {&number, sizeof(number)}};
    struct digest d;
    digest_of_parts(parts, sizeof(parts) / sizeof(parts[0]), &d);
    return ring_position(&d);
}

uint64_t name_position(const struct name *n) {
    CHECK(n->key_size > 0);
    return n->position;
}
