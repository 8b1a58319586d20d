/* Traps of consensus that need this message to be late and that batch to be lost: on bare cores, where the script
 * decides. */
#include <inttypes.h>

#include "errors.h"
#include "cores.h"
#include "scenarios.h"

#define LONG_MS 20000    /* for everything to come right */
#define ELECTION_MS 4500 /* two elections at their slowest */

static struct raft_config joint_of_five(void) {
    struct raft_config config = {0};
    cores_row(&config, 1, RAFT_VOTER | RAFT_VOTER_OLD);
    cores_row(&config, 2, RAFT_VOTER_OLD);
    cores_row(&config, 3, RAFT_VOTER_OLD);
    cores_row(&config, 4, RAFT_VOTER);
    cores_row(&config, 5, RAFT_VOTER);
    return config;
}

/* Voters 1, 2, 3 with leader 1; 4 and 5 are learners that know everything. */
static struct cores *three_and_two(struct script *s) {
    struct cores *c = cores_new(s, 3);
    struct raft_config config = {0};
    cores_create(c, 4);
    cores_create(c, 5);
    cores_elect(c, 1);
    for (uint64_t id = 1; id <= 5; id++) {
        cores_row(&config, id, id <= 3 ? RAFT_VOTER : RAFT_LEARNER);
    }
    script_expect(s, cores_change(c, 1, &config) == 0, "a settled leader refuses learners");
    cores_pass(c, LONG_MS);
    for (uint64_t id = 4; id <= 5; id++) {
        if (c->cores[1].wanted_snapshot[id]) {
            (void)cores_snapshot(c, 1, id, cores_status(c, 1).term);
            cores_pass(c, ELECTION_MS);
            cores_snapshot_sent(c, 1, id, c->cores[1].applied, true);
        }
    }
    cores_pass(c, LONG_MS);
    script_arose(s, cores_status(c, 5).last == cores_status(c, 1).last, "the learners know everything");
    cores_elect(c, 1);
    return c;
}

static uint64_t count_voters(const struct cores *c, uint64_t id) {
    uint64_t count = 0;
    const struct raft_config *config = c->cores[id].raft != NULL ? raft_config(c->cores[id].raft) : NULL;
    for (uint32_t i = 0; config != NULL && i < config->count; i++) {
        count += (config->replicas[i].flags & RAFT_VOTER) != 0;
    }
    return count;
}

/* Of the entry at this index; 0: there is none. */
static uint64_t term_at(const struct cores *c, uint64_t id, uint64_t index) {
    const struct raft_entry *e = c->cores[id].raft != NULL ? raft_entry_at(c->cores[id].raft, index) : NULL;
    return e != NULL ? e->term : 0;
}

static bool is_joint(const struct cores *c, uint64_t id) {
    return c->cores[id].raft != NULL && raft_config_joint(raft_config(c->cores[id].raft));
}

/* Somebody leads, has committed in its term, and everybody who is up knows it. */
static void comes_right(struct script *s, struct cores *c) {
    cores_pass(c, LONG_MS);
    uint64_t leader = cores_leader(c);
    script_expect(s, leader != 0, "nobody leads when everything is well again");
    if (leader == 0) {
        return;
    }
    uint64_t index = cores_propose(c, leader, "at the end");
    cores_pass(c, ELECTION_MS);
    script_expect(s, index != 0 && cores_status(c, leader).commit >= index, "nothing is committed at the end");
    const struct raft_config *config = c->cores[leader].raft != NULL ? raft_config(c->cores[leader].raft) : NULL;
    for (uint32_t i = 0; config != NULL && i < config->count; i++) {
        uint64_t id = config->replicas[i].id;
        struct raft_status status = cores_status(c, id);
        script_expect(s, c->cores[id].raft == NULL || status.commit >= index,
                      "replica %" PRIu64 " does not hear of what is committed", id);
    }
}

/* The same of five, once nobody is cut off any more. */
static void comes_right_together(struct script *s, struct cores *c) {
    for (uint64_t id = 1; id <= 5; id++) {
        cores_isolate(c, id, false);
    }
    comes_right(s, c);
}

/* ---- configurations ---------------------------------------------------------------------------------------------- */

