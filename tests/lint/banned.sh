#!/bin/sh
# banned.sh ROOT: functions with no safe use, functions with no use in a pure core, and words that mark unfinished work.
# Comments and literals do not count, except for the words, which are looked for in comments too.
set -eu
. "$(dirname "$0")/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"

everywhere='strcpy strcat strncpy strncat sprintf vsprintf gets strtok rand srand random srandom alloca tmpnam mktemp
    atoi atol atoll cbor_load setjmp longjmp'
# node/uv is the real world; cli and tests are single-threaded programs around it.
not_in_node='strerror localtime gmtime ctime asctime getenv setenv putenv readdir_r strtok_r system popen fork exit'
# What a sans-IO core takes from its ports instead. uv, store (LMDB) and the programs are the ports.
not_in_core='time clock clock_gettime gettimeofday nanosleep sleep usleep getrandom arc4random randombytes_buf
    fopen open read write close socket send recv poll select pthread_create pthread_mutex_lock printf puts getpid'

sources | xargs awk -f "$here/strip.awk" | awk -v everywhere="$everywhere" -v not_in_node="$not_in_node" \
    -v not_in_core="$not_in_core" '
    function fill(set, words,   list, count, i) {
        count = split(words, list)
        for (i = 1; i <= count; i++) set[list[i]] = 1
    }
    BEGIN { fill(all, everywhere); fill(node, not_in_node); fill(core, not_in_core) }
    {
        file = $0; sub(/:.*/, "", file)
        place = $0; match(place, /^[^:]*:[0-9]*/); place = substr(place, 1, RLENGTH)
        code = substr($0, RLENGTH + 2)
        library = file ~ /^(crypto|dht|node)\//
        pure = library && file !~ /^node\/(uv|store)\//
        if (code ~ /^#[ ]*if.*[^A-Za-z_]TEST([^A-Za-z_]|$)/) print place ": production code does not know of tests"
        while (match(code, /[A-Za-z_][A-Za-z0-9_]*[ ]*\(/)) {
            name = substr(code, RSTART, RLENGTH - 1); gsub(/ /, "", name)
            before = RSTART > 1 ? substr(code, RSTART - 1, 1) : ""
            member = before == "." || before == ">"
            code = substr(code, RSTART + RLENGTH)
            if (member) continue # a function pointer of ours
            if (name in all) print place ": " name "() is banned"
            else if (library && name in node) print place ": " name "() is banned in the libraries: not thread-safe"
            else if (pure && name in core) print place ": " name "() is banned in a pure core: it comes through a port"
        }
    }' | fail_if_any || status=1

words='TODO|FIXME|XXX|HACK|for now|not implemented'
if sources | xargs grep -nEw "$words" /dev/null; then
    echo "lint: the lines above sound unfinished" >&2
    status=1
fi
exit "${status:-0}"
