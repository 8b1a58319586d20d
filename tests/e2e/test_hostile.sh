#!/bin/sh
# Strangers who send garbage, nothing, or half of something, by the thousand: cut off in time, logged in a few lines, and
# neither the memory of the node nor those it serves notice.
. "$(dirname "$0")/lib.sh"

HANDSHAKE_MS=8000 # the node allows 5 s
GROWTH_KIB=4096   # what its memory may grow by
CROWD=4000

stranger() {
    "$TOOLS/stranger" "$@"
}

# cut_off LIMIT-MS WHAT ADDRESS: sends standard input.
cut_off() {
    took=$(stranger send "$3") || fail "$2: still connected after ${took:-?} ms"
    [ "$took" -le $(($1 * patience)) ] || fail "$2: cut off only after $took ms"
    ok "$2: cut off after $took ms"
}

log_lines() {
    wc -l <"$work/1.log"
}

swarm 3 --arcs 64
random_file "$work/file" 300000
put 1 "$work/file" here/file || fail "cannot store"
port=$(cat "$work/1.port")
socket=$work/1/shoal.sock

# What a first crowd leaves behind in the allocator is not counted: only what others add to that.
stranger flood "$port" 500 >"$work/flood" || fail "a small crowd is not cut off: $(cat "$work/flood")"
before=$(memory_kib 1)
lines=$(log_lines)
since=$(now)

head -c 100000 /dev/urandom >"$work/garbage"
cut_off $HANDSHAKE_MS "garbage" "$port" <"$work/garbage"
cut_off $HANDSHAKE_MS "a web browser" "$port" <<END
GET / HTTP/1.1
Host: localhost

END
: >"$work/nothing"
printf '\000\040half of a key' >"$work/half"
{ printf '\000\040' && head -c 32 /dev/urandom; } >"$work/first"
cut_off $HANDSHAKE_MS "silence" "$port" <"$work/nothing" &
silence=$!
cut_off $HANDSHAKE_MS "a truncated handshake" "$port" <"$work/half" &
truncated=$!
cut_off $HANDSHAKE_MS "a handshake that is not gone on with" "$port" <"$work/first" &
wait $! && wait $truncated && wait $silence || exit 1
{ cat "$work/first" && printf '\000\200' && head -c 128 /dev/urandom; } >"$work/forged"
cut_off 2000 "a handshake with a forged second half" "$port" <"$work/forged"
printf '\377\377 and no more' >"$work/long"
cut_off $HANDSHAKE_MS "a record that claims to be as long as one can be" "$port" <"$work/long"

{ printf '\377\377\377\377' && head -c 1000 /dev/zero; } >"$work/huge"
cut_off 2000 "local: a frame that claims 4 GiB" "$socket" <"$work/huge"
printf '\000\040\000\001x' >"$work/above"
cut_off 2000 "local: a frame one byte longer than allowed" "$socket" <"$work/above"
cut_off 2000 "local: garbage" "$socket" <"$work/garbage"
printf '\000\000\000\000' >"$work/none"
cut_off 2000 "local: an empty frame" "$socket" <"$work/none"

stranger flood "$port" $CROWD >"$work/flood" || fail "not all of the crowd is cut off: $(cat "$work/flood")"
ok "$(head -n 1 "$work/flood"), all cut off"
if [ -z "${SANITIZE:-}" ]; then # they keep what is freed for a while
    after=$(memory_kib 1)
    [ "$after" -le $((before + GROWTH_KIB)) ] || fail "memory grew from $before to $after KiB"
    ok "memory: $before KiB before, $after KiB after"
fi

stranger flood "$port" $CROWD >"$work/flood" &
flood=$!
served=0
while running "$flood"; do
    put 1 "$work/file" "crowd/$served" || fail "cannot store while a crowd knocks"
    same 2 "crowd/$served" "$work/file" || fail "cannot fetch while a crowd knocks"
    served=$((served + 1))
done
wait "$flood" || fail "not all of the second crowd is cut off: $(cat "$work/flood")"
[ "$served" -gt 0 ] || fail "the crowd was gone before anything was stored"
ok "once more, and meanwhile $served files are stored and fetched"

seconds=$((($(now) - since) / 100))
lines=$(($(log_lines) - lines))
[ "$lines" -le $((10 * (seconds / 10 + 2))) ] || fail "$lines lines in the log in $seconds s"
grep -q 'cut off 127.0.0.1:' "$work/1.log" || fail "the log says nothing of strangers"
ok "$lines lines in the log in $seconds s"

[ "$(status_json 1 '.members | length')" -eq 3 ] || fail "there should be three members"
await_healthy 1 3
must_be_same 3 here/file "$work/file"
ok "the swarm is as it was"
