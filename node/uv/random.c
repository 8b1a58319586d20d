#include "random.h"

#include <sodium.h>
#include <stdlib.h>

#include "check.h"
#include "errors.h"
#include "uv_ports.h"

#define RANDOM_MAGIC 0x72616e64u

struct random {
    uint32_t magic;
};

int random_new(struct random **ret_random) {
    struct random *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->magic = RANDOM_MAGIC;
    *ret_random = r;
    return 0;
}

void random_free(struct random *r) {
    CHECK(r->magic == RANDOM_MAGIC);
    r->magic = 0;
    free(r);
}

void random_fill(struct random *r, void *out, size_t size) {
    CHECK(r->magic == RANDOM_MAGIC);
    CHECK(out != NULL || size == 0);
    randombytes_buf(out, size);
}

uint64_t random_u64(struct random *r) {
    uint64_t v;
    random_fill(r, &v, sizeof v);
    return v;
}
