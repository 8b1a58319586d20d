#!/bin/sh
# check_history itself: it accepts what a swarm may do, and refuses what it may not, and says where.
. "$(dirname "$0")/lib.sh"

# write|read KEY VALUE CALL RETURN [CLIENT]: one line of a history. A value of - is null; a return of - is unknown.
line() {
    local value="\"$3\"" ret=$5 result=ok
    [ "$3" != - ] || { value=null && result=absent; }
    [ "$5" != - ] || { ret=null && result=unknown; }
    echo "{\"client\":${6:-1},\"op\":\"$1\",\"key\":\"$2\",\"value\":$value,\"call\":$4,\"return\":$ret,\"result\":\"$result\"}"
}

# accepts|refuses WHAT: the history in $work/history; $finals are the final reads.
finals=/dev/null
judge() {
    run "$TOOLS/check_history" "$work/history" --final "$finals"
}
accepts() {
    judge
    [ "$status" -eq 0 ] || { cat "$work/stdout" "$work/stderr"; fail "refused: $1"; }
    ok "accepted: $1: $(cat "$work/stdout")"
}
refuses() { # WHAT PATTERN...
    local what=$1 pattern
    shift
    judge
    [ "$status" -eq 1 ] || fail "status $status, not refused: $what"
    for pattern; do
        grep -q "$pattern" "$work/stdout" || { cat "$work/stdout"; fail "$what: does not say $pattern"; }
    done
    ok "refused: $what"
}

: >"$work/history"
accepts 'nothing at all'

{
    line read a - 1 2
    line write a 11 3 10
    line write a 22 4 9
    line read a 22 11 12
    line write b 33 5 6
    line read b 33 7 8
} >"$work/history"
accepts 'two names, writes that overlap'

{
    line write a 11 1 2
    line write a 22 3 -
    line read a 11 4 5
    line read a 22 6 7
} >"$work/history"
accepts 'a write of unknown outcome that comes late'

{
    line write b 33 1 2
    line write a 11 1 2
    line write a 22 3 4
    line read a 11 5 6
    line read b 33 3 4
} >"$work/history"
refuses 'a stale read' 'not linearizable: a$' 'no order explains' '"call":5,' '"call":3,'

{
    line write a 11 1 2
    line read a - 3 4
} >"$work/history"
refuses 'a lost write' 'not linearizable: a$' '"call":3,'

{
    line write a 11 1 -
    line read a 11 2 3
    line read a - 4 5
} >"$work/history"
refuses 'a write of unknown outcome that was seen, and then not' 'not linearizable: a$'

{
    line write b 33 20 21
    line read b - 24 25
    line write a 11 1 2
    line read a 12 3 4
} >"$work/history"
refuses 'the earliest of two offences, a value nobody wrote' 'not linearizable: a$' 'never written' '2 names'

{
    line write a 11 5 6
    line read a 11 1 2
} >"$work/history"
refuses 'a read of what is written later' 'before it was written'

echo '{"client":1,"op":"write","key":"a","value":"11","call":1,"return":2,"result":"fail"}' >"$work/failed"
{
    cat "$work/failed"
    line read a - 3 4
} >"$work/history"
accepts 'a write that certainly did not happen'
{
    cat "$work/failed"
    line read a 11 3 4
} >"$work/history"
refuses 'the effect of a write that certainly did not happen' 'never written'

finals=$work/finals
{
    line read a 22 10 11 1001
    line read a 22 10 11 1002
    line read b - 10 11 1001
    line read b 33 12 13 1002
} >"$finals"
{
    line write a 11 1 2
    line write a 22 3 -
    line write b 33 4 -
} >"$work/history"
accepts 'final reads through two nodes'
line read a - 12 13 1003 >>"$finals"
{
    line write a 11 1 -
    line write a 22 3 -
    line write b 33 4 -
} >"$work/history"
refuses 'what was found is gone' 'not linearizable: a$'
{
    line read a 11 10 11 1001
    echo '{"client":1002,"op":"read","key":"a","value":null,"call":10,"return":11,"result":"fail"}'
} >"$finals"
line write a 11 1 2 >"$work/history"
refuses 'what one node cannot read at the end' 'lost: a$' 'client 1002'

for bad in 'rubbish' '{}' '{"client":1}' '{"client":1,"op":"write","key":"a","value":null,"call":1,"return":2,"result":"ok"}' \
    '{"client":1,"op":"write","key":"a","value":"11","call":3,"return":2,"result":"ok"}' \
    '{"client":1,"op":"write","key":"a","value":"11","call":1,"return":null,"result":"ok"}'; do
    echo "$bad" >"$work/history"
    judge
    [ "$status" -eq 2 ] || fail "taken for a line of a history: $bad"
    grep -q ':1: not a line' "$work/stderr" || fail "not told which line is none: $bad"
done
ok 'what is not a history'
