#!/bin/sh
# tidy.sh ROOT BUILD: clang-tidy over every C file with the compile commands of BUILD, one process per processor.
# A file that passed is not looked at again until it, a header it includes, or .clang-tidy changes: BUILD/tidy holds
# one empty file per digest of all that.
set -eu
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$2" && pwd)
cd "$1"
need clang-tidy
need clang
[ -e "$build/compile_commands.json" ] || { echo "lint: no compile_commands.json in $build" >&2; exit 1; }
mkdir -p "$build/tidy"
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
sources | grep '\.c$' | xargs -P "$jobs" -n 1 sh "$here/tidy_one.sh" "$build"