void scenario_config_on_append(struct script *s) {
    struct cores *c = three_and_two(s);
    const struct raft_config joint = joint_of_five();
    for (uint64_t old = 1; old <= 3; old++) {
        cores_cut(c, old, 4, true);
        cores_cut(c, old, 5, true);
    }
    script_expect(s, cores_change(c, 1, &joint) == 0, "a settled leader refuses a joint configuration");
    uint64_t index = c->update.ret_index;
    cores_pass(c, 50);
    script_arose(s, is_joint(c, 2) && is_joint(c, 3), "the old majority holds the joint configuration");
    script_expect(s, cores_status(c, 1).commit < index, "a joint configuration is committed by its old half alone");
    uint64_t command = cores_propose(c, 1, "by the old half");
    cores_pass(c, ELECTION_MS);
    script_expect(s, cores_status(c, 1).commit < index && (command == 0 || cores_status(c, 1).commit < command),
                  "the old half commits while the joint configuration is in its logs");
    cores_isolate(c, 1, true);
    cores_pass(c, LONG_MS);
    script_expect(s, !cores_leads(c, 2) && !cores_leads(c, 3), "the old half elects a leader by itself");
    script_expect(s, !cores_leads(c, 4) && !cores_leads(c, 5), "the new half elects a leader by itself");
    comes_right_together(s, c);
    cores_free(c);
}

/* The leader and those who are to come have the joint configuration; two of the three old voters do not. */
void scenario_new_half_alone(struct script *s) {
    struct cores *c = three_and_two(s);
    const struct raft_config joint = joint_of_five();
    for (uint64_t old = 2; old <= 3; old++) {
        cores_cut(c, old, 1, true);
        cores_cut(c, old, 4, true);
        cores_cut(c, old, 5, true);
    }
    script_expect(s, cores_change(c, 1, &joint) == 0, "a settled leader refuses a joint configuration");
    uint64_t index = c->update.ret_index;
    cores_pass(c, 50);
    script_arose(s, is_joint(c, 4) && is_joint(c, 5) && !is_joint(c, 2), "the new half holds the joint configuration");
    script_expect(s, cores_status(c, 1).commit < index, "a joint configuration is committed by its new half alone");
    cores_isolate(c, 1, true);
    cores_pass(c, LONG_MS);
    script_expect(s, !cores_leads(c, 4) && !cores_leads(c, 5), "the new half elects a leader by itself");
    comes_right_together(s, c);
    cores_free(c);
}

void scenario_single_step(struct script *s) {
    struct cores *c = cores_new(s, 4);
    cores_create(c, 5);
    cores_elect(c, 1);
    /* 1 appends a configuration with 5 in it, which nobody hears of. */
    struct raft_config wider = {0}, narrower = {0};
    for (uint64_t id = 1; id <= 5; id++) {
        cores_row(&wider, id, id == 5 ? RAFT_VOTER : RAFT_VOTER | RAFT_VOTER_OLD);
    }
    cores_isolate(c, 1, true);
    cores_cut(c, 1, 5, false);
    script_arose(s, cores_change(c, 1, &wider) == 0, "the first leader appends its configuration");
    cores_pass(c, 50);
    /* 2 is elected; nothing of its term is committed yet. */
    for (uint64_t to = 3; to <= 4; to++) {
        cores_hold(c, 2, to, 1u << RAFT_APPEND);
    }
    cores_win(c, 2);
    script_arose(s, cores_leads(c, 2) && !cores_status(c, 2).own_term_committed,
                 "a leader that has committed nothing of its term");
    for (uint64_t id = 1; id <= 4; id++) {
        cores_row(&narrower, id, id == 1 ? RAFT_VOTER_OLD : RAFT_VOTER | RAFT_VOTER_OLD);
    }
    narrower.next_id = 6;
    script_expect(s, cores_change(c, 2, &narrower) == ERR_BUSY,
                  "a leader changes the configuration before it has committed an entry of its own term");
    cores_hold(c, 2, 3, 0);
    cores_hold(c, 2, 4, 0);
    cores_pass(c, 500);
    cores_elect(c, 2);
    script_expect(s, cores_change(c, 2, &narrower) == 0, "a settled leader refuses a configuration");
    cores_pass(c, ELECTION_MS);
    script_expect(s, cores_status(c, 2).commit >= c->cores[2].applied && count_voters(c, 2) == 3,
                  "the second configuration is not reached");
    cores_pass(c, LONG_MS);
    cores_isolate(c, 1, false);
    comes_right(s, c);
    script_expect(s, count_voters(c, 2) == 3, "the configuration that nobody heard of comes back");
    cores_free(c);
}

