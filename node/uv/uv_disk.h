/* The disk port (node/port/disk.h) over LMDB: one writer thread for each environment, and a pool of threads of its own
 * for reads and other work, so that neither waits behind anything else that the process does. */
#ifndef SHOAL_UV_DISK_H
#define SHOAL_UV_DISK_H

#include <stdint.h>
#include <uv.h>

#include "disk.h"

struct uv_disk_options {
    const char *dir;       /* must exist; the environments are dir/log, dir/meta and dir/chunks */
    uint64_t capacity;     /* bytes they may use together; 0: what the file system holds */
    unsigned pool_threads; /* 0: UV_DISK_POOL_THREADS */
};

#define UV_DISK_POOL_THREADS 4
#define UV_DISK_POOL_THREADS_MAX 32

/* Opens the environments and starts the threads. Errors as for store_open_lmdb; ERR_NOMEM. The loop must run once more
 * also after an error, to let go of what was begun. */
int uv_disk_open(uv_loop_t *loop, const struct uv_disk_options *options, struct disk **ret_disk);
/* Finishes what is queued, without waiting for company, also what is queued by `done` callbacks meanwhile, ends the
 * threads, closes the environments, then calls `closed` on the loop; the disk is gone then. After a failure nothing is
 * finished: what is queued is forgotten without a callback. Views that are still open are closed. */
void uv_disk_close(struct disk *d, void (*closed)(void *ctx), void *ctx);

/* Write transactions committed so far. */
uint64_t uv_disk_commits(const struct disk *d, enum disk_env env);

#endif
