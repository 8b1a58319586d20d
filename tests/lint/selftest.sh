#!/bin/sh
# Each lint rule is broken once in a small tree of its own, and must say so; and a clean tree must pass them all.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# A tree that breaks nothing, as the ground each case stands on.
fresh() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/crypto" "$work/tree/dht" "$work/tree/node/raft" "$work/tree/tests/unit"
    cp "$here/../../.clang-format" "$work/tree/"
    printf 'int digest(void);\n' >"$work/tree/crypto/digest.h"
    printf '#include "digest.h"\n\nint digest(void) {\n    return 1; /* strcpy(a, b) in a comment */\n}\n' \
        >"$work/tree/crypto/digest.c"
    printf '#include "digest.h"\n\nconst char *ring(void);\nconst char *ring(void) {\n    return "gets(";\n}\n' \
        >"$work/tree/dht/ring.c"
}

# expect NAME RESULT SCRIPT [WORDS]: RESULT is pass or refuse; a refusal must print WORDS.
expect() {
    output=$(sh "$here/$3" "$work/tree" 2>&1) && result=pass || result=refuse
    case $result:$output in
    "$2":*"${4:-}"*) ;;
    *)
        echo "lint rule '$1': expected $2 with '${4:-}', got $result:" >&2
        printf '%s\n' "$output" >&2
        failed=1
        ;;
    esac
}

add() {
    printf '%b' "$2" >>"$work/tree/$1"
}

lines() {
    awk -v count="$1" 'BEGIN { for (i = 0; i < count; i++) print "    a++;" }'
}

fresh
for script in format.sh sizes.sh banned.sh includes.sh; do
    expect "clean tree" pass "$script"
done

fresh && add dht/ring.c 'int  x( void );\n' && expect "format" refuse format.sh "ring.c"

fresh && { echo 'int f(int a) {'; lines 67; echo '    return a;'; echo '}'; } >"$work/tree/dht/long.c"
expect "70 lines" pass sizes.sh
fresh && { echo 'int f(int a,'; echo '      int b) {'; lines 67; echo '    return a + b;'; echo '}'; } \
    >"$work/tree/dht/long.c"
expect "71 lines" refuse sizes.sh "long.c:1: 71 lines"
fresh && { echo 'struct s {'; lines 100; echo '};'; } >"$work/tree/dht/wide.h" && expect "no function" pass sizes.sh
fresh && lines 1000 >"$work/tree/dht/big.c" && expect "file of 1000 lines" pass sizes.sh
fresh && lines 1001 >"$work/tree/dht/big.c" && expect "file of 1001 lines" refuse sizes.sh "big.c: 1001 lines"

fresh && add dht/ring.c 'void f(char *a) {\n    strcpy(a, "x");\n}\n' && expect "banned" refuse banned.sh "strcpy()"
fresh && add node/raft/r.c 'int f(void) {\n    return time(0);\n}\n' && expect "core" refuse banned.sh "time() is banned"
fresh && add dht/r.c 'int f(void) {\n    return o->time(0);\n}\n' && expect "own pointer" pass banned.sh
fresh && add tests/unit/t.c 'int f(void) {\n    return time(0);\n}\n' && expect "not a core" pass banned.sh
fresh && add dht/ring.c '/* TO''DO: later */\n' && expect "unfinished" refuse banned.sh "unfinished"
fresh && add dht/ring.c '#ifdef TEST\n#endif\n' && expect "test hook" refuse banned.sh "does not know of tests"

fresh && add crypto/digest.c '#include "ring.h"\n' && add dht/ring.h '\n'
expect "upward" refuse includes.sh 'crypto may not include "ring.h"'
fresh && add dht/ring.c '#include "../crypto/digest.h"\n' && expect "path" refuse includes.sh "has a path in it"
fresh && add dht/ring.c '#include <uv.h>\n' && expect "foreign" refuse includes.sh "<uv.h> may not be included in dht"
fresh && add node/raft/r.c '#include <sys/socket.h>\n' && expect "world" refuse includes.sh "<sys/socket.h>"
fresh && add crypto/digest.c '#include <sodium.h>\n' && expect "at home" pass includes.sh
fresh && mkdir "$work/tree/node/odd" && add node/odd/o.c '#include <stdio.h>\n'
expect "unknown folder" refuse includes.sh "not in includes.awk"

# expect_global NAME RESULT CODE
expect_global() {
    rm -rf "$work/tree" && mkdir "$work/tree" && printf '%s\n' "$3" >"$work/tree/g.c"
    cc -c -o "$work/tree/g.o" "$work/tree/g.c" && ar rc "$work/tree/libshoal_g.a" "$work/tree/g.o"
    expect "$1" "$2" globals.sh "${4:-}"
}
expect_global "no global" pass 'static const char *const names[] = {"a"}; const char *f(int i) { return names[i]; }'
expect_global "global" refuse 'int counter = 1;' "counter is writable (.data)"
expect_global "zero global" refuse 'int counter;' "counter is writable (.bss)"
expect_global "static" refuse 'int f(void) { static int calls; return calls++; }' "calls"
expect_global "thread-local" refuse '_Thread_local int calls = 3;' "calls"

exit "$failed"
