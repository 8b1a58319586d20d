#include "wal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <isa-l/crc64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "check.h"
#include "errors.h"

#define PATH_SIZE 4096
#define BLOCK 4096u /* no write touches the block of an earlier record: a torn write damages itself alone */
#define MAGIC "shoal wal 1\0\0\0\0"
#define MAGIC_SIZE 16
#define FILE_HEAD 48
#define RECORD_HEAD 40
#define CHECKED_HEAD 32               /* of a record's */
#define RECORD_MAX (1u << 30)         /* far above what an owner writes at once */
#define BUFFER_KEPT ((size_t)4 << 20) /* a buffer that a large record made larger goes */
#define SEGMENT_MAX (64u << 20)
#define SLOTS_MAX 65536u
#define SPARES_MAX 2 /* files kept for later although no segment needs them */

struct segment {
    uint64_t number;
    uint64_t first; /* record */
    uint64_t last;  /* first - 1: none */
    uint64_t salt;
    uint32_t slot;   /* of its file */
    uint32_t tail;   /* its last record, or its head */
    uint32_t end;    /* behind that */
    uint64_t needed; /* bytes */
    uint8_t *map;
    size_t map_size;
};

struct wal {
    char path[PATH_SIZE];
    uint32_t segment_bytes;
    uint64_t marked_oldest, marked_segment;
    int error;                /* sticky */
    int fd;                   /* of the segment in use; -1: none yet */
    bool direct;              /* fd bypasses the page cache */
    struct segment *segments; /* by number, the one in use last; the first `gone` are needed no more */
    size_t count, capacity, gone;
    uint8_t *buffer; /* the record being made, its head first; aligned */
    size_t size, buffer_size;
    int buffer_error;
};

static uint32_t blocks_up(uint64_t bytes) {
    CHECK(bytes <= UINT32_MAX - BLOCK);
    return (uint32_t)((bytes + BLOCK - 1) / BLOCK * BLOCK);
}

static int io_error(void) {
    return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? ERR_NO_SPACE : errno == ENOMEM ? ERR_NOMEM : ERR_IO;
}

static int fail(struct wal *w, int error) {
    CHECK(error != 0);
    w->error = w->error ? w->error : error;
    return w->error;
}

static struct segment *newest(const struct wal *w) {
    CHECK(w->count > 0);
    return &w->segments[w->count - 1];
}

static struct segment *find(const struct wal *w, uint64_t number) {
    CHECK(w->count > 0 && number >= w->segments[0].number && number <= newest(w)->number);
    return &w->segments[number - w->segments[0].number];
}

static int path_of(const struct wal *w, uint32_t slot, char out[PATH_SIZE]) {
    int length = snprintf(out, PATH_SIZE, "%s/wal-%u", w->path, slot);
    return length < 0 || length >= PATH_SIZE ? ERR_INVALID : 0;
}

static uint64_t checksum(const uint8_t *head, size_t head_size, const uint8_t *body, size_t size) {
    uint64_t sum = crc64_ecma_refl(0, head, head_size);
    return size > 0 ? crc64_ecma_refl(sum, body, size) : sum;
}

/* ---- reading ---- */

static void segment_unmap(struct segment *s) {
    if (s->map) {
        CHECK(munmap(s->map, s->map_size) == 0);
        s->map = NULL;
        s->map_size = 0;
    }
}

/* The whole file as it is. */
static int segment_map(const struct wal *w, struct segment *s) {
    char path[PATH_SIZE];
    struct stat st;
    int status = path_of(w, s->slot, path);
    int fd = status ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return status ? status : io_error();
    }
    if (fstat(fd, &st) != 0) {
        status = io_error();
    } else if (!S_ISREG(st.st_mode) || st.st_size < BLOCK || st.st_size > UINT32_MAX - BLOCK) {
        status = ERR_CORRUPT;
    } else {
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        status = map == MAP_FAILED ? io_error() : 0;
        s->map = status ? NULL : map;
        s->map_size = status ? 0 : (size_t)st.st_size;
    }
    (void)close(fd);
    return status;
}

