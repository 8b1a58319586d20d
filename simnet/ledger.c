#include "ledger.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "internal.h"

void ledger_release(struct ledger *l) {
    for (uint64_t i = 0; i < l->slot_count; i++) {
        struct ledger_entry *e = l->slots[i].seen;
        while (e != NULL) {
            struct ledger_entry *other = e->other;
            free(e);
            e = other;
        }
    }
    free(l->slots);
    free(l->leaders);
    free(l->holders);
    free(l->configs);
    *l = (struct ledger){0};
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

static struct ledger_slot *slot_at(struct ledger *l, uint64_t index) {
    CHECK(index >= 1 && index <= LEDGER_ENTRIES_MAX);
    if (index > l->slot_count) {
        uint64_t count = l->slot_count == 0 ? 64 : l->slot_count;
        while (count < index) {
            count *= 2;
        }
        l->slots = realloc(l->slots, count * sizeof(*l->slots));
        CHECK(l->slots != NULL);
        memset(&l->slots[l->slot_count], 0, (count - l->slot_count) * sizeof(*l->slots));
        l->slot_count = count;
    }
    return &l->slots[index - 1];
}

static const struct ledger_slot *slot_seen(const struct ledger *l, uint64_t index) {
    return index >= 1 && index <= l->slot_count ? &l->slots[index - 1] : NULL;
}

static struct ledger_entry *find(const struct ledger_slot *slot, uint64_t term) {
    struct ledger_entry *e = slot->seen;
    while (e != NULL && e->term != term) {
        e = e->other;
    }
    return e;
}

static struct ledger_entry *add(struct ledger_slot *slot, uint64_t term, uint64_t before, uint64_t digest) {
    struct ledger_entry *e = malloc(sizeof(*e));
    CHECK(e != NULL);
    *e = (struct ledger_entry){.other = slot->seen, .term = term, .before = before, .digest = digest};
    slot->seen = e;
    return e;
}

static uint64_t digest_entry(const struct raft_entry *e) {
    return sim_fold((uint64_t)e->kind << 32 | e->size, e->data, e->size);
}

const char *ledger_entry(struct ledger *l, const struct raft_entry *e, uint64_t before) {
    struct ledger_slot *slot = slot_at(l, e->index);
    const struct ledger_entry *known = find(slot, e->term);
    uint64_t digest = digest_entry(e);
    if (known == NULL) {
        add(slot, e->term, before, digest);
        return NULL;
    }
    if (known->digest != digest) {
        return "two logs hold different entries of the same index and term";
    }
    return known->before == before ? NULL : "two logs agree in an entry and not in the one before it";
}

/* ---- configurations ---------------------------------------------------------------------------------------------- */

static unsigned flags_of(const struct raft_config *c, uint64_t id) {
    const struct raft_replica *row = raft_config_find(c, id);
    return row != NULL ? row->flags : 0;
}

/* The voters of one configuration under one flag are those of another under another. */
static bool same_voters(const struct raft_config *a, unsigned flag_a, const struct raft_config *b, unsigned flag_b) {
    for (uint32_t i = 0; i < a->count; i++) {
        if ((a->replicas[i].flags & flag_a) != 0 && (flags_of(b, a->replicas[i].id) & flag_b) == 0) {
            return false;
        }
    }
    for (uint32_t i = 0; i < b->count; i++) {
        if ((b->replicas[i].flags & flag_b) != 0 && (flags_of(a, b->replicas[i].id) & flag_a) == 0) {
            return false;
        }
    }
    return true;
}

/* Every majority of one meets every majority of the next (§6). */
static const char *check_step(const struct raft_config *from, const struct raft_config *to) {
    bool was = raft_config_joint(from), is = raft_config_joint(to);
    if (to->next_id < from->next_id) {
        return "a configuration gives out replica ids again";
    }
    for (uint32_t i = 0; i < to->count; i++) {
        const struct raft_replica *row = &to->replicas[i], *old = raft_config_find(from, row->id);
        if (old == NULL && row->id < from->next_id) {
            return "a configuration brings back a removed replica id";
        }
        if (old != NULL && old->node != row->node) {
            return "a configuration moves a replica id to another node";
        }
    }
    if (was && is) {
        return "a joint configuration follows another";
    }
    if (!same_voters(from, RAFT_VOTER, to, is ? RAFT_VOTER_OLD : RAFT_VOTER)) {
        return "a configuration changes voters without a joint one";
    }
    return NULL;
}

static void push_config(struct ledger *l, const struct raft_config *c) {
    if (l->config_count == l->config_capacity) {
        l->config_capacity = l->config_capacity == 0 ? 8 : l->config_capacity * 2;
        l->configs = realloc(l->configs, l->config_capacity * sizeof(*l->configs));
        CHECK(l->configs != NULL);
    }
    l->configs[l->config_count++] = *c;
}

const struct raft_config *ledger_config(const struct ledger *l) {
    return l->config_count > 0 ? &l->configs[l->config_count - 1] : NULL;
}

static const char *commit_config(struct ledger *l, const struct raft_entry *e) {
    struct raft_config next;
    if (raft_config_decode(e->data, e->size, e->index, &next) != 0) {
        return "a configuration is committed that cannot be decoded";
    }
    const char *trouble = check_step(ledger_config(l), &next);
    push_config(l, &next);
    return trouble;
}

/* ---- commits ----------------------------------------------------------------------------------------------------- */

void ledger_begin(struct ledger *l, uint64_t index, uint64_t term, const struct raft_config *config) {
    CHECK(l->committed == 0 && l->config_count == 0);
    if (index > 0) {
        struct ledger_slot *slot = slot_at(l, index);
        slot->committed = add(slot, term, 0, 0);
        slot->committed_in = term;
    }
    l->committed = index;
    push_config(l, config);
}

const char *ledger_commit(struct ledger *l, const struct raft_entry *e, uint64_t term) {
    struct ledger_slot *slot = slot_at(l, e->index);
    const struct ledger_entry *known = find(slot, e->term);
    CHECK(known != NULL);
    if (slot->committed != NULL) {
        return slot->committed == known ? NULL : "a committed entry changes";
    }
    if (e->index != l->committed + 1) {
        return "an entry is committed and one before it is not";
    }
    slot->committed = known;
    slot->committed_in = term;
    l->committed = e->index;
    return e->kind == RAFT_ENTRY_CONFIG ? commit_config(l, e) : NULL;
}

/* The one in force at an index that is committed. */
static const struct raft_config *config_at(const struct ledger *l, uint64_t index) {
    size_t i = l->config_count;
    while (i > 1 && l->configs[i - 1].index > index) {
        i--;
    }
    return &l->configs[i - 1];
}

const char *ledger_base(const struct ledger *l, uint64_t index, uint64_t term, const struct raft_config *config) {
    CHECK(l->config_count > 0);
    if (index == 0) {
        return NULL; /* it awaits its first snapshot */
    }
    const struct ledger_slot *slot = slot_seen(l, index);
    if (slot == NULL || slot->committed == NULL) {
        return "a snapshot covers what nobody committed";
    }
    if (slot->committed->term != term) {
        return "a snapshot ends in another entry than the committed one";
    }
    return config_at(l, index)->index == config->index ? NULL
                                                       : "a snapshot has another configuration than was committed";
}

/* ---- leaders ----------------------------------------------------------------------------------------------------- */

const char *ledger_lead(struct ledger *l, uint64_t term, uint32_t host, uint32_t boot) {
    for (size_t i = l->leader_count; i > 0; i--) {
        const struct ledger_leader *other = &l->leaders[i - 1];
        if (other->term == term) {
            return other->host == host && other->boot == boot ? NULL : "two leaders in one term";
        }
    }
    CHECK(l->leader_count < LEDGER_TERMS_MAX);
    if (l->leader_count == l->leader_capacity) {
        l->leader_capacity = l->leader_capacity == 0 ? 8 : l->leader_capacity * 2;
        l->leaders = realloc(l->leaders, l->leader_capacity * sizeof(*l->leaders));
        CHECK(l->leaders != NULL);
    }
    l->leaders[l->leader_count++] = (struct ledger_leader){.term = term, .host = host, .boot = boot};
    return NULL;
}

const char *ledger_complete(const struct ledger *l, uint64_t term, const struct raft *r) {
    uint64_t index = l->committed, base, base_term;
    const struct raft_config *config;
    while (index > 0 && l->slots[index - 1].committed_in >= term) {
        index--;
    }
    raft_base(r, &base, &base_term, &config);
    if (index <= base) {
        return NULL; /* what is below was committed: ledger_base */
    }
    const struct raft_entry *e = raft_entry_at(r, index);
    return e != NULL && e->term == l->slots[index - 1].committed->term ? NULL : "a leader lacks a committed entry";
}

const char *ledger_holder(struct ledger *l, uint64_t replica, uint32_t host) {
    CHECK(replica > 0 && replica <= LEDGER_ENTRIES_MAX);
    if (replica > l->holder_count) {
        uint64_t count = replica + 16;
        l->holders = realloc(l->holders, count * sizeof(*l->holders));
        CHECK(l->holders != NULL);
        memset(&l->holders[l->holder_count], 0, (count - l->holder_count) * sizeof(*l->holders));
        l->holder_count = count;
    }
    uint32_t *holder = &l->holders[replica - 1];
    if (*holder != 0 && *holder != host) {
        return "a replica id lives on two nodes";
    }
    *holder = host;
    return NULL;
}
