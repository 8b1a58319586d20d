#!/bin/sh
# One bit damaged on the way to a node, anywhere in handshake or stream, is noticed: the session is dropped, said so in
# the log, and dialled anew. The swarm goes on, and nobody ever sees wrong data.
. "$(dirname "$0")/lib.sh"

# First message of the handshake, its answer, the third message, the first records, and deeper in the stream. Two nodes
# dial through the proxy, with two lanes each; some of the flips are in lengths.
OFFSETS='20 r20 r60 1 60 110 0 250 1000 50000'
[ -z "${SANITIZE:-}" ] || OFFSETS='r60 60 250 1000'

flips_left() {
    [ "$(grep -c '^flipped' "$work/proxy.out")" -lt "$(printf '%s\n' $OFFSETS | wc -l)" ]
}

random_file "$work/file" 2500000
random_file "$work/small" 500

swarm 2 --arcs 64
"$TOOLS/stranger" port >"$work/3.port"
# shellcheck disable=SC2086 # a list
"$TOOLS/bitflip_proxy" "$(cat "$work/3.port")" $OFFSETS >"$work/proxy.out" &
pids="$pids $!"
wait_for 5 "the proxy's port" test -s "$work/proxy.out"
join 3 1 --advertise "127.0.0.1:$(head -n 1 "$work/proxy.out")"
ok "node 3 is reached only through a proxy that flips bits"

i=0
limit=$(($(now) + 12000 * patience))
while flips_left; do
    via=$((i % 3 + 1))
    put $via "$work/file" "flip/$i" || fail "cannot store through node $via"
    put $via "$work/small" "small/$i" || fail "cannot store through node $via"
    must_be_same $((via % 3 + 1)) "flip/$i" "$work/file"
    must_be_same $((via % 3 + 1)) "small/$i" "$work/small"
    [ "$(now)" -lt "$limit" ] || fail "after all this time still not all bits are flipped: $(cat "$work/proxy.out")"
    i=$((i + 1))
done
ok "$(grep -c '^flipped' "$work/proxy.out") bits flipped; meanwhile $((2 * i)) files stored and fetched"

grep -q 'cut off 127.0.0.1:.*authentication failed' "$work"/[123].log || fail "no log says that a session was dropped"
[ "$(cat "$work"/[123].log | wc -l)" -le 200 ] || fail "the logs are full of it"
ok "the log tells, in $(cat "$work"/[123].log | wc -l) lines"

for n in 1 2 3; do
    await_healthy "$n" 3
done
kill_nodes 1
while [ "$i" -gt 0 ]; do
    i=$((i - 1))
    wait_for 10 "flip/$i through node 3" same 3 "flip/$i" "$work/file"
    must_be_same 3 "small/$i" "$work/small"
done
ok "all is healthy, and everything stored is right on the nodes that are left"
