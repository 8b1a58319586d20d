#!/bin/sh
# globals.sh BUILD: the static libraries hold no writable variable: many nodes live in one process.
# Constants that hold pointers are in .data.rel.ro: writable for the dynamic linker only.
set -eu
. "$(dirname "$0")/common.sh"
need nm
found=0
for library in "$1"/libshoal_*.a; do
    [ -e "$library" ] || { echo "lint: no libshoal_*.a in $1: build first" >&2; exit 1; }
    nm -A -f sysv "$library" 2>/dev/null | awk -F'|' -v library="${library##*/}" '
        {
            class = $3; section = $7; name = $1
            gsub(/ /, "", class); gsub(/ /, "", section); gsub(/ *$/, "", name); sub(/.*:/, "", name)
            if (class ~ /^[DdBbCGgSs]$/ && section !~ /^\.data\.rel\.ro/ && name !~ /^__(gcov|sanitizer|asan|ubsan)/)
                print library ": " name " is writable (" section ")"
        }' | fail_if_any || found=1
done
exit "$found"
