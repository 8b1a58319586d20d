/* Which nodes the host hears: few rows, looked up often, so sorted by node number. */
#include <stdlib.h>
#include <string.h>

#include "raft_internal.h"

#define NODES_CAPACITY_MIN 8

struct raft_node {
    uint32_t node;
    bool alive;
    uint64_t since_ms;
};

struct raft_nodes {
    struct raft_node *rows;
    size_t count, capacity;
};

int raft_nodes_new(struct raft_nodes **ret_nodes) {
    struct raft_nodes *nodes = calloc(1, sizeof *nodes);
    if (!nodes) {
        return ERR_NOMEM;
    }
    *ret_nodes = nodes;
    return 0;
}

void raft_nodes_free(struct raft_nodes *nodes) {
    if (nodes) {
        free(nodes->rows);
        free(nodes);
    }
}

/* The place of the first row that is not before `node`. */
static size_t nodes_place(const struct raft_nodes *nodes, uint32_t node) {
    size_t low = 0;
    size_t high = nodes->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (nodes->rows[middle].node < node) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static const struct raft_node *nodes_find(const struct raft_nodes *nodes, uint32_t node) {
    size_t at = nodes_place(nodes, node);
    return at < nodes->count && nodes->rows[at].node == node ? &nodes->rows[at] : NULL;
}

static int nodes_grow(struct raft_nodes *nodes) {
    size_t capacity = nodes->capacity ? 2 * nodes->capacity : NODES_CAPACITY_MIN;
    struct raft_node *rows = realloc(nodes->rows, capacity * sizeof *rows);
    if (!rows) {
        return ERR_NOMEM;
    }
    nodes->rows = rows;
    nodes->capacity = capacity;
    return 0;
}

int raft_nodes_set(struct raft_nodes *nodes, uint32_t node, bool alive, uint64_t since_ms) {
    size_t at = nodes_place(nodes, node);
    if (at == nodes->count || nodes->rows[at].node != node) {
        int rc = nodes->count == nodes->capacity ? nodes_grow(nodes) : 0;
        if (rc != 0) {
            return rc;
        }
        memmove(&nodes->rows[at + 1], &nodes->rows[at], (nodes->count - at) * sizeof *nodes->rows);
        nodes->count++;
    }
    nodes->rows[at] = (struct raft_node){.node = node, .alive = alive, .since_ms = since_ms};
    return 0;
}

bool raft_nodes_alive(const struct raft_nodes *nodes, uint32_t node) {
    const struct raft_node *row = nodes_find(nodes, node);
    return row && row->alive;
}

uint64_t raft_nodes_since_ms(const struct raft_nodes *nodes, uint32_t node) {
    const struct raft_node *row = nodes_find(nodes, node);
    return row ? row->since_ms : 0;
}
