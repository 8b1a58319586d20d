#!/bin/sh
# A file system that is full: what does not fit is refused and says so, the node goes on and keeps what it has, and what
# is removed makes room again, although the files of the data directory never shrink.
. "$(dirname "$0")/lib.sh"

mkdir "$work/small"
mount -t tmpfs -o size=40m tmpfs "$work/small" 2>/dev/null || {
    echo "skip: no file system can be mounted here"
    exit 77
}
at_end() {
    umount "$work/small" || echo "cannot unmount $work/small"
}
ln -s small/node "$work/1" # where node 1 has its data
mkdir "$work/small/node"
random_file "$work/file" 6000000
random_file "$work/large" 50000000
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
while [ "$stored" -lt 20 ]; do
    filling "$stored"
    fits "fill/$stored" || break
    stored=$((stored + 1))
done
[ "$stored" -ge 3 ] || fail "40 MiB held only $stored files of 6 MB"
[ "$stored" -lt 20 ] || fail "40 MiB took $stored files of 6 MB and never filled up"
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

"$SHOAL" rm -d "$work/1" fill/0 || fail "cannot remove from a full disk"
"$SHOAL" rm -d "$work/1" fill/1 || fail "cannot remove from a full disk"
filling 30
wait_for 30 "room again after two files were removed" fits again
must_be_same 1 again "$work/filling"
ok "after removing some there is room again"

kill_nodes 1
start 1
must_be_same 1 again "$work/filling"
must_be_same 1 inline "$work/inline"
ok "and all of it outlives the node"
