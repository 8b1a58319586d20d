#!/bin/sh
# etcd.sh [OPTION...]: three nodes of etcd and three of Shoal, in turn, on the same machine and the same disk: how many
# durable writes a second each takes from so many clients, and how they compare.
#
#   --clients N[,N...]  clients, each with one write at a time (64,500)
#   --size SIZE         of a value (4KiB)
#   --seconds N         that each run lasts (10)
#   --keys N            keys to draw from (10000)
#   --rounds N          how often each system is run with each number of clients (3)
#   --dir DIR           where the nodes keep their data (build/); on a real disk
#   --tmpfs             DIR may be in memory: then nothing of this is durable
#   --etcd N:all        drive etcd over N connections, spread over its nodes; or N:leader, all to its leader.
#                       Otherwise several ways are tried, and the one that suits etcd best is taken
#   --only SYSTEM       etcd or shoal alone
#   --json              the table as JSON
#
# Both run with their default settings, each time from nothing, each with a client of its own kind: etcd with its Go
# client over gRPC, Shoal with "shoal bench". Which of the two goes first changes from round to round, and ratios are
# taken within a round, because no machine is equally fast all the time; what other processes took of the processors
# meanwhile is shown too. What etcd and its client need comes from Debian 12: golang-go, golang-etcd-server-dev and jq
# are installed when they are missing and this is run as root; etcd-server is only unpacked into build/, since
# installing it starts a service. SHOAL is the program (default: build/release/shoal).
#
# However it ends, no process and no data are left behind.
set -eu
export LC_ALL=C
unset SHOAL_DATA NOTIFY_SOCKET

here=$(cd "$(dirname "$0")/../.." && pwd)
shoal=${SHOAL:-$here/build/release/shoal}
packages='golang-go golang-etcd-server-dev jq'
clients=64,500
size=4KiB
seconds=10
keys=10000
rounds=3
dir=
in_memory=
way=
only=
json=
# A run of a trial, and how long a driver may take beyond its time, in seconds.
trial=3
grace=60

work=
servers=
driver=

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "etcd.sh: $*"
    exit 1
}

usage() {
    say "etcd.sh: $*"
    say "usage: sh tests/bench/etcd.sh [OPTION...]; its first lines say which"
    exit 2
}

# --- the end --------------------------------------------------------------------------------------------------------

# A driver is stopped politely, because it is "timeout" and passes that on; the servers' data is thrown away anyway.
cleanup() {
    trap '' HUP INT TERM
    trap - EXIT
    [ -z "$driver" ] || kill "$driver" 2>/dev/null || true
    # shellcheck disable=SC2086 # a list
    [ -z "$servers" ] || kill -KILL $servers 2>/dev/null || true
    wait
    [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# until_true SECONDS COMMAND...
until_true() {
    tries=$(($1 * 20))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

# A process that has ended and was not waited for is gone too.
all_gone() {
    for pid in $servers; do
        case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) in
        '' | Z | X) ;;
        *) return 1 ;;
        esac
    done
}

stop_servers() {
    # shellcheck disable=SC2086 # a list
    kill $servers 2>/dev/null || true
    until_true 20 all_gone || {
        say "a node of $system does not stop when told to; killed"
        # shellcheck disable=SC2086 # a list
        kill -KILL $servers 2>/dev/null || true
    }
    wait
    servers=
    rm -rf "$work/nodes"
}

# --- what is needed -------------------------------------------------------------------------------------------------