/* As far as there are records. */
static int segment_look(const struct wal *w, struct segment *s) {
    if (s->map && s->end > s->map_size) {
        segment_unmap(s); /* written since, behind what was the end of the file */
    }
    int status = s->map ? 0 : segment_map(w, s);
    if (status == 0 && s->end > s->map_size) {
        segment_unmap(s);
        status = ERR_CORRUPT; /* cut off behind our back */
    }
    return status;
}

/* ERR_CORRUPT: no segment, or the remains of one whose header was being written. */
static int segment_read_head(struct segment *s) {
    const uint8_t *p = s->map;
    CHECK(s->map_size >= BLOCK);
    if (memcmp(p, MAGIC, MAGIC_SIZE) != 0 || get_u64(p + 40) != checksum(p, 40, NULL, 0)) {
        return ERR_CORRUPT;
    }
    s->number = get_u64(p + 16);
    s->first = get_u64(p + 24);
    s->salt = get_u64(p + 32);
    s->last = s->first - 1;
    s->tail = 0;
    s->end = BLOCK;
    return s->number == 0 || s->first == 0 ? ERR_CORRUPT : 0;
}

/* Whether a record of this segment, with this number or a later one, lies at offset. */
static bool record_at(const struct segment *s, uint32_t offset, struct wal_record *out) {
    const uint8_t *p = s->map + offset;
    if (s->map_size < RECORD_HEAD || offset > s->map_size - RECORD_HEAD || get_u64(p) != s->salt ||
        get_u64(p + 8) != s->number) {
        return false;
    }
    *out = (struct wal_record){.number = get_u64(p + 16),
                               .segment = s->number,
                               .offset = offset + RECORD_HEAD,
                               .body = p + RECORD_HEAD,
                               .size = get_u32(p + 24)};
    return out->number > s->last && out->size <= RECORD_MAX && out->size <= s->map_size - out->offset &&
           get_u64(p + CHECKED_HEAD) == checksum(p, CHECKED_HEAD, out->body, out->size);
}

/* Finds the end of the segment. */
static int segment_check(struct segment *s) {
    struct wal_record r;
    CHECK(s->end == BLOCK && s->last + 1 == s->first);
    while (record_at(s, s->end, &r) && r.number == s->last + 1) {
        s->last++;
        s->tail = s->end;
        s->end = blocks_up((uint64_t)r.offset + r.size);
    }
    for (uint32_t offset = s->end; offset < s->map_size; offset += BLOCK) {
        if (record_at(s, offset, &r)) {
            return ERR_CORRUPT; /* the one before it was durable */
        }
    }
    return 0;
}

static int segment_scan(const struct wal *w, struct segment *s, uint64_t after, wal_visit *visit, void *ctx) {
    struct wal_record r;
    int status = segment_look(w, s);
    struct segment at = *s;
    at.last = s->first - 1;
    at.end = BLOCK;
    while (status == 0 && at.last < s->last) {
        if (!record_at(&at, at.end, &r) || r.number != at.last + 1) {
            return ERR_CORRUPT; /* it was there before */
        }
        at.last = r.number;
        at.end = blocks_up((uint64_t)r.offset + r.size);
        status = r.number > after ? visit(ctx, &r) : 0;
    }
    return status;
}

int wal_scan(struct wal *w, uint64_t after, wal_visit *visit, void *ctx) {
    int status = 0;
    for (size_t i = w->gone; i < w->count && status == 0; i++) {
        if (w->segments[i].last > after && w->segments[i].end > BLOCK) {
            status = segment_scan(w, &w->segments[i], after, visit, ctx);
        }
    }
    return status;
}

int wal_scan_oldest(struct wal *w, wal_visit *visit, void *ctx) {
    CHECK(w->gone < w->count);
    return segment_scan(w, &w->segments[w->gone], 0, visit, ctx);
}

int wal_bytes(struct wal *w, uint64_t segment, uint32_t offset, uint32_t size, const uint8_t **ret_bytes) {
    struct segment *s = find(w, segment);
    if (s == newest(w) && offset >= s->end) {
        CHECK(offset - s->end + (size_t)size <= w->size);
        *ret_bytes = w->buffer + (offset - s->end);
        return 0;
    }
    CHECK(offset >= BLOCK && offset <= s->end && size <= s->end - offset);
    int status = segment_look(w, s);
    if (status == 0) {
        *ret_bytes = s->map + offset;
    }
    return status;
}