void scenario_joint_leaderless(struct script *s) {
    struct cores *c = three_and_two(s);
    const struct raft_config joint = joint_of_five();
    cores_cut(c, 1, 3, true);
    cores_cut(c, 1, 5, true);
    cores_hold(c, 2, 1, CORES_ALL_KINDS);
    cores_hold(c, 4, 1, CORES_ALL_KINDS);
    script_expect(s, cores_change(c, 1, &joint) == 0, "a settled leader refuses a joint configuration");
    cores_pass(c, 20);
    cores_crash(c, 1);
    cores_hold(c, 2, 1, 0);
    cores_hold(c, 4, 1, 0);
    script_arose(s, is_joint(c, 2) && is_joint(c, 4), "a part of each half holds the joint configuration");
    script_arose(s, !is_joint(c, 3) && !is_joint(c, 5), "another part does not");
    script_arose(s, cores_leader(c) == 0, "nobody leads");
    cores_pass(c, 2 * LONG_MS);
    uint64_t leader = cores_leader(c);
    script_expect(s, leader == 2 || leader == 4 || leader == 5, "the joint configuration stays without a leader");
    comes_right(s, c);
    leader = cores_leader(c);
    script_expect(s, (leader == 4 || leader == 5) && !is_joint(c, leader) && count_voters(c, leader) == 3,
                  "the new configuration is not reached");
    cores_free(c);
}

/* ---- elections --------------------------------------------------------------------------------------------------- */

/* 1 and 4 ask for votes of the same term, and nobody has heard them. */
static uint64_t two_candidates(struct script *s, struct cores *c) {
    const unsigned votes = 1u << RAFT_VOTE | 1u << RAFT_VOTE_REPLY;
    for (uint64_t from = 1; from <= 5; from++) {
        for (uint64_t to = 1; to <= 5; to++) {
            cores_hold(c, from, to, votes);
        }
    }
    cores_hold(c, 1, 4, CORES_ALL_KINDS);
    cores_hold(c, 4, 1, CORES_ALL_KINDS);
    for (int i = 0; i < 40 && !s->failed; i++) {
        cores_campaign(c, 1);
        cores_campaign(c, 4);
        cores_pass(c, 2);
        struct raft_status one = cores_status(c, 1), four = cores_status(c, 4);
        if (one.role == RAFT_CANDIDATE && four.role == RAFT_CANDIDATE && one.term == four.term) {
            return one.term;
        }
        cores_pass(c, 700);
    }
    script_arose(s, false, "two candidates of one term");
    return 0;
}

void scenario_vote_forgotten(struct script *s) {
    struct cores *c = cores_new(s, 5);
    cores_elect(c, 1);
    cores_pass(c, 300);
    cores_crash(c, 1);
    cores_boot(c, 1);
    uint64_t term = two_candidates(s, c);
    /* 3 takes the term from the refusal of a pre-vote: so the vote after that raises no term. */
    for (uint64_t to = 1; to <= 5; to++) {
        cores_hold(c, 3, to, to == 1 ? 0 : CORES_ALL_KINDS);
    }
    cores_campaign(c, 3);
    cores_pass(c, 3);
    script_arose(s, cores_status(c, 3).term == term && c->cores[3].hard.term == term && c->cores[3].hard.vote == 0,
                 "a voter in the term that has not voted");
    /* It promises 1 its vote, and crashes before that is durable: the promise must not have been heard. */
    c->cores[3].stuck = true;
    cores_hold(c, 3, 1, CORES_ALL_KINDS);
    cores_hold(c, 3, 4, CORES_ALL_KINDS);
    cores_hold(c, 1, 3, 0);
    cores_pass(c, 3);
    script_arose(s, c->cores[3].raft != NULL && raft_hard(c->cores[3].raft).vote == 1, "a vote without a new term");
    script_arose(s, c->cores[3].batch_count > 0, "a vote that is not durable");
    script_expect(s, cores_waiting(c, 3, 1, RAFT_VOTE_REPLY) == 0, "a vote is heard before it is durable");
    (void)cores_persist_one(c, 3);
    cores_pass(c, 1);
    script_arose(s, cores_waiting(c, 3, 1, RAFT_VOTE_REPLY) == 1, "a vote that is durable");
    cores_crash(c, 3);
    c->cores[3].stuck = false;
    cores_boot(c, 3);
    script_expect(s, c->cores[3].raft != NULL && raft_hard(c->cores[3].raft).vote == 1,
                  "a vote is forgotten by a restart");
    c->favourite = UINT64_MAX; /* until it may vote: it could have heard a leader just before the crash */
    cores_pass(c, ELECTION_MS);
    c->favourite = 0;
    script_arose(s, cores_waiting(c, 4, 3, RAFT_VOTE) == 1, "a second candidate of the term");
    cores_hold(c, 4, 3, 0);
    cores_pass(c, 3);
    script_arose(s, cores_waiting(c, 4, 3, RAFT_VOTE) == 0, "the second candidate asks");
    script_expect(s, cores_waiting(c, 3, 4, RAFT_VOTE_REPLY) == 0, "a voter votes twice in one term");
    for (uint64_t from = 1; from <= 5; from++) {
        for (uint64_t to = 1; to <= 5; to++) {
            cores_hold(c, from, to, 0);
        }
    }
    comes_right(s, c);
    cores_free(c);
}

