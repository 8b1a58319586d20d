/* Where `get` writes: standard output, a device or pipe as it is, or a regular file, which appears under its name only
 * when it is whole: it is written beside it, synced, and renamed. */
#ifndef SHOAL_OUTPUT_H
#define SHOAL_OUTPUT_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OUTPUT_ERROR_MAX (PATH_MAX + 256)

struct output {
    int fd;
    char path[PATH_MAX]; /* for messages, and the final name */
    char temp[PATH_MAX]; /* "" when fd is written in place */
    char error[OUTPUT_ERROR_MAX];
};

/* path: "-" for standard output; a directory takes a file named base. Nothing is made under the final name yet.
 * ERR_IO, ERR_INVALID, with one line in error; then there is nothing to abandon. */
int output_open(struct output *o, const char *path, const char *base);
int output_write(struct output *o, const uint8_t *bytes, size_t size);
/* Everything is on the disk and under its name. After an error the output was abandoned. */
int output_commit(struct output *o);
/* Leaves no trace of a file that is not whole. */
void output_abandon(struct output *o);

#endif
