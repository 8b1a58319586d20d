#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "errors.h"

#define TEMP_NAME ".shoal-XXXXXX"

static int __attribute__((format(printf, 3, 4))) output_fail(struct output *o, int status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(o->error, sizeof o->error, format, list);
    va_end(list);
    return status;
}

static int output_fail_errno(struct output *o) {
    int status = errno == ENOSPC || errno == EDQUOT ? ERR_NO_SPACE : ERR_IO;
    return output_fail(o, status, "%s: %s", o->path, strerror(errno));
}

/* The directory part with its slash, "" for the current directory. */
static int directory_size(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? 0 : (int)(slash - path) + 1;
}

static int output_set_path(struct output *o, const char *path, const char *base) {
    struct stat st;
    bool is_directory = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int size = snprintf(o->path, sizeof o->path, is_directory ? "%s/%s" : "%s%.0s", path, base);
    if (size < 0 || (size_t)size >= sizeof o->path)
        return output_fail(o, ERR_INVALID, "the name of the file is too long");
    /* A file that is reached through a symbolic link is to be replaced, not the link. */
    char real[PATH_MAX];
    if (realpath(o->path, real) != NULL)
        memcpy(o->path, real, strlen(real) + 1);
    return 0;
}

static mode_t new_file_mode(void) {
    mode_t mask = umask(0);
    umask(mask);
    return 0666 & ~mask;
}

static int output_open_temp(struct output *o, mode_t mode) {
    int size = snprintf(o->temp, sizeof o->temp, "%.*s" TEMP_NAME, directory_size(o->path), o->path);
    if (size < 0 || (size_t)size >= sizeof o->temp) {
        o->temp[0] = '\0';
        return output_fail(o, ERR_INVALID, "the name of the file is too long");
    }
    o->fd = mkostemp(o->temp, O_CLOEXEC);
    if (o->fd < 0) {
        o->temp[0] = '\0';
        return output_fail_errno(o);
    }
    if (fchmod(o->fd, mode) == 0)
        return 0;
    int error = output_fail_errno(o);
    output_abandon(o);
    return error;
}

int output_open(struct output *o, const char *path, const char *base) {
    CHECK(path != NULL && base != NULL);
    struct stat st;
    memset(o, 0, sizeof *o);
    o->fd = -1;
    if (strcmp(path, "-") == 0) {
        snprintf(o->path, sizeof o->path, "standard output");
        o->fd = STDOUT_FILENO;
        return 0;
    }
    int error = output_set_path(o, path, base);
    if (error != 0)
        return error;
    bool exists = stat(o->path, &st) == 0;
    if (!exists || S_ISREG(st.st_mode))
        return output_open_temp(o, exists ? st.st_mode & 0777 : new_file_mode());
    o->fd = open(o->path, O_WRONLY | O_CLOEXEC);
    return o->fd < 0 ? output_fail_errno(o) : 0;
}

int output_write(struct output *o, const uint8_t *bytes, size_t size) {
    CHECK(o->fd >= 0);
    while (size > 0) {
        ssize_t wrote = write(o->fd, bytes, size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return output_fail_errno(o);
        bytes += wrote;
        size -= (size_t)wrote;
    }
    return 0;
}

static int sync_directory(const char *path) {
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%.*s.", directory_size(path), path);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = fsync(fd);
    close(fd);
    return result;
}

int output_commit(struct output *o) {
    CHECK(o->fd >= 0);
    int fd = o->fd;
    if (o->temp[0] == '\0') {
        o->fd = -1;
        return fd == STDOUT_FILENO || close(fd) == 0 ? 0 : output_fail_errno(o);
    }
    if (fsync(fd) != 0 || rename(o->temp, o->path) != 0) {
        int error = output_fail_errno(o);
        output_abandon(o);
        return error;
    }
    o->fd = -1;
    o->temp[0] = '\0';
    return close(fd) == 0 && sync_directory(o->path) == 0 ? 0 : output_fail_errno(o);
}

void output_abandon(struct output *o) {
    if (o->fd >= 0 && o->fd != STDOUT_FILENO)
        close(o->fd);
    o->fd = -1;
    if (o->temp[0] != '\0')
        unlink(o->temp);
    o->temp[0] = '\0';
}
