#!/bin/sh
# run.sh BUILD NAME: one fuzzer for $FUZZ_SECONDS, from its seeds in corpus/ and from what earlier runs found in BUILD.
# What breaks it is left in BUILD/findings/.
set -eu
build=$1
name=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$build/corpus/$name" "$build/findings"
seeds=$here/corpus/${name#fuzz_}
[ -d "$seeds" ] || { echo "$name: no seed corpus in $seeds"; exit 1; }
exec "$build/$name" -max_total_time="${FUZZ_SECONDS:-30}" -timeout=10 -rss_limit_mb=1024 -verbosity=0 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$name-" "$build/corpus/$name" "$seeds"
