#!/bin/sh
# What cannot be done is refused clearly and in time: no quorum, too large, no space, a directory, port or key that is not
# to be used.
. "$(dirname "$0")/lib.sh"

SANE=3000 # hundredths of a second within which "unavailable" must be said

random_file "$work/file" 100000
random_file "$work/small" 1000

# --- the data directory ---------------------------------------------------------------------------------------------

start 1 --arcs 64
port=$(cat "$work/1.port")
node() { # N [ARGUMENT...]
    timeout 30 "$SHOAL" node -d "$work/$1" --listen "127.0.0.1:${2:-0}" </dev/null
}
refused 1 "already running" "a data directory in use" node 1
refused 1 "listen.*(in use|address)" "a port in use" node 9 "$port"
mkdir -m 777 "$work/8"
chmod 777 "$work/8"
refused 1 "other users" "a directory others can write to" node 8
refused 2 "--listen" "an address that is none" "$SHOAL" node -d "$work/9" --listen nonsense
(umask 022 && mkdir "$work/7" && cp "$work/1/identity" "$work/7" && chmod 644 "$work/7/identity")
refused 1 "read by other users" "a key file others can read" node 7
rm -f "$work/7/identity"
echo "not a key" >"$work/7/identity"
chmod 600 "$work/7/identity"
refused 1 "not a key file" "a key file that is something else" node 7

put 1 "$work/file" kept && put 1 "$work/file" doomed || fail "cannot store"
stop_node 1
mv "$work/1/identity" "$work/identity"
refused 1 "identity.*missing" "data without its key" node 1
head -c 20 "$work/identity" >"$work/1/identity"
chmod 600 "$work/1/identity"
refused 1 "not a key file" "half a key file" node 1
mv "$work/identity" "$work/1/identity"
start 1
must_be_same 1 kept "$work/file"
ok "with its key the node is back"

# --- too large ------------------------------------------------------------------------------------------------------

truncate -s 1073741825 "$work/sparse"
since=$(now)
refused 1 "1 GiB" "a file of one byte more than 1 GiB" put 1 "$work/sparse" too/large
[ $(($(now) - since)) -le $((200 * patience)) ] || fail "that took $(($(now) - since))0 ms to say"
refused 3 "no such file" "and nothing of it is stored" "$SHOAL" stat -d "$work/1" too/large
rm "$work/sparse"

# --- no quorum ------------------------------------------------------------------------------------------------------

join 2 1
join 3 1
await_healthy 1 3
kill_nodes 2 3
# In the background, all at once; each leaves its exit status and the time it took.
attempt() { # WHAT COMMAND...
    local what=$1 began
    shift
    began=$(now)
    "$@" >/dev/null 2>"$work/err.$what"
    echo $? >"$work/exit.$what"
    echo $(($(now) - began)) >"$work/took.$what"
}
attempt put put 1 "$work/file" unavailable/chunk &
attempts=$!
attempt put-inline put 1 "$work/small" unavailable/inline &
attempts="$attempts $!"
attempt get get 1 kept "$work/got" &
attempts="$attempts $!"
attempt ls "$SHOAL" ls -d "$work/1" &
attempts="$attempts $!"
attempt rm "$SHOAL" rm -d "$work/1" doomed & # once there is a quorum again this may happen, or not
attempts="$attempts $!"
attempt stat "$SHOAL" stat -d "$work/1" kept &
attempts="$attempts $!"
attempt invite "$SHOAL" invite -d "$work/1" &
attempts="$attempts $!"
# shellcheck disable=SC2086 # a list
wait $attempts
slowest=0
for what in put put-inline get ls rm stat invite; do
    [ "$(cat "$work/exit.$what")" -eq 5 ] || {
        cat "$work/err.$what"
        fail "$what without a quorum: exit status $(cat "$work/exit.$what"), not 5"
    }
    said_once "quorum|unavailable|majority|time" "$what without a quorum" "$work/err.$what"
    took=$(cat "$work/took.$what")
    [ "$took" -le $((SANE * patience)) ] || fail "$what took ${took}0 ms to say that there is no quorum"
    slowest=$((took > slowest ? took : slowest))
done
[ ! -e "$work/got" ] || fail "a get without a quorum left a file"
ok "without a quorum everything says so, within ${slowest}0 ms: $(sed 's/^shoal: //' "$work/err.put")"
expect 0 "but status still answers" "$SHOAL" status -d "$work/1"
start 2
wait_for 15 "a put once two of three are back" put 1 "$work/file" back/again
must_be_same 2 back/again "$work/file"
must_be_same 2 kept "$work/file"
ok "with two of three back it goes on"
start 3
await_healthy 3 3
stop_node 3
stop_node 2
stop_node 1
rm -rf "$work"/[123] "$work"/[123].port

# --- no space -------------------------------------------------------------------------------------------------------

swarm 3 --arcs 64 --capacity 64MiB
random_file "$work/large" 5000000
# Each begins elsewhere, so that no two have a chunk in common: what is stored twice takes no space.
filling() { # I
    tail -c +$(($1 * 1000 + 1)) "$work/large" >"$work/filling"
}
stored=0
while [ "$stored" -lt 40 ]; do
    put 1 "$work/small" "small/$stored" && must_be_same 2 "small/$stored" "$work/small"
    filling "$stored"
    run put 1 "$work/filling" "fill/$stored"
    [ "$status" -eq 0 ] || break
    stored=$((stored + 1))
done
[ "$status" -ne 0 ] || fail "64 MiB took $stored files of 5 MB and never filled up"
[ "$status" -eq 1 ] || fail "a full swarm: exit status $status: $(cat "$work/stderr")"
said_once "no space|full" "a full swarm" "$work/stderr"
[ "$stored" -ge 4 ] || fail "64 MiB held only $stored files of 5 MB"
ok "full after $stored files: $(sed 's/^shoal: //' "$work/stderr")"
for n in 1 2 3; do
    gone "$(pid_of "$n")" && fail "node $n has ended because it is full"
    filling $((50 + n))
    run put "$n" "$work/filling" "more/$n"
    # What the refused one had stored of itself was taken back, so the next may just fit.
    [ "$status" -le 1 ] || fail "another put into the full swarm: exit status $status"
    i=0
    while [ "$i" -lt "$stored" ]; do
        filling "$i"
        must_be_same "$n" "fill/$i" "$work/filling"
        i=$((i + 1))
    done
done
ok "and everything stored is still read, through every node"
expect 0 "a small file still finds room" put 2 "$work/small" small/more
must_be_same 3 small/more "$work/small"

i=0
while [ "$i" -lt $((stored / 2 + 1)) ]; do
    "$SHOAL" rm -d "$work/$((i % 3 + 1))" "fill/$i" || fail "cannot remove from a full swarm"
    i=$((i + 1))
done
filling 60
wait_for 30 "room again after files were removed" put 1 "$work/filling" fill/again
must_be_same 3 fill/again "$work/filling"
await_healthy 1 3
ok "after removing some there is room again"
