/* Secrets come straight from the kernel; the many numbers that only decide a choice or a delay, or need only differ,
 * come from a pool, because a system call for each would be felt (the core draws one for every step). It is filled now
 * and then with the stream of a key from the kernel. What has been handed out is wiped from the pool at once. The
 * process does not fork, so no two pools are ever the same. */
#include "random.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "uv_ports.h"

#define RANDOM_MAGIC 0x72616e64u
#define RANDOM_POOL_SIZE 4096

_Static_assert(RANDOM_POOL_SIZE % sizeof(uint64_t) == 0, "a pool is a whole number of draws");

struct random {
    uint32_t magic;
    size_t used; /* bytes from the front of pool, all of them wiped */
    uint8_t pool[RANDOM_POOL_SIZE];
};

int random_new(struct random **ret_random) {
    struct random *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->magic = RANDOM_MAGIC;
    r->used = sizeof r->pool;
    *ret_random = r;
    return 0;
}

void random_free(struct random *r) {
    CHECK(r->magic == RANDOM_MAGIC);
    sodium_memzero(r, sizeof *r);
    free(r);
}

void random_fill(struct random *r, void *out, size_t size) {
    CHECK(r->magic == RANDOM_MAGIC);
    CHECK(out != NULL || size == 0);
    randombytes_buf(out, size);
}

static void refill(struct random *r) {
    uint8_t key[randombytes_SEEDBYTES];
    randombytes_buf(key, sizeof key);
    randombytes_buf_deterministic(r->pool, sizeof r->pool, key);
    sodium_memzero(key, sizeof key);
    r->used = 0;
}

uint64_t random_u64(struct random *r) {
    CHECK(r->magic == RANDOM_MAGIC);
    uint64_t v;
    if (r->used == sizeof r->pool) {
        refill(r);
    }
    CHECK(r->used <= sizeof r->pool - sizeof v);
    memcpy(&v, r->pool + r->used, sizeof v);
    sodium_memzero(r->pool + r->used, sizeof v);
    r->used += sizeof v;
    return v;
}
