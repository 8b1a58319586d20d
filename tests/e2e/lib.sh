# What the end-to-end tests share. Each begins with: . "$(dirname "$0")/lib.sh"
#
# From the environment: SHOAL, the program to test; TOOLS, where stranger, bitflip_proxy and forge_ticket are (default:
# beside the program); SANITIZE, what it was built with, if with a sanitizer: then everything may take longer; KEEP=1
# leaves the nodes' directories behind.
#
# Everything lives in $work. Node N has its data in $work/N, its log in $work/N.log and its standard output in
# $work/N.out; it keeps its port when it is started again. Only processes started here are ever signalled.
# shellcheck shell=dash # that is: POSIX with "local"
set -u
export LC_ALL=C
unset SHOAL_DATA NOTIFY_SOCKET
# What a sanitizer finds must not look like an exit status of the program.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:exitcode=99" UBSAN_OPTIONS="${UBSAN_OPTIONS:-}:exitcode=99"
export TSAN_OPTIONS="${TSAN_OPTIONS:-}:exitcode=99" LSAN_OPTIONS="${LSAN_OPTIONS:-}:exitcode=99"

SHOAL=${SHOAL:?the program to test}
command -v jq >/dev/null 2>&1 || { echo 'FAIL  jq is not installed'; exit 1; }
TOOLS=${TOOLS:-$(dirname "$SHOAL")}
e2e=$(cd "$(dirname "$0")" && pwd)
patience=1
[ -z "${SANITIZE:-}" ] || patience=6

# The path of a Unix socket has at most 107 bytes.
work=$(mktemp -d "${TMPDIR:-/tmp}/shoal-e2e.XXXXXX") || exit 1
if [ ${#work} -gt 80 ]; then
    rmdir "$work"
    work=$(mktemp -d /tmp/shoal-e2e.XXXXXX) || exit 1
fi
pids= # of the processes to be ended with the test

# --- telling --------------------------------------------------------------------------------------------------------

# Hundredths of a second of a clock that only goes forward.
now() {
    local up rest
    read -r up rest </proc/uptime
    echo "${up%.*}${up#*.}"
}
began=$(now)

ok() {
    printf 'ok    %s (at %s s)\n' "$*" $((($(now) - began) / 100))
}

show_logs() {
    local log
    for log in "$work"/*.log; do
        [ -s "$log" ] || continue
        printf -- '--- %s, its end:\n' "${log##*/}"
        tail -n 40 "$log"
    done
}

fail() {
    printf 'FAIL  %s\n' "$*"
    exit 1
}

# The nodes that still run stop when they are told to, and nothing in the logs tells of a defect.
ends_well() {
    local file pid code
    for file in "$work"/*.pid; do
        pid=$(cat "$file" 2>/dev/null) && running "$pid" || continue
        kill -TERM "$pid"
        until_true 20 gone "$pid" || {
            echo "FAIL  a node does not stop: ${file##*/}"
            return 1
        }
        wait "$pid"
        code=$?
        [ "$code" -eq 0 ] || {
            echo "FAIL  a node ended with status $code: ${file##*/}"
            return 1
        }
    done
    ! grep -sE 'Sanitizer|runtime error:|check failed' "$work"/*.log /dev/null || {
        echo "FAIL  a node tells of a defect"
        return 1
    }
}

# A test with more to take away at its end has a function of this name.
at_end() {
    :
}

at_exit() {
    status=$?
    trap '' HUP INT TERM
    trap - EXIT
    [ "$status" -ne 0 ] || ends_well || status=1
    [ "$status" -eq 0 ] || show_logs
    # shellcheck disable=SC2086 # a list
    [ -z "$pids" ] || kill -KILL $pids 2>/dev/null
    wait 2>/dev/null
    at_end
    if [ -n "${KEEP:-}" ]; then
        echo "kept: $work"
    else
        rm -rf "$work"
    fi
    exit "$status"
}
trap at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# --- waiting --------------------------------------------------------------------------------------------------------

# until_true SECONDS COMMAND...: whether the command succeeds within the time.
until_true() {
    local limit
    limit=$(($(now) + $1 * 100 * patience))
    shift
    until "$@"; do
        [ "$(now)" -lt "$limit" ] || return 1
        sleep 0.05
    done
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local seconds=$1 what=$2
    shift 2
    until_true "$seconds" "$@" || fail "$what: not within $((seconds * patience)) s"
}

# A process that has ended and was not waited for is gone too.
running() {
    case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) in
    '' | Z | X) return 1 ;;
    esac
}

gone() {
    ! running "$1"
}

# --- commands -------------------------------------------------------------------------------------------------------

# run COMMAND...: $status, $work/stdout and $work/stderr are what came of it.
run() {
    "$@" >"$work/stdout" 2>"$work/stderr"
    status=$?
}

# expect CODE WHAT COMMAND...: the command ends with this code.
expect() {
    local wanted=$1 what=$2
    shift 2
    run "$@"
    [ "$status" -eq "$wanted" ] || {
        head -c 2000 "$work/stderr"
        fail "$what: exit status $status, not $wanted: $*"
    }
    ok "$what"
}

# refused CODE PHRASE WHAT COMMAND...: the command ends with this code, and says why in one line that holds the phrase.
refused() {
    local code=$1 phrase=$2 what=$3
    shift 3
    run "$@"
    [ "$status" -eq "$code" ] || {
        head -c 2000 "$work/stderr"
        fail "$what: exit status $status, not $code: $*"
    }
    said_once "$phrase" "$what" "$work/stderr"
    ok "$what: $(sed -n 's/^shoal: //p' "$work/stderr" | tail -n 1 | cut -c 1-160)"
}

# The program's own lines begin with its name; a node's log lines beside them do not.
said_once() {
    [ "$(grep -c '^shoal: ' "$3")" -eq 1 ] && grep '^shoal: ' "$3" | grep -qiE -- "$1" && return 0
    cat "$3"
    fail "$2: should say why in one line, with: $1"
}

put() { # N FILE NAME [OPTION...]
    local n=$1 file=$2 name=$3
    shift 3
    "$SHOAL" put -d "$work/$n" "$@" "$file" "$name"
}

get() { # N NAME FILE
    "$SHOAL" get -d "$work/$1" "$2" "$3"
}

# same N NAME FILE: the file stored under the name is this one. Without a word when it is.
same() {
    "$SHOAL" get -d "$work/$1" "$2" - 2>"$work/same.err" | cmp -s - "$3"
}

must_be_same() { # N NAME FILE
    same "$1" "$2" "$3" || {
        cat "$work/same.err"
        fail "$2 read through node $1 is not what was stored"
    }
}

random_file() { # FILE SIZE
    head -c "$2" /dev/urandom >"$1"
}

# --- nodes ----------------------------------------------------------------------------------------------------------

pid_of() { # N
    cat "$work/$1.pid"
}

# launch N [ARGUMENT...]: starts a node and does not wait for it.
launch() {
    local node=$1 port=0
    shift
    [ ! -f "$work/$node.port" ] || port=$(cat "$work/$node.port")
    : >"$work/$node.out"
    "$SHOAL" node -d "$work/$node" --listen "127.0.0.1:$port" "$@" </dev/null >>"$work/$node.out" 2>>"$work/$node.log" &
    echo $! >"$work/$node.pid"
    pids="$pids $!"
}

ready_or_gone() {
    grep -q '^ready:' "$work/$1.out" || gone "$(pid_of "$1")"
}

# await N...: the nodes launched say that they serve.
await() {
    local node
    for node; do
        wait_for 60 "node $node ready" ready_or_gone "$node"
        grep -q '^ready:' "$work/$node.out" || fail "node $node has ended instead of serving"
        [ -f "$work/$node.port" ] ||
            sed -n 's/^ready:.* at 127\.0\.0\.1:\([0-9]*\),.*/\1/p' "$work/$node.out" >"$work/$node.port"
    done
}

