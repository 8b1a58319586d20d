/* A put and its chunks; shared by put.c and put_chunk.c. */
#ifndef SHOAL_PUT_H
#define SHOAL_PUT_H

#include "internal.h"

/* FILLING ──end──▶ DRAINING ──every chunk durable──▶ NAMING ──▶ OVER      (any failure: OVER) */
enum put_state { PUT_FILLING, PUT_DRAINING, PUT_NAMING, PUT_OVER };

struct files_put {
    uint32_t magic;
    struct files *files;
    TAILQ_ENTRY(files_put) link;
    struct files_put_params params;
    struct name name;
    char text[NAME_TEXT_MAX + 1];
    size_t text_size;
    struct version version;
    enum put_state state;
    bool abandoned, reported;
    uint32_t refs;   /* callbacks under way: freed at 0 when OVER */
    struct buf fill; /* the chunk being gathered, header included */
    uint64_t size;
    uint32_t chunk_count, active;
    struct chunk_ref *chunks; /* MANIFEST_CHUNKS_MAX once there is more than fits inline */
    uint64_t progress_ms;
    uint64_t seq;       /* of the name_put, 0: none */
    struct timer timer; /* watches progress; OVER: reports */
    struct files_result result;
};

/* The chunk takes over the bytes. */
void put_chunk_begin(struct files_put *p, uint32_t index, uint8_t *stored, size_t size);
/* From the chunk: durable on a majority, or the put cannot succeed. */
void put_chunk_durable(struct files_put *p, uint32_t index);
void put_fail(struct files_put *p, int status, const char *remedy);
void put_progress(struct files_put *p);
void put_unref(struct files_put *p);
/* Bytes of chunks are no longer under way. */
void put_spent(struct files *f, size_t size);
void put_chunk_release(struct files *f);

#endif
