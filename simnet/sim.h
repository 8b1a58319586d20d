/* A simulated world: many nodes in one process, under one virtual clock. It implements node/port/ for every host, so
 * a node cannot tell it from the real one. Everything that happens follows from the seed: the same seed gives the same
 * run, event by event, and the same hash of it.
 *
 * One thread. Nothing happens but inside sim_run*(); every callback into a node or a scenario is one event, taken from
 * one queue ordered by (virtual time, order of scheduling).
 *
 *   down ──sim_host_start──▶ up ──sim_host_pause──▶ (all its events wait) ──▶ up
 *    ▲                       │
 *    └───sim_host_crash──────┘
 *
 * Times are virtual microseconds since the start of the world. */
#ifndef SHOAL_SIM_H
#define SHOAL_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"
#include "events.h"
#include "prng.h"

#define SIM_HOSTS_MAX 1024
#define SIM_ADDR_SIZE 32
#define SIM_PORT 7440
#define SIM_WALL_START_MS 1700000000000u /* what a perfect wall clock shows at virtual time 0 */
#define SIM_MS 1000u
#define SIM_SECOND 1000000u
#define SIM_FOREVER UINT64_MAX
#define SIM_DRIFT_PPM_MAX 500 /* as far as a kernel's clock discipline goes */

struct clock;
struct digest;
struct net;
struct random;
struct sim;
struct sim_host;
struct sim_client;
struct store;

struct sim_options {
    uint64_t seed;
    uint32_t hosts;          /* numbered 1..hosts, all down at first */
    uint64_t capacity_bytes; /* of each host's disk */
    /* One line for every event, without a line end; NULL: none. */
    void (*trace)(void *ctx, uint64_t now_us, const char *line);
    void *trace_ctx;
};

/* Fresh ones for every start; they end with the crash. */
struct sim_ports {
    struct clock *clock;
    struct random *random;
    struct net *net;
    struct disk *disk;
};

/* What runs on the hosts. */
struct sim_program {
    /* A host starts: make a node on these ports. */
    void (*boot)(void *ctx, struct sim_host *h, const struct sim_ports *ports);
    /* A host crashed: free the node. The ports are dead already: no callback will be made, and every call on them is
     * harmless and does nothing (net_send: ERR_CLOSED). Disk operations under way are the node's memory: their `done`
     * is not called any more, unless this asks for it by sim_host_abandon_ops. The ports are gone when it returns. */
    void (*dead)(void *ctx, struct sim_host *h);
    /* An event of a host that is up has been run: for looking, not for doing. May be NULL. */
    void (*after)(void *ctx, struct sim_host *h);
    void *ctx;
};

struct sim *sim_new(const struct sim_options *options, const struct sim_program *program);
/* Closes every client (ERR_CLOSED; no new one may be opened then), and crashes every host that is up. */
void sim_free(struct sim *s);

