#!/bin/sh
# tidy_one.sh BUILD FILE: one file for tidy.sh, from the root of the tree.
set -eu
build=$1
file=$2
folders=$(find crypto dht node cli simnet -type d | sed 's/^/-I/')
# Where -MM fails (a header is missing) it names nothing, and clang-tidy says why.
read_files="$file $(clang -MM -std=c17 -D_GNU_SOURCE $folders "$file" 2>/dev/null | sed -e 's/^[^:]*://' -e 's/\\$//')"
digest=$({ clang-tidy --version; cat .clang-tidy $read_files; echo "$file"; } | sha256sum | cut -d' ' -f1)
[ ! -e "$build/tidy/$digest" ] || exit 0
output=$(clang-tidy -p "$build" --quiet "$file" 2>&1) && : >"$build/tidy/$digest" && exit 0
# One call, so that the findings of two files do not mix.
printf '%s\n' "$output" | grep -v ' warnings\? .*generated\.$'
exit 1
