/* What the files of the benchmark share: bench.c decides what is done when, bench_client.c does it. */
#ifndef SHOAL_BENCH_INTERNAL_H
#define SHOAL_BENCH_INTERNAL_H

#include <sys/un.h>

#include "bench.h"

#define BENCH_MAGIC 0x62656e63u
#define BENCH_STAMP_SIZE 16
#define BENCH_DIGITS 8        /* of a key's number, with leading zeros: all requests of a kind have one length */
#define BENCH_REQUEST_MAX 192 /* bytes of a request before the content */
#define BENCH_TAIL_MAX 16
#define BENCH_RECEIVE_SIZE (256 * 1024)

/*   PARKED ──start──▶ BUSY ──answer──▶ BUSY with the next operation, or PARKED when there is none
 *     ▲                │
 *     │                └─ failed, lost ─▶ RESTING ──a moment──▶ BUSY
 *     └───────────────────────────────────────┘ the run is over                                          */
enum bench_client_state { BENCH_PARKED, BENCH_BUSY, BENCH_RESTING };

/* A request whose number is written in place. */
struct bench_request {
    uint8_t bytes[BENCH_REQUEST_MAX];
    size_t size;
    size_t digits; /* where the number stands */
};

struct bench;

struct bench_client {
    uint32_t magic;
    struct bench *bench;
    enum bench_client_state state;
    uint64_t number; /* in the history: another one after an operation whose outcome is not known */
    uint32_t home;   /* the node it belongs to, */
    uint32_t node;   /* and the one it uses */
    uint64_t strayed_ns;
    uint64_t wake_ns; /* RESTING: until then */
    int fd;           /* -1: not connected */
    bool blocked;     /* waits for room to send */
    struct frame_reader frames;

    /* The operation. */
    bool writes;
    uint32_t key;
    uint64_t call_ns;
    size_t sent;
    uint8_t stamp[BENCH_STAMP_SIZE]; /* of what is written, or was read */
    uint64_t stamps;                 /* how many were given out */
    bool headed;                     /* HEAD has come */
    size_t got;                      /* bytes of content */
    bool done;
    int status;
    bool refill; /* the operation was to fill its key, and has failed */

    struct bench_request put, get;
};

enum bench_phase { BENCH_FILLING, BENCH_MEASURING, BENCH_DRAINING };

struct bench {
    const struct bench_params *params;
    struct bench_result *result;
    enum bench_phase phase;
    int epoll;
    struct sockaddr_un nodes[BENCH_NODES_MAX];
    struct bench_client *clients;
    uint32_t busy; /* clients */
    uint64_t random;
    uint32_t next_fill, filled;
    uint64_t now_ns, tick_ns, progress_ns;    /* tick: when clients are looked at next */
    uint64_t began_ns, deadline_ns, shown_ns; /* progress: when a key was filled last */
    bool terminal, shown;
    int fatal;        /* what was read was never written: the run is over */
    uint8_t *content; /* size; the stamp is put in to digest it */
    uint8_t tail[BENCH_TAIL_MAX];
    size_t tail_size;
    uint8_t *receive; /* BENCH_RECEIVE_SIZE */
};

/* ---- bench.c ---- */

uint64_t bench_clock_ns(void);
uint64_t bench_random(struct bench *b);
/* Decides on the client's next operation: key and writes. False when there is none. */
bool bench_pick(struct bench *b, struct bench_client *c);
/* The operation of c has ended with this result, at now_ns. */
void bench_ended(struct bench *b, struct bench_client *c, const char *result);

/* ---- bench_client.c ---- */

void bench_client_init(struct bench_client *c, struct bench *b, uint32_t number);
void bench_client_release(struct bench_client *c);
/* Begins an operation, if there is one. The client is not busy. */
void bench_client_start(struct bench_client *c);
/* Something happened on its connection: the events of epoll. */
void bench_client_ready(struct bench_client *c, uint32_t events);
/* Time has passed. */
void bench_client_tick(struct bench_client *c);
/* Gives up what is under way. */
void bench_client_stop(struct bench_client *c);

/* ---- bench_history.c ---- */

/* One line: an operation of c that ends with this result at now_ns. */
void bench_history_write(const struct bench *b, const struct bench_client *c, const char *result);

#endif