void scenario_stale_read(struct script *s) {
    struct cores *c = cores_new(s, 3);
    cores_elect(c, 1);
    cores_pass(c, 300);
    /* 1 commits an entry and answers for it; 2 has it, and does not know that it is committed. */
    cores_cut(c, 1, 3, true);
    c->cores[2].stuck = true;
    uint64_t index = cores_propose(c, 1, "acknowledged");
    cores_pass(c, 5);
    cores_hold(c, 1, 2, CORES_ALL_KINDS);
    c->cores[2].stuck = false;
    cores_pass(c, 5);
    cores_isolate(c, 1, true);
    cores_lose(c, 1, 2);
    cores_hold(c, 1, 2, 0);
    script_arose(s, cores_status(c, 1).commit >= index && cores_status(c, 2).commit < index,
                 "what was acknowledged is not known as committed elsewhere");
    cores_hold(c, 2, 3, 1u << RAFT_APPEND);
    cores_win(c, 2);
    script_arose(s, cores_leads(c, 2) && cores_status(c, 2).commit < index,
                 "a leader that does not know the last commit");
    script_expect(s, cores_read(c, 2, 77) == 0, "a leader refuses a read");
    cores_pass(c, 800); /* heartbeats are answered: a quorum says that 2 leads */
    script_expect(s, c->cores[2].read_count == 0, "a read is answered before an entry of the term is committed");
    cores_hold(c, 2, 3, 0);
    cores_pass(c, 800);
    script_expect(
        s, c->cores[2].read_count == 1 && c->cores[2].reads[0].status == 0 && c->cores[2].reads[0].index >= index,
        "a read is answered without what was acknowledged before it");
    cores_isolate(c, 1, false);
    comes_right(s, c);
    cores_free(c);
}

/* A candidate's disk finishes what it was given before the candidacy. Were others asked for their votes by then, the
 * candidate could win, lose its disk's last write, and vote for somebody else. */
void scenario_candidacy_forgotten(struct script *s) {
    struct cores *c = cores_new(s, 3);
    cores_elect(c, 1);
    cores_pass(c, 300);
    c->cores[2].stuck = true;
    cores_propose(c, 1, "what the disk is busy with");
    cores_pass(c, 20);
    script_arose(s, c->cores[2].batch_count == 1, "a batch under way");
    cores_isolate(c, 1, true);
    for (int i = 0; i < 4000 && cores_status(c, 2).role != RAFT_CANDIDATE && !s->failed; i++) {
        c->favourite = 2;
        cores_pass(c, 1);
    }
    script_arose(s, cores_status(c, 2).role == RAFT_CANDIDATE && c->cores[2].batch_count == 2, "a candidate in haste");
    cores_hold(c, 2, 3, 1u << RAFT_VOTE);
    (void)cores_persist_one(c, 2);
    cores_pass(c, 5);
    script_expect(s, cores_waiting(c, 2, 3, RAFT_VOTE) == 0, "votes are asked for before the own one is durable");
    (void)cores_persist_one(c, 2);
    cores_pass(c, 5);
    script_expect(s, cores_waiting(c, 2, 3, RAFT_VOTE) == 1, "no vote is asked for when the own one is durable");
    c->cores[2].stuck = false;
    c->favourite = 0;
    cores_hold(c, 2, 3, 0);
    cores_isolate(c, 1, false);
    comes_right(s, c);
    cores_free(c);
}

