#include "datadir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "errors.h"

#define IDENTITY_NAME "identity"
#define IDENTITY_TEMP "identity.new"
#define LOCK_NAME "lock"
#define META_FILE "meta/data.mdb"
#define PID_TEXT_MAX 16

static int __attribute__((format(printf, 3, 4))) datadir_fail(struct datadir *d, int status, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(d->error, sizeof d->error, format, list);
    va_end(list);
    return status;
}

/* One level after another, as `mkdir -p` does; only the last becomes private. */
static int make_path(const char *path) {
    char part[PATH_MAX];
    size_t size = strlen(path);
    CHECK(size > 0 && size < sizeof part);
    memcpy(part, path, size + 1);
    for (size_t i = 1; i < size; i++) {
        if (part[i] != '/')
            continue;
        part[i] = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -1;
        part[i] = '/';
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST ? 0 : -1;
}

static bool is_own_lock(const struct datadir *d) {
    struct stat st;
    return fstatat(d->fd, LOCK_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_size < PID_TEXT_MAX;
}

/* The lock is made before anything else, so a first start that was interrupted left it behind at least. */
static bool is_of_a_node(const struct datadir *d) {
    return datadir_has(d, IDENTITY_NAME) || datadir_has(d, IDENTITY_TEMP) || datadir_has(d, META_FILE) ||
           is_own_lock(d);
}

/* Hidden files and lost+found are in many a directory that is as good as empty: a mounted file system, a new home. */
static bool counts_as_content(const char *name) {
    return name[0] != '.' && strcmp(name, "lost+found") != 0;
}

/* Somebody's sources, say, where a node should not make itself at home by mistake. */
static int datadir_refuse_foreign(struct datadir *d) {
    if (is_of_a_node(d))
        return 0;
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (list == NULL) {
        int error = datadir_fail(d, ERR_IO, "%s: %s", d->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return error;
    }
    const struct dirent *entry = readdir(list);
    while (entry != NULL && !counts_as_content(entry->d_name))
        entry = readdir(list);
    int error = 0;
    if (entry != NULL)
        error = datadir_fail(d, ERR_REFUSED,
                             "%s holds other files ('%s') and none of a node: choose an empty directory, or a new one, "
                             "with -d",
                             d->path, entry->d_name);
    closedir(list);
    return error;
}

static int datadir_check(struct datadir *d) {
    struct stat st;
    if (fstat(d->fd, &st) != 0)
        return datadir_fail(d, ERR_IO, "%s: %s", d->path, strerror(errno));
    if (st.st_uid != geteuid())
        return datadir_fail(d, ERR_REFUSED, "%s belongs to another user: choose another directory with -d", d->path);
    int error = datadir_refuse_foreign(d);
    if (error != 0)
        return error;
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return datadir_fail(d, ERR_REFUSED, "%s can be written by other users: chmod 700 %s", d->path, d->path);
    return 0;
}

static int datadir_lock(struct datadir *d) {
    char text[PID_TEXT_MAX] = "";
    d->lock_fd = openat(d->fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0)
        return datadir_fail(d, ERR_IO, "%s/" LOCK_NAME ": %s", d->path, strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t got = pread(d->lock_fd, text, sizeof text - 1, 0);
        text[got > 0 ? strspn(text, "0123456789") : 0] = '\0';
        return datadir_fail(d, ERR_IN_USE,
                            "a node is already running in %s (process %s): stop it first, or use "
                            "another directory with -d",
                            d->path, text[0] != '\0' ? text : "unknown");
    }
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(d->lock_fd, 0) != 0 || pwrite(d->lock_fd, text, (size_t)size, 0) != size)
        return datadir_fail(d, ERR_IO, "%s/" LOCK_NAME ": %s", d->path, strerror(errno));
    return 0;
}

int datadir_open(struct datadir *d, const char *path) {
    memset(d, 0, sizeof *d);
    d->fd = -1;
    d->lock_fd = -1;
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof d->path)
        return datadir_fail(d, ERR_INVALID, "the name of the data directory is too long");
    memcpy(d->path, path, size + 1);
    if (make_path(path) != 0)
        return datadir_fail(d, ERR_IO, "%s: %s", path, strerror(errno));
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0)
        return datadir_fail(d, ERR_IO, "%s: %s", path, strerror(errno));
    int error = datadir_check(d);
    return error != 0 ? error : datadir_lock(d);
}

void datadir_close(struct datadir *d) {
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    if (d->fd >= 0)
        close(d->fd);
    d->lock_fd = -1;
    d->fd = -1;
}

bool datadir_has(const struct datadir *d, const char *name) {
    CHECK(d->fd >= 0);
    return faccessat(d->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int identity_file_check(struct datadir *d, int fd) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return datadir_fail(d, ERR_IO, "%s/" IDENTITY_NAME ": %s", d->path, strerror(errno));
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return datadir_fail(d, ERR_REFUSED,
                            "%s/" IDENTITY_NAME " can be read by other users: whoever copied it can "
                            "pose as this node; if nobody did: chmod 600 %s/" IDENTITY_NAME,
                            d->path, d->path);
    return 0;
}

int datadir_load_identity(struct datadir *d, struct identity *out) {
    char text[IDENTITY_FILE_MAX];
    CHECK(d->fd >= 0);
    int fd = openat(d->fd, IDENTITY_NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return datadir_fail(d, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s/" IDENTITY_NAME ": %s", d->path,
                            strerror(errno));
    int error = identity_file_check(d, fd);
    ssize_t got = error == 0 ? read(fd, text, sizeof text) : 0;
    if (got < 0)
        error = datadir_fail(d, ERR_IO, "%s/" IDENTITY_NAME ": %s", d->path, strerror(errno));
    if (error == 0) {
        error = identity_decode(text, (size_t)got, out);
        if (error != 0)
            datadir_fail(d, error, "%s/" IDENTITY_NAME " is not a key file of this program: bring back the right one",
                         d->path);
    }
    explicit_bzero(text, sizeof text);
    close(fd);
    return error;
}

/* Renaming a synced file, then syncing the directory: after a crash the key is there whole or not at all. */
static int identity_write(const struct datadir *d, const char *text, size_t size) {
    unlinkat(d->fd, IDENTITY_TEMP, 0);
    int fd = openat(d->fd, IDENTITY_TEMP, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    bool written = fchmod(fd, 0600) == 0 && write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    written = close(fd) == 0 && written;
    if (written && renameat(d->fd, IDENTITY_TEMP, d->fd, IDENTITY_NAME) == 0)
        return fsync(d->fd);
    return -1;
}

int datadir_create_identity(struct datadir *d, uint8_t seed[IDENTITY_SEED_SIZE], struct identity *out) {
    char text[IDENTITY_FILE_MAX];
    CHECK(d->fd >= 0 && !datadir_has(d, IDENTITY_NAME));
    int error = identity_from_seed(seed, out);
    explicit_bzero(seed, IDENTITY_SEED_SIZE);
    if (error != 0)
        return datadir_fail(d, error, "cannot make an identity: try again");
    size_t size = identity_encode(out, text);
    if (identity_write(d, text, size) != 0) {
        error = datadir_fail(d, ERR_IO, "%s/" IDENTITY_NAME ": %s", d->path, strerror(errno));
        identity_release(out);
    }
    explicit_bzero(text, sizeof text);
    return error;
}
