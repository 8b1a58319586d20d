#!/bin/sh
# All nodes killed at once in the middle of puts, again and again: a put that returned 0 is there, byte for byte; any
# other is there whole or not at all. ROUNDS (default 20) kills; the first with the default number of arcs.
. "$(dirname "$0")/lib.sh"

ROUNDS=${ROUNDS:-20}
POOL=$((4 * 1024 * 1024))
random_file "$work/pool" "$POOL"
stored=0 doubtful=0

# content SIZE SEED: so many bytes; those of different seeds have no chunk in common.
content() {
    tail -c +$(($2 % 900000 + 1)) "$work/pool" | head -c "$1"
}

size_of() { # I: from nothing over inline and one chunk to several
    case $(($1 % 8)) in
    0) echo 0 ;;
    1) echo 100 ;;
    2) echo 32768 ;;
    3) echo 32769 ;;
    4) echo 300000 ;;
    5) echo 1048577 ;;
    6) echo 4096 ;;
    7) echo 3145728 ;;
    esac
}

# write_through N ROUND: puts until one fails. Each is noted before it begins and again after it returned 0. Every third
# overwrites the same name.
write_through() {
    i=$(($1 + $2))
    while :; do
        name=r$2/$1/$i
        [ $((i % 3)) -ne 0 ] || name=r$2/$1/same
        file=$work/files/$2.$1.$i
        content "$(size_of $i)" $(($2 * 7919 + $1 * 104729 + i * 997)) >"$file"
        echo "try $name $file"
        put "$1" "$file" "$name" 2>/dev/null || return 0
        echo "done $name $file"
        i=$((i + 1))
    done >"$work/files/journal.$2.$1"
}

# Which of the files named is stored under NAME: its path, "nothing", or "neither".
find_content() { # N NAME FILE...
    via=$1 name=$2
    shift 2
    "$SHOAL" get -d "$work/$via" "$name" "$work/got" 2>"$work/got.err"
    code=$?
    case $code in
    0) ;;
    3) echo nothing && return 0 ;;
    *) cat "$work/got.err" >&2 && echo "an error" && return 0 ;;
    esac
    for file; do
        cmp -s "$file" "$work/got" && echo "$file" && return 0
    done
    echo neither
}

# Of each name: the last put that returned 0 must be there, or the one put after it that did not return.
check_journal() { # JOURNAL VIA
    awk '{ if ($1 == "done") last[$2] = $3; else tried[$2] = $3; names[$2] = 1 }
        END { for (n in names) print n, (n in last ? last[n] : "-"), tried[n] }' "$1" >"$work/expected"
    while read -r name last tried; do
        found=$(find_content "$2" "$name" "$tried" "$last")
        if [ "$last" = "$tried" ]; then
            [ "$found" = "$last" ] || fail "$name was stored, and found through node $2 is: $found"
            stored=$((stored + 1))
        elif [ "$last" = - ]; then
            [ "$found" = "$tried" ] || [ "$found" = nothing ] || fail "$name is half there: $found"
            doubtful=$((doubtful + 1))
        else
            [ "$found" = "$tried" ] || [ "$found" = "$last" ] || fail "$name was overwritten halfway: $found"
            doubtful=$((doubtful + 1))
        fi
    done <"$work/expected"
}

random_hundredths() { # BELOW
    echo $(($(od -An -N2 -tu2 /dev/urandom) % $1))
}

crash_round() { # ROUND
    mkdir "$work/files"
    writers=
    for n in 1 2 3; do
        write_through "$n" "$1" &
        writers="$writers $!"
    done
    wait_for 30 "the first put of each writer" all_wrote "$1"
    delay=$(random_hundredths 120)
    sleep "$((delay / 100)).$(printf %02d $((delay % 100)))"
    kill_nodes 1 2 3
    # shellcheck disable=SC2086 # a list
    wait $writers
    launch 1
    launch 2
    launch 3
    await 1 2 3
    for n in 1 2 3; do
        check_journal "$work/files/journal.$1.$n" $((n % 3 + 1))
    done
    cp "$work/expected" "$work/expected.$1"
    rm -rf "$work/files"
}

all_wrote() {
    for n in 1 2 3; do
        grep -q '^done' "$work/files/journal.$1.$n" 2>/dev/null || return 1
    done
}

fresh_swarm() { # [ARGUMENT...]
    kill_nodes 1 2 3
    rm -rf "$work"/[123] "$work"/[123].port
    swarm 3 "$@"
}

swarm 3
crash_round 1
ok "round 1, with the default number of arcs: $stored stored and there, $doubtful in doubt and whole"
fresh_swarm --arcs 64
round=2
while [ "$round" -le "$ROUNDS" ]; do
    crash_round "$round"
    [ $((round % 5)) -ne 0 ] || ok "round $round: $stored stored and there, $doubtful in doubt and whole"
    round=$((round + 1))
done
[ "$stored" -ge "$ROUNDS" ] || fail "only $stored puts came to an end in $ROUNDS rounds"
await_healthy 1 3
ok "after $ROUNDS rounds every arc has all its replicas again"
