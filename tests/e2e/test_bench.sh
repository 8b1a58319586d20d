#!/bin/sh
# shoal bench against three nodes: its figures agree with its history, and the history with what the nodes have, also
# when a node is killed meanwhile.
. "$(dirname "$0")/lib.sh"

names='errors latency_ms mib_per_second ops_per_second seconds max p50 p95 p99 p999'

# bench MODE [ARGUMENT...]: through all nodes. The figures are in $work/figures, the history in $work/history.
bench() {
    "$SHOAL" bench -d "$work/1" --node "$work/2" --node "$work/3" --clients 12 --keys 200 --json \
        --history "$work/history" "$@" >"$work/figures" 2>"$work/bench.err"
}

figures_hold() { # FILTER
    [ "$(jq -r "$1" "$work/figures")" = true ] || {
        cat "$work/figures" "$work/bench.err"
        fail "of the figures does not hold: $1"
    }
}

history_count() { # FILTER
    jq -c "select($1)" "$work/history" | wc -l
}

# Every write of a key that a later one did not follow is what each node has, when none is of unknown outcome.
last_writes_are_there() {
    jq -rs '[.[] | select(.op == "write")] | group_by(.key) | .[] | select(all(.result == "ok")) | max_by(.call) as $l
        | select(all(.return < $l.call or . == $l)) | "\(.[0].key) \($l.value)"' "$work/history" >"$work/last"
    [ "$(wc -l <"$work/last")" -ge 10 ] || fail 'hardly a write without another beside it'
    head -n 20 "$work/last" | while read -r name value; do
        got=$("$SHOAL" get -d "$work/$1" "$name" - | b2sum -l 256)
        [ "${got%% *}" = "$value" ] || fail "$name read through node $1 is not what was written last"
    done || exit 1
}

measuring() {
    grep -qs '"op":"read"' "$work/history"
}

swarm 3 --arcs 16

bench write --seconds 2 || fail 'bench write'
for name in $names; do
    figures_hold "[.. | objects | keys[]] | contains([\"$name\"])"
done
figures_hold '[.. | objects | keys[]] | length == 10'
figures_hold '.errors == 0 and .seconds >= 2 and .ops_per_second > 0'
in_time=$(history_count ".return != null")
figures_hold "(.ops_per_second * .seconds - $in_time | fabs) <= 13"
for n in 1 2 3; do
    last_writes_are_there "$n"
done
ok "writes: $(cat "$work/figures")"

bench read --seconds 1 || fail 'bench read'
figures_hold '.errors == 0 and .ops_per_second > 0'
[ "$(history_count '.op == "write" and .result == "ok"')" -eq 200 ] || fail 'reads: every key is filled once'
ok "reads: $(cat "$work/figures")"

rm "$work/history"
bench mixed --seconds 6 --timeout 5s &
bench=$!
wait_for 20 'an operation after the keys are filled' measuring
kill_nodes 3
wait "$bench" || fail 'bench mixed with a node killed'
figures_hold '.errors > 0 and .errors < 200 and .ops_per_second > 0'
[ "$(history_count '.result == "unknown" and .return != null')" -eq 0 ] || fail 'an unknown operation that returned'
ok "a node killed meanwhile: $(cat "$work/figures")"
prefix=$(jq -r .key "$work/history" | head -n 1)
"$TOOLS/read_back" "${prefix%/*}/" 200 "$work/1" "$work/2" >"$work/finals" || fail 'reading everything back'
expect 0 'the history is linearizable, and all of it is there' "$TOOLS/check_history" "$work/history" \
    --final "$work/finals"
cat "$work/stdout"