static void campaigns_in_vain(struct script *s, struct cores *c, uint64_t id, const char *why) {
    cores_isolate(c, id, false);
    c->favourite = id;
    for (int i = 0; i < 10; i++) {
        cores_campaign(c, id);
        cores_pass(c, ELECTION_MS);
        script_expect(s, !cores_leads(c, id), "%s leads", why);
    }
    c->favourite = 0;
    cores_isolate(c, id, true);
}

/* What was committed is in the logs of 1, 2 and 3; 4 has more entries, of an earlier term, and 5 less of the same. */
void scenario_unfit(struct script *s) {
    struct cores *c = cores_new(s, 5);
    cores_elect(c, 4);
    cores_pass(c, 300);
    cores_isolate(c, 4, true);
    for (int i = 0; i < 10; i++) {
        (void)cores_propose(c, 4, "what nobody else hears");
    }
    cores_elect(c, 1);
    cores_pass(c, 300);
    cores_isolate(c, 5, true);
    cores_propose(c, 1, "what 4 and 5 do not hear");
    cores_pass(c, 300);
    script_arose(s,
                 cores_status(c, 4).last > cores_status(c, 2).last && cores_status(c, 5).last < cores_status(c, 2).last,
                 "one log that is longer, and one that is shorter");
    cores_crash(c, 1);
    campaigns_in_vain(s, c, 4, "a log that ends in an earlier term");
    campaigns_in_vain(s, c, 5, "a log that lacks what was committed");
    cores_boot(c, 1);
    cores_isolate(c, 4, false);
    cores_isolate(c, 5, false);
    comes_right(s, c);
    cores_free(c);
}

/* ---- leases ------------------------------------------------------------------------------------------------------ */

#define LEASE_MS 800 /* the shortest election takes 1000 */

/* Whether one of the answers that came since `from` shows less than what was committed when it was asked for. */
static bool stale_answer(const struct core *n, size_t from, uint64_t index) {
    for (size_t i = from; i < n->read_count; i++) {
        if (n->reads[i].status == 0 && n->reads[i].index < index) {
            return true;
        }
    }
    return false;
}

/* The leader hands over: the next one is elected at once, while the lease of the old one would hold for long. */
void scenario_lease_handed_over(struct script *s) {
    struct cores *c = cores_new_leased(s, 3, LEASE_MS);
    cores_elect(c, 1);
    cores_propose(c, 1, "before");
    cores_pass(c, 300);
    script_expect(s, cores_read(c, 1, 1) == 0, "a leader refuses a read");
    script_arose(s, c->cores[1].read_count == 1 && c->cores[1].reads[0].status == 0,
                 "the lease answers a read at once");
    cores_pass(c, 100);
    size_t answered = c->cores[1].read_count;
    script_expect(s, cores_transfer(c, 1, 2) == 0, "a leader does not hand over");
    for (uint64_t id = 2; id <= 3; id++) {
        cores_hold(c, id, 1, CORES_ALL_KINDS);
    }
    uint64_t index = 0;
    for (int ms = 0; ms < LEASE_MS / 2 && index == 0; ms++) {
        cores_pass(c, 1);
        index = cores_leads(c, 2) ? cores_propose(c, 2, "after") : 0;
    }
    cores_pass(c, 5);
    script_arose(s, cores_status(c, 2).commit >= index && index > 0 && cores_leads(c, 1),
                 "another leader commits while the lease of the first would hold");
    (void)cores_read(c, 1, 2);
    cores_pass(c, 5);
    script_expect(s, !stale_answer(&c->cores[1], answered, index),
                  "a leader that has handed over answers by its lease");
    for (uint64_t id = 2; id <= 3; id++) {
        cores_hold(c, id, 1, 0);
    }
    comes_right(s, c);
    cores_free(c);
}