void wal_forget(struct wal *w) {
    for (size_t i = 0; i < w->count; i++) {
        segment_unmap(&w->segments[i]);
    }
}

/* ---- writing ---- */

static int write_all(const struct wal *w, const uint8_t *bytes, size_t size, off_t offset) {
    while (size > 0) {
        ssize_t n = pwrite(w->fd, bytes, size, offset);
        if (n < 0 && errno != EINTR) {
            return io_error();
        }
        if (n > 0) {
            bytes += n;
            size -= (size_t)n;
            offset += n;
        }
    }
    return 0;
}

/* Whole blocks, durable. A file system may take the flag of direct writes and still refuse the writes. */
static int write_durable(struct wal *w, const uint8_t *bytes, size_t size, uint32_t offset) {
    CHECK(size % BLOCK == 0 && offset % BLOCK == 0 && (uintptr_t)bytes % BLOCK == 0);
    int status = write_all(w, bytes, size, offset);
    if (status != 0 && w->direct && errno == EINVAL) {
        w->direct = false;
        int flags = fcntl(w->fd, F_GETFL);
        if (flags >= 0 && fcntl(w->fd, F_SETFL, flags & ~O_DIRECT) == 0) {
            status = write_all(w, bytes, size, offset);
        }
    }
    if (status == 0 && fdatasync(w->fd) != 0) {
        status = io_error();
    }
    return status ? fail(w, status) : 0;
}

static int buffer_reserve(struct wal *w, size_t size) {
    size_t wanted = w->buffer_size ? w->buffer_size : (size_t)16 * BLOCK;
    if (size <= w->buffer_size) {
        return 0;
    }
    while (wanted < size) {
        wanted *= 2;
    }
    uint8_t *larger = aligned_alloc(BLOCK, wanted);
    if (!larger) {
        return ERR_NOMEM;
    }
    if (w->size > 0) {
        memcpy(larger, w->buffer, w->size);
    }
    free(w->buffer);
    w->buffer = larger;
    w->buffer_size = wanted;
    return 0;
}

int wal_begin(struct wal *w) {
    if (w->buffer_size > BUFFER_KEPT) {
        free(w->buffer);
        w->buffer = NULL;
        w->buffer_size = 0;
    }
    w->size = 0;
    w->buffer_error = buffer_reserve(w, RECORD_HEAD);
    w->size = w->buffer_error ? 0 : RECORD_HEAD;
    return w->buffer_error;
}

int wal_append(struct wal *w, const void *bytes, size_t size, uint32_t *ret_offset) {
    CHECK(w->fd >= 0);
    if (!w->buffer_error) {
        CHECK(w->size >= RECORD_HEAD);
        w->buffer_error = size > RECORD_MAX - w->size ? ERR_TOO_LARGE : buffer_reserve(w, w->size + size);
    }
    if (w->buffer_error) {
        return w->buffer_error;
    }
    *ret_offset = newest(w)->end + (uint32_t)w->size;
    if (size > 0) {
        memcpy(w->buffer + w->size, bytes, size);
    }
    w->size += size;
    return 0;
}

size_t wal_pending_bytes(const struct wal *w) {
    return w->size > RECORD_HEAD ? w->size - RECORD_HEAD : 0;
}

int wal_write(struct wal *w) {
    struct segment *s = newest(w);
    CHECK(!wal_turn_due(w) || s->end >= w->segment_bytes);
    int status = w->error ? w->error : w->buffer_error;
    uint32_t size = blocks_up(w->size);
    status = status ? status : buffer_reserve(w, size);
    if (status != 0) {
        return status;
    }
    uint8_t *p = w->buffer;
    put_u64(p, s->salt);
    put_u64(p + 8, s->number);
    put_u64(p + 16, s->last + 1);
    put_u32(p + 24, (uint32_t)(w->size - RECORD_HEAD));
    put_u32(p + 28, 0);
    put_u64(p + CHECKED_HEAD, checksum(p, CHECKED_HEAD, p + RECORD_HEAD, w->size - RECORD_HEAD));
    memset(p + w->size, 0, size - w->size);
    status = write_durable(w, p, size, s->end);
    if (status == 0) {
        s->last++;
        s->tail = s->end;
        s->end += size;
        (void)wal_begin(w); /* an error is found by whoever appends */
    }
    return status;
}

