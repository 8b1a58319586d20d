#!/bin/sh
# Builds shoal, starts a swarm of three nodes on this machine, and shows that files outlive a node:
#
#   sh cli/quickstart.sh         build, start, try; leaves the swarm running
#   sh cli/quickstart.sh stop    stops the swarm; what it stores stays
#
# Works on a bare Debian 12 or Ubuntu (missing packages are installed with apt). May be run again at any time: it stops
# what it started before, and goes on with the same data. SHOAL_QUICKSTART says where that is kept (default:
# build/quickstart), SHOAL_BUILD where it is built (default: build/release).
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
build=${SHOAL_BUILD:-$here/build/release}
shoal="$build/shoal"
dir=${SHOAL_QUICKSTART:-$here/build/quickstart}
# The path of a Unix socket has at most 107 bytes, and each node has one in its directory.
if [ ${#dir} -gt 90 ]; then
	dir=${TMPDIR:-/tmp}/shoal-quickstart
fi
stop="sh $here/cli/quickstart.sh stop"
packages="gcc libc6-dev cmake ninja-build pkg-config libsodium-dev libuv1-dev liblmdb-dev libisal-dev libcbor-dev libbsd-dev
uthash-dev libcmocka-dev"

say() {
	printf '%s\n' "$*"
}

fail() {
	printf 'quickstart: %s\n' "$*" >&2
	exit 1
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		fail "to install packages, run this as root or install sudo; needed:" $packages
	fi
}

install_packages() {
	command -v dpkg-query >/dev/null 2>&1 || return 0
	missing=
	for package in $packages; do
		status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
		case $status in
		*"ok installed") ;;
		*) missing="$missing $package" ;;
		esac
	done
	if [ -z "$missing" ]; then
		return 0
	fi
	say "Installing what is missing to build:$missing"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		-o Dpkg::Use-Pty=0 $missing >/dev/null
}

build_shoal() {
	say "Building shoal in $build"
	if [ ! -f "$build/CMakeCache.txt" ]; then
		cmake -S "$here" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSHOAL_WERROR=OFF >/dev/null
	fi
	cmake --build "$build" --target shoal >"$build/quickstart-build.log" 2>&1 || {
		tail -n 40 "$build/quickstart-build.log" >&2
		fail "the build failed; all of it is in $build/quickstart-build.log"
	}
}

# The process of node $1 when it runs: then it holds the lock in its directory, where its number stands. One that is
# just starting could not take the lock while this looks, so only those are asked about that are not.
node_pid() {
	lock=$dir/$1/lock
	if [ ! -f "$lock" ]; then
		return 1
	fi
	held=0
	flock -n "$lock" true || held=$?
	# 1 is a lock that another process holds; anything above is flock's own trouble.
	if [ "$held" -ne 1 ]; then
		return 1
	fi
	pid=$(cat "$lock")
	case $pid in
	'' | *[!0-9]*) return 1 ;;
	esac
	say "$pid"
}

# Waits up to $1 seconds for a command to succeed.
wait_for() {
	tries=$(($1 * 5))
	shift
	while ! "$@"; do
		tries=$((tries - 1))
		if [ "$tries" -le 0 ]; then
			return 1
		fi
		sleep 0.2
	done
}

node_gone() {
	! node_pid "$1" >/dev/null
}

stop_nodes() {
	for n in 1 2 3; do
		if pid=$(node_pid "$n"); then
			say "Stopping node $n (process $pid)"
			kill "$pid" 2>/dev/null || true
		fi
	done
	for n in 1 2 3; do
		if ! wait_for 10 node_gone "$n" && pid=$(node_pid "$n"); then
			kill -9 "$pid" 2>/dev/null || true
			wait_for 5 node_gone "$n" || fail "node $n (process $pid) does not stop"
		fi
		rm -f "$dir/$n.pid"
	done
}

port_is_free() {
	! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ":$(printf %04X "$1") "
}

# Three ports in a row, chosen once: the nodes know each other by them.
choose_ports() {
	if [ -f "$dir/port" ]; then
		port=$(cat "$dir/port")
		return 0
	fi
	for port in 7441 17441 27441 27541 27641; do
		if port_is_free "$port" && port_is_free $((port + 1)) && port_is_free $((port + 2)); then
			say "$port" >"$dir/port"
			return 0
		fi
	done
	fail "found no three free ports for the nodes; write the first of three into $dir/port"
}

