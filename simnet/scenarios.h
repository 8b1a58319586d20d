/* All scenarios, for the table in scenario.c. */
#ifndef SHOAL_SCENARIOS_H
#define SHOAL_SCENARIOS_H

#include "script.h"

/* X(function, name, what it attacks) */
#define SCENARIOS_OF_CORES(X)                                                                                        \
    X(config_on_append, "config-on-append",                                                                          \
      "a configuration that takes effect when it is applied: the old half would commit and elect alone")             \
    X(single_step, "change-before-own-term",                                                                         \
      "a change of configuration before the leader has committed an entry of its own term")                          \
    X(joint_leaderless, "joint-leaderless",                                                                          \
      "pre-votes in a joint configuration whose leader died with half of it replicated")                             \
    X(vote_forgotten, "vote-forgotten", "a vote that raises no term, and a crash before and after it is durable")    \
    X(stale_read, "stale-read", "reads of a leader that does not know the last commit: no entry of its term is yet") \
    X(single_node_ack, "single-node-ack", "a single node that commits before its disk has the entry")                \
    X(heartbeat_commit, "heartbeat-commit", "a commit index from heartbeats, at a log that was never compared")      \
    X(ack_aba, "ack-aba", "an acknowledgement of an earlier term for an index that holds another entry by then")     \
    X(durable_aba, "durable-aba", "a batch that becomes durable after its entries were truncated and written anew")  \
    X(snapshot_truncation, "snapshot-late", "a snapshot of an earlier term, complete when the log is ahead of it")   \
    X(snapshot_crash, "snapshot-crash", "a crash between the installation of a snapshot and the entries behind it")

#define SCENARIO_FUNCTION(function, name, attacks) void scenario_##function(struct script *s);
SCENARIOS_OF_CORES(SCENARIO_FUNCTION)
#undef SCENARIO_FUNCTION

#endif
