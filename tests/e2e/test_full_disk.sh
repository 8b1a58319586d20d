#!/bin/sh
# A file system that is full: what does not fit is refused and says so, the node goes on and keeps what it has, and what
# is removed makes room again, although the files of the data directory never shrink.
. "$(dirname "$0")/lib.sh"

mkdir "$work/small"
mount -t tmpfs -o size=160m tmpfs "$work/small" 2>/dev/null || {
    echo "skip: no file system can be mounted here"
    exit 77
}
at_end() {
    umount "$work/small" || echo "cannot unmount $work/small"
}
ln -s small/node "$work/1" # where node 1 has its data
mkdir "$work/small/node"
random_file "$work/file" 6000000
random_file "$work/large" 200000000
random_file "$work/inline" 20000

start 1 --arcs 16

refused 1 "no space|full" "one file that is larger than the disk" put 1 "$work/large" large
refused 3 "no such file" "and nothing of it is stored" "$SHOAL" stat -d "$work/1" large
expect 0 "a small file finds room all the same" put 1 "$work/inline" inline

# Each begins elsewhere, so that no two have a chunk in common: what is stored twice takes no space.
filling() { # I
    tail -c +$(($1 * 1000 + 1)) "$work/file" >"$work/filling"
}
# What was refused is taken back within seconds.
fits() {
    run put 1 "$work/filling" "$1"
    [ "$status" -eq 0 ]
}
filling 0
wait_for 30 "room for the first file" fits fill/0
stored=1
while [ "$stored" -lt 40 ]; do
    filling "$stored"
    fits "fill/$stored" || break
    stored=$((stored + 1))
done
[ "$stored" -ge 12 ] || fail "160 MiB held only $stored files of 6 MB"
[ "$stored" -lt 40 ] || fail "160 MiB took $stored files of 6 MB and never filled up"
[ "$status" -eq 1 ] || fail "a full disk: exit status $status: $(cat "$work/stderr")"
said_once "no space|full" "a full disk" "$work/stderr"
ok "full after $stored files: $(sed 's/^shoal: //' "$work/stderr")"

gone "$(pid_of 1)" && fail "the node has ended because its disk is full"
must_be_same 1 inline "$work/inline"
i=0
while [ "$i" -lt "$stored" ]; do
    filling "$i"
    must_be_same 1 "fill/$i" "$work/filling"
    i=$((i + 1))
done
ok "and everything stored is still read"

# Small files, which lie in the logs and the state, go on for a while into what chunks leave free, and no further.
tail -c 30000 "$work/file" >"$work/small-file"
# Many at once, so that there is always something on its way to the disk.
"$SHOAL" bench write -d "$work/1" --size 32KiB --clients 32 --seconds 3 --json >"$work/bench" 2>/dev/null
jq -e '.errors > 0' "$work/bench" >/dev/null || fail "they never filled the disk: $(cat "$work/bench")"
gone "$(pid_of 1)" && fail "the node has ended because its disk is full"
"$SHOAL" ls -d "$work/1" bench/ >"$work/names"
for name in $(head -n 40 "$work/names"); do
    "$SHOAL" rm -d "$work/1" "$name" || fail "cannot remove from a full disk"
done
small_fits() { # NAME
    run put 1 "$work/small-file" "$1"
    [ "$status" -eq 0 ]
}
wait_for 30 "room for a small file after others were removed" small_fits small/0
i=1
while [ "$i" -lt 2000 ]; do
    small_fits "small/$i" || break
    i=$((i + 1))
done
[ "$i" -lt 2000 ] && [ "$status" -eq 1 ] || fail "after $i small files: exit status $status: $(cat "$work/stderr")"
said_once "no space|full" "a disk full of small files" "$work/stderr"
ok "full after $i small files more: $(sed 's/^shoal: //' "$work/stderr")"
must_be_same 1 "small/$((i - 1))" "$work/small-file"
kill_nodes 1
start 1
must_be_same 1 "small/$((i - 1))" "$work/small-file"
ok "a node can be started again on a full disk"

for i in 0 1 2 3 4 5; do
    "$SHOAL" rm -d "$work/1" "fill/$i" || fail "cannot remove from a full disk"
done
filling 30
wait_for 30 "room again after some files were removed" fits again
must_be_same 1 again "$work/filling"
ok "after removing some there is room again"
kill_nodes 1
start 1
must_be_same 1 again "$work/filling"
must_be_same 1 inline "$work/inline"
ok "and all of it outlives the node"
