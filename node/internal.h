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
#define NODE_ANNOUNCE_MS 500 /* between attempts to announce ourselves */

/* What the LOCAL table knows of the swarm. */
struct swarm_row {
    struct swarm_settings settings;
    uint32_t self;
};

/* NEW ──▶ LOADING ──▶ CREATING or JOINING or nothing ──▶ STARTING ──▶ RUNNING ──▶ STOPPED */
enum node_state { NODE_NEW, NODE_LOADING, NODE_CREATING, NODE_JOINING, NODE_STARTING, NODE_RUNNING, NODE_STOPPED };

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

/* admit.c */
void admit_serve(struct node *n, struct peers_call *call, const uint8_t *body, size_t size);
void admit_release(struct node *n);
void admit_invite(void *node, uint64_t expires_ms, uint32_t uses, client_invited_cb *done, void *done_ctx);
int node_status(void *node, struct client_message *out, struct client_member *rows, uint32_t max);

#endif