/* ---- segments ---- */

static int segment_add(struct wal *w, const struct segment *s) {
    if (w->count == w->capacity) {
        size_t capacity = w->capacity ? w->capacity * 2 : 8;
        struct segment *larger = realloc(w->segments, capacity * sizeof(*larger));
        if (!larger) {
            return ERR_NOMEM;
        }
        w->segments = larger;
        w->capacity = capacity;
    }
    w->segments[w->count++] = *s;
    return 0;
}

static void segments_drop_first(struct wal *w) {
    CHECK(w->gone > 0);
    segment_unmap(&w->segments[0]);
    w->count--;
    w->gone--;
    memmove(w->segments, w->segments + 1, w->count * sizeof(w->segments[0]));
}

static int sync_directory(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return io_error();
    }
    int status = fsync(fd) == 0 ? 0 : io_error();
    (void)close(fd);
    return status;
}

/* A file system that cannot write past its cache is used with it. */
static int slot_open(struct wal *w, uint32_t slot, int flags) {
    char path[PATH_SIZE];
    int status = path_of(w, slot, path);
    if (status != 0) {
        return status;
    }
    w->fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0600);
    if (w->fd < 0) {
        return io_error();
    }
    int rc;
    do {
        rc = posix_fallocate(w->fd, 0, blocks_up(w->segment_bytes));
    } while (rc == EINTR);
    if (rc == EIO || rc == ENOMEM) {
        errno = rc;
        return io_error();
    }
    /* A full disk may have given what it had left; a file that grows may yet find enough. */
    if (rc != 0 && flags != 0 && ftruncate(w->fd, 0) != 0) {
        return io_error();
    }
    int now = fcntl(w->fd, F_GETFL);
    w->direct = now >= 0 && fcntl(w->fd, F_SETFL, now | O_DIRECT) == 0;
    return 0;
}

static bool slot_in_use(const struct wal *w, uint32_t slot) {
    for (size_t i = 0; i < w->count; i++) {
        if (w->segments[i].slot == slot) {
            return true;
        }
    }
    return false;
}

/* A file for a new segment: that of the oldest one that is needed no more, so that the rest have no gaps; or a new one.
 */
static int slot_take(struct wal *w, uint32_t *ret_slot) {
    uint32_t slot = 0;
    if (w->gone > 0 && w->segments[0].number < w->marked_oldest) {
        *ret_slot = w->segments[0].slot;
        segments_drop_first(w);
        return slot_open(w, *ret_slot, 0);
    }
    while (slot < SLOTS_MAX && slot_in_use(w, slot)) {
        slot++;
    }
    if (slot == SLOTS_MAX) {
        return ERR_NO_SPACE;
    }
    *ret_slot = slot;
    int status = slot_open(w, slot, O_CREAT | O_TRUNC);
    return status ? status : sync_directory(w->path);
}

static int write_head(struct wal *w, struct segment *s) {
    uint8_t *p = aligned_alloc(BLOCK, BLOCK);
    if (!p || getrandom(&s->salt, sizeof(s->salt), 0) != (ssize_t)sizeof(s->salt)) {
        free(p);
        return p ? ERR_IO : ERR_NOMEM;
    }
    memset(p, 0, BLOCK);
    memcpy(p, MAGIC, MAGIC_SIZE);
    put_u64(p + 16, s->number);
    put_u64(p + 24, s->first);
    put_u64(p + 32, s->salt);
    put_u64(p + 40, checksum(p, 40, NULL, 0));
    int status = write_durable(w, p, BLOCK, 0);
    free(p);
    return status;
}

bool wal_turn_due(const struct wal *w) {
    return w->fd < 0 || newest(w)->number != w->marked_segment || newest(w)->end >= w->segment_bytes;
}