/* The leader is cut off; it goes on to be asked until another has taken over, and beyond. */
static void deposed(struct script *s, uint32_t lease_ms) {
    struct cores *c = cores_new_leased(s, 3, lease_ms);
    cores_elect(c, 1);
    cores_propose(c, 1, "before");
    cores_pass(c, 300);
    cores_isolate(c, 1, true);
    uint64_t index = 0, answers = 0, taken_ms = 0;
    for (int ms = 0; ms < ELECTION_MS && !s->failed; ms += 10) {
        size_t answered = c->cores[1].read_count = 0;
        (void)cores_read(c, 1, (uint64_t)ms);
        answers += c->cores[1].read_count > 0 && c->cores[1].reads[0].status == 0;
        script_expect(s, !stale_answer(&c->cores[1], answered, index),
                      "a deposed leader answers %" PRIu64 " ms after another took over", c->now_ms - taken_ms);
        if (ms % 100 == 0 && index == 0) {
            cores_campaign(c, 2); /* impatient: whoever has just heard the leader must not help it */
        }
        cores_pass(c, 10);
        if (index == 0 && cores_leader(c) > 1) {
            index = cores_propose(c, cores_leader(c), "after");
            taken_ms = c->now_ms;
        }
    }
    script_arose(s, lease_ms == 0 || answers > 10, "the lease answers reads");
    script_expect(s, lease_ms > 0 || answers == 0, "a leader whom no quorum hears answers reads");
    script_arose(s, index > 0, "another leader takes over");
    cores_isolate(c, 1, false);
    comes_right(s, c);
    cores_free(c);
}

void scenario_lease_deposed(struct script *s) {
    deposed(s, LEASE_MS);
}

void scenario_read_deposed(struct script *s) {
    deposed(s, 0);
}

/* ---- logs -------------------------------------------------------------------------------------------------------- */

void scenario_single_node_ack(struct script *s) {
    struct cores *c = cores_new(s, 1);
    cores_elect(c, 1);
    c->cores[1].stuck = true;
    uint64_t index = cores_propose(c, 1, "not durable");
    cores_pass(c, ELECTION_MS);
    script_arose(s, c->cores[1].batch_count > 0, "an entry that is not durable");
    script_expect(s, cores_status(c, 1).commit < index, "a single node commits before its disk has it");
    cores_crash(c, 1);
    c->cores[1].stuck = false;
    cores_boot(c, 1);
    comes_right(s, c);
    script_arose(s, index > 0 && term_at(c, 1, index) != 0, "the log went on from there");
    cores_free(c);
}

void scenario_heartbeat_commit(struct script *s) {
    struct cores *c = cores_new(s, 3);
    cores_elect(c, 1);
    cores_isolate(c, 1, true);
    uint64_t own = 0;
    for (int i = 0; i < 3; i++) {
        own = cores_propose(c, 1, "nobody hears this");
    }
    cores_elect(c, 2);
    uint64_t common = own - 3;
    for (int i = 0; i < 5; i++) {
        cores_propose(c, 2, "everybody else hears this");
    }
    cores_pass(c, 300);
    script_arose(s, cores_status(c, 2).commit > own, "the others have committed past the end of its log");
    /* It hears heartbeats of the leader that say how far is committed, and nothing that compares logs. */
    cores_hold(c, 2, 1, 1u << RAFT_APPEND);
    cores_isolate(c, 1, false);
    cores_cut(c, 1, 3, true);
    cores_pass(c, ELECTION_MS);
    script_arose(s,
                 cores_status(c, 1).term == cores_status(c, 2).term && cores_status(c, 1).leader == 2 &&
                     cores_status(c, 1).last == own,
                 "a follower with another log that hears heartbeats only");
    script_expect(s, cores_status(c, 1).commit <= common, "a heartbeat commits entries that were never compared");
    cores_hold(c, 2, 1, 0);
    cores_cut(c, 1, 3, false);
    comes_right(s, c);
    cores_free(c);
}

