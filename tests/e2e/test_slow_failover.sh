#!/bin/sh
# The node that leads is killed, stopped for 10 s and cut off for 10 s, in turn, FAILOVER_ROUNDS times (default 6), while
# 64 clients read and write through all three nodes. Whatever happens, writes go on without it before it is back, the
# history is linearizable, and what was acknowledged can be read from every node at the end. How long a fault was felt is
# printed, not judged:
#
#   the time from just before the fault until the first return of a successful write that was called just after it.
#
# There is one arc, so every write needs its leader. Writes that were under way at the fault do not count, because their
# answers may only have been on their way; so the figure is what somebody meets who starts to write right then.
#
# Being cut off needs network namespaces, and these need root. Without, the nodes are on loopback, and it is left out.
. "$(dirname "$0")/lib.sh"

FAILOVER_ROUNDS=${FAILOVER_ROUNDS:-6}
EPISODE=3 # rounds to a history, which would get too large
KEYS=500
HOLD=1000 # hundredths of a second that a node is stopped or cut off
hub=shoal-$$-hub

# --- the network: each node in a namespace, all of them at a bridge in another ---------------------------------------

plug_in() { # N
    local ns=shoal-$$-$1
    ip netns add "$ns" &&
        ip -n "$hub" link add "port$1" type veth peer name eth0 netns "$ns" &&
        ip -n "$hub" link set "port$1" master bridge0 up &&
        ip -n "$ns" addr add "10.77.0.$1/24" dev eth0 &&
        ip -n "$ns" link set eth0 up &&
        ip -n "$ns" link set lo up
}

build_network() {
    [ "$(id -u)" -eq 0 ] &&
        ip netns add "$hub" &&
        ip -n "$hub" link add bridge0 type bridge &&
        ip -n "$hub" link set bridge0 up &&
        plug_in 1 && plug_in 2 && plug_in 3
}

at_end() {
    local n
    for n in 1 2 3 hub; do
        ip netns del "shoal-$$-$n" 2>/dev/null
    done
}

# In place of the one that puts nodes on loopback.
launch_inside() { # N [ARGUMENT...]
    local node=$1
    shift
    : >"$work/$node.out"
    ip netns exec "shoal-$$-$node" "$SHOAL" node -d "$work/$node" --listen "10.77.0.$node:7440" "$@" \
        </dev/null >>"$work/$node.out" 2>>"$work/$node.log" &
    echo $! >"$work/$node.pid"
    pids="$pids $!"
}

# --- faults ---------------------------------------------------------------------------------------------------------

# The node, of those here, that leads the arc; asked from any that knows.
find_leader() {
    local n number
    for n in 1 2 3; do
        number=$(stat_json "$n" probe '.leader // empty' 2>/dev/null)
        [ -z "$number" ] || break
    done
    for leader in 1 2 3; do
        [ "$(cat "$work/$leader.number")" != "$number" ] || return 0
    done
    return 1
}

# The same node has led for a second: leadership is not just being handed over to the node that is to have it.
steady() {
    local was=${leader:-}
    if ! find_leader || [ "$leader" != "$was" ]; then
        led_since=$(now)
        return 1
    fi
    [ $(($(now) - led_since)) -ge 100 ]
}

start_fault() { # KIND N
    case $1 in
    kill) kill -KILL "$(pid_of "$2")" ;;
    stop) kill -STOP "$(pid_of "$2")" ;;
    cut) ip -n "$hub" link set "port$2" down ;;
    esac
}

end_fault() { # KIND N
    case $1 in
    kill) wait "$(pid_of "$2")" 2>/dev/null; launch "$2" && await "$2" ;;
    stop) kill -CONT "$(pid_of "$2")" ;;
    cut) ip -n "$hub" link set "port$2" up ;;
    esac
}

# A stopped node takes the request and keeps it.
can_write() { # N
    timeout 5 "$SHOAL" put -d "$work/$1" "$work/probe" probe 2>/dev/null
}