start() { # N [ARGUMENT...]
    launch "$@"
    await "$1"
}

# join N VIA [ARGUMENT...]: node N joins the swarm by a ticket from node VIA.
join() {
    local node=$1 via=$2 ticket
    shift 2
    ticket=$("$SHOAL" invite -d "$work/$via") || fail "node $via gives no ticket"
    start "$node" --join "$ticket" "$@"
}

# kill_nodes N...: all at once, with no chance to say good-bye.
kill_nodes() {
    local node pid victims=
    for node; do
        victims="$victims $(pid_of "$node")"
    done
    # shellcheck disable=SC2086 # a list
    kill -KILL $victims
    for pid in $victims; do
        wait "$pid" 2>/dev/null
    done
}

# stop_node N: politely; $status is what it ended with, $took how long it took, in hundredths of a second.
stop_node() {
    local pid since
    pid=$(pid_of "$1")
    since=$(now)
    kill -TERM "$pid"
    wait_for 20 "node $1 gone after SIGTERM" gone "$pid"
    took=$(($(now) - since))
    wait "$pid"
    status=$?
}

# swarm MEMBERS [ARGUMENT...]: nodes 1 to MEMBERS; the arguments are for all of them.
swarm() {
    local members=$1 member=2
    shift
    start 1 "$@"
    while [ "$member" -le "$members" ]; do
        join "$member" 1 "$@"
        member=$((member + 1))
    done
    await_healthy 1 "$members"
}

status_json() { # N FILTER [JQ-OPTION...]: what status shows, through jq
    local node=$1 filter=$2
    shift 2
    timeout 20 "$SHOAL" status -d "$work/$node" --json 2>/dev/null | jq -r "$@" "$filter"
}

stat_json() { # N NAME FILTER
    "$SHOAL" stat -d "$work/$1" --json "$2" | jq -r "$3"
}

healthy() { # N MEMBERS
    [ "$(status_json "$1" '.arcs.total > 0 and .arcs.healthy == .arcs.total and .arcs.leaderless == 0 and
        ([.members[] | select(.alive and .state == "up")] | length) == $members' --argjson members "$2")" = true ]
}

# await_healthy N MEMBERS: node N sees so many members alive, and every arc with all its replicas.
await_healthy() {
    until_true "${HEALTHY_LIMIT:-60}" healthy "$1" "$2" && return 0
    "$SHOAL" status -d "$work/$1"
    fail "the swarm does not become healthy, seen from node $1"
}

# The number of the swarm's member that runs as node N here.
member_number() {
    status_json "$1" .self
}

# What node N has in memory of its own, in KiB: resident, but not the pages of its databases, which are the system's cache.
memory_kib() { # N
    sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$(pid_of "$1")/status"
}