number() { # OPTION VALUE
    case $2 in
    '' | 0* | *[!0-9]*) usage "$1 takes a number, not '$2'" ;;
    esac
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        --tmpfs) in_memory=yes ;;
        --json) json=yes ;;
        -h | --help)
            sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        --clients | --size | --seconds | --keys | --rounds | --dir | --etcd | --only)
            [ $# -gt 1 ] || usage "$1 takes a value"
            case $1 in
            --clients) clients=$2 ;;
            --size) size=$2 ;;
            --seconds) number "$1" "$2" && seconds=$2 ;;
            --keys) number "$1" "$2" && keys=$2 ;;
            --rounds) number "$1" "$2" && rounds=$2 ;;
            --dir) dir=$2 ;;
            --etcd) way=$2 ;;
            --only) only=$2 ;;
            esac
            shift
            ;;
        *) usage "what is '$1'?" ;;
        esac
        shift
    done
    clients=$(printf %s "$clients" | tr , ' ')
    for count in $clients; do
        number --clients "$count"
    done
    case $way in
    '') ;;
    *:all | *:leader) number --etcd "${way%:*}" ;;
    *) usage "--etcd is N:all or N:leader, not '$way'" ;;
    esac
    case $only in
    '' | etcd | shoal) ;;
    *) usage "--only is etcd or shoal, not '$only'" ;;
    esac
}

wanted() { # SYSTEM
    [ -z "$only" ] || [ "$only" = "$1" ]
}

install_packages() {
    missing=
    for package in $packages; do
        case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true) in
        *'ok installed') ;;
        *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" -eq 0 ] || fail "needs, as root: apt-get install$missing"
    say "installing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 \
        $missing >/dev/null
}

find_etcd() {
    etcd=$(command -v etcd) && return 0
    etcd=$here/build/etcd/usr/bin/etcd
    [ ! -x "$etcd" ] || return 0
    mkdir -p "$work/package"
    (cd "$work/package" && apt-get download -qq -o APT::Sandbox::User= etcd-server) ||
        fail "cannot fetch the package etcd-server; apt-get update may help"
    dpkg -x "$work"/package/etcd-server_*.deb "$here/build/etcd"
    [ -x "$etcd" ] || fail "the package etcd-server has no usr/bin/etcd"
}

# From Debian's packages alone: with modules off, Go looks for nothing on the network.
build_client() {
    go=/usr/bin/go
    [ -x "$go" ] || go=$(command -v go) || fail "there is no Go, though golang-go is installed"
    client=$here/build/etcd_client
    env GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= GOTOOLCHAIN=local CGO_ENABLED=0 \
        GOCACHE="$here/build/gocache" "$go" build -o "$client" "$here/tests/bench/etcd_client.go" ||
        fail "etcd_client does not build"
}