fault() { # KIND
    local kind=$1 before after since
    await_healthy 1 3
    leader=
    wait_for 30 'a leader that stays' steady
    before=$("$TOOLS/monotonic")
    start_fault "$kind" "$leader"
    after=$("$TOOLS/monotonic")
    since=$(now)
    echo "$kind $leader $before $after" >>"$work/faults"
    wait_for 60 "a write without node $leader ($kind)" can_write $((leader % 3 + 1))
    while [ "$kind" != kill ] && [ $(($(now) - since)) -lt "$HOLD" ]; do
        sleep 0.1
    done
    end_fault "$kind" "$leader"
    await_healthy $((leader % 3 + 1)) 3
}

# --- the clients ----------------------------------------------------------------------------------------------------

measuring() {
    grep -qs '"op":"read"' "$work/history"
}

start_clients() {
    rm -f "$work/history" "$work/faults"
    "$SHOAL" bench mixed -d "$work/1" --node "$work/2" --node "$work/3" --clients 64 --keys "$KEYS" --size 512 \
        --seconds 3600 --timeout 10s --json --history "$work/history" >"$work/figures" 2>"$work/bench.err" &
    bench=$!
    pids="$pids $bench"
    wait_for 60 'all keys to be filled' measuring
}

# KIND MS of each fault: appended to $work/times.
felt() {
    awk -F '[:,}]' 'NR == FNR { split($0, f, " "); kind[NR] = f[1]; before[NR] = f[3]; after[NR] = f[4]; n = NR; next }
        /"op":"write"/ && /"result":"ok"/ {
            for (i = 1; i <= n; i++)
                if ($10 + 0 > after[i] && (!(i in first) || $12 + 0 < first[i])) first[i] = $12 + 0
        }
        END { for (i = 1; i <= n; i++) print kind[i], i in first ? int((first[i] - before[i]) / 1e6 + 0.5) : "never" }' \
        "$work/faults" "$work/history" >"$work/felt"
    cat "$work/felt" >>"$work/times"
    ! grep -q never "$work/felt" || fail 'no write came after a fault'
}

end_clients() {
    local prefix
    kill -INT "$bench"
    wait "$bench" || {
        cat "$work/bench.err"
        fail 'the clients'
    }
    prefix=$(head -n 1 "$work/history" | jq -r .key)
    "$TOOLS/read_back" "${prefix%/*}/" "$KEYS" "$work/1" "$work/2" "$work/3" >"$work/finals" || fail 'reading back'
    "$TOOLS/check_history" "$work/history" --final "$work/finals" >"$work/verdict" || {
        cat "$work/verdict"
        fail 'what the clients saw cannot be'
    }
    felt
    ok "$(tr '\n' ',' <"$work/felt") ms; $(cat "$work/verdict"); $(jq -r '"\(.ops_per_second) operations/s, \(.errors) errors"' "$work/figures")"
}

quantiles() { # of numbers on standard input, a line each
    sort -n | awk '{ v[NR] = $1 } function q(p,   r) { r = int(NR * p + 0.9999); return v[r < 1 ? 1 : r] }
        END { printf "%d faults: p50 %d ms, p99 %d ms, max %d ms\n", NR, q(0.5), q(0.99), v[NR] }'
}

# --- the test -------------------------------------------------------------------------------------------------------

kinds='kill stop'
if build_network 2>"$work/network.err"; then
    kinds='kill stop cut'
    launch() {
        launch_inside "$@"
    }
else
    echo "SKIP  being cut off: no root or no network namespaces: $(cat "$work/network.err")"
fi

swarm 3 --arcs 1
echo probe >"$work/probe"
for n in 1 2 3; do
    member_number "$n" >"$work/$n.number"
done
can_write 1 || fail 'the first write'

round=0
while [ "$round" -lt "$FAILOVER_ROUNDS" ]; do
    [ $((round % EPISODE)) -ne 0 ] || start_clients
    # shellcheck disable=SC2086 # a list
    set -- $kinds
    shift $((round % $#))
    fault "$1"
    round=$((round + 1))
    if [ $((round % EPISODE)) -eq 0 ] || [ "$round" -eq "$FAILOVER_ROUNDS" ]; then
        end_clients
    fi
done
for kind in $kinds; do
    echo "$kind: $(sed -n "s/^$kind //p" "$work/times" | quantiles)"
done
echo "all: $(cut -d ' ' -f 2 "$work/times" | quantiles)"
