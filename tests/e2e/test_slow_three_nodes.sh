#!/bin/sh
# Three nodes: a large file read back from each; each node killed in turn while the others go on; each catches up.
. "$(dirname "$0")/lib.sh"

BIG=$((256 * 1024 * 1024))
MEDIUM=$((8 * 1024 * 1024))
PROMISE=500 # hundredths of a second from the kill to the end of an operation

random_file "$work/big" "$BIG"
random_file "$work/medium" "$MEDIUM"
random_file "$work/small" 4096

swarm 3
ok "three nodes are up and healthy"
expect 0 "256 MiB stored through node 1" put 1 "$work/big" big/one
put 1 "$work/medium" kept/medium && put 2 "$work/small" kept/small || fail "cannot store"
for n in 1 2 3; do
    must_be_same "$n" big/one "$work/big"
    ok "256 MiB read from node $n, byte for byte"
done

# op WHAT COMMAND...: in the background; leaves the time at which it succeeded.
op() {
    mark=$work/op.$1
    shift
    rm -f "$mark"
    ("$@" 2>"$mark.err" && now >"$mark") &
    ops="$ops $!"
}

# in_time WHAT SINCE
in_time() {
    [ -f "$work/op.$1" ] || {
        cat "$work/op.$1.err"
        fail "$1 failed after node $victim was killed"
    }
    took=$(($(cat "$work/op.$1") - $2))
    [ "$took" -le $((PROMISE * patience)) ] || fail "$1 took ${took}0 ms after node $victim was killed"
    slowest=$((took > slowest ? took : slowest))
}

misses_replicas() { # N
    [ "$(status_json "$1" '.arcs.leaderless == 0 and .arcs.under_replicated == .arcs.total and
        ([.members[] | select(.alive)] | length) == 2')" = true ]
}

# lose VICTIM OTHER OTHER: kills one, uses both others at once, and brings it back.
lose() {
    victim=$1
    ops= slowest=0
    killed=$(now)
    kill_nodes "$victim"
    for other in "$2" "$3"; do
        op "put-small-$other" put "$other" "$work/small" "after/$victim/small-$other"
        op "put-medium-$other" put "$other" "$work/medium" "after/$victim/medium-$other"
        op "get-small-$other" same "$other" kept/small "$work/small"
        op "get-medium-$other" same "$other" kept/medium "$work/medium"
    done
    # shellcheck disable=SC2086 # a list
    wait $ops
    for other in "$2" "$3"; do
        for what in put-small put-medium get-small get-medium; do
            in_time "$what-$other" "$killed"
        done
    done
    ok "node $victim killed: puts and gets through the others went on within ${slowest}0 ms"
    must_be_same "$2" "after/$victim/medium-$3" "$work/medium"
    wait_for 10 "status shows the loss" misses_replicas "$2"
    start "$victim"
    await_healthy "$victim" 3
    await_healthy "$2" 3
    must_be_same "$victim" "after/$victim/medium-$2" "$work/medium"
    ok "node $victim is back and has caught up"
}

lose 1 2 3
lose 2 1 3
lose 3 1 2

# The name's own leader, wherever it is by now.
leader=$(stat_json 1 kept/small .leader)
for n in 1 2 3; do
    [ "$(member_number "$n")" != "$leader" ] || led_by=$n
done
case ${led_by:-} in
1) lose 1 2 3 ;;
2) lose 2 1 3 ;;
3) lose 3 1 2 ;;
*) fail "stat says that member $leader leads kept/small: no such node" ;;
esac

must_be_same "$led_by" big/one "$work/big"
ok "the large file is as it was, read from the node killed last"