make_work() {
    mkdir -p "$here/build"
    dir=${dir:-$here/build}
    work=$(mktemp -d "$dir/etcd-bench.XXXXXX") || fail "cannot make a directory in $dir"
    # The path of a Unix socket has at most 107 bytes, and each node of Shoal has one in its directory.
    [ ${#work} -le 80 ] || fail "the path of $work is too long for a Unix socket; name a shorter one with --dir"
    filesystem=$(df --output=fstype "$work" | tail -n 1)
    case $filesystem in
    tmpfs | ramfs)
        [ -n "$in_memory" ] ||
            fail "$dir is in memory, where nothing is durable; name another with --dir, or say --tmpfs"
        ;;
    esac
}

# Milliseconds that the disk takes for one block, written and synced.
disk_ms() {
    began=$(date +%s%N)
    dd if=/dev/zero of="$work/disk" bs=4096 count=200 oflag=dsync 2>/dev/null
    echo "$began $(date +%s%N)" | awk '{printf "%.3f", ($2 - $1) / 200 / 1000000}'
    rm "$work/disk"
}

# --- etcd -----------------------------------------------------------------------------------------------------------

# Nobody listens there; what is left of connections that have ended is no hindrance.
port_is_free() {
    ! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "^ *[0-9]*: [0-9A-F]*:$(printf %04X "$1") [0-9A-F:]* 0A "
}

# Six ports in a row, below those that the system gives out by itself.
choose_ports() {
    for base in 23790 24790 25790 26790 27790; do
        free=yes
        for offset in 0 1 2 3 4 5; do
            port_is_free $((base + offset)) || free=
        done
        [ -z "$free" ] || return 0
    done
    fail "found no six free ports for etcd"
}

# All as etcd has it by default, whatever ETCD_ variables there are; but a long run must not end at its limit of 2 GiB.
start_etcd() {
    choose_ports
    host=http://127.0.0.1
    cluster=
    endpoints=
    for n in 0 1 2; do
        cluster="$cluster,$n=$host:$((base + n))"
        endpoints="$endpoints,127.0.0.1:$((base + 3 + n))"
    done
    cluster=${cluster#,}
    endpoints=${endpoints#,}
    for n in 0 1 2; do
        env -i PATH="$PATH" "$etcd" --name "$n" --data-dir "$work/nodes/$n" --quota-backend-bytes 8589934592 \
            --initial-cluster "$cluster" --initial-cluster-state new \
            --listen-peer-urls "$host:$((base + n))" --initial-advertise-peer-urls "$host:$((base + n))" \
            --listen-client-urls "$host:$((base + 3 + n))" --advertise-client-urls "$host:$((base + 3 + n))" \
            </dev/null >"$work/nodes/$n.log" 2>&1 &
        servers="$servers $!"
    done
    "$client" --endpoints "$endpoints" --wait 60 2>"$work/wait.log" || {
        tail -n 5 "$work/wait.log" "$work"/nodes/*.log >&2
        fail "etcd does not come up"
    }
}

# drive_etcd CLIENTS SECONDS: over as many connections, to those nodes, as $way says
drive_etcd() {
    to=
    [ "${way#*:}" = all ] || to=--leader
    connections=${way%:*}
    [ "$connections" -le "$1" ] || connections=$1
    drive "$client" --endpoints "$endpoints" --connections "$connections" $to --clients "$1" --seconds "$2" \
        --size "$size" --keys "$keys"
}

# choose_way CLIENTS: few connections that many clients share make large batches, which etcd likes, and the leader need
# not be told by another node what to write; but one connection may be too few.
choose_way() {
    best=0
    chosen=
    for way in "$1:all" 3:all 4:leader 16:leader; do
        system=etcd
        mkdir "$work/nodes"
        start_etcd
        drive_etcd "$1" "$trial"
        rate=$(jq '.ops_per_second | floor' "$work/out")
        stop_servers
        say "etcd, $1 clients, ${way%:*} connections to ${way#*:}: $rate writes/s"
        if [ "$rate" -gt "$best" ]; then
            best=$rate
            chosen=$way
        fi
    done
    [ -n "$chosen" ] || fail "etcd took no write"
    way=$chosen
}

# --- Shoal ----------------------------------------------------------------------------------------------------------

# start_node N [ARGUMENT...]
start_node() {
    n=$1
    shift
    "$shoal" node -d "$work/nodes/$n" --listen 127.0.0.1:0 "$@" </dev/null >"$work/nodes/$n.out" \
        2>"$work/nodes/$n.log" &
    servers="$servers $!"
    until_true 60 grep -qs '^ready:' "$work/nodes/$n.out" || {
        tail -n 5 "$work/nodes/$n.log" >&2
        fail "node $n of Shoal does not come up"
    }
}

healthy() {
    timeout 20 "$shoal" status -d "$work/nodes/0" --json 2>/dev/null | jq -e '.arcs.total > 0 and
        .arcs.healthy == .arcs.total and ([.members[] | select(.alive and .state == "up")] | length) == 3' >/dev/null
}

start_shoal() {
    start_node 0
    for node in 1 2; do
        ticket=$("$shoal" invite -d "$work/nodes/0") || fail "node 0 of Shoal gives no ticket"
        start_node "$node" --join "$ticket"
    done
    until_true 60 healthy || fail "the swarm does not become healthy"
}

drive_shoal() { # CLIENTS SECONDS
    drive "$shoal" bench write -d "$work/nodes/0" --node "$work/nodes/1" --node "$work/nodes/2" --clients "$1" \
        --seconds "$2" --size "$size" --keys "$keys" --json
}

# --- measuring ------------------------------------------------------------------------------------------------------

# Processor time in ticks: of the servers; of everything on this machine, with what it could have been.
servers_ticks() {
    for pid in $servers; do
        sed 's/.*) //' "/proc/$pid/stat"
    done | awk '{sum += $12 + $13} END {print sum + 0}'
}
machine_ticks() {
    awk '/^cpu / {print $2 + $3 + $4 + $9, $2 + $3 + $4 + $5 + $6 + $7 + $8 + $9}' /proc/stat
}

# Seconds of processor time of this shell's children that have ended, from what "times" wrote.
children_seconds() {
    awk 'NR == 2 {gsub(/s/, ""); split($1, u, "m"); split($2, s, "m"); print u[1] * 60 + u[2] + s[1] * 60 + s[2]}' "$1"
}

# drive COMMAND...: its output in $work/out. In the background, so that a signal to this shell is heeded at once.
drive() {
    times >"$work/times.before"
    timeout $((seconds + grace)) "$@" </dev/null >"$work/out" 2>"$work/err" &
    driver=$!
    wait "$driver" || {
        driver=
        tail -n 5 "$work/err" >&2
        fail "the run failed: $*"
    }
    driver=
    times >"$work/times.after"
    head -n 1 "$work/err" >&2
}

# measure ROUND CLIENTS: one run of $system, as a line in $work/runs
measure() {
    mkdir "$work/nodes"
    "start_$system"
    sync -f "$work"
    servers_before=$(servers_ticks)
    machine_before=$(machine_ticks)
    "drive_$system" "$2" "$seconds"
    echo "$(getconf CLK_TCK) $servers_before $(servers_ticks) $machine_before $(machine_ticks)" \
        "$(children_seconds "$work/times.before") $(children_seconds "$work/times.after")" >"$work/cpu"
    jq -c --arg system "$system" --arg way "$way" --argjson round "$1" --argjson clients "$2" \
        --rawfile cpu "$work/cpu" '
        ($cpu | [splits("\\s+") | select(. != "") | tonumber]) as
            [$hz, $s0, $s1, $busy0, $all0, $busy1, $all1, $d0, $d1] |
        (.ops_per_second * .seconds / 1000) as $thousands |
        def each: if $thousands > 0 then . / $thousands else null end;
        {$system, $round, $clients} + (if $system == "etcd" then {connections: $way} else {} end) + . +
        {nodes_cpu_s_per_1000: (($s1 - $s0) / $hz | each), client_cpu_s_per_1000: (($d1 - $d0) | each),
         others_cpu_percent:
            ([0, 100 * ($busy1 - $busy0 - ($s1 - $s0) - ($d1 - $d0) * $hz) / ($all1 - $all0)] | max)}' \
        "$work/out" >>"$work/runs"
    stop_servers
    tail -n 1 "$work/runs" | jq -r '"round \(.round), \(.clients) clients, \(.system): " +
        "\(.ops_per_second | floor) writes/s, p99 \(.latency_ms.p99) ms, \(.errors) errors; " +
        "others took \(.others_cpu_percent | floor) % of the processors"' >&2
}

measure_all() {
    round=1
    while [ "$round" -le "$rounds" ]; do
        order='etcd shoal'
        [ $((round % 2)) -eq 1 ] || order='shoal etcd'
        for count in $clients; do
            for system in $order; do
                wanted "$system" || continue
                way=$(sed -n "s/^$count //p" "$work/ways")
                measure "$round" "$count"
            done
        done
        round=$((round + 1))
    done
}

# --- telling --------------------------------------------------------------------------------------------------------

# Medians over the rounds; a ratio is Shoal's figure by etcd's of the same round.
summary() {
    jq -s --arg size "$size" --argjson seconds "$seconds" --argjson keys "$keys" --argjson rounds "$rounds" \
        --arg filesystem "$filesystem" --argjson synced_write_ms "$disk" --argjson processors "$(nproc)" \
        --arg etcd "$version" '
        def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor]
            else (.[length / 2 - 1] + .[length / 2]) / 2 end;
        def middle(f): map(f | select(. != null)) | median;
        def figures: if length == 0 then null else
            {ops_per_second: middle(.ops_per_second), mib_per_second: middle(.mib_per_second),
             latency_ms: {p50: middle(.latency_ms.p50), p95: middle(.latency_ms.p95), p99: middle(.latency_ms.p99),
                          p999: middle(.latency_ms.p999), max: middle(.latency_ms.max)},
             errors: (map(.errors) | add), seconds: middle(.seconds),
             nodes_cpu_s_per_1000: middle(.nodes_cpu_s_per_1000),
             client_cpu_s_per_1000: middle(.client_cpu_s_per_1000),
             others_cpu_percent: middle(.others_cpu_percent), connections: .[0].connections} end;
        def ratio(f): group_by(.round) | map((map(select(.system == "shoal"))[0] | f) as $shoal |
                (map(select(.system == "etcd"))[0] | f) as $etcd |
                select($shoal != null and $etcd != null and $etcd > 0) | $shoal / $etcd) |
            if length == 0 then null else {median: median, least: min, most: max} end;
        {$size, $keys, $seconds, $rounds, $processors, $filesystem, $synced_write_ms, $etcd,
         results: (group_by(.clients) | map({clients: .[0].clients,
            etcd: map(select(.system == "etcd")) | figures, shoal: map(select(.system == "shoal")) | figures,
            ratio: {ops_per_second: ratio(.ops_per_second), p50: ratio(.latency_ms.p50), p99: ratio(.latency_ms.p99),
                    cpu_s_per_1000: ratio(.nodes_cpu_s_per_1000 + .client_cpu_s_per_1000)},
            runs: .}))}' "$work/runs"
}

table() {
    jq -r '
        def places(n): if . == null then "-" else . * pow(10; n) | round / pow(10; n) | tostring end;
        def row($clients; $name): if . == null then empty else [$clients, $name, (.ops_per_second | places(0)),
            (.latency_ms.p50 | places(2)), (.latency_ms.p99 | places(2)), (.latency_ms.p999 | places(2)), .errors,
            (.nodes_cpu_s_per_1000 | places(3)), (.client_cpu_s_per_1000 | places(3)),
            (.others_cpu_percent | places(0))] end;
        def spread: "\(.median | places(2)) (\(.least | places(2)) to \(.most | places(2)))";
        "\(.size) values, \(.keys) keys, \(.seconds) s a run, medians of \(.rounds); \(.etcd)",
        "\(.processors) processors; \(.filesystem), one synced write of 4 KiB in \(.synced_write_ms) ms",
        (["clients", "system", "writes/s", "p50_ms", "p99_ms", "p999_ms", "errors", "node_cpu", "client_cpu",
            "others_%"] | @tsv),
        (.results[] | .clients as $clients | (.etcd | row($clients; "etcd")), (.shoal | row($clients; "shoal")) | @tsv),
        "node_cpu, client_cpu: seconds of processor time per 1000 writes, of the three nodes and of the client",
        (.results[] | select(.etcd != null) | "\(.clients) clients: etcd over \(.etcd.connections)"),
        (.results[] | select(.ratio.ops_per_second != null) | "\(.clients) clients: shoal / etcd: " +
            "writes/s \(.ratio.ops_per_second | spread), p50 \(.ratio.p50 | spread), p99 \(.ratio.p99 | spread), " +
            "processor time a write \(.ratio.cpu_s_per_1000 | spread)")' |
        awk -F '\t' 'NF < 2 {print; next} {for (i = 1; i <= NF; i++) printf (i < NF ? "%-12s" : "%s\n"), $i}'
}

parse "$@"
command -v dpkg-query >/dev/null 2>&1 || fail "this is for Debian: there is no dpkg-query"
if wanted shoal; then
    [ -x "$shoal" ] || fail "there is no $shoal; build it (cmake --preset release), or name it in SHOAL"
    "$shoal" bench --help >/dev/null 2>&1 || fail "$shoal has no 'bench'"
fi
install_packages
make_work
version=
: >"$work/ways"
if wanted etcd; then
    find_etcd
    build_client
    version=$("$etcd" --version | sed -n '1s/ Version://p')
    asked=$way
    for count in $clients; do
        way=$asked
        [ -n "$way" ] || choose_way "$count"
        echo "$count $way" >>"$work/ways"
    done
fi
disk=$(disk_ms)
measure_all
summary >"$work/summary"
if [ -n "$json" ]; then
    cat "$work/summary"
else
    table <"$work/summary"
fi
