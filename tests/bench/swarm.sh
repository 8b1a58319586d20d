#!/bin/sh
# swarm.sh [SIZE_MIB] [DIR]: a first measurement of three nodes on this machine, beside what the disk alone does in the
# same run. Prints one "name value unit" a line; times nothing that tests rely on.
#   SHOAL  the program (default build/release/shoal)
set -eu
cd "$(dirname "$0")/../.."
shoal=${SHOAL:-$PWD/build/release/shoal}
size=${1:-1024}
dir=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/shoal-bench.XXXXXX")
pids=

cleanup() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

# start N [ARGS]: a node; its address is in $dir/N.addr
start() {
    n=$1
    shift
    began=$(now_ms)
    "$shoal" node -d "$dir/$n" --listen 127.0.0.1:0 "$@" >"$dir/$n.out" 2>"$dir/$n.log" &
    eval "pid_$n=$!"
    pids="$pids $!"
    until grep -qs '^ready:' "$dir/$n.out"; do
        kill -0 "$!" || { cat "$dir/$n.log" >&2; exit 1; }
        sleep 0.005
    done
    echo "start_to_ready_$n $(($(now_ms) - began)) ms"
}

# memory and processor time of node N
resident() {
    awk '/^VmRSS|^RssAnon/ {printf "%s %d KiB  ", $1, $2}' "/proc/$1/status"
}
ticks() {
    awk '{print $14 + $15}' "/proc/$1/stat"
}

healthy() {
    "$shoal" status -d "$dir/1" --json | tr -d ' \n' | grep -q '"total":\([0-9]*\),"healthy":\1,'
}

mib_s() { # MIB MS
    echo "$1 $2" | awk '{printf "%.0f", $1 * 1000 / ($2 ? $2 : 1)}'
}

start 1
start 2 --join "$("$shoal" invite -d "$dir/1")"
start 3 --join "$("$shoal" invite -d "$dir/1")"
began=$(now_ms)
until healthy; do
    sleep 0.05
done
echo "three_nodes_to_healthy $(($(now_ms) - began)) ms"

before=$(ticks "$pid_1")
sleep 30
echo "idle_cpu $(echo "$before $(ticks "$pid_1")" | awk '{printf "%.2f", ($2 - $1) / 30}') % of a core"
echo "idle_memory $(resident "$pid_1")"

head -c "${size}M" /dev/urandom >"$dir/file"
began=$(now_ms)
dd if=/dev/zero of="$dir/plain" bs=1M count=$((size * 3)) conv=fsync 2>/dev/null
took=$(($(now_ms) - began))
rm "$dir/plain"
echo "dd_3x $took ms, $(mib_s $((size * 3)) $took) MiB/s"
plain=$took

began=$(now_ms)
"$shoal" put -d "$dir/1" "$dir/file" file
took=$(($(now_ms) - began))
echo "put $took ms, $(mib_s "$size" $took) MiB/s, $(echo "$plain $took" | awk '{printf "%.2f", $1 / $2}') of dd"
for n in 1 2 3; do
    began=$(now_ms)
    "$shoal" get -d "$dir/$n" file - | cmp - "$dir/file"
    took=$(($(now_ms) - began))
    echo "get_$n $took ms, $(mib_s "$size" $took) MiB/s"
done
for n in 1 2 3; do
    eval "echo \"loaded_memory_$n $(resident "$(eval echo \$pid_$n)")\""
done
