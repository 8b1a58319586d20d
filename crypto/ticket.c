#include "ticket.h"

#include <sodium.h>
#include <stdbool.h>
#include <string.h>

#include "check.h"
#include "errors.h"

#define NAME "shoal"
#define NAME_SIZE (sizeof NAME - 1)
#define VERSION_DIGIT '1'
#define HEAD_SIZE (NAME_SIZE + 1)
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define CHECKSUM_SIZE 4
#define FIXED_SIZE (SWARM_ID_SIZE + 32 + TICKET_ID_SIZE + TICKET_SECRET_SIZE + 8 + 1)
#define BODY_MAX (FIXED_SIZE + TICKET_ADDRS_MAX * TICKET_ADDR_SIZE + CHECKSUM_SIZE)

_Static_assert(HEAD_SIZE + sodium_base64_ENCODED_LEN(BODY_MAX, BASE64) <= TICKET_TEXT_MAX, "every ticket fits");
_Static_assert(TICKET_ADDR_SIZE <= 256, "an address length is one byte");

/* A body being written: it is large enough for any valid ticket. */
struct writer {
    uint8_t *bytes;
    size_t size;
};

/* A body being read. Reading past its end sets `failed`, which sticks. */
struct reader {
    const uint8_t *bytes;
    size_t left;
    bool failed;
};

static void put(struct writer *w, const void *bytes, size_t size) {
    CHECK(size <= BODY_MAX - w->size);
    memcpy(w->bytes + w->size, bytes, size);
    w->size += size;
}

static void put_u8(struct writer *w, size_t value) {
    CHECK(value <= UINT8_MAX);
    put(w, &(uint8_t){(uint8_t)value}, 1);
}

static void get(struct reader *r, void *out, size_t size) {
    if (r->failed || size > r->left) {
        r->failed = true;
        memset(out, 0, size);
        return;
    }
    memcpy(out, r->bytes, size);
    r->bytes += size;
    r->left -= size;
}

static size_t get_u8(struct reader *r) {
    uint8_t value;
    get(r, &value, 1);
    return value;
}

/* `addr` holds TICKET_ADDR_SIZE bytes. */
static bool addr_valid(const char *addr) {
    size_t length = 0;
    while (length < TICKET_ADDR_SIZE && addr[length] > ' ' && addr[length] <= '~') {
        length++;
    }
    return length > 0 && length < TICKET_ADDR_SIZE && addr[length] == '\0';
}

static bool addrs_valid(const struct ticket *t) {
    if (t->addr_count == 0 || t->addr_count > TICKET_ADDRS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < t->addr_count; i++) {
        if (!addr_valid(t->addrs[i])) {
            return false;
        }
    }
    return true;
}

static void checksum(const uint8_t *bytes, size_t size, uint8_t out[CHECKSUM_SIZE]) {
    struct digest digest;
    digest_of(bytes, size, &digest);
    memcpy(out, digest.bytes, CHECKSUM_SIZE);
}

static size_t body_encode(const struct ticket *t, uint8_t body[BODY_MAX]) {
    struct writer w = {.bytes = body};
    put(&w, t->swarm, sizeof t->swarm);
    put(&w, t->inviter, sizeof t->inviter);
    put(&w, t->id, sizeof t->id);
    put(&w, t->secret, sizeof t->secret);
    for (unsigned shift = 64; shift > 0; shift -= 8) {
        put_u8(&w, (t->expires_ms >> (shift - 8)) & 0xff);
    }
    put_u8(&w, t->addr_count);
    for (uint32_t i = 0; i < t->addr_count; i++) {
        size_t length = strlen(t->addrs[i]);
        put_u8(&w, length);
        put(&w, t->addrs[i], length);
    }
    uint8_t sum[CHECKSUM_SIZE];
    checksum(body, w.size, sum);
    put(&w, sum, sizeof sum);
    return w.size;
}

