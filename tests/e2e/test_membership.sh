#!/bin/sh
# Nodes leave: one drains, one is killed and removed, one is silent and out for a while. What was stored stays whole, and
# a machine that lost its disk is back as a new member at its old address.
. "$(dirname "$0")/lib.sh"

random_file "$work/inline" 1000
random_file "$work/chunk" 200000
random_file "$work/chunks" 5000000
FILES='inline chunk chunks'

state_of() { # N MEMBER: the state of the member, as node N knows it
    status_json "$1" ".members[] | select(.node == $2) | .state"
}

is_state() { # N MEMBER STATE
    [ "$(state_of "$1" "$2")" = "$3" ]
}

all_same() { # N
    for f in $FILES; do
        must_be_same "$1" "kept/$f" "$work/$f"
    done
}

# ends_itself N: the process of node N ends by itself, as nothing that failed.
ends_itself() {
    local pid
    pid=$(pid_of "$1")
    wait_for 20 "node $1 ends" gone "$pid"
    wait "$pid" || fail "node $1 ended with status $?"
    grep -q 'no longer a member' "$work/$1.log" || fail "node $1 does not say why it ended"
}

swarm 4 --arcs 64 --out-after 5s
for f in $FILES; do
    put 1 "$work/$f" "kept/$f" || fail "cannot store"
done

# --- usage ----------------------------------------------------------------------------------------------------------

refused 2 'number of a node' "a node has a number" "$SHOAL" drain -d "$work/1" abc
refused 2 'number of a node' "numbers begin at 1" "$SHOAL" remove -d "$work/1" 0
refused 3 'no node 9' "a node that was never there cannot be drained" "$SHOAL" drain -d "$work/1" 9
refused 3 'no node 9' "or removed" "$SHOAL" remove -d "$work/1" 9
refused 1 'is alive.*drain 2.*--force' "a node that is alive is not removed just so" "$SHOAL" remove -d "$work/1" 2
expect 0 "what does not drain stays, too" "$SHOAL" drain -d "$work/1" --cancel 3
refused 2 'out-after' "a grace period of no time" "$SHOAL" node -d "$work/x" --out-after 1ms

# --- draining -------------------------------------------------------------------------------------------------------

expect 0 "a drain begins" "$SHOAL" drain -d "$work/2" --no-wait 1
expect 0 "and is called off" "$SHOAL" drain -d "$work/3" --cancel 1
[ "$(cat "$work/stdout")" = "node 1 is up" ] || fail "the cancelled drain left node 1 otherwise"
await_healthy 1 4

# Node 1 made the swarm, and leads what it leads: it is a node like any other.
"$SHOAL" drain -d "$work/1" >"$work/drain.out" 2>"$work/drain.err" &
drain=$!
put 3 "$work/chunk" during/chunk || fail "cannot store during the drain"
wait_for 90 "the drain ends" gone "$drain"
wait "$drain" || {
    cat "$work/drain.err"
    fail "the drain ended with status $?"
}
[ "$(cat "$work/drain.out")" = "node 1 has left the swarm" ] || fail "the drain says: $(cat "$work/drain.out")"
ok "node 1 drained itself"
ends_itself 1
ok "its process ended by itself"
for n in 2 3 4; do
    wait_for 20 "node $n knows" is_state "$n" 1 gone
    all_same "$n"
    must_be_same "$n" during/chunk "$work/chunk"
done
ok "every file is whole through each that stayed"
refused 1 'no longer a member' "started again, it says that it had left" \
    timeout 60 "$SHOAL" node -d "$work/1" --listen 127.0.0.1:0

# Nor does its identity help it in: an empty directory would.
mkdir -m 700 "$work/again"
cp -p "$work/1/identity" "$work/again/"
ticket=$("$SHOAL" invite -d "$work/2") || fail "no ticket"
refused 1 'removed from the swarm for good' "its identity is never let in again" \
    "$SHOAL" node -d "$work/again" --listen 127.0.0.1:0 --join "$ticket"

healthy_three() {
    [ "$(status_json 2 '.arcs.healthy == .arcs.total and .arcs.leaderless == 0')" = true ]
}
wait_for 60 "all arcs healthy on three nodes" healthy_three

# --- out, and back --------------------------------------------------------------------------------------------------

join 5 2 --out-after 5s # member 5
await_healthy 2 4
kill_nodes 4
wait_for 60 "node 4 is out" is_state 2 4 out
ok "a node that was killed is out after the grace period"
wait_for 60 "its arcs are with the others" healthy_three
put 2 "$work/chunks" while/out || fail "cannot store while a node is out"
start 4 --out-after 5s
wait_for 30 "node 4 is up again" is_state 2 4 up
await_healthy 4 4
must_be_same 4 while/out "$work/chunks"
ok "it is up again, with all it should have"

# --- removal --------------------------------------------------------------------------------------------------------

kill_nodes 3
rm -rf "$work/3"
silent_3() {
    [ "$(status_json 2 '.members[] | select(.node == 3) | .alive')" = false ] &&
        [ "$(status_json 4 '.members[] | select(.node == 3) | .alive')" = false ] &&
        [ "$(status_json 5 '.members[] | select(.node == 3) | .alive')" = false ]
}
wait_for 30 "nobody hears node 3" silent_3
expect 0 "a node that was killed, and whose disk is lost, is removed" "$SHOAL" remove -d "$work/2" 3
wait_for 60 "all arcs healthy without it" healthy_three
for n in 2 4 5; do
    wait_for 10 "node $n knows" is_state "$n" 3 gone
    all_same "$n"
done
ok "every file is whole without it"

# The same machine and port, an empty directory: another member.
join 3 2 --out-after 5s
[ "$(member_number 3)" = 6 ] || fail "the machine is back as member $(member_number 3), not 6"
await_healthy 3 4
all_same 3
ok "its machine is back at the old address as a new member"

# --- a lost disk that nobody told the swarm of ----------------------------------------------------------------------

kill_nodes 5
rm -rf "$work/5"
join 5 2 --out-after 5s # member 7, at the address of member 5
wait_for 60 "member 5 is out" is_state 2 5 out
wait_for 60 "member 7 is up" is_state 4 7 up
alive_7() {
    [ "$(status_json "$1" '[.members[] | select(.node == 7 and .alive)] | length')" = 1 ]
}
for n in 2 3 4 5; do
    wait_for 20 "node $n hears member 7" alive_7 "$n"
done
wait_for 60 "all arcs healthy" healthy_three
expect 0 "its old self is removed" "$SHOAL" remove -d "$work/4" 5
all_same 5
ok "a machine that lost its disk is back at its address while its old self was still a member"
[ "$(grep -c 'cut off' "$work/5.log")" -lt 20 ] || fail "the machine that is back is knocked at by mistake all the time"

# --- the last ones --------------------------------------------------------------------------------------------------

expect 0 "one drains by force of another" "$SHOAL" drain -d "$work/2" 7
ends_itself 5
expect 0 "and another" "$SHOAL" drain -d "$work/2" 6
ends_itself 3
expect 0 "and another" "$SHOAL" drain -d "$work/2" 4
ends_itself 4
refused 1 'nobody would be left' "the last one stays" "$SHOAL" drain -d "$work/2"
refused 1 'nobody would be left' "also by force" "$SHOAL" remove -d "$work/2" --force 2
all_same 2
must_be_same 2 while/out "$work/chunks"
ok "the last node has everything"
