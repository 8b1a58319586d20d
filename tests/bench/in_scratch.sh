#!/bin/sh
# in_scratch.sh PROGRAM [ARGUMENT...]: runs it with one more argument, a directory that does not exist yet and is
# removed afterwards.
set -eu
scratch=$(mktemp -d "${TMPDIR:-/tmp}/shoal-bench.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
"$@" "$scratch/data"
