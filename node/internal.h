/* Shared by the files of this folder only. */
#ifndef SHOAL_NODE_INTERNAL_H
#define SHOAL_NODE_INTERNAL_H

#include <stddef.h>

#include <bsd/sys/queue.h>

#include "check.h"
#include "client_server.h"
#include "codec.h"
#include "errors.h"
#include "node.h"

#define NODE_MESSAGE_MAX 512
#define NODE_ROOT_MS 10000 /* for one command to the root group */
#define NODE_JOIN_MS 20000
#define NODE_CENSUS_MS 3000  /* for one answer */
#define NODE_LEAVE_MS 1000   /* from hearing that we are gone to the end: for programs that wait to see it */
#define NODE_HEALTH_MS 1000  /* between looks at the health of all arcs led here */
#define NODE_ANNOUNCE_MS 500 /* between attempts to announce ourselves */

/* What the LOCAL table knows of the swarm. */
struct swarm_row {
    struct swarm_settings settings;
    uint32_t self;
};

/* NEW ──▶ LOADING ──▶ CREATING or JOINING or nothing ──▶ STARTING ──▶ RUNNING ──▶ STOPPED */
enum node_state { NODE_NEW, NODE_LOADING, NODE_CREATING, NODE_JOINING, NODE_STARTING, NODE_RUNNING, NODE_STOPPED };

/* What all members that could be asked say of one of them. */
struct census_sum {
    uint64_t epoch; /* the oldest table that somebody answered by */
    bool heard;     /* somebody hears from it, itself not counted */
    uint32_t named, stuck, stranded;
    uint32_t unled; /* groups that nobody said to lead */
    uint32_t listed;
    uint32_t groups[CENSUS_LISTED_MAX]; /* of the stranded; also unled ones that may hold the member */
};
typedef void census_cb(void *ctx, const struct census_sum *sum);

struct census_round;
struct upkeep;

struct node {
    struct node_params params;
    struct identity identity;
    char listen[MEMBER_ADDR_SIZE], advertise[MEMBER_ADDR_SIZE], zone[MEMBER_ZONE_SIZE];
    char local[MEMBER_ADDR_SIZE];
    struct ticket ticket;
    bool joining_wanted;
    size_t join_addr; /* which address of the ticket is being tried */
    enum node_state state;
    bool ready, failed;
    struct swarm_row swarm;
    uint64_t incarnation;
    uint32_t led, healthy, under; /* arcs, for pings, */
    uint64_t looked_ms;           /* as they were then; 0: not looked at yet */
    struct timers timers;
    struct peers *peers;
    struct groups *groups;
    struct files *files;
    struct client_server *clients;
    struct members *members;
    struct placement *placement;
    bool pulling;      /* a delta is being fetched */
    bool root_reading; /* the root's tables are being read */
    bool root_stale;   /* and have changed since */
    TAILQ_HEAD(, admission) admissions;
    TAILQ_HEAD(, invitation) invitations;
    bool announcing;
    struct timer announce;
    TAILQ_HEAD(, census_round) censuses;
    TAILQ_HEAD(, change) changes;
    struct upkeep *upkeep;
    bool gone; /* this member is: nothing is served any more */
    struct timer leave;
};

void node_log(struct node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
void node_fail(struct node *n, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* boot.c */
void boot_load(struct node *n);
void boot_start(struct node *n);
void boot_check_ready(struct node *n);

/* table.c */
void table_ping(struct node *n, uint32_t from, uint64_t epoch);
void table_root_changed(struct node *n);
void table_serve(struct node *n, struct peers_call *call, const uint8_t *body, size_t size);
int table_take_delta(struct node *n, const uint8_t *bytes, size_t size);
int table_take_root(struct node *n, const uint8_t *answer, size_t size, struct members **ret_members);
int table_adopt(struct node *n, struct members *table); /* takes it over when newer, frees it otherwise */
void table_announce_fire(struct timer *t);
void table_own_row(struct node *n, struct member *out);
int table_load(struct txn *t, struct members *into);
void root_query(struct node *n, groups_cb *cb, void *ctx);

void table_farewell(struct node *n, uint64_t epoch, const struct member *row);
void table_leave_fire(struct timer *t);

/* census.c: asking all members about one of them. done exactly once, later; not after census_release. */
void census_take(struct node *n, uint32_t about, census_cb *done, void *ctx);
void census_serve(struct node *n, struct peers_call *call, const uint8_t *body, size_t size);
void census_release(struct node *n);

/* change.c: members are sent away on somebody's word */
void change_request(void *node, const struct client_message *m, client_changed_cb *done, void *done_ctx);
void change_release(struct node *n);

/* upkeep.c: what the leader of the root group does for the member table of its own accord */
int upkeep_new(struct node *n, struct upkeep **ret_upkeep);
void upkeep_start(struct upkeep *u);
void upkeep_table(struct upkeep *u); /* the member table changed */
void upkeep_free(struct upkeep *u);
/* One step of a member through its states, decided on its row as given. */
void upkeep_propose(struct node *n, const struct member *row, enum member_state to, groups_cb *done, void *ctx);

/* admit.c */
void admit_serve(struct node *n, struct peers_call *call, const uint8_t *body, size_t size);
void admit_release(struct node *n);
void admit_invite(void *node, uint64_t expires_ms, uint32_t uses, client_invited_cb *done, void *done_ctx);
int node_status(void *node, struct client_message *out, struct client_member *rows, uint32_t max);

#endif