/* An acknowledgement of an earlier term arrives when the same index holds another entry. */
void scenario_ack_aba(struct script *s) {
    struct cores *c = cores_new(s, 5);
    cores_elect(c, 1);
    cores_pass(c, 300);
    for (uint64_t id = 2; id <= 5; id++) {
        cores_cut(c, 1, id, id != 3);
    }
    cores_hold(c, 3, 1, CORES_ALL_KINDS);
    uint64_t term = cores_status(c, 1).term;
    cores_propose(c, 1, "first");
    uint64_t index = cores_propose(c, 1, "second");
    cores_pass(c, 20);
    script_arose(s, cores_waiting(c, 3, 1, RAFT_APPEND_REPLY) > 0 && cores_status(c, 3).last == index,
                 "an acknowledgement that is under way");
    cores_isolate(c, 1, true);
    cores_elect(c, 2);
    cores_pass(c, 500);
    script_arose(s, term_at(c, 3, index) != term, "the acknowledged entries are gone");
    cores_isolate(c, 1, false);
    cores_pass(c, 500);
    /* 1 leads again, with 3 and one other to be asked; nobody but itself and 2 has what it appends. */
    cores_cut(c, 1, 3, true);
    cores_elect(c, 1);
    cores_cut(c, 1, 4, true);
    cores_cut(c, 1, 5, true);
    uint64_t again = 0;
    while (again < index && !s->failed) {
        again = cores_propose(c, 1, "again");
        script_arose(s, again != 0, "the first leader leads again");
    }
    uint64_t before = cores_status(c, 1).commit;
    cores_cut(c, 1, 3, false);
    cores_hold(c, 1, 3, CORES_ALL_KINDS);
    cores_pass(c, 20);
    script_arose(s, before < again && cores_status(c, 2).last >= again && cores_status(c, 3).last < again,
                 "an entry at the acknowledged index that only a minority has");
    cores_hold(c, 3, 1, 0);
    cores_pass(c, 20);
    script_arose(s, cores_waiting(c, 3, 1, RAFT_APPEND_REPLY) == 0 && cores_leads(c, 1),
                 "the old acknowledgement arrives");
    script_expect(s, cores_status(c, 1).commit == before, "an acknowledgement of an earlier term counts");
    cores_hold(c, 1, 3, 0);
    comes_right_together(s, c);
    cores_free(c);
}

/* A batch becomes durable when the index that it wrote holds another entry already, which is not durable. */
void scenario_durable_aba(struct script *s) {
    struct cores *c = cores_new(s, 5);
    cores_elect(c, 1);
    cores_pass(c, 300);
    for (uint64_t id = 2; id <= 5; id++) {
        cores_cut(c, 1, id, id != 3);
    }
    c->cores[3].stuck = true;
    uint64_t index = cores_propose(c, 1, "first");
    cores_pass(c, 20);
    script_arose(s, cores_status(c, 3).last == index && c->cores[3].batch_count == 1, "a batch is under way");
    cores_isolate(c, 1, true);
    cores_hold(c, 3, 2, 1u << RAFT_APPEND_REPLY);
    cores_elect(c, 2);
    cores_pass(c, 300);
    /* What 3 refused or asked for goes to 2; what it promises waits. */
    for (int i = 0;
         i < 10 && cores_status(c, 3).last >= index && term_at(c, 3, index) != cores_status(c, 2).term && !s->failed;
         i++) {
        cores_hold(c, 3, 2, 0);
        cores_pass(c, 100);
    }
    cores_hold(c, 3, 2, 1u << RAFT_APPEND_REPLY);
    script_arose(s, term_at(c, 3, index) == cores_status(c, 2).term && c->cores[3].batch_count >= 2,
                 "another entry at that index");
    while (c->cores[3].batch_count > 1) {
        (void)cores_persist_one(c, 3);
    }
    cores_pass(c, 300);
    script_expect(s, cores_acknowledged(c, 3, 2) < index, "the durability of a truncated entry is taken for another's");
    c->cores[3].stuck = false;
    cores_pass(c, 300);
    script_expect(s, cores_acknowledged(c, 3, 2) >= index, "a durable entry is not acknowledged");
    cores_hold(c, 3, 2, 0);
    cores_isolate(c, 1, false);
    comes_right(s, c);
    cores_free(c);
}

/* 2 leads, has sent 3 its own log, and goes on. */
static void follows_another(struct cores *c, bool rebooted) {
    cores_isolate(c, 1, true);
    if (!rebooted) {
        cores_elect(c, 2);
        cores_pass(c, 500);
    } else {
        cores_hold(c, 2, 3, 1u << RAFT_APPEND | 1u << RAFT_HEARTBEAT);
        cores_win(c, 2);
        c->cores[3].stuck = true; /* nothing it gets is applied before it crashes */
        cores_hold(c, 2, 3, 0);
        cores_pass(c, 300);
    }
    for (int i = 0; i < 10; i++) {
        cores_propose(c, 2, "after the snapshot was begun");
    }
    c->cores[3].stuck = true;
    cores_pass(c, 50);
    if (rebooted) { /* what it holds it has still; that most of it is committed it knows no more */
        while (cores_persist_one(c, 3)) {
        }
        cores_crash(c, 3);
        cores_boot(c, 3);
    }
}

