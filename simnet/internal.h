/* What the files of the simulated world share; scenarios include sim.h only. */
#ifndef SHOAL_SIM_INTERNAL_H
#define SHOAL_SIM_INTERNAL_H

#include <bsd/sys/queue.h>

#include "clock.h"
#include "net.h"
#include "random.h"
#include "sim.h"

/* The shortest time between an event and its consequence in the same process: whatever a node does, virtual time
 * goes on. */
#define SIM_TURN_US 20

#define CONTAINER(pointer, type, field) ((type *)(void *)((char *)(pointer)-offsetof(type, field)))

/* Kinds of delivered events, for the hash and the trace. */
#define SIM_HAPPENINGS(X)         \
    X(NOTE, "note")               \
    X(START, "start")             \
    X(CRASH, "crash")             \
    X(WAKE, "wake")               \
    X(ACCEPTED, "accept")         \
    X(CONNECTED, "connect")       \
    X(RECEIVED, "receive")        \
    X(DRAINED, "drain")           \
    X(CLOSED, "closed")           \
    X(RAN, "ran")                 \
    X(WRITTEN, "written")         \
    X(COMPLETED, "complete")      \
    X(DISK_FAILED, "disk-failed") \
    X(FAULT, "fault")

enum sim_happening {
#define SIM_HAPPENING_ENUM(id, name) SIM_##id,
    SIM_HAPPENINGS(SIM_HAPPENING_ENUM)
#undef SIM_HAPPENING_ENUM
        SIM_HAPPENING_COUNT
};

struct clock {
    struct sim_host *host;
    struct event wake;
    void (*on_wake)(void *ctx);
    void *ctx;
    uint64_t started_us; /* world time of the boot */
    uint64_t base_us;    /* what the monotonic clock showed then; both move when the rate changes */
    uint64_t wake_ms;    /* as asked for; meaningful while wake is scheduled */
};

struct random {
    struct sim_host *host;
};

struct path { /* of one direction between two hosts */
    struct sim_link link;
    uint64_t clogged_until_us;
    bool blocked;
    struct prng_clocked delay, loss;
};

TAILQ_HEAD(net_conn_list, net_conn);

/* A host's net, for one start; or a client's, for its one connection. */
struct net {
    struct sim *sim;
    struct sim_host *host; /* NULL: of a client */
    struct net_events events;
    struct net_conn_list conns; /* not closed, in order of creation */
    uint32_t conn_count;
    uint16_t peer_port; /* 0: not listening */
    bool local;
    bool dead;
};

struct sim_host {
    struct sim *sim;
    uint32_t number;
    char addr[SIM_ADDR_SIZE];
    bool up;
    bool powered; /* down but powered: the kernel answers for the dead process */
    uint64_t paused_until_us;
    int32_t drift_ppm;
    int64_t wall_offset_us;
    uint32_t boots;
    uint16_t next_port;
    struct prng_clocked random_prng, disk_prng, crash_prng;
    struct prng damage_prng;

    struct store *stores[DISK_ENVS];
    uint32_t slow_factor[DISK_ENVS];
    uint64_t hung_until_us[DISK_ENVS];
    bool full;
    bool fail_commit[DISK_ENVS];
    uint32_t misread_millionths; /* of reads of chunks */

    /* Of the current start; NULL while down. */
    struct clock *clock;
    struct random *random;
    struct net *net;
    struct disk *disk;
};

LIST_HEAD(sim_client_list, sim_client);

struct sim {
    struct sim_options options;
    struct sim_program program;
    struct events events;
    uint64_t now_us;
    uint64_t hash;
    uint64_t event_count;
    uint32_t host_count;
    struct sim_host *hosts; /* index number - 1 */
    struct path *paths;     /* from * hosts + to, zero-based */
    struct prng_clocked stream_prng, local_prng;
    struct sim_client_list clients;
    bool inside_event;
};

/* ---- world.c ----------------------------------------------------------------------------------------------------- */

/* A fast digest, for who need not fear that somebody looks for collisions. */
uint64_t sim_fold(uint64_t hash, const void *data, size_t size);
/* Folds one happening into the hash; bytes may be NULL. `number` is whatever distinguishes it (a status, a count). */
void sim_happened(struct sim *s, enum sim_happening what, uint32_t host, uint64_t number, const void *bytes,
                  size_t size);
struct path *sim_path(const struct sim *s, uint32_t from, uint32_t to);
void sim_event_init(struct event *e, void (*fire)(struct event *e), uint32_t host);

/* ---- the ports of one start; *_free may be called in any state --------------------------------------------------- */

struct clock *sim_clock_new(struct sim_host *h);
void sim_clock_kill(struct clock *c);
void sim_clock_free(struct clock *c);

struct random *sim_random_new(struct sim_host *h);
void sim_random_free(struct random *r);

struct net *sim_net_new(struct sim *s, struct sim_host *h);
/* Drops every connection without a callback; abrupt: the other ends are not told. */
void sim_net_kill(struct net *n, bool abrupt);
void sim_net_free(struct net *n);
/* The paths from and to some hosts changed. */
void sim_net_paths_changed(struct sim *s);

struct disk *sim_disk_new(struct sim_host *h);
/* Draws what becomes of the batches under way, and forgets every operation. */
void sim_disk_kill(struct disk *d);
void sim_disk_free(struct disk *d);
/* The stores belong to the host. */
int sim_stores_open(struct sim_host *h);
void sim_stores_close(struct sim_host *h);

/* Runs a read of chunks inside a transaction that mistakes one for another: damage.c. */
int sim_misread(struct sim_host *h, struct txn *txn, struct disk_op *op);

/* A client's connection to the LOCAL listener of a host. */
struct net_conn *sim_net_connect_local(struct net *n, struct sim_host *to);
/* The end of the world. */
void sim_client_kill_all(struct sim *s);

#endif
