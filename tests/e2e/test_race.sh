#!/bin/sh
# Fifty writers at once through three nodes want to be the first to store a name: exactly one is.
. "$(dirname "$0")/lib.sh"

WRITERS=50
ROUNDS=10
[ -z "${SANITIZE:-}" ] || ROUNDS=2

swarm 3 --arcs 64

# contend ROUND WRITER: leaves its exit status.
contend() {
    # Some small enough to be inline, some not.
    { echo "round $1 writer $2" && head -c $(($2 % 2 * 50000)) /dev/zero; } >"$work/in.$2"
    put $(($2 % 3 + 1)) "$work/in.$2" "race/$1" --if-absent 2>"$work/err.$2"
    echo $? >"$work/exit.$2"
}

round=1
while [ "$round" -le "$ROUNDS" ]; do
    rm -f "$work"/exit.*
    contenders=
    writer=1
    while [ "$writer" -le "$WRITERS" ]; do
        contend "$round" "$writer" &
        contenders="$contenders $!"
        writer=$((writer + 1))
    done
    # shellcheck disable=SC2086 # a list
    wait $contenders
    winners=$(grep -lx 0 "$work"/exit.* | sed 's/.*\.//')
    losers=$(grep -lx 4 "$work"/exit.* | wc -l)
    [ "$(printf '%s\n' "$winners" | grep -c .)" -eq 1 ] && [ "$losers" -eq $((WRITERS - 1)) ] || {
        sort "$work"/exit.* | uniq -c
        cat "$work"/err.* | sort | uniq -c | sort -rn | head
        fail "round $round: winners: ${winners:-none}; losers: $losers"
    }
    for n in 1 2 3; do
        must_be_same "$n" "race/$round" "$work/in.$winners"
    done
    round=$((round + 1))
done
ok "$ROUNDS rounds of $WRITERS writers: one winner each, and the name holds what the winner stored"