static int segment_begin(struct wal *w) {
    struct segment s = {.number = 1, .first = 1, .end = BLOCK};
    if (w->count > 0) {
        s.number = newest(w)->number + 1;
        s.first = newest(w)->last + 1;
    }
    s.last = s.first - 1;
    int status = slot_take(w, &s.slot);
    status = status ? status : write_head(w, &s);
    return status ? status : segment_add(w, &s);
}

int wal_turn(struct wal *w) {
    if (w->error) {
        return w->error;
    }
    if (w->fd >= 0) {
        (void)close(w->fd); /* everything in it was flushed */
        w->fd = -1;
    }
    /* One that an earlier opening began and could not mark is as good as a new one. */
    bool begun = w->count > 0 && newest(w)->number > w->marked_segment;
    int status = begun ? slot_open(w, newest(w)->slot, 0) : segment_begin(w);
    status = status ? status : wal_begin(w);
    return status ? fail(w, status) : 0;
}

/* A failure to delete a file costs its room, nothing else. */
static void slot_delete(const struct wal *w, uint32_t slot) {
    char path[PATH_SIZE];
    if (path_of(w, slot, path) == 0) {
        (void)unlink(path);
    }
}

/* Files that are too many go, the oldest first. */
void wal_marked(struct wal *w, const struct wal_mark *mark) {
    CHECK(mark->oldest >= w->marked_oldest && mark->segment == newest(w)->number);
    w->marked_oldest = mark->oldest;
    w->marked_segment = mark->segment;
    while (w->gone > SPARES_MAX && w->segments[0].number < mark->oldest) {
        slot_delete(w, w->segments[0].slot);
        segments_drop_first(w);
    }
}

void wal_need(struct wal *w, uint64_t segment, uint64_t bytes) {
    find(w, segment)->needed += bytes;
}

void wal_need_not(struct wal *w, uint64_t segment, uint64_t bytes) {
    struct segment *s = find(w, segment);
    CHECK(s->needed >= bytes);
    s->needed -= bytes;
}

void wal_trim(struct wal *w) {
    while (w->gone + 1 < w->count && w->segments[w->gone].needed == 0) {
        w->gone++;
    }
}

uint64_t wal_segment(const struct wal *w) {
    return newest(w)->number;
}

uint64_t wal_oldest(const struct wal *w) {
    CHECK(w->gone < w->count);
    return w->segments[w->gone].number;
}

uint64_t wal_last(const struct wal *w) {
    return w->count > 0 ? newest(w)->last : 0;
}

uint64_t wal_used_bytes(const struct wal *w) {
    uint64_t used = 0;
    for (size_t i = 0; i < w->count; i++) {
        used += w->segments[i].end > w->segment_bytes ? w->segments[i].end : w->segment_bytes;
    }
    return used;
}

uint64_t wal_needed_bytes(const struct wal *w) {
    uint64_t needed = 0;
    for (size_t i = w->gone; i < w->count; i++) {
        needed += w->segments[i].needed;
    }
    return needed;
}

/* ---- opening ---- */