# Starts node $1, with a ticket when one is given. The ticket goes in by standard input: others cannot see it there.
start_node() {
	n=$1
	ticket=${2:-}
	: >"$dir/$n.log"
	set -- node -d "$dir/$n" --listen "127.0.0.1:$((port + n - 1))"
	if [ -n "$ticket" ]; then
		set -- "$@" --join -
	fi
	say "$ticket" | setsid "$shoal" "$@" >>"$dir/$n.log" 2>&1 &
	say $! >"$dir/$n.pid"
}

# A node that ends before it is ready is seen as soon as this shell, whose child it is, has collected it.
node_ready_or_dead() {
	grep -q '^ready:' "$dir/$1.log" || ! kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null
}

expect_ready() {
	if ! wait_for 30 node_ready_or_dead "$1" || ! grep -q '^ready:' "$dir/$1.log"; then
		tail -n 5 "$dir/$1.log" >&2
		say "quickstart: what was started goes on; to stop it: $stop" >&2
		fail "node $1 did not start; its log is $dir/$1.log"
	fi
	: >"$dir/$1.joined"
	say "  $(sed -n 's/^ready: //p' "$dir/$1.log" | head -n 1)"
}

# Nodes that belong to the swarm already come back together, because one alone may lack a majority; the others join.
start_swarm() {
	say "Starting three nodes in $dir"
	for n in 1 2 3; do
		if [ "$n" -eq 1 ] || [ -f "$dir/$n.joined" ]; then
			start_node "$n"
		fi
	done
	for n in 1 2 3; do
		if [ "$n" -eq 1 ] || [ -f "$dir/$n.joined" ]; then
			expect_ready "$n"
		fi
	done
	for n in 2 3; do
		if [ ! -f "$dir/$n.joined" ]; then
			ticket=$("$shoal" invite -d "$dir/1" --expires 10m) || fail "node 1 gave no ticket; its log is $dir/1.log"
			start_node "$n" "$ticket"
			expect_ready "$n"
		fi
	done
}

# Every arc has all its replicas, and there are three members to hold them.
swarm_healthy() {
	status=$("$shoal" status -d "$dir/2" --json 2>/dev/null) || return 1
	case $status in
	*'"under_replicated":0,"leaderless":0}'*) ;;
	*) return 1 ;;
	esac
	[ "$(printf %s "$status" | grep -o '"alive":true' | wc -l)" -eq 3 ]
}

expect_healthy() {
	wait_for 120 swarm_healthy || fail "the swarm did not become healthy; see: $shoal status -d $dir/2"
}

try_swarm() {
	say "Waiting until everything is kept on all three nodes"
	expect_healthy
	size=$(wc -c <"$shoal")
	say "Storing a file of $size bytes (the shoal program itself) through node 1"
	"$shoal" put -d "$dir/1" "$shoal" quickstart/shoal
	pid=$(node_pid 1) || fail "node 1 has ended; its log is $dir/1.log"
	say "Killing node 1 (process $pid) with SIGKILL"
	kill -9 "$pid"
	wait "$pid" 2>/dev/null || true # some shells would report its end on their own
	wait_for 5 node_gone 1 || fail "node 1 does not die"
	say "Fetching the file from node 2"
	"$shoal" get -d "$dir/2" quickstart/shoal "$dir/fetched"
	cmp "$shoal" "$dir/fetched" || fail "the file came back different"
	rm -f "$dir/fetched"
	say "  it is the same, byte for byte"
	say "Starting node 1 again"
	start_node 1
	expect_ready 1
	expect_healthy
	say "  it has caught up"
}

print_hints() {
	cat <<END

The swarm is running. Try:

  $shoal status -d $dir/1
  $shoal put -d $dir/1 $here/README.md
  $shoal ls -d $dir/2 -l
  $shoal get -d $dir/3 README.md copy-of-README.md

Stop it:

  $stop

More: $shoal help, or man $here/cli/shoal.1
END
}

case ${1:-} in
'') ;;
stop)
	stop_nodes
	say "No node of the quick start is running; what they stored stays in $dir"
	exit 0
	;;
-h | --help)
	say "usage: sh cli/quickstart.sh [stop]"
	exit 0
	;;
*)
	printf 'usage: sh cli/quickstart.sh [stop]\n' >&2
	exit 2
	;;
esac

install_packages
build_shoal
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
if [ "$dir" != "$here/build/quickstart" ]; then
	stop="SHOAL_QUICKSTART=$dir $stop"
fi
chmod 700 "$dir"
stop_nodes
choose_ports
start_swarm
try_swarm
print_hints
