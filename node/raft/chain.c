/* The chain of configurations: the one in force at the base, then one for each configuration entry of the retained
 * log. The last is the effective one: a configuration counts from the moment it is appended (§6), so truncating the
 * log falls back to the one before it. */
#include <stdlib.h>

#include "raft_internal.h"

static struct raft_link *chain_last(const struct raft_chain *chain) {
    struct raft_link *last = TAILQ_LAST(&chain->links, raft_links);
    CHECK(last != NULL);
    return last;
}

int raft_chain_push(struct raft_chain *chain, const struct raft_config *config) {
    CHECK(TAILQ_EMPTY(&chain->links) || chain_last(chain)->config.index < config->index);
    struct raft_link *link = malloc(sizeof *link);
    if (!link) {
        return ERR_NOMEM;
    }
    link->config = *config;
    TAILQ_INSERT_TAIL(&chain->links, link, links);
    return 0;
}

int raft_chain_init(struct raft_chain *chain, const struct raft_config *base) {
    TAILQ_INIT(&chain->links);
    chain->committed = NULL;
    int rc = raft_chain_push(chain, base);
    if (rc == 0) {
        chain->committed = TAILQ_FIRST(&chain->links);
    }
    return rc;
}

void raft_chain_release(struct raft_chain *chain) {
    struct raft_link *link;
    while ((link = TAILQ_FIRST(&chain->links)) != NULL) {
        TAILQ_REMOVE(&chain->links, link, links);
        free(link);
    }
    chain->committed = NULL;
}

bool raft_chain_truncate(struct raft_chain *chain, uint64_t from) {
    bool changed = false;
    struct raft_link *last = chain_last(chain);
    while (last->config.index >= from) {
        CHECK(last != chain->committed);
        TAILQ_REMOVE(&chain->links, last, links);
        free(last);
        changed = true;
        last = chain_last(chain);
    }
    return changed;
}

void raft_chain_commit(struct raft_chain *chain, uint64_t commit) {
    CHECK(chain->committed != NULL);
    struct raft_link *next = TAILQ_NEXT(chain->committed, links);
    while (next && next->config.index <= commit) {
        chain->committed = next;
        next = TAILQ_NEXT(next, links);
    }
}

void raft_chain_compact(struct raft_chain *chain, uint64_t index) {
    struct raft_link *first = TAILQ_FIRST(&chain->links);
    struct raft_link *next = TAILQ_NEXT(first, links);
    while (next && next->config.index <= index) {
        CHECK(first != chain->committed);
        TAILQ_REMOVE(&chain->links, first, links);
        free(first);
        first = next;
        next = TAILQ_NEXT(first, links);
    }
}

const struct raft_config *raft_chain_base(const struct raft_chain *chain) {
    CHECK(!TAILQ_EMPTY(&chain->links));
    return &TAILQ_FIRST(&chain->links)->config;
}

const struct raft_config *raft_chain_effective(const struct raft_chain *chain) {
    return &chain_last(chain)->config;
}
