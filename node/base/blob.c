#include "blob.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

struct blob *blob_new(size_t size) {
    if (size > SIZE_MAX - sizeof(struct blob)) {
        return NULL;
    }
    struct blob *b = malloc(sizeof(*b) + size);
    if (b) {
        b->refs = 1;
        b->size = size;
    }
    return b;
}

struct blob *blob_copy(const void *bytes, size_t size) {
    CHECK(bytes || size == 0);
    struct blob *b = blob_new(size);
    if (b && size > 0) {
        memcpy(b->bytes, bytes, size);
    }
    return b;
}

struct blob *blob_ref(struct blob *b) {
    CHECK(b->refs > 0);
    CHECK(b->refs < UINT32_MAX);
    b->refs++;
    return b;
}

void blob_unref(struct blob *b) {
    if (!b) {
        return;
    }
    CHECK(b->refs > 0);
    if (--b->refs == 0) {
        free(b);
    }
}
