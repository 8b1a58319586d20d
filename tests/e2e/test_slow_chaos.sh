#!/bin/sh
# For CHAOS_SECONDS (default 30), at moments of chance: a node is killed and comes back, or is stopped for a while, or all
# are killed at once, while clients read and write through all of them. The history is linearizable, and what was
# acknowledged can be read from every node at the end.
. "$(dirname "$0")/lib.sh"

CHAOS_SECONDS=${CHAOS_SECONDS:-30}
KEYS=300
faults=0

chance() { # BELOW
    echo $(($(od -An -N2 -tu2 /dev/urandom) % $1))
}

# A second and up to another.
breathe() {
    sleep "1.$(printf %02d "$(chance 100)")"
}

fault() {
    local node
    node=$(($(chance 3) + 1))
    case $(chance 4) in
    0 | 1)
        kill_nodes "$node"
        start "$node"
        ;;
    2)
        kill -STOP "$(pid_of "$node")"
        breathe
        kill -CONT "$(pid_of "$node")"
        ;;
    3)
        kill_nodes 1 2 3
        launch 1
        launch 2
        launch 3
        await 1 2 3
        ;;
    esac
    faults=$((faults + 1))
}

measuring() {
    grep -qs '"op":"read"' "$work/history"
}

swarm 3 --arcs 16
"$SHOAL" bench mixed -d "$work/1" --node "$work/2" --node "$work/3" --clients 32 --keys "$KEYS" --size 700 \
    --seconds 3600 --timeout 3s --json --history "$work/history" >"$work/figures" 2>"$work/bench.err" &
bench=$!
pids="$pids $bench"
wait_for 60 'all keys to be filled' measuring
until=$(($(now) + CHAOS_SECONDS * 100))
while [ "$(now)" -lt "$until" ]; do
    fault
    breathe
done
await_healthy 1 3
kill -INT "$bench"
wait "$bench" || {
    cat "$work/bench.err"
    fail 'the clients'
}
prefix=$(head -n 1 "$work/history" | jq -r .key)
"$TOOLS/read_back" "${prefix%/*}/" "$KEYS" "$work/1" "$work/2" "$work/3" >"$work/finals" || fail 'reading back'
"$TOOLS/check_history" "$work/history" --final "$work/finals" >"$work/verdict" || {
    cat "$work/verdict"
    fail "what the clients saw in $faults faults cannot be"
}
ok "$faults faults; $(cat "$work/verdict"); $(jq -r '"\(.ops_per_second) operations/s, \(.errors) errors"' "$work/figures")"
