#!/bin/sh
# One node is a swarm already; what it stored is on three replicas once two more have joined, and outlives it.
. "$(dirname "$0")/lib.sh"

random_file "$work/inline" 1000
random_file "$work/chunk" 200000
random_file "$work/chunks" 5000000
: >"$work/empty"
FILES='empty inline chunk chunks'

start 1
for f in $FILES; do
    put 1 "$work/$f" "old/$f" || fail "cannot store with one node"
    must_be_same 1 "old/$f" "$work/$f"
done
"$SHOAL" ls -d "$work/1" old/ | cmp -s - - <<END || fail "one node lists something else"
old/chunk
old/chunks
old/empty
old/inline
END
expect 0 "one node stores, fetches, lists" "$SHOAL" rm -d "$work/1" old/empty
put 1 "$work/empty" old/empty || fail "cannot store what was removed"

join 2 1
put 2 "$work/chunks" mid/chunks || fail "cannot store through the second node"
ok "a second node joined and stores"
join 3 1
ok "a third node joined"

on_three() {
    for name in old/empty old/inline old/chunk old/chunks mid/chunks; do
        [ "$(stat_json 3 "$name" '(.replicas | length) == 3 and .chunk_replicas_min == 3')" = true ] || return 1
    done
}
wait_for 60 "names and chunks on three replicas" on_three
await_healthy 3 3
ok "all that was stored before is on three replicas"

kill_nodes 1
for n in 2 3; do
    for f in $FILES; do
        wait_for 10 "old/$f through node $n" same "$n" "old/$f" "$work/$f"
    done
    must_be_same "$n" mid/chunks "$work/chunks"
done
ok "without the first node everything is read from both others"
expect 0 "and they go on storing" put 3 "$work/chunk" new/chunk
must_be_same 2 new/chunk "$work/chunk"
