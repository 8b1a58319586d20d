#!/bin/sh
# cli/quickstart.sh with the build at hand: twice in the same place, then stopped.
. "$(dirname "$0")/lib.sh"

script=$(cd "$e2e/../../cli" && pwd)/quickstart.sh
SHOAL_BUILD=$(dirname "$SHOAL")
SHOAL_QUICKSTART=$work/q
export SHOAL_BUILD SHOAL_QUICKSTART

# It leaves its nodes running: they are not ours, so only it can stop them, also when this fails.
stop_and_exit() {
    status=$?
    sh "$script" stop >/dev/null 2>&1
    (exit "$status")
    at_exit
}
trap stop_and_exit EXIT

quickstart_pids() {
    cat "$work"/q/[123].pid 2>/dev/null
}

run sh "$script"
[ "$status" -eq 0 ] || {
    cat "$work/stdout" "$work/stderr" "$work"/q/[123].log
    fail "quickstart: exit status $status"
}
grep -q 'byte for byte' "$work/stdout" || fail "quickstart does not show that the file survived"
grep -q "^  SHOAL_QUICKSTART=$work/q sh .*quickstart.sh stop$" "$work/stdout" || fail "it does not say how to stop what is here"
ok "quickstart starts three nodes and shows a file that outlives one"

"$SHOAL" ls -d "$work/q/3" quickstart/ | grep -qx quickstart/shoal || fail "the file it stored is not there"
expect 0 "it runs a second time, over the first" sh "$script"
[ "$(quickstart_pids | wc -l)" -eq 3 ] || fail "there should be three nodes"

stopped=$(quickstart_pids)
expect 0 "it stops its nodes" sh "$script" stop
for pid in $stopped; do
    gone "$pid" || fail "process $pid of the quick start still runs"
done
refused 5 "no node is running" "nothing serves any more" "$SHOAL" status -d "$work/q/1"