static int by_number(const void *a, const void *b) {
    const struct segment *left = a, *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

/* The slot of a file's name; SLOTS_MAX: it is not ours. */
static uint32_t slot_of(const char *name) {
    char again[32];
    if (strncmp(name, "wal-", 4) != 0) {
        return SLOTS_MAX;
    }
    unsigned long slot = strtoul(name + 4, NULL, 10);
    if (slot >= SLOTS_MAX) {
        return SLOTS_MAX;
    }
    (void)snprintf(again, sizeof(again), "wal-%lu", slot);
    return strcmp(name, again) == 0 ? (uint32_t)slot : SLOTS_MAX;
}

/* A file without a header is that of a segment that never began: its name is used again. */
static int open_slot(struct wal *w, uint32_t slot) {
    struct segment s = {.slot = slot};
    int status = segment_map(w, &s);
    if (status == 0) {
        status = segment_read_head(&s);
    }
    if (status == 0) {
        status = segment_add(w, &s);
    }
    if (status != 0) {
        segment_unmap(&s);
    }
    return status == ERR_CORRUPT ? 0 : status;
}

static int open_files(struct wal *w) {
    DIR *dir = opendir(w->path);
    const struct dirent *entry;
    int status = dir ? 0 : io_error();
    while (status == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        uint32_t slot = slot_of(entry->d_name);
        status = slot < SLOTS_MAX ? open_slot(w, slot) : 0;
    }
    if (status == 0 && errno != 0) {
        status = io_error();
    }
    if (dir) {
        (void)closedir(dir);
    }
    return status;
}

/* What is older than the mark's oldest segment is needed no more, and may have been overwritten or deleted, or not.
 * What is newer than its segment in use began at openings that ended before they could make a mark, and has no records.
 */
static int check_segments(struct wal *w, const struct wal_mark *mark) {
    if (w->count > 1) {
        qsort(w->segments, w->count, sizeof(w->segments[0]), by_number);
    }
    while (w->count > 0 && w->segments[0].number < mark->oldest) {
        w->gone = 1;
        segments_drop_first(w);
    }
    for (size_t i = 0; i < w->count; i++) {
        struct segment *s = &w->segments[i];
        if ((i > 0 && s->number != s[-1].number + 1) || segment_check(s) != 0 ||
            (i > 0 && s->first != s[-1].last + 1) || (s->number > mark->segment && s->last >= s->first)) {
            return ERR_CORRUPT;
        }
    }
    if (mark->segment == 0) {
        return 0;
    }
    bool whole = w->count > 0 && w->segments[0].number == mark->oldest && newest(w)->number >= mark->segment &&
                 wal_last(w) >= mark->last;
    return whole ? 0 : ERR_CORRUPT;
}

/* What was read may be in the kernel's memory alone, left there by a process that was killed, or by a flush that
 * failed: the end is written again, with the same bytes, so that this flush cannot but concern it. */
static int sync_segment(struct wal *w, struct segment *s) {
    int status = segment_look(w, s);
    if (status != 0) {
        return status;
    }
    status = slot_open(w, s->slot, 0);
    uint8_t *copy = status ? NULL : aligned_alloc(BLOCK, s->end - s->tail);
    if (copy) {
        memcpy(copy, s->map + s->tail, s->end - s->tail);
        status = write_durable(w, copy, s->end - s->tail, s->tail);
    } else {
        status = status ? status : ERR_NOMEM;
    }
    free(copy);
    if (w->fd >= 0) {
        (void)close(w->fd);
        w->fd = -1;
    }
    return status;
}

/* Once all is known to be whole, the files that are none of it go. */
static void delete_others(const struct wal *w) {
    DIR *dir = opendir(w->path);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)) != NULL) {
        uint32_t slot = slot_of(entry->d_name);
        if (slot < SLOTS_MAX && !slot_in_use(w, slot)) {
            slot_delete(w, slot);
        }
    }
    if (dir) {
        (void)closedir(dir);
    }
}

static int open_log(struct wal *w, const struct wal_mark *mark) {
    int status = open_files(w);
    status = status ? status : check_segments(w, mark);
    for (size_t i = 0; i < w->count && status == 0; i++) {
        status = sync_segment(w, &w->segments[i]);
    }
    if (status != 0) {
        return status;
    }
    delete_others(w);
    bool goes_on = w->count > 0 && newest(w)->number == mark->segment && newest(w)->end < w->segment_bytes;
    status = goes_on ? slot_open(w, newest(w)->slot, 0) : 0;
    return status ? status : wal_begin(w);
}

int wal_open(const char *path, uint32_t segment_bytes, const struct wal_mark *mark, struct wal **ret_wal) {
    CHECK(segment_bytes >= BLOCK && segment_bytes <= SEGMENT_MAX);
    struct wal *w = calloc(1, sizeof(*w));
    if (!w) {
        return ERR_NOMEM;
    }
    w->fd = -1;
    w->segment_bytes = segment_bytes;
    w->marked_oldest = mark->oldest;
    w->marked_segment = mark->segment;
    int length = snprintf(w->path, sizeof(w->path), "%s", path);
    int status = length < 0 || (size_t)length >= sizeof(w->path) ? ERR_INVALID : open_log(w, mark);
    if (status != 0) {
        wal_close(w);
        return status;
    }
    *ret_wal = w;
    return 0;
}

void wal_close(struct wal *w) {
    if (!w) {
        return;
    }
    wal_forget(w);
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    free(w->segments);
    free(w->buffer);
    free(w);
}
