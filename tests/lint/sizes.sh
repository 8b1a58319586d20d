#!/bin/sh
# sizes.sh ROOT: no function longer than 70 lines, from its first line to its closing brace; no file longer than 1000.
# Relies on the format check: a body's closing brace, and nothing else of it, stands in the first column.
set -eu
. "$(dirname "$0")/common.sh"
cd "$1"
sources | xargs awk -v function_max=70 -v file_max=1000 '
    function end_file() {
        if (lines > file_max) printf "%s: %d lines, more than %d\n", file, lines, file_max
    }
    FNR == 1 { end_file(); file = FILENAME; first = 0; in_function = 0 }
    { lines = FNR }
    !first && /^[A-Za-z_]/ { first = FNR; head = $0; text = "" }
    first && !in_function {
        text = text $0
        if (text ~ /\(/ && text !~ /=/ && $0 ~ /\{$/) in_function = 1
        else if ($0 ~ /[;}]$/ || /^#/) first = 0
    }
    /^\}/ {
        size = FNR - first + 1
        if (in_function && size > function_max)
            printf "%s:%d: %d lines, more than %d: %s\n", FILENAME, first, size, function_max, head
        first = 0; in_function = 0
    }
    END { end_file() }' | fail_if_any
