/* The data directory of a node: private, used by one node at a time, and the identity in it. */
#ifndef SHOAL_DATADIR_H
#define SHOAL_DATADIR_H

#include <limits.h>
#include <stdbool.h>

#include "identity.h"

#define DATADIR_ERROR_MAX (PATH_MAX + 256)

struct datadir {
    int fd;      /* the directory */
    int lock_fd; /* locked as long as it is open */
    char path[PATH_MAX];
    char error[DATADIR_ERROR_MAX];
};

/* Makes it (0700, and what leads to it) when it is missing, and locks it: ERR_IN_USE when a node runs in it.
 * ERR_REFUSED when others could write in it, or when it holds files and none of them is a node's; ERR_IO.
 * datadir_close() in any case. */
int datadir_open(struct datadir *d, const char *path);
void datadir_close(struct datadir *d);
/* Reads the key file "identity" (0600): ERR_NOT_FOUND, ERR_REFUSED when others could read it, ERR_INVALID,
 * ERR_VERSION, ERR_IO. */
int datadir_load_identity(struct datadir *d, struct identity *out);
/* Makes an identity from a fresh seed and writes the key file: whole or not at all, and durable. The seed is wiped. */
int datadir_create_identity(struct datadir *d, uint8_t seed[IDENTITY_SEED_SIZE], struct identity *out);
/* A file or directory of this name is in the data directory. */
bool datadir_has(const struct datadir *d, const char *name);

#endif
