/* All scenarios, for the table in scenario.c. */
#ifndef SHOAL_SCENARIOS_H
#define SHOAL_SCENARIOS_H

#include "script.h"

/* X(function, name, what it attacks) */
#define SCENARIOS_OF_CORES(X)                                                                                        \
    X(config_on_append, "config-on-append",                                                                          \
      "a configuration that takes effect when it is applied: the old half would commit and elect alone")             \
    X(new_half_alone, "new-half-alone",                                                                              \
      "a joint configuration that only its new half holds, with the leader or without")                              \
    X(single_step, "change-before-own-term",                                                                         \
      "a change of configuration before the leader has committed an entry of its own term")                          \
    X(joint_leaderless, "joint-leaderless",                                                                          \
      "pre-votes in a joint configuration whose leader died with half of it replicated")                             \
    X(vote_forgotten, "vote-forgotten", "a vote that raises no term, and a crash before and after it is durable")    \
    X(candidacy_forgotten, "candidacy-forgotten", "a candidate that asks for votes before its own is on its disk")   \
    X(unfit, "unfit", "candidates whose logs are longer and older, or as new and shorter")                           \
    X(stale_read, "stale-read", "reads of a leader that does not know the last commit: no entry of its term is yet") \
    X(read_deposed, "read-deposed", "reads at a leader that is cut off, while another takes over")                   \
    X(lease_handed_over, "lease-handed-over", "a lease that would hold on when its leader has handed over")          \
    X(lease_deposed, "lease-deposed", "reads by lease at a leader that is cut off, while another takes over")        \
    X(single_node_ack, "single-node-ack", "a single node that commits before its disk has the entry")                \
    X(heartbeat_commit, "heartbeat-commit", "a commit index from heartbeats, at a log that was never compared")      \
    X(ack_aba, "ack-aba", "an acknowledgement of an earlier term for an index that holds another entry by then")     \
    X(durable_aba, "durable-aba", "a batch that becomes durable after its entries were truncated and written anew")  \
    X(snapshot_truncation, "snapshot-late", "a snapshot of an earlier term, complete when the log is ahead of it")   \
    X(snapshot_crash, "snapshot-crash", "a crash between the installation of a snapshot and the entries behind it")

#define SCENARIOS_OF_SWARMS(X)                                                                                        \
    X(hung_disk, "hung-disk", "a leader whose disk hangs while it goes on to send heartbeats")                        \
    X(hung_state, "hung-state", "a leader whose log goes on while its state hangs")                                   \
    X(hung_disks_in_turn, "hung-disks-in-turn", "the same of every group's leader in turn, with users at work")       \
    X(power_cut_single, "power-cut-single", "I2, power cut of a single node as it acknowledges")                      \
    X(power_cut_all, "power-cut-all", "I2, power cut of all nodes as one acknowledges, with one kind of disk behind") \
    X(blackout, "blackout", "all nodes power-cut at once, again and again, with users at work")                       \
    X(stored_again, "stored-again", "I2, content that was removed and stored again just before a power cut")          \
    X(applied_apart, "applied-apart", "I1, crashes of replicas between commit and application")                       \
    X(stored_on_one, "stored-on-one", "I6, chunks acknowledged that only a minority holds")                           \
    X(disk_full, "disk-full", "all disks full, then freed")                                                           \
    X(deaf_leader, "deaf-leader", "a leader that is heard and hears nobody")                                          \
    X(mute_leader, "mute-leader", "a leader that hears everybody and is heard by nobody")                             \
    X(bridge_three, "bridge-three", "a follower that hears no leader, while a third node hears both")                 \
    X(bridge_five, "bridge-five", "two pairs that do not hear each other, and a bridge node, with users at work")     \
    X(flapping, "flapping", "a node whose links come and go")                                                         \
    X(minority_hour, "minority-hour", "a node alone for an hour, and its return")                                     \
    X(join_in_partition, "join-in-partition", "nodes that join while members are cut off")                            \
    X(removal_in_partition, "removal-in-partition", "a leader that is dismissed while it is cut off")                 \
    X(drain_in_partition, "drain-in-partition", "a member that drains while another comes and goes")                  \
    X(placement, "placement", "I3, a newcomer that knows which arcs it should serve, before any group took it in")    \
    X(removed_replica, "removed-replica", "I4, removed replicas that do not know, restart, and come back")            \
    X(old_messages, "old-messages", "I4, messages to replicas that arrive after these were removed")                  \
    X(old_creation, "old-creation", "I4, a removed replica that is told to be created, with its old id")              \
    X(lost_answer, "lost-answer", "I5, a command whose answer is lost after the leader applied it")                   \
    X(lost_leader, "lost-leader", "I5, a command whose leader is lost after it applied it")                           \
    X(settled, "settled", "I7, a put that finds the leader of its name when its references were given up")            \
    X(truncated, "truncated", "a restart after entries that nobody else had were truncated")                          \
    X(outbox_alone, "outbox-alone", "I7, removals of which some of the chunks' groups cannot hear for a minute")      \
    X(sweep_unrecovered, "sweep-unrecovered", "I6, sweeps while a crash has taken back what the log will tell again") \
    X(slow_newcomer, "slow-newcomer", "I6, a newcomer whose disk is slow to take the chunks of the groups it joins")  \
    X(old_half_goes, "old-half-goes", "I6, chunks that only those have who leave, while those who stay are slow")     \
    X(rolling_restart, "rolling-restart", "restarts of one node after the other, with users at work")                 \
    X(blink, "blink", "a leader of quiet groups that restarts before its node is missed")                             \
    X(clock_jump, "clock-jump", "wall clocks that jump by hours and days")

#define SCENARIO_FUNCTION(function, name, attacks) void scenario_##function(struct script *s);
SCENARIOS_OF_CORES(SCENARIO_FUNCTION)
SCENARIOS_OF_SWARMS(SCENARIO_FUNCTION)
#undef SCENARIO_FUNCTION

#endif
