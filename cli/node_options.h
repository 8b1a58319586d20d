/* What `shoal node` was asked to do. */
#ifndef SHOAL_NODE_OPTIONS_H
#define SHOAL_NODE_OPTIONS_H

#include <stdbool.h>

#include "cli.h"
#include "members.h"
#include "ticket.h"

#define NODE_LISTEN_DEFAULT "0.0.0.0:7440"
#define NODE_CAPACITY_MIN (16ull << 20)

struct node_options {
    char listen[MEMBER_ADDR_SIZE];
    char advertise[MEMBER_ADDR_SIZE]; /* "": what was bound */
    char zone[MEMBER_ZONE_SIZE];
    uint64_t capacity; /* 0: what the file system holds */
    unsigned replicas;
    unsigned bits;         /* 2^bits arcs */
    uint64_t out_after_ms; /* 0: never */
    bool lease_reads;
    bool joining;
    struct ticket ticket;
};

/* CLI_END, or complains and gives CLI_STOP. node_options_release() in any case. */
int node_options_read(struct cli_args *args, struct node_options *out);
void node_options_release(struct node_options *o); /* wipes the ticket */

#endif
