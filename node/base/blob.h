/* Immutable shared bytes with a reference count. The count is touched on the loop thread only. */
#ifndef SHOAL_BLOB_H
#define SHOAL_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct blob {
    uint32_t refs;
    size_t size;
    uint8_t bytes[];
};

struct blob *blob_new(size_t size);                     /* one reference, bytes unset; NULL: out of memory */
struct blob *blob_copy(const void *bytes, size_t size); /* NULL: out of memory */
struct blob *blob_ref(struct blob *b);
void blob_unref(struct blob *b); /* NULL is fine */

#endif