/* A snapshot that was begun before a truncation is complete after it. */
static void snapshot_late(struct script *s, bool rebooted) {
    struct cores *c = cores_new(s, 3);
    cores_elect(c, 1);
    cores_isolate(c, 3, true);
    for (int i = 0; i < 20; i++) {
        cores_propose(c, 1, "before the snapshot");
    }
    cores_pass(c, 500);
    uint64_t covered = c->cores[1].applied, term = cores_status(c, 1).term;
    script_expect(s, rebooted || cores_compact(c, 1, covered) == 0, "what is applied cannot be compacted");
    cores_isolate(c, 3, false);
    cores_hold(c, 1, 3, 1u << RAFT_APPEND);
    cores_pass(c, ELECTION_MS);
    script_arose(s, rebooted || c->cores[1].wanted_snapshot[3], "a follower needs a snapshot");
    follows_another(c, rebooted);
    script_arose(s, cores_status(c, 3).term > term && cores_status(c, 3).last > covered,
                 "a log that is ahead of the snapshot");
    script_arose(s, !rebooted || cores_status(c, 3).commit < covered, "a log that is ahead of what is known of it");
    uint64_t last = cores_status(c, 3).last, commit = cores_status(c, 3).commit;
    (void)cores_snapshot_at(c, 1, 3, covered, term);
    script_expect(s, cores_status(c, 3).last == last && cores_status(c, 3).commit >= commit,
                  "a late snapshot throws away what came after it");
    for (int i = 0; i < 3; i++) {
        (void)cores_persist_one(c, 3);
    }
    cores_crash(c, 3);
    cores_boot(c, 3);
    c->cores[3].stuck = false;
    cores_pass(c, 500);
    cores_isolate(c, 1, false);
    cores_hold(c, 1, 3, 0);
    comes_right(s, c);
    cores_free(c);
}

void scenario_snapshot_truncation(struct script *s) {
    snapshot_late(s, false);
    if (!s->failed) {
        snapshot_late(s, true);
    }
}

/* The disk stops after the installation of a snapshot was handed to it, with entries queued behind: whatever the crash
 * keeps must be a log that starts. */
void scenario_snapshot_crash(struct script *s) {
    for (int kept = 0; kept <= 3 && !s->failed; kept++) {
        struct cores *c = cores_new(s, 3);
        cores_elect(c, 1);
        cores_isolate(c, 3, true);
        for (int i = 0; i < 20; i++) {
            cores_propose(c, 1, "before the snapshot");
        }
        cores_pass(c, 500);
        uint64_t covered = c->cores[1].applied;
        script_expect(s, cores_compact(c, 1, covered) == 0, "what is applied cannot be compacted");
        cores_isolate(c, 3, false);
        cores_pass(c, ELECTION_MS);
        cores_elect(c, 1);
        script_arose(s, c->cores[1].wanted_snapshot[3], "a follower needs a snapshot");
        c->cores[3].stuck = true;
        script_expect(s, cores_snapshot(c, 1, 3, cores_status(c, 1).term) == 0, "a snapshot is refused");
        cores_pass(c, 50);
        script_arose(s, c->cores[3].batch_count >= 1, "the installation waits for the disk");
        script_expect(s, cores_acknowledged(c, 3, 1) == 0, "what is not durable is acknowledged");
        cores_hold(c, 3, 1, kept == 1 ? CORES_ALL_KINDS : 0);
        for (int i = 0; i < kept; i++) {
            script_arose(s, cores_persist_one(c, 3), "a batch waits for the disk");
            cores_propose(c, 1, "behind the snapshot");
            cores_snapshot_sent(c, 1, 3, covered, true);
            cores_pass(c, 500);
        }
        script_arose(s, kept < 2 || cores_status(c, 3).last > covered, "entries behind the snapshot");
        cores_crash(c, 3);
        c->cores[3].stuck = false;
        cores_boot(c, 3);
        cores_hold(c, 3, 1, 0);
        script_expect(s, kept == 0 || c->cores[3].base_index == covered, "an installed snapshot is lost");
        if (kept == 0) {
            cores_pass(c, ELECTION_MS);
            cores_elect(c, 1);
            (void)cores_snapshot(c, 1, 3, cores_status(c, 1).term);
            cores_pass(c, 10);
            cores_snapshot_sent(c, 1, 3, c->cores[1].applied, true);
        }
        comes_right(s, c);
        cores_free(c);
    }
}