uint64_t sim_now_us(const struct sim *s);
uint64_t sim_seed(const struct sim *s);
/* Digest of everything that has happened: every event delivered, with its time, host, and bytes. */
uint64_t sim_hash(const struct sim *s);
/* Folds something the scenario did or saw into the hash, and into the trace. */
void sim_note(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t sim_events_count(const struct sim *s);
/* Runs the next event; false when there is none at or before until_us (the clock then stands at until_us). */
bool sim_step(struct sim *s, uint64_t until_us);
void sim_run_until(struct sim *s, uint64_t until_us);
/* Schedules an event of the scenario (event.fire set by the caller, event.host 0). */
void sim_at(struct sim *s, struct event *e, uint64_t at_us);
void sim_cancel(struct sim *s, struct event *e);

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

uint32_t sim_hosts(const struct sim *s);
struct sim_host *sim_host(struct sim *s, uint32_t number); /* 1..hosts */
uint32_t sim_host_number(const struct sim_host *h);
struct sim *sim_host_sim(struct sim_host *h);
bool sim_host_up(const struct sim_host *h);
/* "nodeN:7440" */
const char *sim_host_addr(const struct sim_host *h);

enum sim_crash {
    SIM_CRASH_PROCESS, /* the kernel lives: connections are closed, dialling is refused */
    SIM_CRASH_POWER    /* nobody is told: peers keep half-open connections, dialling times out */
};
/* Either way the transaction that was being committed is kept whole or lost whole, by the draw; what was queued behind
 * it, and what had run lazily but was not being committed yet, is lost. */
/* The host must be down. */
void sim_host_start(struct sim_host *h);
/* The host must be up. Not from inside a callback of the host's own node. */
void sim_host_crash(struct sim_host *h, enum sim_crash how);
/* From inside `dead` only: calls `done` of every operation that was under way, so that a node which has been told to
 * stop can free them: status 0 for writes, whether they were kept or lost, ERR_ABORTED for reads and work. Lazy ones
 * that were not told that they ran get `ran` first, whether they ran or not. */
void sim_host_abandon_ops(struct sim_host *h);
/* Nothing of the host runs until then: the process is stopped, or its machine swaps. */
void sim_host_pause(struct sim_host *h, uint64_t until_us);
void sim_host_step_wall(struct sim_host *h, int64_t by_ms);
/* Both clocks run that much faster from here on; a start keeps it. */
void sim_host_set_rate(struct sim_host *h, int32_t drift_ppm);
/* Every connection of the host with others breaks at once, seen at both ends. */
void sim_host_reset(struct sim_host *h);
/* The environments, to look into or to damage between events. They outlive crashes. */
struct store *sim_host_store(struct sim_host *h, enum disk_env env);

/* ---- disks ------------------------------------------------------------------------------------------------------- */

/* Every latency of the environment is multiplied; 1 is normal. */
void sim_disk_slow(struct sim_host *h, enum disk_env env, uint32_t factor);
/* Nothing completes before then. */
void sim_disk_hang(struct sim_host *h, uint64_t until_us);
/* The same of one environment, whatever becomes of the others. */
void sim_disk_hang_one(struct sim_host *h, enum disk_env env, uint64_t until_us);
/* Says that there is no room, whatever the capacity. */
void sim_disk_full(struct sim_host *h, bool full);
/* The next commit of the environment fails, unless the host is started again before. */
void sim_disk_fail_commit(struct sim_host *h, enum disk_env env);
/* That part of the reads of chunks find the bytes of another chunk. */
void sim_disk_misread(struct sim_host *h, uint32_t millionths);
/* None of these faults is left. */
void sim_disk_repair(struct sim_host *h);
/* Everything is lost. The host must be down. */
void sim_disk_wipe(struct sim_host *h);
/* One bit of what is stored of this chunk is another from here on, drawn from `random`. False: the chunk is not there.
 */
bool sim_disk_rot(struct sim_host *h, const struct digest *d, uint64_t random);

/* ---- the network between hosts ----------------------------------------------------------------------------------- */

/* Of one direction between two hosts. Streams stay streams: what a packet suffers shows as a delay of everything
 * behind it on its connection, or as the end of the connection; connections overtake each other freely. */
struct sim_link {
    uint32_t delay_us;          /* at least */
    uint32_t jitter_us;         /* mean of an exponential, on top */
    uint32_t loss_millionths;   /* per flight: sent again after 200 ms, doubling */
    uint32_t reset_millionths;  /* per flight: the connection breaks, seen at both ends */
    uint32_t garble_millionths; /* per delivery: one bit is another, and the checksums do not show it */
};
void sim_link_get(const struct sim *s, uint32_t from, uint32_t to, struct sim_link *ret_link);
void sim_link_set(struct sim *s, uint32_t from, uint32_t to, const struct sim_link *link);
/* Nothing passes from -> to. Connections wait, and break after their own timeout (10 to 60 s). */
void sim_link_block(struct sim *s, uint32_t from, uint32_t to, bool blocked);
/* Arrivals are held back until then. */
void sim_link_clog(struct sim *s, uint32_t from, uint32_t to, uint64_t until_us);
/* Blocks both directions between every host for which in_first_part[number] is true and every other. The array has
 * hosts + 1 elements. */
void sim_partition(struct sim *s, const bool *in_first_part);
/* No block and no clog is left. */
void sim_heal(struct sim *s);

/* ---- simulated clients: local connections to a host -------------------------------------------------------------- */

struct sim_client_events {
    void (*connected)(void *ctx);
    void (*received)(void *ctx, const uint8_t *bytes, size_t size);
    /* Once, always last: the client is gone when it returns. The status is as for net_events.closed. */
    void (*closed)(void *ctx, int status);
    void *ctx;
};
/* Opens a LOCAL connection; ends in connected, or in closed(ERR_UNREACHABLE) when the host is down. */
struct sim_client *sim_client_open(struct sim_host *h, const struct sim_client_events *events);
int sim_client_send(struct sim_client *c, const uint8_t *bytes, size_t size); /* ERR_CLOSED */
size_t sim_client_unsent(const struct sim_client *c);
void sim_client_close(struct sim_client *c);

#endif