int ticket_encode(const struct ticket *t, char *out, size_t capacity) {
    if (!addrs_valid(t)) {
        return ERR_INVALID;
    }
    uint8_t body[BODY_MAX];
    size_t size = body_encode(t, body);
    int rc = ERR_TOO_LARGE;
    if (HEAD_SIZE + sodium_base64_encoded_len(size, BASE64) > capacity) {
        goto done;
    }
    memcpy(out, NAME, NAME_SIZE);
    out[NAME_SIZE] = VERSION_DIGIT;
    CHECK(sodium_bin2base64(out + HEAD_SIZE, capacity - HEAD_SIZE, body, size, BASE64) != NULL);
    rc = 0;
done:
    sodium_memzero(body, sizeof body);
    return rc;
}

/* Of a body whose checksum holds, without the checksum. */
static int body_decode(const uint8_t *body, size_t size, struct ticket *t) {
    struct reader r = {.bytes = body, .left = size};
    memset(t, 0, sizeof *t);
    get(&r, t->swarm, sizeof t->swarm);
    get(&r, t->inviter, sizeof t->inviter);
    get(&r, t->id, sizeof t->id);
    get(&r, t->secret, sizeof t->secret);
    for (unsigned i = 0; i < 8; i++) {
        t->expires_ms = t->expires_ms << 8 | get_u8(&r);
    }
    size_t count = get_u8(&r);
    if (count > TICKET_ADDRS_MAX) {
        return ERR_INVALID;
    }
    t->addr_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        size_t length = get_u8(&r);
        if (length >= TICKET_ADDR_SIZE) {
            return ERR_INVALID;
        }
        get(&r, t->addrs[i], length);
        if (strlen(t->addrs[i]) != length) {
            return ERR_INVALID;
        }
    }
    return !r.failed && r.left == 0 && addrs_valid(t) ? 0 : ERR_INVALID;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Name and version, as far as they can be told from any other text. */
static int head_decode(const char *text, size_t size) {
    if (size < HEAD_SIZE || memcmp(text, NAME, NAME_SIZE) != 0) {
        return ERR_INVALID;
    }
    char version = text[NAME_SIZE];
    if (version == VERSION_DIGIT) {
        return 0;
    }
    return version >= '0' && version <= '9' ? ERR_VERSION : ERR_INVALID;
}

int ticket_decode(const char *text, size_t size, struct ticket *out) {
    CHECK(text != NULL || size == 0);
    while (size > 0 && is_space(text[0])) {
        text++;
        size--;
    }
    while (size > 0 && is_space(text[size - 1])) {
        size--;
    }
    int rc = head_decode(text, size);
    if (rc != 0) {
        return rc;
    }
    uint8_t body[BODY_MAX];
    uint8_t sum[CHECKSUM_SIZE];
    struct ticket t;
    size_t body_size = 0;
    rc = ERR_INVALID;
    if (sodium_base642bin(body, sizeof body, text + HEAD_SIZE, size - HEAD_SIZE, NULL, &body_size, NULL, BASE64) != 0 ||
        body_size < CHECKSUM_SIZE) {
        goto done;
    }
    checksum(body, body_size - CHECKSUM_SIZE, sum);
    if (memcmp(sum, body + body_size - CHECKSUM_SIZE, CHECKSUM_SIZE) != 0) {
        goto done;
    }
    rc = body_decode(body, body_size - CHECKSUM_SIZE, &t);
    if (rc == 0) {
        *out = t;
    }
    sodium_memzero(&t, sizeof t);
done:
    sodium_memzero(body, sizeof body);
    return rc;
}

void ticket_release(struct ticket *t) {
    CHECK(t != NULL);
    sodium_memzero(t, sizeof *t);
}

void ticket_verifier(const uint8_t secret[TICKET_SECRET_SIZE], struct digest *out) {
    /* The label keeps this digest from ever being that of a stored chunk or name. */
    static const char label[] = "shoal ticket verifier";
    const struct digest_part parts[] = {{label, sizeof label - 1}, {secret, TICKET_SECRET_SIZE}};
    digest_of_parts(parts, sizeof parts / sizeof parts[0], out);
}

void ticket_prove(const struct digest *verifier, const uint8_t handshake_hash[32], struct digest *out) {
    digest_keyed(verifier->bytes, handshake_hash, 32, out);
}
