#!/bin/sh
# includes.sh ROOT: a folder includes only the folders below it, and a foreign library only where it belongs.
set -eu
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
{
    sources | sed 's/^/file /'
    sources | xargs awk -f "$here/strip.awk" | sed -nE 's/^([^:]*):([0-9]*):#[ ]*include[ ]*([<"])([^>"]*).*/include \1 \2 \3 \4/p'
} | awk -f "$here/includes.awk" | fail_if_any
